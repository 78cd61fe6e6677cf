from __future__ import annotations

import sys
import types

import pytest

from tests.support.scripted import ScriptedRun, metrics
from tunecnn.listeners.notebook import Notebook
from tunecnn.trial.messages import Outcome, TrialEnd

SPACE = """
dataset: digits
epochs: 3
trials: 6
parameters:
  optimizer: {choice: [adamw, sgd]}
  net.width: {choice: [0.5, 1.0]}
sampler: random
pruner: none
"""


class Handle:
    """What `IPython.display.display` returns, which keeps the newest page."""

    def __init__(self, page: str) -> None:
        self.page = page

    def update(self, page: str) -> None:
        self.page = page


@pytest.fixture
def shown(monkeypatch):
    """The pages that are displayed."""
    handles: list[Handle] = []

    def display(page: str, display_id: bool) -> Handle:
        assert display_id
        handles.append(Handle(page))
        return handles[-1]

    module = types.ModuleType("IPython")
    module.display = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return handles


def test_a_notebook_shows_what_runs_the_best_and_what_was_said(shown, tmp_path):
    run = ScriptedRun(tmp_path / "a <b> & c", SPACE)
    listener = Notebook(run.study, run.path)
    (handle,) = shown
    assert "0 of 6 trials have ended, 0 running" in handle.page
    assert "a &lt;b&gt; &amp; c" in handle.page
    assert "<b>" not in handle.page

    task = run.study.next_trial()
    listener.on_trial_start(task)
    listener.on_epoch(task.number, metrics(1, 0.25))
    listener.on_warning("<script>alert(1)</script>")
    assert "<td>0 (runs)</td><td>25.00%</td>" in handle.page
    assert "&lt;script&gt;" in handle.page
    assert "<script>" not in handle.page

    run.study.report(task.number, metrics(1, 0.25))
    listener.on_trial_pause(run.study.record(task.number))
    assert "0 of 6 trials have ended, 0 running" in handle.page
    for accuracy in (0.5, 0.75):
        task = run.study.next_trial()
        listener.on_trial_start(task)
        for epoch in (1, 2, 3):
            run.study.report(task.number, metrics(epoch, accuracy), is_last=epoch == 3)
        run.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=3))
        listener.on_trial_end(run.study.record(task.number))
    assert handle.page.index("<td>75.00%</td>") < handle.page.index("<td>50.00%</td>")

    listener.on_trial_requeue(5, "its node is gone")
    assert "trial 5 will be retried: its node is gone" in handle.page
    Notebook(run.reopen(), run.path)  # of a resumed run
    assert "2 of 6 trials have ended" in shown[1].page
