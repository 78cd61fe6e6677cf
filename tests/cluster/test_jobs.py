"""A job that is submitted, stopped and submitted again: `make cluster`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.searching import TEXT
from tunecnn import load_run

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
SERVER = "http://127.0.0.1:8299"


@pytest.fixture
def head(request) -> Iterator[Callable[..., str]]:
    """A head that takes jobs, with the resources of the test; the fixture runs commands on it."""
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_worker_niceness": "0",
    }

    def run(*words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, check=False, timeout=300, cwd=cwd
        )
        return done.stdout + done.stderr

    run(
        "ray",
        "start",
        "--head",
        "--port=6399",
        "--dashboard-port=8299",
        "--disable-usage-stats",
        *request.param,
    )
    yield run
    run("ray", "stop", "--force")


def await_until(holds: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


def command(folder: Path) -> list[str]:
    """The command of the page, with a space and a folder of this test."""
    page = (ROOT / "docs" / "clusters.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^    ray job submit .*", page, re.M)
    words = line.split(" -- ")[1].split()
    names = {"proposed.yaml": str(folder / "space.yaml"), "/shared/runs": str(folder / "runs")}
    return [names.get(word, word) for word in words]


@pytest.mark.parametrize("head", [["--num-cpus=2"]], indirect=True)
def test_a_job_that_is_stopped_and_submitted_again_has_each_trial_once(head, tmp_path):
    def ray_job(word: str, *more: str) -> str:
        return head("ray", "job", word, "--address", SERVER, *more)

    text = TEXT.replace("trials: 3", "trials: 16").replace("epochs: 2", "epochs: 40")
    (tmp_path / "space.yaml").write_text(text)
    run = tmp_path / "runs" / "proposed"

    def submit(name: str) -> None:
        assert "submitted successfully" in ray_job(
            "submit", "--no-wait", "--submission-id", name, "--", *command(tmp_path)
        )

    def ended() -> int:
        return (run / "run.json").exists() and load_run(run).trials["ended"].notna().sum()

    submit("first")
    await_until(lambda: ended() >= 4, 240)
    ray_job("stop", "first")
    before = load_run(run).trials.dropna(subset="ended")
    assert len(before) < 16
    submit("second")
    await_until(lambda: "succeeded" in ray_job("status", "second"), 240)
    trials = load_run(run).trials
    assert trials["outcome"].tolist() == ["complete"] * 16
    assert trials["trial"].is_unique
    kept = ["trial", "seed", "val_loss", "ended"]
    assert trials[kept].iloc[before.index].equals(before[kept])
    said = ray_job("logs", "second")
    assert "summary: " in said
    print(f"{len(before)} of 16 trials before the stop", said)


@pytest.mark.parametrize("head", [["--num-cpus=2", "--num-gpus=1"]], indirect=True)
def test_the_commands_of_the_pages_join_a_cluster(head, tmp_path):
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/clusters.md"))
    (first,) = re.findall(r"^    (tunecnn search .*--address auto.*)", readme, re.M)
    (second,) = re.findall(r"`(tunecnn search [^`]*--address auto)`", page)
    (tmp_path / "proposed.yaml").write_text(TEXT)
    for number, line in enumerate((first, second)):
        said = head(*line.split(), "--name", str(number), cwd=tmp_path)
        run = load_run(tmp_path / "runs" / str(number))
        assert run.trials["outcome"].tolist() == ["complete"] * 3, said
        slots = run.info.sessions[0].engine.slots
        assert slots == (2, 1)[number]  # a quarter of a GPU each, and two cores; a whole one
    assert (tmp_path / "mlflow.db").exists()
