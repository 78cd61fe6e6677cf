from __future__ import annotations

from dataclasses import replace

from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn.analysis.search import summarize_search
from tunecnn.analysis.winner import trial_line, winner_of
from tunecnn.data.sheet import DataSheet
from tunecnn.summary.render import write_summary
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


BALANCED = """
name: balanced
dataset: digits
epochs: 1
trials: 7
objectives: [val_balanced_accuracy]
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
sampler: random
"""


def test_a_class_with_few_images_makes_more_trials_rivals_in_balanced_accuracy(tmp_path):
    scripted = ScriptedRun(tmp_path / "run", BALANCED)
    while (trial := scripted.study.next_trial()) is not None:
        accuracy = 0.9 - trial.number / 25
        epoch = replace(metrics(1, accuracy), val_balanced_accuracy=accuracy)
        scripted.study.report(trial.number, epoch, is_last=True)
        scripted.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    found = []
    for rare in (28, 3):
        counts = (288 - 9 * rare, *[rare] * 9)
        parts = {"train": (1149, *[0] * 9), "validation": counts, "test": (360, *[0] * 9)}
        info = scripted.folder.read_info()
        dataset = info.dataset.model_copy(update={"sheet": DataSheet(counts=parts)})
        scripted.folder.write_info(info.model_copy(update={"dataset": dataset}))
        winner = winner_of(scripted.load())
        assert winner is not None
        found.append(winner.rivals)
    assert found == [2, 7]


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
    assert "it and 2 trials that are not clearly worse, stopped ones included." in summary.verdict


def test_whole_numbers_with_a_condition_keep_all_of_their_digits(tmp_path):
    """A column with gaps has them as floats, of which four digits were shown."""
    text = SPACE.replace(
        "  batch_size: 32",
        "  optimizer: {choice: [muon, adamw]}\n"
        "  batch_size: {int: [12345, 12349], when: {optimizer: muon}}",
    ).replace("start: [baseline]\n", "")
    run = ScriptedRun(tmp_path / "run", text).train_all(lambda trial: 0.5 + trial.number / 100)
    values = [
        trial_line(run, row).values["batch_size"] for _, row in run.configurations.iterrows()
    ]
    assert {type(value) for value in values if value is not None} == {int}
    write_summary(run)
    page = (run.path / "summary.md").read_text()
    assert all(str(value) in page for value in values[:5] if value is not None)
