"""What had been spent on training when each trial came to its last epoch."""

from __future__ import annotations

import pandas as pd

from tunecnn.run.run import Run


def spent_until(run: Run, *, by_source: bool) -> pd.Series:
    """Return the training time in seconds up to the last epoch of each trial, by its number.

    A trial that a pruner has paused ends with the search, long after its last epoch; what it cost
    was spent before. So the epochs count in the order in which they were reported, and not trial
    by trial. Trials without an epoch are left out, and so is work that was lost and done again.

    Args:
        run: run of the trials.
        by_source: whether only the trials of its own source (the search itself, or its random
            baseline) count for a trial, or all of them.
    """
    position = {epoch: index for index, epoch in enumerate(run.reports)}
    epochs = run.epochs
    keys = zip(epochs["trial"], epochs["epoch"], strict=True)
    epochs = epochs.assign(
        position=[position.get(key, len(position)) for key in keys]
    ).sort_values("position")
    seconds = epochs["seconds"]
    if by_source:
        source = epochs["trial"].map(run.trials.set_index("trial")["source"])
        together = seconds.groupby(source.to_numpy()).cumsum()
    else:
        together = seconds.cumsum()
    last: pd.Series = together.groupby(epochs["trial"].to_numpy()).last()
    return last
