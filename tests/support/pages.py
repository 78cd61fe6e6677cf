"""Runs with many trials, and pages of summaries."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn import load_run
from tunecnn.summary.render import write_summary
from tunecnn.trial.messages import Outcome, TrialEnd


def page_of(path: Path) -> str:
    """Write the summary of a run, and return its page."""
    write_summary(load_run(path))
    return (path / "summary.html").read_text()


def long_run(path: Path, trials: int, epochs: int = 12, goal: str = "Which width?") -> ScriptedRun:
    """Make a search whose trials were all trained to their end."""
    text = SPACE.replace("trials: 6", f"trials: {trials}").replace(
        "epochs: 4", f"epochs: {epochs}"
    )
    text = text.replace("Does the summary say what happened?", json.dumps(goal)[1:-1])
    run = ScriptedRun(path, text.replace("{halving: {min_epochs: 1, factor: 2}}", "none"))
    for number in range(trials):
        task = run.study.next_trial()
        assert task is not None
        for epoch in range(1, epochs + 1):
            run.study.report(task.number, metrics(epoch, 0.5 + (number * 7 % 31 + epoch) / 100))
        run.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=epochs))
    return run
