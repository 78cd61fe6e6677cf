from __future__ import annotations

from tests.support.scripted import ScriptedRun
from tunecnn.analysis.search import summarize_search
from tunecnn.trial.messages import Outcome, TrialEnd

REPEATED = """
name: repeated
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0]}
sampler: random
"""


def test_a_lucky_seed_of_worse_values_is_named_beside_the_winner(tmp_path):
    run = ScriptedRun(tmp_path / "run", REPEATED)
    lucky = iter([0.95, *[0.60] * 5])
    run.train_all(lambda t: 0.80 if t.config.net["width"] == 0.5 else next(lucky))
    loaded = run.load()
    best = loaded.trials.loc[loaded.trials["val_accuracy"].idxmax()]
    summary = summarize_search(loaded)
    assert summary.best is not None
    assert summary.best.val_accuracy == 0.80
    seeds = int((loaded.trials["param.net.width"] == 1.0).sum())
    assert f"Trial {best['trial']} reached 95.00%, but its values were tried with {seeds} seeds, " \
        in summary.verdict  # fmt: skip


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
