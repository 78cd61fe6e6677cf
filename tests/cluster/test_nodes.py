"""Searches on clusters of real Ray nodes that fail in one way or another: `make cluster`."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunecnn
from tests.support.nodes import Node, RayNodes, reason
from tests.support.searching import TEXT
from tunecnn import load_run
from tunecnn.run.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(reason()), reason=reason())]

PACKAGE = Path(tunecnn.__file__).parent
SPACE = TEXT.replace("trials: 3", "trials: 8").replace("quick", "cluster")


@pytest.fixture
def nodes() -> Iterator[RayNodes]:
    with RayNodes() as made:
        yield made


def search_on(node: Node, folder: Path, *options: str, text: str = SPACE, timeout: float = 240):
    """Run a search on a node; return what became of it."""
    space = folder / "space.yaml"
    space.write_text(text)
    return node.run(
        "tunecnn", "search", "--space", str(space), "--runs-dir", str(folder), "--name", "run",
        "--address", "auto", *options, timeout=timeout,
    )  # fmt: skip


def figures(run: Run) -> list[float]:
    return run.trials["val_loss"].tolist()


@pytest.fixture(scope="session")
def alone(tmp_path_factory) -> list[float]:
    """The figures of the search on one good node."""
    folder = tmp_path_factory.mktemp("alone")
    with RayNodes() as nodes:
        done = search_on(nodes.add("good", 2), folder)
    assert done.returncode == 0, done.stderr
    return figures(load_run(folder / "run"))


def package(folder: Path, name: str, change: tuple[str, str, str]) -> Path:
    """A copy of tunecnn in which a file has another text."""
    copy = folder / name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file, old, new = change
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    return copy


def test_a_node_with_other_code_gets_no_trial_and_is_named(nodes, alone, tmp_path):
    edit = ("trial/step.py", "self._optimizer.step()", "self._optimizer.zero_grad()")
    head = nodes.add("head", 1)
    nodes.add("edited", 2, mounts={PACKAGE: package(tmp_path, "edited", edit)})
    nodes.add("other", 1)
    done = search_on(head, tmp_path)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    assert set(run.trials["node"]) <= {"head", "other"}
    assert run.trials["state"].tolist() == ["COMPLETE"] * 8
    assert figures(run) == alone
    why = "its results would not be comparable: its source of tunecnn"
    assert f"node edited gets no more trials: {why}" in done.stdout + done.stderr
    assert "not that of this process" in run.info.sessions[0].shut_out["edited"]
    assert (run.trials["precision"] != "").all()
    assert run.trials["device"].str.startswith("cpu: ").all()
    print(run.trials[["trial", "node", "device", "precision", "attempts", "val_accuracy"]])


def test_a_node_without_the_package_gets_no_trial_and_is_named(nodes, alone, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    head = nodes.add("head", 1)
    nodes.add("bare", 2, mounts={PACKAGE: empty})
    done = search_on(head, tmp_path)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    print(done.stdout, done.stderr)
    assert set(run.trials["node"]) == {"head"}
    assert figures(run) == alone
    assert "node bare gets no more trials: no worker can begin there" in done.stdout + done.stderr


BAD_GPU = """
import importlib.util, sys
from pathlib import Path

class Finder:
    def find_spec(self, name, path, target=None):
        if name != "tunecnn.trial.runner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        read = spec.loader.exec_module
        def exec_module(module):
            read(module)
            advance = module.RunningTrial.advance
            def fails(self, seconds):
                if FLAG and Path(FLAG).exists():
                    return advance(self, seconds)
                Path(FLAG or "/dev/null").touch()
                error = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
                return module.TrialUpdate((), None, device_error=error)
            module.RunningTrial.advance = fails
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
"""A start of Python after which training fails as on a broken GPU; no file differs."""


def bad_gpu(folder: Path, flag: Path | None = None) -> dict[str, str]:
    """The environment of a node whose GPU always fails; or until there is the file `flag`, once."""
    (folder / "bad").mkdir()
    start = f"FLAG = {str(flag or '')!r}\n{BAD_GPU}"
    (folder / "bad" / "sitecustomize.py").write_text(start)
    return {"PYTHONPATH": str(folder / "bad")}


def test_all_trials_end_on_the_good_node_beside_one_with_a_bad_gpu(nodes, tmp_path):
    text = SPACE.replace("trials: 8", "trials: 30")
    head = nodes.add("head", 0)
    nodes.add("good", 1, 1)
    alone = search_on(head, tmp_path, text=text)
    assert alone.returncode == 0, alone.stderr
    (tmp_path / "run").rename(tmp_path / "alone")
    nodes.add("bad", 2, 2, env=bad_gpu(tmp_path))
    done = search_on(head, tmp_path, text=text)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    assert run.trials["state"].tolist() == ["COMPLETE"] * 30
    assert set(run.trials["node"]) == {"good"}
    assert figures(run) == figures(load_run(tmp_path / "alone"))
    print(done.stdout, done.stderr)
    told = done.stdout + done.stderr
    assert "node bad gets no more trials" in told
    assert "CUDA error: uncorrectable ECC error encountered; look at it with nvidia-smi" in told


