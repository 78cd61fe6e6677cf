"""The control of a search: what random search reached beside it, with a part of the budget."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pandas as pd

from tunecnn.analysis.intervals import expected_best, wilson_interval
from tunecnn.run.run import Run


@dataclass(frozen=True)
class Arm:
    """One of the two: the search itself, or its control.

    Attributes:
        name: `search` or `control`.
        trials: that ended, however.
        complete: of them, trained to the end.
        device_seconds: that all of them took together.
        best: validation accuracy of its best complete trial; None without one.
        best_at_equal_cost: the same, over as many device-seconds as the cheaper arm took.
    """

    name: str
    trials: int
    complete: int
    device_seconds: float
    best: float | None
    best_at_equal_cost: float | None


@dataclass(frozen=True)
class Control:
    """What the two arms of a search reached.

    Attributes:
        search: whose trials the sampler proposed.
        control: whose trials were drawn at random.
        verdict: which is ahead at equal cost, and whether by more than noise.
        expected: (number of random trials, expected best of so many, its 95 % band).
    """

    search: Arm
    control: Arm
    verdict: str
    expected: tuple[tuple[int, float, tuple[float, float]], ...]


def control_of(run: Run) -> Control | None:
    """Compare a search with its control; None if it has none."""
    ended = _ended(run)
    arms = {name: ended[ended["arm"] == name] for name in ("search", "control")}
    if arms["control"].empty or arms["search"].empty:
        return None
    cost = min(float(arm["device_seconds"].iloc[-1]) for arm in arms.values())
    search, control = (_arm(name, trials, cost) for name, trials in arms.items())
    values = list(arms["control"]["val_accuracy"].dropna())
    counts = sorted({1, max(1, len(values) // 2), len(values)}) if values else []
    return Control(
        search,
        control,
        _verdict(search, control, cost, run.info.dataset.validation),
        tuple((count, *expected_best(values, count)) for count in counts),
    )


def best_so_far(run: Run) -> dict[str, pd.DataFrame]:
    """Return for each arm, by trial that ended: `trial_count`, `device_seconds` and `best`."""
    ended = _ended(run)
    found = {}
    for name in ("search", "control"):
        arm = ended[ended["arm"] == name].reset_index(drop=True)
        complete = arm["val_accuracy"].where(arm["state"] == "COMPLETE")
        found[name] = pd.DataFrame(
            {
                "trial_count": range(1, len(arm) + 1),
                "device_seconds": arm["device_seconds"],
                "best": complete.cummax().ffill(),
            }
        )
    return found


def _ended(run: Run) -> pd.DataFrame:
    """Return the trials of a run that cost something, in the order of their ends."""
    trials = run.trials
    ended = trials[trials["ended"].notna() & (trials["outcome"] != "infeasible")]
    ended = ended.sort_values(["ended", "trial"])
    return ended.assign(device_seconds=ended.groupby("arm")["seconds"].cumsum())


def _arm(name: str, trials: pd.DataFrame, cost: float) -> Arm:
    complete = trials[trials["state"] == "COMPLETE"]
    affordable = complete[complete["device_seconds"] <= cost + 1e-9]

    def best(of: pd.DataFrame) -> float | None:
        return None if of.empty else float(of["val_accuracy"].max())

    return Arm(
        name, len(trials), len(complete), float(trials["device_seconds"].iloc[-1]),
        best(complete), best(affordable),
    )  # fmt: skip


def _verdict(search: Arm, control: Arm, cost: float, images: int) -> str:
    """Say in a sentence which arm is ahead at equal cost."""
    ours, theirs = search.best_at_equal_cost, control.best_at_equal_cost
    at = f"after {cost:,.0f} device-seconds each"
    if ours is None or theirs is None:
        who = [arm.name for arm in (search, control) if arm.best_at_equal_cost is None]
        return f"Nothing can be said {at}: no complete trial of {' and '.join(who)} yet."
    intervals = sorted(wilson_interval(value, images) for value in (ours, theirs))
    apart = all(low[1] < high[0] for low, high in itertools.pairwise(intervals))
    order = "level with" if ours == theirs else "ahead of" if ours > theirs else "behind"
    noise = "" if ours == theirs else f", {'by' if apart else 'no'} more than noise"
    return (
        f"The search is {order} random search{noise}: {ours:.2%} against {theirs:.2%} {at} "
        f"(Wilson 95 % over {images:,} images; one search each, so another may differ)."
    )
