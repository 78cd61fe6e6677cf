from __future__ import annotations

import numpy as np
import pytest

import tunecnn
from tests.support.command import main
from tunecnn.errors import InputError, RunError
from tunecnn.process import EndedAtOnceError
from tunecnn.run.folder import RunFolder
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.search import run_inside
from tunecnn.workflows.session import RunResult

SPACE = """
dataset: digits
epochs: 1
trials: 2
parameters: {net.width: {choice: [0.25]}, learning_rate: {float: [0.001, 0.01]}}
pruner: none
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "s.yaml").write_text(SPACE)
    return ["search", "--space", str(tmp_path / "s.yaml"), "--runs-dir", str(tmp_path),
            "--name", "run", "--local", "-q"]  # fmt: skip


def test_a_search_is_tracked_and_tells_of_its_end(command, tmp_path):
    told = tmp_path / "told"
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    (tmp_path / "tell.sh").chmod(0o755)
    on_end = f"{tmp_path / 'tell.sh'} 'a word'"
    assert main(*command, "--track", "tensorboard", "--on-end", on_end) == 0
    assert told.read_text() == f"a word {tmp_path / 'run'} done\n"
    assert len(list((tmp_path / "run" / "tensorboard").glob("trial-*/events.*"))) == 2


def test_a_resume_without_the_tracker_says_that_it_gets_nothing(command, tmp_path, capsys):
    assert main(*command, "--track", "tensorboard") == 0
    resume = ("search", "--resume", str(tmp_path / "run"), "--local", "--trials")
    assert main(*resume, "3") == 0
    assert "tensorboard has the run up to now, and gets nothing of wh" in capsys.readouterr().out
    assert main(*resume, "4", "--track", "tensorboard") == 0
    assert "gets nothing" not in capsys.readouterr().out
    assert len(list((tmp_path / "run" / "tensorboard").glob("trial-*/events.*"))) == 4


def test_a_command_that_fails_at_the_end_is_one_warning(command, capsys):
    assert main(*command, "--on-end", "false") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--on-end" in line]
    assert "it ended with 1" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("/no/such/command", "there is no such program"),
        ("", "there is no such program"),
        ("echo 'a", "no closing quotation"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_anything_is(
    words, said, command, tmp_path, capsys
):
    assert main(*command, "--on-end", words) == 2
    assert f"error: --on-end {words}: {said}\n" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_command_at_the_end_also_learns_of_a_failure(command, tmp_path, capsys):
    text = SPACE.replace("float: [0.001, 0.01]", "choice: [1.0e+30]")
    (tmp_path / "s.yaml").write_text(text)
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "heard"}\n')
    (tmp_path / "tell.sh").chmod(0o755)
    assert main(*command, "--on-end", str(tmp_path / "tell.sh")) == 1
    assert "not one of the trials could be trained" in capsys.readouterr().err
    assert (tmp_path / "heard").read_text() == f"{tmp_path / 'run'} failed\n"


def test_the_command_at_the_end_waits_for_the_confirmation(command, tmp_path):
    """It is run once, when the search's summary has the result, and its lock is free."""
    said, run = tmp_path / "heard", tmp_path / "run"
    (tmp_path / "tell.sh").write_text(
        f'#!/bin/sh\necho "$@" >> {said}\ngrep -c "Confirmation: with" "$1/summary.md" >> {said}\n'
        f'test -e "$1/.holder" && echo locked >> {said}\ntrue\n'
    )
    (tmp_path / "tell.sh").chmod(0o755)
    on_end = ("--on-end", str(tmp_path / "tell.sh"))
    assert main(*command, "--confirm", "1x2", *on_end) == 0
    assert said.read_text() == f"{run} done\n1\n"
    said.unlink()
    (inner,) = (run / "confirmations").iterdir()
    assert main("search", "--resume", str(inner), "--local", "-q", *on_end) == 0
    assert said.read_text() == f"{run} done\n1\n"


