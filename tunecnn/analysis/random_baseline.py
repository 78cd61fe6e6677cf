"""Random baseline of a search: the result of random search with a part of the budget."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tunecnn.analysis.intervals import typical_best
from tunecnn.analysis.spending import spent_until
from tunecnn.run.run import Run
from tunecnn.space.strategy import Halving, NoPruner, Patient, Promotion
from tunecnn.study.origin import Source
from tunecnn.trial.messages import Outcome


@dataclass(frozen=True)
class SourceLine:
    """The trials of one source: the search itself, or its random baseline.

    Attributes:
        name: `search` or `random_baseline`.
        trials: number of trials that ended, whatever their outcome.
        complete: number of trials that were trained to the end.
        seconds: training time of all its trials together.
        best: validation accuracy of its best complete trial; None without one.
        best_at_equal_cost: the same, within the training time of the cheaper source.
    """

    name: str
    trials: int
    complete: int
    seconds: float
    best: float | None
    best_at_equal_cost: float | None


@dataclass(frozen=True)
class RandomBaseline:
    """Comparison of a search with its random baseline.

    Attributes:
        search: trials of the search itself.
        random: trials of its random baseline.
        verdict: best of both at equal cost, in words. Whether a lead is more than luck is not
            said: it would take the spread over many searches, and there is one.
        conditions: what both had in common, in words.
        expected: tuples (number of random trials, median of the best of that many, its 95 %
            interval); empty if the pruner stopped any.
    """

    search: SourceLine
    random: SourceLine
    verdict: str
    conditions: str
    expected: tuple[tuple[int, float, tuple[float, float]], ...]


def compare_with_random(run: Run) -> RandomBaseline | None:
    """Compare a search with its random baseline; None if it has none."""
    ended = _ended(run)
    sources = {name: ended[ended["source"] == name] for name in Source}
    if sources[Source.RANDOM_BASELINE].empty or sources[Source.SEARCH].empty:
        return None
    cost = min(float(source["spent"].max()) for source in sources.values())
    search, random = (
        _line(name, trials, cost, run.space.metric) for name, trials in sources.items()
    )
    return RandomBaseline(
        search,
        random,
        _verdict(search, random, cost),
        _conditions(run),
        _typical(sources[Source.RANDOM_BASELINE], run),
    )


def _conditions(run: Run) -> str:
    text = "Both had the same epochs"
    if isinstance(run.space.pruner, Halving | Promotion):
        return f"{text} and the same pruner, with rungs of their own."
    if isinstance(run.space.pruner, Patient):
        return f"{text} and the same pruner, which judged each trial by itself."
    if not isinstance(run.space.pruner, NoPruner):
        return f"{text} and the same pruner, which judged the trials of both beside one another."
    return f"{text}."


def _typical(trials: pd.DataFrame, run: Run) -> tuple[tuple[int, float, tuple[float, float]], ...]:
    """Return the typical best of some random trials; nothing if the pruner stopped any."""
    if not (trials["outcome"] == Outcome.COMPLETE).all():
        return ()
    values = list(trials[run.space.metric])
    counts = sorted({1, *(count for count in (2, 4, 8, 16, 32) if count <= len(values) // 2)})
    found = ((count, typical_best(values, count)) for count in counts)
    return tuple((count, *one) for count, one in found if one is not None)


def best_so_far(run: Run) -> dict[Source, pd.DataFrame]:
    """Return `trial_count`, `seconds` and `best` after each ended trial, by source."""
    ended = _ended(run)
    found = {}
    for name in Source:
        source = ended[ended["source"] == name].reset_index(drop=True)
        complete = source[run.space.metric].where(source["outcome"] == Outcome.COMPLETE)
        found[name] = pd.DataFrame(
            {
                "trial_count": range(1, len(source) + 1),
                "seconds": source["spent"],
                "best": complete.cummax().ffill(),
            }
        )
    return found


def _ended(run: Run) -> pd.DataFrame:
    """Return the ended trials without infeasible ones, in the order of their last epochs.

    `spent` is what their source had spent then.
    """
    trials = run.trials
    ended = trials[trials["ended"].notna() & (trials["outcome"] != Outcome.INFEASIBLE)]
    ended = ended.sort_values(["ended", "trial"])
    known = ended["trial"].map(spent_until(run, by_source=True))
    # One that failed before its first epoch cost nothing where it stands.
    ended = ended.assign(spent=known.groupby(ended["source"]).ffill().fillna(0.0))
    return ended.sort_values("spent", kind="stable")


def _line(name: str, trials: pd.DataFrame, cost: float, metric: str) -> SourceLine:
    complete = trials[trials["outcome"] == Outcome.COMPLETE]
    affordable = complete[complete["spent"] <= cost + 1e-9]

    def best(of: pd.DataFrame) -> float | None:
        return None if of.empty else float(of[metric].max())

    return SourceLine(
        name,
        len(trials),
        len(complete),
        float(trials["spent"].max()),
        best(complete),
        best(affordable),
    )


def _verdict(search: SourceLine, random: SourceLine, cost: float) -> str:
    """Return a sentence that gives the best of both sources at equal cost."""
    ours, theirs = search.best_at_equal_cost, random.best_at_equal_cost
    at = f"after {cost:,.0f} s of training each"
    if ours is None or theirs is None:
        who = [source.name for source in (search, random) if source.best_at_equal_cost is None]
        return f"Nothing can be said {at}: no complete trial of {' and '.join(who)} yet."
    return (
        f"The best of the search is {ours:.2%}, start points included, that of random search "
        f"{theirs:.2%}, {at}. This is "
        "one search of each kind, and another draw of configurations may turn it round, so there "
        "is no verdict."
    )
