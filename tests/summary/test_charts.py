from __future__ import annotations

import json

import pytest

from tests.support.scripted import SPACE, ScriptedRun
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
