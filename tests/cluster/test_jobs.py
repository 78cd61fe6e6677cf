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
def ray_job(tmp_path) -> Iterator[Callable[..., str]]:
    """A head that takes jobs; the fixture is `ray job`, and returns what it says."""
    pytest.importorskip("aiohttp_cors", reason="the job server needs ray[default]")
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}:{os.environ['PATH']}",
           "RAY_worker_niceness": "0"}  # fmt: skip

    def ray(*words: str) -> str:
        done = subprocess.run(["ray", *words], env=env, capture_output=True, text=True,
                              check=False, timeout=300)  # fmt: skip
        return done.stdout + done.stderr

    ray("start", "--head", "--num-cpus=2", "--port=6399", "--dashboard-port=8299",
        "--disable-usage-stats")  # fmt: skip
    yield lambda word, *more: ray("job", word, "--address", SERVER, *more)
    ray("stop", "--force")


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


def test_a_job_that_is_stopped_and_submitted_again_has_each_trial_once(ray_job, tmp_path):
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
