"""Optuna's own conformance classes, on the parts of Optuna that tunecnn replaces.

Optuna ships such classes for storages and samplers, and none for pruners: `Halving` is held
against Optuna's own pruner in test_long_studies.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from tunecnn.study.journal import Journal
from tunecnn.study.samplers import BoundedTpe
from tunecnn.study.storage import StudyStorage


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


class TestBoundedTpe(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: BoundedTpe(n_startup_trials=0, seed=0)
