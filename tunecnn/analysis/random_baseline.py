"""Random baseline of a search: the result of random search with a part of the budget."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pandas as pd

from tunecnn.analysis.intervals import expected_best, wilson_interval
from tunecnn.run.run import Run


@dataclass(frozen=True)
class SourceLine:
    """The trials of one source: the search itself, or its random baseline.

    Attributes:
        name: `search` or `random_baseline`.
        trials: number of trials that ended, whatever their outcome.
        complete: number of trials that were trained to the end.
        device_seconds: total device-seconds of all its trials.
        best: validation accuracy of its best complete trial; None without one.
        best_at_equal_cost: the same, within the device-seconds of the cheaper source.
    """

    name: str
    trials: int
    complete: int
    device_seconds: float
    best: float | None
    best_at_equal_cost: float | None


@dataclass(frozen=True)
class RandomBaseline:
    """Comparison of a search with its random baseline.

    Attributes:
        search: trials of the search itself.
        random: trials of its random baseline.
        verdict: source that is ahead at equal cost, and whether by more than noise, in words.
        expected: tuples (number of random trials, expected best of that many, its 95 % band).
    """

    search: SourceLine
    random: SourceLine
    verdict: str
    expected: tuple[tuple[int, float, tuple[float, float]], ...]


def compare_with_random(run: Run) -> RandomBaseline | None:
    """Compare a search with its random baseline; None if it has none."""
    ended = _ended(run)
    sources = {name: ended[ended["source"] == name] for name in ("search", "random_baseline")}
    if sources["random_baseline"].empty or sources["search"].empty:
        return None
    cost = min(float(source["device_seconds"].iloc[-1]) for source in sources.values())
    search, random = (
        _line(name, trials, cost, run.space.metric) for name, trials in sources.items()
    )
    values = list(sources["random_baseline"][run.space.metric].dropna())
    counts = sorted({1, max(1, len(values) // 2), len(values)}) if values else []
    return RandomBaseline(
        search,
        random,
        _verdict(search, random, cost, run.info.dataset.different("validation")),
        tuple((count, *expected_best(values, count)) for count in counts),
    )


def best_so_far(run: Run) -> dict[str, pd.DataFrame]:
    """Return `trial_count`, `device_seconds` and `best` after each ended trial, by source."""
    ended = _ended(run)
    found = {}
    for name in ("search", "random_baseline"):
        source = ended[ended["source"] == name].reset_index(drop=True)
        complete = source[run.space.metric].where(source["state"] == "COMPLETE")
        found[name] = pd.DataFrame(
            {
                "trial_count": range(1, len(source) + 1),
                "device_seconds": source["device_seconds"],
                "best": complete.cummax().ffill(),
            }
        )
    return found


def _ended(run: Run) -> pd.DataFrame:
    """Return the ended trials of a run, without infeasible ones, in the order of their end."""
    trials = run.trials
    ended = trials[trials["ended"].notna() & (trials["outcome"] != "infeasible")]
    ended = ended.sort_values(["ended", "trial"])
    return ended.assign(device_seconds=ended.groupby("source")["seconds"].cumsum())


def _line(name: str, trials: pd.DataFrame, cost: float, metric: str) -> SourceLine:
    complete = trials[trials["state"] == "COMPLETE"]
    affordable = complete[complete["device_seconds"] <= cost + 1e-9]

    def best(of: pd.DataFrame) -> float | None:
        return None if of.empty else float(of[metric].max())

    return SourceLine(
        name, len(trials), len(complete), float(trials["device_seconds"].iloc[-1]),
        best(complete), best(affordable),
    )  # fmt: skip


def _verdict(search: SourceLine, random: SourceLine, cost: float, images: int) -> str:
    """Return a sentence that says which source is ahead at equal cost."""
    ours, theirs = search.best_at_equal_cost, random.best_at_equal_cost
    at = f"after {cost:,.0f} device-seconds each"
    if ours is None or theirs is None:
        who = [source.name for source in (search, random) if source.best_at_equal_cost is None]
        return f"Nothing can be said {at}: no complete trial of {' and '.join(who)} yet."
    intervals = sorted(wilson_interval(value, images) for value in (ours, theirs))
    apart = all(low[1] < high[0] for low, high in itertools.pairwise(intervals))
    order = "level with" if ours == theirs else "ahead of" if ours > theirs else "behind"
    noise = "" if ours == theirs else f", {'by' if apart else 'no'} more than noise"
    return (
        f"The search is {order} random search{noise}: {ours:.2%} against {theirs:.2%} {at} "
        f"(Wilson 95 % over {images:,} images; one search each, so another may differ)."
    )
