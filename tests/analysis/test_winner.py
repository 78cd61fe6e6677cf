from __future__ import annotations

from tests.support.scripted import ScriptedRun
from tunecnn.analysis.search import summarize_search
from tunecnn.trial.messages import Outcome, TrialEnd

JUDGED = """
name: judged
dataset: digits
epochs: 3
trials: 7
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
sampler: random
pruner: {halving: {min_epochs: 1, factor: 2}}
"""


def test_the_winner_is_corrected_for_the_trials_that_accuracy_alone_put_behind_it(tmp_path):
    run = ScriptedRun(tmp_path / "run", JUDGED)
    for accuracies, outcome in (
        ([0.5, 0.8, 0.9], "complete"),
        ([0.49, 0.8, 0.8], "pruned"),  # beside 0.5 after the same epoch
        ([0.2, 0.8, 0.8], "pruned"),
        ([0.6, 0.8, 0.6], "complete"),
        ([0.6, 0.85, 0.88], "complete"),
        ([0.6, 0.9], "error"),
        ([0.6, 0.9], "running"),
    ):
        number = run.train(accuracies).number
        if outcome == "error":
            run.study.finish(number, TrialEnd(Outcome.ERROR, reason="no disk"))
        assert run.study.record(number).outcome == outcome
    summary = summarize_search(run.load())
    assert summary.rivals == 3
    assert "for the choice among it and 2 trials that are not clearly worse." in summary.verdict
