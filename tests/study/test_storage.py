"""Our storage passes Optuna's own conformance class, and is as quick as it should be."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from tunecnn.study.journal import Journal
from tunecnn.study.storage import StudyStorage

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def storages(tmp_path):
    """A storage that is written to, and Optuna's own that reads the same journal."""
    path = tmp_path / "study.journal"
    return StudyStorage(Journal(path, writable=True)), JournalStorage(Journal(path))


def test_the_quick_lists_of_trials_are_optunas_own(storages):
    quick, own = storages
    study = optuna.create_study(storage=quick, study_name="s", direction="maximize")
    wanted = [
        None,
        (TrialState.WAITING,),
        (TrialState.RUNNING,),
        (TrialState.COMPLETE,),
        (TrialState.WAITING, TrialState.RUNNING),
        (TrialState.RUNNING, TrialState.PRUNED),
    ]

    def lists(storage):
        return [
            [(t.number, t.state) for t in storage.get_all_trials(0, deepcopy=False, states=s)]
            for s in wanted
        ]

    trials = [study.ask() for _ in range(4)]
    study.enqueue_trial({"x": 1})
    assert lists(quick) == lists(own)
    study.tell(trials[0], 0.5)
    study.tell(trials[2], state=TrialState.FAIL)
    assert lists(quick) == lists(own)
    quick.set_trial_state_values(trials[1]._trial_id, TrialState.WAITING)  # as a requeued one
    study.tell(trials[3], state=TrialState.PRUNED)
    assert lists(quick) == lists(own)
    assert study.ask().number == 1
    study.tell(1, 0.25)
    assert lists(quick) == lists(own)


class TestStudyStorage(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return StudyStorage(Journal(tmp_path / "study.journal", writable=True))

    @pytest.mark.parametrize("states", [None, (TrialState.WAITING, TrialState.RUNNING)])
    def test_each_study_has_its_own_trials(self, storage, states):
        first, second = (
            storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE]) for _ in range(2)
        )
        mine = storage.create_new_trial(first)
        theirs = storage.create_new_trial(second)
        for study_id, trial_id in ((first, mine), (second, theirs)):
            (found,) = storage.get_all_trials(study_id, deepcopy=False, states=states)
            assert found._trial_id == trial_id
        with pytest.raises(KeyError):
            storage.get_all_trials(second + 1, deepcopy=False, states=states)
