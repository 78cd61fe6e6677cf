"""Our pruner stops the trials that Optuna's own does. Optuna has no conformance class for pruners."""

from __future__ import annotations

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

from tunecnn.study.pruners import RememberingHalving

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
