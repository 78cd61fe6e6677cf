"""The pruner of a space that is one of Optuna's; for successive halving see `halving`."""

from __future__ import annotations

import warnings
from typing import assert_never

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
)

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


def pruner(space: SearchSpace) -> BasePruner:
    """Build the Optuna pruner for a space; `tunecnn.study.halving` is none of Optuna's."""
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
                n_startup_trials=part.startup_trials, n_warmup_steps=part.warmup_epochs
            )
        case Percentile():
            return PercentilePruner(
                part.percentile,
                n_startup_trials=part.startup_trials,
                n_warmup_steps=part.warmup_epochs,
            )
        case Patient():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return PatientPruner(None, patience=part.patience, min_delta=part.min_delta)
        case NoPruner() | Halving() | Promotion():
            return NopPruner()
        case _:
            assert_never(part)
