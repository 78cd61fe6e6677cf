from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import asdict, replace

import pytest

from tests.support.command import main
from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn import load_run
from tunecnn.run.folder import RunFolder
from tunecnn.run.lock import Holder
from tunecnn.workflows.runs import list_runs


def test_watch_shows_what_runs_what_is_best_and_what_failed(tmp_path, capsys):
    run = ScriptedRun(tmp_path / "live")
    run.train([0.5, 0.6, 0.7, 0.8])
    task = run.study.next_trial()
    run.study.place(task.number, "desk", "cpu", "fp32", 1.0)
    run.study.report(task.number, metrics(1, 0.75))
    assert main("watch", str(run.path)) == 0
    said = capsys.readouterr().out
    assert "1 of 6 trials have ended" in said
    assert re.search(r"trial 0 +80\.00% +4 ", said)
    assert "\x1b" not in said


def test_a_run_whose_process_has_died_is_killed_and_not_about_to_end(tmp_path, capsys):
    run = ScriptedRun(tmp_path / "live")
    run.train([0.5, 0.6, 0.7, 0.8])
    info = run.folder.read_info()
    run.folder.write_info(info.with_session(ended=None, ending=None))
    for holder, state in (
        (Holder.here(), "running"),
        (replace(Holder.here(), started=0.0), "killed"),
        (replace(Holder.here(), machine="another"), "running or killed"),
    ):
        (run.path / ".holder").write_text(json.dumps(asdict(holder)))
        assert load_run(run.path).state == state
        assert main("watch", "--once", str(run.path)) == 0
        said = capsys.readouterr().out
        assert f"{state}: 1 of 6 trials have ended" in said
        again = f"was killed; carry on with: tunecnn search --resume {run.path}"
        assert (again in said) == (state == "killed")
    (listed,) = list_runs(tmp_path)
    assert listed.seconds > 0  # up to its last sign


def test_watch_names_the_last_failures(scripted_run, capsys):
    assert main("watch", "--once", str(scripted_run)) == 0
    said = capsys.readouterr().out
    assert "done: 6 of 6 trials have ended" in said
    assert "trial 5 error: ValueError in x.py:1: bad | worse" in said


@pytest.mark.parametrize("lines", [None, 0, 1, 2])
def test_a_run_in_its_first_moments_is_not_damaged(lines, tmp_path, capsys):
    run = ScriptedRun(tmp_path / "live")
    RunFolder(run.path).write_info(run.load().info.with_changes(sessions=()))
    journal = run.path / "study.journal"
    written = journal.read_bytes().splitlines(keepends=True)
    (run.path / "study.seal").unlink()
    journal.unlink()
    if lines is not None:
        journal.write_bytes(b"".join(written[:lines]))
    assert main("watch", "--once", str(run.path)) == 0
    assert "not started: 0 of 6 trials have ended" in capsys.readouterr().out
    for command in ("summarize", "dashboard"):
        assert main(command, str(run.path)) == 1
        said = capsys.readouterr().err
        assert "live has not begun: if nothing begins it now, do it with: " in said
        assert "repair" not in said


def test_watch_of_no_run_is_one_line(tmp_path, capsys):
    assert main("watch", str(tmp_path)) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_note_typed_in_the_dashboard_does_not_reach_the_run(scripted_run):
    """The dashboard as a process, and a note by the request that its page sends."""
    pytest.importorskip("optuna_dashboard")
    before = (scripted_run / "study.journal").read_bytes()
    command = [sys.executable, "-m", "tunecnn", "dashboard", str(scripted_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip().removesuffix("/dashboard/")
            assert "not kept" in process.stdout.readline()
            request = urllib.request.Request(
                f"{address}/api/studies/0/note",
                json.dumps({"body": "typed", "version": 1}).encode(),
                {"Content-Type": "application/json"},
                method="PUT",
            )
            with urllib.request.urlopen(request) as answer:
                assert answer.status in (200, 204)
            with urllib.request.urlopen(f"{address}/api/studies") as answer:
                (study,) = json.load(answer)["study_summaries"]
                assert study["study_name"] == "scripted"
        finally:
            process.terminate()
    assert process.returncode == -signal.SIGTERM
    assert (scripted_run / "study.journal").read_bytes() == before


def test_watch_shows_no_value_of_a_setting_that_a_trial_does_not_have(tmp_path, capsys):
    text = SPACE.replace(
        "  batch_size: 32",
        "  optimizer: {choice: [muon, adamw]}\n"
        "  nesterov: {choice: [true, false], when: {optimizer: muon}}",
    )
    ScriptedRun(tmp_path / "run", text).train_all(lambda trial: 0.5 + trial.number / 100)
    assert main("watch", "--once", str(tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "optimizer adamw" in said
    assert "None" not in said
