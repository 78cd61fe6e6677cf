"""The pruner of a space that is one of Optuna's; for successive halving see `halving`."""

from __future__ import annotations

from typing import assert_never

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import (
    Halving,
    Hyperband,
    Median,
    NoPruner,
    Patient,
    Percentile,
    Promotion,
)


class PatiencePruner(BasePruner):
    """Stops a trial whose accuracy has not risen for some epochs, whatever others reach.

    Optuna's `PatientPruner` without another pruner goes on as long as the accuracy does not fall,
    and prunes less with a larger `min_delta`.

    Args:
        patience: number of epochs without improvement after which a trial is stopped.
        min_delta: smallest rise of the accuracy that is an improvement.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self._patience = patience
        self._min_delta = min_delta

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial is to be stopped."""
        by_epoch = [value for _, value in sorted(trial.intermediate_values.items())]
        before, latest = by_epoch[: -self._patience], by_epoch[-self._patience :]
        return bool(before) and max(latest) <= max(before) + self._min_delta


def pruner(space: SearchSpace) -> BasePruner:
    """Build the pruner of a space; `tunecnn.study.halving` is none of Optuna's.

    Optuna's warm-up assumes that steps begin at 0, and epochs begin at 1.
    """
    part = space.pruner
    match part:
        case Hyperband():
            return HyperbandPruner(
                min_resource=part.min_epochs,
                max_resource=space.epochs,
                reduction_factor=part.factor,
            )
        case Median():
            return MedianPruner(
                n_startup_trials=part.startup_trials, n_warmup_steps=part.warmup_epochs + 1
            )
        case Percentile():
            return PercentilePruner(
                part.percentile,
                n_startup_trials=part.startup_trials,
                n_warmup_steps=part.warmup_epochs + 1,
            )
        case Patient():
            return PatiencePruner(part.patience, part.min_delta)
        case NoPruner() | Halving() | Promotion():
            return NopPruner()
        case _:
            assert_never(part)