def test_a_confirmation_that_the_images_do_not_allow_is_refused_before_any_trial(
    command, tmp_path, capsys
):
    """Only whoever has asked for the confirmation alone waits for its end."""
    np.savez(
        tmp_path / "own.npz",
        train_images=np.zeros((40, 8, 8), np.uint8),
        train_labels=[0, 1] * 20,
        val_images=np.ones((8, 8, 8), np.uint8),
        val_labels=[0, 1] * 4,
    )
    text = SPACE.replace("dataset: digits", f"dataset: {tmp_path / 'own.npz'}")
    (tmp_path / "s.yaml").write_text(text)
    assert main(*command) == 0
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "heard"}\n')
    (tmp_path / "tell.sh").chmod(0o755)
    run, journal = str(tmp_path / "run"), tmp_path / "run" / "study.journal"
    before, options = journal.read_bytes(), ("--local", "--on-end", str(tmp_path / "tell.sh"))
    more = ("search", "--resume", run, "--trials", "+1", "--confirm", "1x1", "--splits", "2")
    message = "splits: 2: the data set has validation images of its own"
    assert main(*more, *options) == 2
    assert message in capsys.readouterr().err
    assert journal.read_bytes() == before
    assert not (tmp_path / "heard").exists()
    assert main("confirm", run, "--top", "1", "--seeds", "1", "--splits", "2", *options) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "heard").read_text() == f"{run} failed\n"


def test_the_command_at_the_end_is_not_run_for_a_run_that_another_process_writes(
    command, tmp_path, capsys
):
    assert main(*command) == 0
    folder = tmp_path / "run"
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "heard"}\n')
    (tmp_path / "tell.sh").chmod(0o755)
    words = ("search", "--resume", str(folder), "--local", "--on-end", str(tmp_path / "tell.sh"))
    with RunFolder.open(folder).lock():
        assert main(*words) == 2
    assert "is being written by" in capsys.readouterr().err
    assert not (tmp_path / "heard").exists()


def test_an_unknown_tracker_leaves_no_run(command, tmp_path, capsys):
    assert main(*command, "--track", "comet") == 2
    assert "tensorboard, mlflow, mlflow:URI or wandb" in capsys.readouterr().err
    assert main(*command, "--track", "mlflow:sqllite:///a.db") == 2
    said = capsys.readouterr().err
    assert "MLflow knows no URI of this form; did you mean 'sqlite'? allowed: databricks" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EndedAtOnceError(130), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (RunError("no room"), "failed"),
    ],
)
def test_the_command_at_the_end_learns_how_a_confirmation_ended(error, said, command, tmp_path):
    assert main(*command) == 0
    folder = RunFolder.open(tmp_path / "run")
    (tmp_path / "tell.sh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "heard"}\n')
    (tmp_path / "tell.sh").chmod(0o755)
    options = RunOptions(on_end=str(tmp_path / "tell.sh"))

    def ends(inside: RunOptions) -> RunResult:
        assert inside.inside == folder.path
        raise error

    with pytest.raises(type(error)):
        run_inside(folder, options, ends)
    assert (tmp_path / "heard").read_text() == f"{folder.path} {said}\n"
    (tmp_path / "heard").unlink()
    with folder.lock(), pytest.raises(InputError, match="is being written by"):
        run_inside(folder, options, ends)
    assert not (tmp_path / "heard").exists()


@pytest.mark.filterwarnings("ignore:net.width has only one value")
@pytest.mark.parametrize(
    ("words", "recorded"),
    [
        (["--on-end", "notify --token sesame"], "--on-end ..."),
        (["--on-end=notify --token sesame"], "--on-end=..."),
        (["--track", "mlflow:postgresql://me:sesame@host/db"], "mlflow:postgresql://...@host/db"),
    ],
)
def test_the_recorded_command_line_has_no_secrets(words, recorded, command, tmp_path, monkeypatch):
    """It is in the summary, and in the card of an exported model, which others get."""
    monkeypatch.setattr("sys.argv", ["tunecnn", *command, *words])
    tunecnn.search(tmp_path / "s.yaml", local=True, runs_dir=tmp_path, name="run")
    said = (tmp_path / "run" / "run.json").read_text()
    assert recorded in said
    assert "sesame" not in said
    assert "sesame" not in (tmp_path / "run" / "summary.md").read_text()
