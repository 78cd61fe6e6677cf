"""The pruner of a space: one of Optuna's, or a successive halving for long studies."""

from __future__ import annotations

import bisect
import itertools
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
from optuna.study import Study
from optuna.trial import FrozenTrial

from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Halving, Hyperband, Median, NoPruner, Patient, Percentile


def pruner(space: SearchSpace) -> BasePruner:
    """Build the Optuna pruner for a space."""
    part = space.pruner
    match part:
        case Halving():
            return RememberingHalving(part.min_epochs, part.factor)
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
        case NoPruner():
            return NopPruner()
        case _:
            assert_never(part)


class RememberingHalving(BasePruner):
    """Optuna's successive halving, with the values at each rung kept in memory.

    Asynchronous, as in Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020):
    a trial at a rung continues if it is among the best 1/factor of the trials that have reached
    the rung so far.

    Args:
        min_epochs: number of epochs before the first rung.
        factor: reduction factor: 1/factor of the trials at a rung continue, and the next rung
            comes after factor times as many epochs.
    """

    def __init__(self, min_epochs: int, factor: int) -> None:
        self._min_epochs = min_epochs
        self._factor = factor
        self._rungs: dict[int, list[float]] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether to prune a trial after its last reported epoch."""
        epoch = trial.last_step
        if epoch is None:
            return False
        value = trial.intermediate_values[epoch]
        for rung in itertools.count():
            if epoch < self._min_epochs * self._factor**rung:
                break
            if _rung_key(rung) in trial.system_attrs:
                continue
            there = self._values(study, rung)
            bisect.insort(there, value)
            study._storage.set_trial_system_attr(trial._trial_id, _rung_key(rung), value)
            if value < there[-max(1, len(there) // self._factor)]:
                return True
        return False

    def _values(self, study: Study, rung: int) -> list[float]:
        """Return the sorted values at a rung; those of earlier sessions are read only once."""
        if rung not in self._rungs:
            key = _rung_key(rung)
            noted = (trial.system_attrs.get(key) for trial in study.get_trials(deepcopy=False))
            self._rungs[rung] = sorted(value for value in noted if value is not None)
        return self._rungs[rung]


def _rung_key(rung: int) -> str:
    """Return the system attribute in which Optuna stores a trial's value at a rung."""
    return f"completed_rung_{rung}"
