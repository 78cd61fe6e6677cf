from __future__ import annotations

import io
import re

from rich.console import Console

from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn.listeners.terminal import Terminal
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd


def follow(study, folder, console):
    """Run two trials past a listener."""
    with Terminal(study, folder, console).shown() as progress:
        for accuracy in (0.9, 0.4):
            trial = study.next_trial()
            progress.on_trial_start(trial)
            for epoch in range(1, 5):
                if study.report(trial.number, metrics(epoch, accuracy)):
                    break
                progress.on_epoch(trial.number, metrics(epoch, accuracy))
            else:
                study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
            progress.on_trial_end(study.record(trial.number))


def test_elsewhere_than_in_a_terminal_a_trial_is_one_plain_line(open_study, tmp_path):
    stream = io.StringIO()
    follow(open_study(), tmp_path, Console(file=stream, width=60))
    first, heading, *trials = stream.getvalue().splitlines()
    assert first == f"run: {tmp_path}"
    assert heading.split() == ["ended", "trial", "outcome", "accuracy", "epochs", "time",
                               "dropout_dense", "width"]  # fmt: skip
    assert len({len(line) for line in (heading, *trials)}) == 1  # the columns stand below it
    assert len(trials) == 2
    assert re.match(r" +1/6 +0  complete +90\.00% +4 +6\.0 s  best +0\.\d", trials[0])
    assert re.match(r" +2/6 +1  pruned +40\.00% +2 +3\.0 s +0(\.\d)?", trials[1])
    assert "\x1b" not in stream.getvalue()


def test_a_closed_pipe_does_not_end_the_search(open_study, tmp_path):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if "trial" in text:
                raise BrokenPipeError(32, "Broken pipe")
            return len(text)

    study = open_study()
    follow(study, tmp_path, Console(file=Closed(), width=60))
    assert study.started == 2


def test_a_terminal_shows_what_is_done_running_best_and_left(open_study, tmp_path):
    stream = io.StringIO()
    follow(open_study(), tmp_path, Console(file=stream, width=120, force_terminal=True))
    shown = stream.getvalue()
    for words in ("0/6 trials, 1 running", "best 90.00% (trial 0)", "left"):
        assert words in shown


def test_a_resumed_search_says_which_trials_have_ended_and_which_are_paused(tmp_path):
    text = SPACE.replace("{halving: {min_epochs: 1, factor: 2}}", "{promotion: {min_epochs: 1}}")
    run = ScriptedRun(tmp_path / "run", text)
    run.train([0.9] * 4)  # the baseline, which is never paused
    run.train([0.5])
    failed = run.study.next_trial()
    run.study.finish(failed.number, TrialEnd(Outcome.DIVERGED, reason="the loss is not finite"))
    stream = io.StringIO()
    Terminal(run.reopen(), run.path, Console(file=stream, width=60))
    assert "resumed: 2 of 6 trials had ended, 1 paused\n" in stream.getvalue()


def test_a_paused_trial_is_not_one_that_has_ended(tmp_path):
    text = SPACE.replace("{halving: {min_epochs: 1, factor: 2}}", "{promotion: {min_epochs: 1}}")
    run = ScriptedRun(tmp_path / "run", text)
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True)
    progress = Terminal(run.study, run.path, console)
    run.train([0.9] * 4)
    run.train([0.5])
    progress.on_trial_pause(run.study.record(1))
    with progress.shown():
        progress.on_tick()
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.getvalue())
    assert re.search(r" 1/6 +1  paused", shown)
    assert "1/6 trials, 0 running, 1 paused" in shown


def test_the_best_of_the_terminal_is_that_of_the_summary_where_accuracies_are_equal(tmp_path):
    """Of a grid with two seeds: the lower loss, and not the luckiest seed."""
    text = """
dataset: digits
epochs: 1
parameters:
  net.width: {choice: [0.5, 1.0, 2.0]}
  seed: {choice: [1, 2]}
sampler: grid
trials: 6
"""
    run, stream = ScriptedRun(tmp_path / "run", text), io.StringIO()
    terminal = Terminal(run.study, run.path, Console(file=stream, width=120))
    figures = {
        0.5: ((0.9, 0.2), (0.6, 0.2)),
        1.0: ((0.8, 0.3), (0.8, 0.2)),
        2.0: ((0.8, 0.3), (0.8, 0.3)),
    }
    while (trial := run.study.next_trial()) is not None:
        values = run.study.record(trial.number).values
        accuracy, loss = figures[values["net.width"]][values["seed"] - 1]
        run.study.report(
            trial.number, EpochMetrics(1, 0.5, 0.5, loss, accuracy, 1.0), is_last=True
        )
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
        terminal.on_trial_end(run.study.record(trial.number))
    shown = run.load()
    assert shown.best is not None
    assert shown.best["param.net.width"] == 1.0
    assert shown.best["param.seed"] == 2
    *_, last = (line for line in stream.getvalue().splitlines() if " best " in line)
    assert last.split()[1] == str(shown.best["trial"])
