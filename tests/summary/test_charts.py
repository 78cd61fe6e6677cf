from __future__ import annotations

import json

import pytest

from tests.support.networks import NETS
from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn.run.run import Run
from tunecnn.summary.charts import charts_of
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd


@pytest.fixture
def balanced(tmp_path) -> Run:
    """A search for balanced accuracy, which is 0.6 where the plain one is 0.9."""
    text = SPACE.replace("epochs: 4", "epochs: 1\nobjectives: [val_balanced_accuracy]")
    run = ScriptedRun(
        tmp_path / "run",
        text.replace("pruner: {halving: {min_epochs: 1, factor: 2}}", "pruner: none"),
    )
    while (trial := run.study.next_trial()) is not None:
        run.study.report(trial.number, EpochMetrics(1, 0.5, 0.5, 0.1, 0.9, 1.0, 0.6), is_last=True)
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    return run.load()


def test_charts_show_the_accuracy_that_a_search_ranks_by(balanced):
    charts = charts_of(balanced)
    assert [chart.title for chart in charts] == [
        "Trials and their parameters",
        "Learning curves",
        "net.width and net.dropout_dense",
    ]
    for chart in charts:
        assert json.dumps(chart.spec).count('"a": 0.6') >= 6, chart.title
        assert '"a": 0.9' not in json.dumps(chart.spec)
        assert '"balanced validation accuracy"' in json.dumps(chart.spec)
        assert '"validation accuracy"' not in json.dumps(chart.spec)


def test_lines_and_fields_have_the_accuracy_after_as_many_epochs_for_all(tmp_path):
    """A trial that was stopped early is not worse than one trained four times as long."""
    run = ScriptedRun(tmp_path / "run")
    for epochs in (4, 4, 1, 1, 1, 1):
        trial = run.study.next_trial()
        for epoch in range(1, epochs + 1):
            value = epoch / 10 if epochs == 4 else 0.05
            run.study.report(trial.number, metrics(epoch, value), is_last=epoch == 4)
        if epochs == 4:
            run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
    parallel, _, crossing = charts_of(run.load())
    for chart in (parallel, crossing):
        spec = json.dumps(chart.spec)
        assert '"field": "b"' in spec
        assert "accuracy after epoch 1" in spec
        assert '"b": 0.1' in spec
        assert '"b": 0.4' not in spec


def test_a_dropout_that_is_a_choice_of_words_has_them_along_its_axis(tmp_path):
    nets = NETS.replace("norm: bool = True", "norm: bool = True, dropout: str = 'plain'")
    (tmp_path / "nets.py").write_text(nets)
    text = (
        "dataset: digits\narchitecture: nets.py:Small\nepochs: 1\ntrials: 4\nsampler: random\n"
        "parameters:\n  net.width: {choice: [4, 8]}\n  net.dropout: {choice: [spatial, plain]}\n"
    )
    run = ScriptedRun(tmp_path / "run", text, folder=tmp_path)
    chart = charts_of(run.train_all(lambda trial: 0.8))[2]
    assert chart.title == "net.width and net.dropout"
    along = chart.spec["encoding"]["x"]
    assert (along["type"], along["sort"]) == ("nominal", ["spatial", "plain"])
