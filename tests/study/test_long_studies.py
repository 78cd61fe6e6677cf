from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from tunecnn.study.journal import Journal
from tunecnn.study.pruners import RememberingHalving
from tunecnn.study.samplers import BoundedTpe
from tunecnn.study.storage import StudyStorage

optuna.logging.set_verbosity(optuna.logging.ERROR)


def in_turns(pruner, values, epochs, slots, sampler=None):
    """Run simulated trials, some at once; return the epoch after which each one ended."""
    study = optuna.create_study(
        direction="maximize", pruner=pruner, sampler=sampler or optuna.samplers.RandomSampler(0)
    )
    waiting, running, ends = list(values), [], {}
    while waiting or running:
        while waiting and len(running) < slots:
            running.append((study.ask(), waiting.pop(0), 0))
        trial, curve, epoch = running.pop(0)
        trial.report(curve[epoch], epoch + 1)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
        elif epoch + 1 == epochs:
            study.tell(trial, curve[epoch])
        else:
            running.append((trial, curve, epoch + 1))
            continue
        ends[trial.number] = epoch + 1
    return ends


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_halving_stops_the_trials_that_optunas_own_does(data):
    epochs = data.draw(st.integers(1, 12))
    least, factor = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 4))
    accuracy = st.integers(0, 8).map(lambda n: n / 8)  # ties too
    curve = st.lists(accuracy, min_size=epochs, max_size=epochs)
    values = data.draw(st.lists(curve, min_size=1, max_size=12))
    slots = data.draw(st.integers(1, 4))
    own = SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)
    assert in_turns(RememberingHalving(least, factor), values, epochs, slots) == in_turns(
        own, values, epochs, slots
    )


def test_halving_knows_what_an_earlier_session_had_at_a_rung():
    study = optuna.create_study(direction="maximize", pruner=RememberingHalving(1, 2))
    for value in (0.9, 0.8):
        trial = study.ask()
        trial.report(value, 1)
        trial.should_prune()
    study.pruner = RememberingHalving(1, 2)
    late = study.ask()
    late.report(0.7, 1)
    assert late.should_prune()


@pytest.fixture
def storages(tmp_path):
    """A storage that is written to, and Optuna's own that reads the same journal."""
    path = tmp_path / "study.journal"
    return StudyStorage(Journal(path, writable=True)), JournalStorage(Journal(path))


def test_the_quick_lists_of_trials_are_optunas_own(storages):
    quick, own = storages
    study = optuna.create_study(storage=quick, study_name="s", direction="maximize")
    wanted = [
        None, (TrialState.WAITING,), (TrialState.RUNNING,), (TrialState.COMPLETE,),
        (TrialState.WAITING, TrialState.RUNNING), (TrialState.RUNNING, TrialState.PRUNED),
    ]  # fmt: skip

    def lists(storage):
        return [[(t.number, t.state) for t in storage.get_all_trials(0, deepcopy=False, states=s)]
                for s in wanted]  # fmt: skip

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


def test_tpe_sees_the_best_the_latest_and_what_is_running():
    sampler = BoundedTpe(seed=0, n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    among = {"x": optuna.distributions.FloatDistribution(0, 1)}
    values = [1.0 if number in (3, 40) else number / 1000 for number in range(400)]
    left = study.ask(among)
    for value in values[1:]:
        study.tell(study.ask(among), value)
    seen = [trial.number for trial in sampler._part(study)._get_trials(deepcopy=False)]
    assert seen == [0, 3, 40, *range(152, 400)]
    study.tell(left, 0.999)
    study._thread_local.cached_all_trials = None
    seen = [trial.number for trial in sampler._part(study)._get_trials(deepcopy=False)]
    assert seen == [0, 3, 40, *range(153, 400)]
