from __future__ import annotations

import pytest

from tests.support.scripted import ScriptedRun, metrics
from tunecnn.analysis.comparison import best_so_far_by_time
from tunecnn.analysis.random_baseline import best_so_far, compare_with_random
from tunecnn.analysis.spending import spent_until
from tunecnn.trial.messages import Outcome, TrialEnd

PAUSING = """
name: pausing
dataset: digits
epochs: 4
trials: 24
parameters:
  net.width: {float: [0.1, 2.0]}
sampler: {tpe: {startup_trials: 4}}
random_baseline: 0.25
pruner: {promotion: {min_epochs: 1, factor: 2}}
"""


@pytest.fixture
def ledger(tmp_path):
    """A run whose trials pause, and what the test itself has counted while it ran.

    By trial, the seconds of all trials and those of its source when it reported its last epoch.
    """
    scripted = ScriptedRun(tmp_path / "run", PAUSING)
    seconds = {"all": 0.0, "search": 0.0, "random_baseline": 0.0}
    counted = {}
    while (trial := scripted.study.next_trial()) is not None:
        number, source = trial.number, scripted.study.record(trial.number).source
        epochs = len(scripted.study.record(number).epochs)
        accuracy = 0.3 + 0.3 * trial.config.net["width"]
        stopped = False
        while epochs < 4 and not stopped:
            epochs += 1
            stopped = scripted.study.report(number, metrics(epochs, accuracy), is_last=epochs == 4)
            seconds["all"] += 1.5
            seconds[source] += 1.5
        counted[number] = (seconds["all"], seconds[source])
        if not stopped:
            scripted.study.finish(number, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
    return scripted.load(), counted


def test_a_paused_trial_was_paid_for_before_it_ended(ledger):
    run, counted = ledger
    complete = run.trials[run.trials["state"] == "COMPLETE"]["trial"]
    order = sorted(complete, key=lambda number: counted[number])
    assert order != sorted(complete)  # some were paused while others ended
    assert spent_until(run, by_source=False).to_dict() == {
        n: one for n, (one, _) in counted.items()
    }
    assert spent_until(run, by_source=True).to_dict() == {
        n: one for n, (_, one) in counted.items()
    }


def test_the_best_at_equal_cost_had_been_trained_by_then(ledger):
    run, counted = ledger
    found, curves = compare_with_random(run), best_so_far(run)
    cost = found.random.seconds
    assert cost < found.search.seconds
    complete = run.trials[(run.trials["state"] == "COMPLETE") & (run.trials["source"] == "search")]
    then = [row.val_accuracy for row in complete.itertuples() if counted[row.trial][1] <= cost]
    assert found.search.best_at_equal_cost == max(then) < found.search.best
    assert curves["search"]["seconds"].is_monotonic_increasing
    by_time = best_so_far_by_time(run)
    assert by_time.index.tolist() == sorted(
        counted[number][0] for number in run.trials.loc[run.trials["state"] == "COMPLETE", "trial"]
    )
    assert by_time.is_monotonic_increasing