def test_a_trial_whose_other_nodes_are_gone_runs_where_it_failed(nodes, tmp_path):
    flag = tmp_path / "failed"
    head = nodes.add("head", 0)
    nodes.add("bad", 1, 1, env=bad_gpu(tmp_path, flag))
    other = nodes.add("other", 1, 1)
    text = SPACE.replace("trials: 8", "trials: 2").replace("epochs: 2", "epochs: 60")
    space = tmp_path / "space.yaml"
    space.write_text(text)
    command = head.command(
        "tunecnn", "search", "--space", str(space), "--runs-dir", str(tmp_path), "--name", "run",
        "--address", "auto", "--checkpoint-seconds", "0.5",
    )  # fmt: skip
    search = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (flag.exists() and list(tmp_path.glob("run/checkpoints/*"))):
        time.sleep(0.1)
        assert search.poll() is None
    other.kill()  # while the trial that failed waits for it
    out, _ = search.communicate(timeout=280)
    assert search.returncode == 0, out
    assert "the nodes that it could run on are gone" in out
    assert load_run(tmp_path / "run").trials["state"].tolist() == ["COMPLETE"] * 2


def test_a_node_that_is_lost_is_no_failure_of_its_trials(nodes, tmp_path):
    head = nodes.add("head", 0)
    lost = nodes.add("spot", 2)
    text = SPACE.replace("epochs: 2", "epochs: 40")
    space = tmp_path / "space.yaml"
    space.write_text(text)
    command = head.command(
        "tunecnn", "search", "--space", str(space), "--runs-dir", str(tmp_path), "--name", "run",
        "--address", "auto", "--max-failures", "0", "--checkpoint-seconds", "0.5",
    )  # fmt: skip
    search = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(tmp_path.glob("run/checkpoints/*")):
        time.sleep(0.2)
        assert search.poll() is None
    lost.kill()
    nodes.add("next", 2)
    out, _ = search.communicate(timeout=280)
    assert search.returncode == 0, out
    run = load_run(tmp_path / "run")
    print(out, run.trials["reason"].tolist())
    assert "node spot was lost" in out
    assert run.trials["state"].tolist() == ["COMPLETE"] * 8
    assert run.trials["attempts"].max() == 2


@pytest.mark.parametrize("grace", [3, 0])
def test_a_job_that_a_scheduler_kills_goes_on_on_another_node(grace, nodes, tmp_path):
    """SIGTERM, and SIGKILL after a time of grace; then the same command elsewhere."""
    head = nodes.add("head", 1)
    other = nodes.add("other", 1)
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.replace("trials: 8", "trials: 16").replace("epochs: 2", "epochs: 8"))
    command = (
        "tunecnn", "search", "--space", str(space), "--runs-dir", str(tmp_path), "--address",
        "auto", "--resume-or-start", "job",
    )  # fmt: skip
    job = subprocess.Popen(head.command(*command), stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "job/study.seal").exists() or len(load_run(tmp_path / "job").trials) < 5:
        time.sleep(0.5)
        assert job.poll() is None
    pattern = "resume-or-start job"
    if grace:
        head.run("pkill", "-TERM", "-f", pattern)
        time.sleep(grace)
    head.run("pkill", "-KILL", "-f", pattern)
    job.wait()
    before = load_run(tmp_path / "job").trials.set_index("trial")["outcome"]
    done = other.run(*command)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "job")
    assert run.trials["trial"].tolist() == list(range(16))
    assert run.trials["outcome"].tolist() == ["complete"] * 16
    ended = before[before == "complete"].index
    again = run.trials.set_index("trial").loc[ended]
    assert (again["attempts"] == 1).all()
    assert run.trials["attempts"].max() <= 2
    assert len(run.info.sessions) == 2
    print(before.value_counts().to_dict(), done.stdout[:300])


HOLDER = """
import time, ray

ray.init("auto", log_to_driver=False)

@ray.remote(num_gpus=2)
class Holder:
    def ready(self):
        return True

holder = Holder.remote()
ray.get(holder.ready.remote())
print("holding", flush=True)
time.sleep(25)
"""


def test_a_search_says_who_holds_the_gpus_and_begins_when_they_are_free(nodes, tmp_path):
    (tmp_path / "holder.py").write_text(HOLDER)
    head = nodes.add("head", 0)
    nodes.add("gpus", 2, 2)
    command = head.command("python", str(tmp_path / "holder.py"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holding\n"
        done = search_on(head, tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    print(said)
    words = (
        r"waiting for 1\d\.\d s: a trial takes 1 core and 1 GPU; gpus: 1 of 2 cores and 0 of 2 GPUs "
        r"free, held by job \d+ \(1 actor, python .*process \d+ on "
    )
    assert re.search(words, said)
    assert "a trial has begun after " in said
    run = load_run(tmp_path / "run")
    assert run.trials["outcome"].tolist() == ["complete"] * 8
    assert set(run.trials["node"]) == {"gpus"}


def test_three_nodes_share_a_search_and_the_frame_says_where_each_trial_was(
    nodes, alone, tmp_path
):
    head = nodes.add("head", 0)
    for name in ("first", "second", "third"):
        nodes.add(name, 1)
    done = search_on(head, tmp_path)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    assert set(run.trials["node"]) == {"first", "second", "third"}
    assert figures(run) == alone
    assert (run.trials["precision"] != "").all()
    columns = ["trial", "node", "device", "precision", "attempts", "seconds", "val_accuracy"]
    print(run.trials[columns].to_string())
