"""Private names of Optuna that tunecnn uses, each in one place: gone ones are told by name.

There is no public way to any of them in Optuna 5; what each is for stands beside its use.
"""

from __future__ import annotations

import re

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.support.paths import ROOT

PLACES = {
    r"\._(replay_result|thread_lock|sync_with_backend|study_id_to_trial_ids)\b": "study/storage.py",
    r"\b_get_trials\b": "study/samplers.py",
    r"fixed_params": "study/queue.py",
    r"\btemporary_state\b": "engines/internals.py",
    r"\b_actor_id\b": "engines/internals.py",
    r"= \"constraints\"": "study/samplers.py",
}


@pytest.fixture
def study(tmp_path):
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    return optuna.create_study(storage=storage, direction="maximize")


def gone(name: str, module: str) -> str:
    return f"Optuna {optuna.__version__} has no {name} any more: mend tunecnn/{module}"


@pytest.mark.parametrize(("pattern", "module"), PLACES.items())
def test_a_private_name_is_used_in_one_place(pattern, module):
    found = {
        str(path.relative_to(ROOT / "tunecnn"))
        for path in ROOT.glob("tunecnn/**/*.py")
        if re.search(pattern, path.read_text())
    }
    assert found == {module}


def test_the_storage_has_what_its_replacement_uses(study):
    storage = study._storage
    for name in ("_replay_result", "_thread_lock", "_sync_with_backend"):
        assert hasattr(storage, name), gone(f"JournalStorage.{name}", "study/storage.py")
    study.enqueue_trial({})
    replay = storage._replay_result
    for name in ("_trials", "_study_id_to_trial_ids"):
        assert len(getattr(replay, name, ())) == 1, gone(f"replay {name}", "study/storage.py")


def test_the_study_has_what_samplers_use(study):
    study.ask()
    assert study._get_trials(deepcopy=False, use_cache=True), gone(
        "_get_trials", "study/samplers.py"
    )


def test_an_enqueued_trial_still_keeps_its_values_where_the_queue_reads_them(study):
    study.enqueue_trial({"net.width": 1.0})
    (frozen,) = study.get_trials(deepcopy=False)
    assert frozen.system_attrs.get("fixed_params") == {"net.width": 1.0}, gone(
        'system_attrs["fixed_params"]', "study/queue.py"
    )


def test_the_operation_codes_of_the_journal_are_those_of_optuna():
    from optuna.storages.journal._storage import JournalOperation

    from tunecnn.study import journal, repair

    codes = (
        JournalOperation.CREATE_STUDY,
        JournalOperation.CREATE_TRIAL,
        JournalOperation.SET_TRIAL_STATE_VALUES,
    )
    ours = (repair._CREATE_STUDY, journal.CREATE_TRIAL, repair._SET_STATE)
    assert codes == ours, gone("same JournalOperation", "study/journal.py and study/repair.py")


def test_a_trial_of_tune_still_knows_its_actor():
    import ray
    from ray.tune.experiment import Trial

    trial = Trial("worker", stub=True)
    assert hasattr(trial.temporary_state, "ray_actor"), (
        f"Ray {ray.__version__} has no Trial.temporary_state.ray_actor any more: mend "
        "tunecnn/engines/ray.py"
    )
