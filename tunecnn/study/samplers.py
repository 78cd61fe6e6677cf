"""The sampler of a space: one of Optuna's, with TPE bounded for long studies."""

from __future__ import annotations

import heapq
import itertools
import warnings
from collections.abc import Container
from typing import Any, assert_never

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Cmaes, Gp, Grid, Nsga2, Qmc, RandomSearch, Tpe
from tunecnn.trial.config import derive_seed

_BEST, _LATEST = 50, 200
_RANDOM = 1  # makes its seed differ from that of the search's sampler


def sampler(space: SearchSpace, trials: int) -> BaseSampler:
    """Build the Optuna sampler for a space.

    Args:
        space: space with the sampler's options and the seed.
        trials: number of trials in the study. It is part of the seed, so that a resumed run does
            not repeat the samples of its first part; for `qmc`, Optuna itself counts the points.
    """
    part = space.sampler
    seed = derive_seed(space.seed, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match part:
            case Tpe():
                return BoundedTpe(
                    n_startup_trials=part.startup_trials, seed=seed, group=space.has_conditions
                )
            case Gp():
                return GPSampler(
                    n_startup_trials=part.startup_trials,
                    seed=seed,
                    warn_independent_sampling=False,
                )
            case Cmaes():
                return CmaEsSampler(
                    n_startup_trials=part.startup_trials,
                    seed=seed,
                    warn_independent_sampling=False,
                )
            case Nsga2():
                return NSGAIISampler(population_size=part.population, seed=seed)
            case Qmc():
                return QMCSampler(
                    scramble=True,
                    seed=space.seed,
                    warn_asynchronous_seeding=False,
                    warn_independent_sampling=False,
                )
            case RandomSearch() | Grid():  # the points of a grid are enqueued
                return RandomSampler(seed=seed)
            case _:
                assert_never(part)


def random_baseline_sampler(space: SearchSpace, trials: int) -> BaseSampler:
    """Build the sampler of the random baseline; the arguments are those of `sampler`."""
    return RandomSampler(seed=derive_seed(space.seed, trials, _RANDOM))


class BoundedTpe(TPESampler):
    """TPE that uses only the best 50 and the latest 200 trials of a longer study.

    The cost of a proposal grows with the number of trials used. TPE models the good trials by 25
    at most, and its model of the others hardly changes with their number. Running trials are
    always included, so that TPE does not propose them again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._history = _History()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Infer the relative search space from a part of the study's trials."""
        return super().infer_relative_search_space(self._part(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample values, using a part of the study's trials."""
        return super().sample_relative(self._part(study), trial, search_space)

    def _part(self, study: Study) -> Study:
        if len(study.directions) > 1:
            return study
        return _PartOfStudy(study, self._history)  # type: ignore[return-value]


class _History:
    """The best complete trials of a study before its latest ones, updated incrementally."""

    def __init__(self) -> None:
        self._passed = 0
        self._open: list[int] = []  # earlier trials that have not ended
        self._best: list[tuple[float, int]] = []

    def part(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the best, the latest and the unfinished ones of all trials, by number."""
        latest, finished = len(trials), 0
        while latest > self._passed and finished < _LATEST:
            latest -= 1
            finished += trials[latest].state.is_finished()
        still_open = []
        for number in itertools.chain(self._open, range(self._passed, latest)):
            trial = trials[number]
            if not trial.state.is_finished():
                still_open.append(number)
            elif trial.state == TrialState.COMPLETE:
                heapq.heappush(self._best, (trial.values[0], -number))
                if len(self._best) > _BEST:
                    heapq.heappop(self._best)
        self._open, self._passed = still_open, latest
        early = sorted([*still_open, *(-number for _, number in self._best)])
        return [*(trials[number] for number in early), *trials[latest:]]


class _PartOfStudy:
    """A view of a study that has only a part of its trials."""

    def __init__(self, study: Study, history: _History) -> None:
        self._study = study
        self._trials = history.part(study._get_trials(deepcopy=False, use_cache=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]
