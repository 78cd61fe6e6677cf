"""Successive halving in both forms, on curves that a test says."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import SuccessiveHalvingPruner
from optuna.trial import TrialState

from tests.support.scripted import ScriptedRun, metrics
from tunecnn.space.space import SearchSpace
from tunecnn.study.halving import Arrival, Rungs
from tunecnn.trial.messages import Outcome, TrialEnd

optuna.logging.set_verbosity(optuna.logging.ERROR)

TEXT = """
dataset: digits
epochs: 9
trials: {trials}
parameters:
  net.dropout_dense: {{float: [0.0, 0.5]}}
  net.width: {{choice: [0.5, 1.0]}}
start: {start}
sampler: {sampler}
pruner: {pruner}
"""


def in_turns(decide, values, epochs, slots):
    """Run simulated trials, some at once; return the epoch after which each one ended."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    waiting, running, ends = list(values), [], {}
    while waiting or running:
        while waiting and len(running) < slots:
            running.append((study.ask(), waiting.pop(0), 0))
        trial, curve, epoch = running.pop(0)
        trial.report(curve[epoch], epoch + 1)
        if not decide(study, trial.number, epoch + 1, curve[epoch]):
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
def test_the_stopping_form_stops_the_trials_that_optunas_own_does(data):
    epochs = data.draw(st.integers(2, 12))
    least, factor = data.draw(st.integers(1, epochs - 1)), data.draw(st.integers(2, 4))
    accuracy = st.integers(0, 8).map(lambda n: n / 8)  # ties too
    curve = st.lists(accuracy, min_size=epochs, max_size=epochs)
    values = data.draw(st.lists(curve, min_size=1, max_size=12))
    slots = data.draw(st.integers(1, 4))
    space = SearchSpace.from_text(
        f"epochs: {epochs}\npruner: {{halving: {{min_epochs: {least}, factor: {factor}}}}}"
    )
    rungs = Rungs(space, [])
    optunas = SuccessiveHalvingPruner(min_resource=least, reduction_factor=factor)

    def ours(study, number, epoch, value):
        return epoch == epochs or rungs.goes_on(Arrival(number, epoch, value))

    def theirs(study, number, epoch, value):
        return epoch == epochs or not optunas.prune(study, study.trials[number])

    assert in_turns(ours, values, epochs, slots) == in_turns(theirs, values, epochs, slots)


def scripted(tmp_path, trials=16, start="[]", pruner="promotion", sampler="random", more=""):
    text = TEXT.format(trials=trials, start=start, pruner=pruner, sampler=sampler) + more
    return ScriptedRun(tmp_path / "run", text)


def train(run, accuracy, until=None):
    """Train what the study asks for, one trial at a time; return the numbers in their order."""
    order = []
    while (task := run.study.next_trial()) is not None:
        order.append((task.number, task.after))
        for epoch in range(task.after + 1, run.space.epochs + 1):
            is_last = epoch == run.space.epochs
            value = accuracy(task.number, epoch)
            if run.study.report(task.number, metrics(epoch, value), is_last=is_last):
                break
        else:
            run.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=epoch))
        if until is not None and len(order) == until:
            return order
    run.study.stop_paused()
    return order


def better(number, epoch):
    return 0.5 + number / 1000 + epoch / 100


def worse(number, epoch):
    return 0.5 - number / 1000 + epoch / 100


def test_a_paused_trial_is_promoted_when_others_prove_worse(tmp_path):
    run = scripted(tmp_path)
    order = train(run, worse)
    assert order[:5] == [(0, 0), (1, 0), (2, 0), (0, 1), (3, 0)]
    records = run.study.records
    assert len(records[0].epochs) == 9
    assert [record.attempts for record in records] == [1] * 16  # a promotion is no new attempt


@pytest.mark.parametrize("accuracy", [better, worse])
@pytest.mark.parametrize("trials", [6, 16, 64])
def test_a_sixth_and_at_least_five_are_trained_to_their_end(tmp_path, trials, accuracy):
    run = scripted(tmp_path, trials)
    train(run, accuracy)
    frame = run.load().trials
    complete = frame[frame["outcome"] == "complete"]
    assert len(complete) >= max(5, -(-trials // 6))
    assert set(frame["outcome"]) == {"complete", "pruned"}
    best = set(range(trials)[-5:] if accuracy is better else range(5))
    assert len(best & set(complete["trial"])) >= 4
    assert not run.study.paused
    assert run.study.finished


def test_good_start_points_do_not_stop_the_others_at_the_first_rung(tmp_path):
    start = "[baseline, {net.width: 0.5}, {net.width: 0.5, net.dropout_dense: 0.1}]"
    for pruner in ("promotion", "halving"):
        run = scripted(tmp_path / pruner, 12, start, pruner)
        train(run, lambda number, epoch: 0.9 if number < 3 else better(number, epoch))
        sampled = run.load().trials[3:]
        assert (sampled["epochs"] > 1).sum() >= 3
        assert run.load().trials["proposal"].tolist() == ["start"] * 3 + ["random"] * 9


def test_the_random_baseline_has_rungs_of_its_own(tmp_path):
    run = scripted(tmp_path, 24, "[baseline]", sampler="tpe", more="random_baseline: 0.5\n")
    train(run, lambda number, epoch: 0.9 if number % 2 else worse(number, epoch))
    frame = run.load().trials
    for _, part in frame.groupby("source"):
        assert (part["outcome"] == "complete").sum() >= 5


@pytest.mark.parametrize("number", range(1, 26, 3))
def test_a_search_with_promotion_goes_on_as_if_it_had_not_been_interrupted(tmp_path, number):
    """Closed after any trial, or in the middle of one, and opened again from its journal."""
    whole = scripted(tmp_path / "whole")
    order = train(whole, worse)
    run = scripted(tmp_path / "cut")
    first = train(run, worse, until=min(number, len(order)))
    if (task := run.study.next_trial()) is not None:  # killed in its first epoch
        first.append((task.number, task.after))
    run.reopen()
    rest = train(run, worse)
    if task is not None and not task.after:  # an interrupted trial starts again
        rest = rest[1:]
    elif task is not None:
        assert rest[0] == (task.number, 0)
        rest = rest[1:]
    assert first + rest == order
    for one, other in zip(whole.study.records, run.study.records, strict=True):
        assert one.values == other.values
        assert [m.val_accuracy for m in one.epochs] == [m.val_accuracy for m in other.epochs]
        assert one.outcome == other.outcome


def test_a_promoted_trial_without_its_checkpoint_makes_a_new_attempt(tmp_path):
    run = scripted(tmp_path)
    train(run, worse, until=3)
    task = run.study.next_trial()
    assert (task.number, task.after) == (0, 1)
    assert not run.study.go_on_from(task, 0)
    for epoch in range(1, 4):
        stopped = run.study.report(0, metrics(epoch, worse(0, epoch)))
    assert stopped  # at the next rung
    record = run.study.record(0)
    assert record.attempts == 2
    assert [one.epoch for one in record.epochs] == [1, 2, 3]
    assert record.outcome is Outcome.PAUSED
