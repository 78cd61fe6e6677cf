from __future__ import annotations

import io

import numpy as np

from tests.support.scripted import ScriptedRun, finish, metrics
from tunecnn.analysis.search import summarize_search
from tunecnn.run.artifacts import Artifacts
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


def test_a_winner_with_the_values_of_the_baseline_is_not_said_to_beat_it(tmp_path):
    """The first trial of the baseline was unlucky, or failed; random search tried it again."""
    for first in (0.7, None):
        run = ScriptedRun(tmp_path / str(first), f"{REPEATED}start: [baseline]\n")
        trial = run.study.next_trial()
        assert trial is not None
        if first is None:
            run.study.finish(trial.number, TrialEnd(Outcome.DIVERGED, reason="not finite"))
        else:
            finish(run.study, trial, first, epochs=1)
        run.train_all(lambda t: 0.9 if t.config.net["width"] == 1.0 else 0.6)
        summary = summarize_search(run.load())
        assert summary.gain is None
        assert "It is the baseline itself." in summary.caveats


def test_what_is_said_of_a_lead_follows_from_its_interval(tmp_path):
    labels, both = np.arange(288) % 10, "start: [baseline, {net.width: 0.5}]\n"
    for wrong in ((10, 3), (9, 1), (5, 4), (40, 2), (1, 0)):  # baseline, other trial
        run = ScriptedRun(tmp_path / "-".join(map(str, wrong)), REPEATED + both)
        files = Artifacts(run.path, print)
        for count, shift in zip(wrong, (0, 100), strict=True):
            trial = run.study.next_trial()
            assert trial is not None
            predicted = labels.copy()
            predicted[shift : shift + count] += 1
            content = io.BytesIO()
            np.save(content, np.stack([labels, predicted]).astype(np.int32))
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=1, predictions=content.getvalue())
            run.study.report(trial.number, metrics(1, 1 - count / 288), is_last=True)
            files.write_files(trial.number, end=end)
            run.study.finish(trial.number, end)
        summary = summarize_search(run.load())
        assert summary.gain is not None
        assert summary.gain.interval is not None
        low, high = summary.gain.interval
        assert ("more than luck" in summary.verdict) == (low > 0 or high < 0)
        assert ("may be chance" in summary.verdict) == (low <= 0 <= high)


def test_proposals_that_break_a_constraint_are_no_trials_that_have_ended(tmp_path):
    run = ScriptedRun(tmp_path / "run", f"{REPEATED}constraints: [params <= 100000]\n")
    run.train_all(lambda t: 0.9)
    loaded = run.load()
    assert len(loaded.trials) > loaded.ended == loaded.space.trials
