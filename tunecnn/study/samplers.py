"""Who proposes the trials of a study: one of Optuna's samplers, and which trials it sees.

TPE sees only the best 50 and the latest 200 trials of a longer study: the cost of a proposal grows
with the number of trials used, TPE models the good trials by 25 at most, and its model of the
others hardly changes with their number. Running trials are always included, so that TPE does not
propose them again. The other samplers see pruned trials as complete ones with an estimated value,
and those that could not be trained as the worst of all.
"""

from __future__ import annotations

import copy
import functools
import heapq
import itertools
import statistics
import warnings
from collections.abc import Callable, Container, Sequence
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
from tunecnn.space.strategy import Cmaes, Gp, Grid, Nsga2, Qmc, RandomSearch, Sampler, Tpe
from tunecnn.study.halving import is_paused
from tunecnn.trial.config import derive_seed
from tunecnn.trial.messages import Outcome

See = Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
_BEST, _LATEST = 50, 200
_RANDOM = 1  # makes its seed differ from that of the search's sampler
CONSTRAINTS = "constraints"
"""Optuna's attribute with what a trial exceeds, and the beginning of others; above 0, it is
infeasible."""


class Proposer:
    """Makes the sampler of each proposal of a study, seeded by the proposal's number.

    So a resumed search proposes what an uninterrupted one would have.

    Args:
        space: space with the sampler's options and the seed.
        at_random: whether it samples the trials of the random baseline.

    Attributes:
        used_model: whether the latest proposal comes from a model of the earlier trials.
    """

    def __init__(self, space: SearchSpace, *, at_random: bool = False) -> None:
        self._space = space
        self._at_random = at_random
        self._history = _History()
        self.used_model = False

    def sampler(self, study: Study) -> BaseSampler:
        """Build the Optuna sampler for the next proposal of a study."""
        trials = study.get_trials(deepcopy=False)
        # A start point that gives some of the values only is there before they are sampled.
        waiting = (trial.number for trial in trials if trial.state == TrialState.WAITING)
        number = next(waiting, len(trials))
        self.used_model = False
        if self._at_random:
            return RandomSampler(seed=derive_seed(self._space.seed, number, _RANDOM))
        part, least = self._space.sampler, _startup(self._space.sampler)
        sampler = _sampler(self._space, number)
        see: See | None = None
        if least is not None and (len(self._space.objectives) == 1 or isinstance(part, Gp)):
            see = self._for_tpe if isinstance(part, Tpe) else for_others
            sampler = Sees(sampler, see)
        seen = [trial for trial in (see(trials) if see else trials) if trial.state in _COUNTED]
        if least is not None and not isinstance(part, Tpe):
            seen = [trial for trial in seen if trial.state == TrialState.COMPLETE]
        has_model = not isinstance(part, Cmaes) or self._space.models_numbers
        self.used_model = least is not None and len(seen) >= least and has_model
        return sampler

    def _for_tpe(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Select the trials that TPE sees; it ranks pruned ones by itself."""
        return [_as_pruned(trial) for trial in self._history.part(trials)]


def for_others(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Show paused and pruned trials as complete ones, as samplers other than TPE need it."""
    return _with_equal_constraints(with_estimates([_as_pruned(trial) for trial in trials]))


def _startup(part: Sampler) -> int | None:
    """Return the number of trials before a sampler's model; None for one without a model."""
    match part:
        case Tpe() | Gp() | Cmaes():
            return part.startup_trials
        case Nsga2():
            return part.population
        case Qmc() | RandomSearch() | Grid():
            return None
        case _:
            assert_never(part)


def _sampler(space: SearchSpace, number: int) -> BaseSampler:
    part = space.sampler
    seed = derive_seed(space.seed, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match part:
            case Tpe():
                return TPESampler(
                    n_startup_trials=part.startup_trials,
                    multivariate=part.multivariate,
                    group=part.multivariate and space.has_conditions,
                    seed=seed,
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
            case Qmc():  # Optuna itself counts the points
                return QMCSampler(
                    scramble=True,
                    seed=space.seed,
                    # For parameters that not all trials have, which the points lack.
                    independent_sampler=RandomSampler(seed=seed),
                    warn_asynchronous_seeding=False,
                    warn_independent_sampling=False,
                )
            case RandomSearch() | Grid():  # the points of a grid are enqueued
                return RandomSampler(seed=seed)
            case _:
                assert_never(part)


def with_estimates(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Replace trials that were not trained to their end by complete ones with an estimated value.

    Samplers other than TPE use complete trials only. The estimate for a trial that the pruner has
    stopped is the value at the last epoch, plus what the complete trials gained after this epoch
    on average, and at most the best complete value. One that diverged, ran out of memory or broke
    a constraint has the worst complete ones, so that the sampler keeps away from it.
    Without a complete trial there is nothing to estimate from.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return list(trials)
    best = max(trial.values[0] for trial in complete)
    lowest = min(trial.values[0] for trial in complete)
    largest = [max(costs) for costs in zip(*(trial.values[1:] for trial in complete), strict=True)]

    @functools.cache
    def gain(epoch: int) -> float:
        gains = [
            trial.values[0] - trial.intermediate_values[epoch]
            for trial in complete
            if epoch in trial.intermediate_values
        ]
        return statistics.fmean(gains) if gains else 0.0

    def estimated(trial: FrozenTrial) -> FrozenTrial:
        epoch, outcome = trial.last_step, trial.user_attrs.get("outcome")
        if not trial.state.is_finished() or trial.state == TrialState.COMPLETE:
            return trial
        if outcome in _UNTRAINABLE:
            values = [lowest, *largest]
        elif trial.state == TrialState.PRUNED and epoch is not None:
            values = [min(best, trial.intermediate_values[epoch] + gain(epoch))]
        else:
            return trial
        changed = copy.copy(trial)
        changed.state, changed.values = TrialState.COMPLETE, values
        return changed

    return [estimated(trial) for trial in trials]


_UNTRAINABLE = (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.INFEASIBLE)


def _with_equal_constraints(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Give all trials the same constraints: a model of them needs a value of each.

    A trial without a value has met the constraint, unless it could not even be built.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.constraints))
    if not names:
        return list(trials)

    def filled(trial: FrozenTrial) -> FrozenTrial:
        given = trial.constraints
        if trial.state != TrialState.COMPLETE or given.keys() == set(names):
            return trial
        is_broken = trial.user_attrs.get("outcome") == Outcome.INFEASIBLE and not given
        changed = copy.copy(trial)
        changed.system_attrs = {
            name: value
            for name, value in trial.system_attrs.items()
            if not name.startswith(CONSTRAINTS)
        }
        for name in names:
            changed.set_constraint(name, given.get(name, 1.0 if is_broken else -1.0))
        return changed

    return [filled(trial) for trial in trials]


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """Show a paused trial as a pruned one: what it has reached counts."""
    if not is_paused(trial):
        return trial
    changed = copy.copy(trial)
    changed.state = TrialState.PRUNED
    return changed


class Sees(BaseSampler):
    """A sampler that sees other trials than those of the study.

    Args:
        sampler: sampler that proposes.
        see: function that returns the trials that it sees, given those of the study.
    """

    def __init__(self, sampler: BaseSampler, see: See) -> None:
        self._sampler = sampler
        self._see = see

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Infer the relative search space from the trials that the sampler sees."""
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample values, using the trials that the sampler sees."""
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one value, using the trials that the sampler sees."""
        return self._sampler.sample_independent(
            self._view(study), trial, param_name, param_distribution
        )

    def reseed_rng(self) -> None:
        """Reseed the sampler."""
        self._sampler.reseed_rng()

    def _view(self, study: Study) -> Study:
        trials = study._get_trials(deepcopy=False, use_cache=True)
        return _View(study, self._see(trials))  # type: ignore[return-value]


class _History:
    """The best complete trials of a study before its latest ones, updated incrementally."""

    def __init__(self) -> None:
        self._passed = 0
        self._open: list[int] = []  # earlier trials that have not ended
        self._best: list[tuple[float, int]] = []

    def part(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the best, the latest and the running ones of all trials, by number."""
        latest, ended = len(trials), 0
        while latest > self._passed and ended < _LATEST:
            latest -= 1
            ended += trials[latest].state.is_finished() or is_paused(trials[latest])
        still_open, running = [], []
        for number in itertools.chain(self._open, range(self._passed, latest)):
            trial = trials[number]
            if not trial.state.is_finished():
                still_open.append(number)  # a paused one may become one of the best
                if not is_paused(trial):
                    running.append(number)
            elif trial.state == TrialState.COMPLETE:
                heapq.heappush(self._best, (trial.values[0], -number))
                if len(self._best) > _BEST:
                    heapq.heappop(self._best)
        self._open, self._passed = still_open, latest
        early = sorted([*running, *(-number for _, number in self._best)])
        return [*(trials[number] for number in early), *trials[latest:]]


class _View:
    """A view of a study that has other trials."""

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self._study = study
        self._trials = trials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]
