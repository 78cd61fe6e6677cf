"""Optuna's parts that walk all trials for each proposal and report, so that they need not.

A study has one writer, so what was looked at once can be remembered: which trials have ended,
which are the best, and what the trials at each rung had. What is proposed and pruned stays the
same as with Optuna's own, but that TPE looks at the best and the latest trials of a long study.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Container
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

_BEST, _LATEST = 50, 200


class StudyStorage(JournalStorage):
    """A journal whose list of trials is quick to get.

    No trial goes back once it has ended, so those that wait or run are looked for behind the first
    ones of their study that have all ended.
    """

    def __init__(self, log_storage: BaseJournalBackend) -> None:
        self._ended: dict[int, int] = {}
        super().__init__(log_storage)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study, or those in some states, by number.

        Raises:
            KeyError: if there is no such study.
        """
        if deepcopy or (states is not None and any(state in states for state in _ENDINGS)):
            return super().get_all_trials(study_id, deepcopy, states)
        with self._thread_lock:
            self._sync_with_backend()
            # Optuna's own list is filtered trial by trial, for each proposal and each report.
            replay = self._replay_result
            if study_id not in replay._study_id_to_trial_ids:
                raise KeyError(f"there is no study {study_id}")
            ids, trials = replay._study_id_to_trial_ids[study_id], replay._trials
            if states is None:
                return [trials[number] for number in ids]
            ended = self._ended.get(study_id, 0)
            while ended < len(ids) and trials[ids[ended]].state.is_finished():
                ended += 1
            self._ended[study_id] = ended
            return [trial for number in ids[ended:] if (trial := trials[number]).state in states]


_ENDINGS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class BoundedTpe(TPESampler):
    """TPE that looks at the best 50 and the latest 200 trials, once there are more.

    What it does for each proposal grows with the trials that it looks at; its model of the good
    ones is made of 25 at most, and that of all others hardly changes with their number. What is
    running it always sees, so as not to propose the same again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._history = _History()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Find the parameters that are proposed together, from a part of the study's history."""
        return super().infer_relative_search_space(self._part(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values, from a part of the study's history."""
        return super().sample_relative(self._part(study), trial, search_space)

    def _part(self, study: Study) -> Study:
        if len(study.directions) > 1:
            return study
        return _Part(study, self._history)  # type: ignore[return-value]


class _History:
    """The best complete trials among those that are not the latest any more; follows a study."""

    def __init__(self) -> None:
        self._passed = 0
        self._open: list[int] = []  # of those passed, the ones that had not ended
        self._best: list[tuple[float, int]] = []

    def part(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Pick the best, the latest and what has not ended, by number, out of all trials."""
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
        chosen = sorted([*still_open, *(-number for _, number in self._best)])
        return [*(trials[number] for number in chosen), *trials[latest:]]


class _Part:
    """A study with a part of its trials only."""

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


class Halving(BasePruner):
    """Optuna's successive halving, which remembers what the trials at each rung had.

    Asynchronous, as in Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020):
    a trial at a rung goes on if it is among the best 1/factor of all that have been there so far.

    Args:
        min_epochs: epochs to the first rung.
        factor: of those at a rung one in so many goes on, for so many times the epochs.
    """

    def __init__(self, min_epochs: int, factor: int) -> None:
        self._min_epochs = min_epochs
        self._factor = factor
        self._rungs: dict[int, list[float]] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether a trial is to be stopped after the epoch that it reported last."""
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
        """Return what trials had at a rung, in order; an earlier session's are looked up once."""
        if rung not in self._rungs:
            key = _rung_key(rung)
            noted = (trial.system_attrs.get(key) for trial in study.get_trials(deepcopy=False))
            self._rungs[rung] = sorted(value for value in noted if value is not None)
        return self._rungs[rung]


def _rung_key(rung: int) -> str:
    """Name the attribute in which Optuna too notes that a trial has been at a rung."""
    return f"completed_rung_{rung}"
