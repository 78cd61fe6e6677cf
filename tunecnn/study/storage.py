"""Optuna's storage of a study in the journal, made fast for studies of thousands of trials."""

from __future__ import annotations

from collections.abc import Container

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

_ENDINGS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class StudyStorage(JournalStorage):
    """A journal storage with fast access to the list of trials.

    A trial that has ended never changes its state, so the search for waiting and running trials
    skips the leading trials of the study that have all ended.
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
        """Return the trials of a study, or only those in the given states, by number.

        Raises:
            KeyError: if there is no such study.
        """
        if deepcopy or (states is not None and any(state in states for state in _ENDINGS)):
            return super().get_all_trials(study_id, deepcopy, states)
        with self._thread_lock:
            self._sync_with_backend()
            # Optuna would filter all trials, at each proposal and each reported epoch.
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
