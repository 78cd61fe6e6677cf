"""Faults of every kind, each judged from the run's files afterwards: `make faults`.

The oracle is one: the exit code is the documented one, each trial that was reported ended before
the fault is there once and as it was, there are as many as asked for, a summary can be made, and
neither a lock, nor a temporary file, nor a process of Ray is left.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunecnn import load_run
from tunecnn.errors import TunecnnError
from tunecnn.study.journal import JOURNAL
from tunecnn.study.records import TrialRecord, read_records
from tunecnn.summary.render import write_summary
from tunecnn.workflows.repair import repair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS = 6
SPACE = f"""
name: faulty
dataset: digits
architecture: model1
epochs: 12
trials: {TRIALS}
parameters:
  net.width: {{choice: [0.25, 0.5]}}
  learning_rate: {{float: [1e-3, 1e-2], log: true}}
sampler: tpe
pruner: {{halving: {{min_epochs: 4, factor: 2}}}}
"""


class Search:
    """A `tunecnn search` in a process of its own, whose JSON lines are read as they come."""

    def __init__(self, folder: Path, *words: str, space: str = SPACE) -> None:
        self.folder = folder
        self.run = folder / "run"
        (folder / "space.yaml").write_text(space)
        self.words = ["--checkpoint-seconds", "0", "--json", *words]
        self.acknowledged: dict[int, dict] = {}
        self.others = set(ray_processes())  # of whoever else uses Ray on this machine

    def begin(self) -> subprocess.Popen:
        return self._start(
            "--space",
            str(self.folder / "space.yaml"),
            "--runs-dir",
            str(self.folder),
            "--name",
            "run",
        )

    def resume(self) -> subprocess.Popen:
        """Carry on, or begin if the fault came before the run was there."""
        if not (self.run / "run.json").is_file():
            assert not self.acknowledged
            return self.begin()
        return self._start("--resume", str(self.run))

    def finish(self, process: subprocess.Popen, code: int = 0) -> str:
        """Wait for its end; return what it said on stderr."""
        for line in process.stdout:
            self._take(line)
        err = process.stderr.read()
        assert process.wait() == code, err
        return err

    def until(self, process: subprocess.Popen, count: int) -> None:
        """Wait until so many trials have been reported ended."""
        while len(self.acknowledged) < count:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            self._take(line)

    def kill(self, process: subprocess.Popen) -> None:
        """Kill the driver with no time to say anything, and read what it had said."""
        process.kill()
        self.finish(process, -signal.SIGKILL)

    def _start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "tunecnn", "search", *words, *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _take(self, line: str) -> None:
        with contextlib.suppress(ValueError):  # the last line of one that was killed
            event = json.loads(line)
            if event["event"] == "trial":
                assert event["trial"] not in self.acknowledged, "a trial was reported twice"
                self.acknowledged[event["trial"]] = event


def ray_processes() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        is_ray = "raylet" in words or "gcs_server" in words or words.startswith("ray::")
        if is_ray and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def ended(run: Path) -> dict[int, TrialRecord]:
    return {record.number: record for record in read_records(run) if record.outcome.has_ended}


def judge(search: Search, before: dict[int, TrialRecord], asked: int = TRIALS) -> None:
    """Judge the files of a run that has ended, given what had ended before the fault."""
    after = ended(search.run)
    assert before.keys() <= after.keys()
    for number, record in before.items():
        assert after[number] == record, f"trial {number} is not what it was"
    for number, line in search.acknowledged.items():
        assert after[number].state == line["state"]
        kept = after[number].kept
        assert line["val_accuracy"] == (kept.val_accuracy if kept else None)
    assert len(after) == asked
    assert all(record.outcome != "infeasible" for record in after.values())
    assert {record.state for record in read_records(search.run)} <= {"COMPLETE", "PRUNED", "FAIL"}
    write_summary(load_run(search.run))
    left = [p for p in search.folder.rglob("*") if p.name.startswith(".") or "partial" in p.name]
    assert not left
    deadline = time.monotonic() + 120  # Ray's agents take a while to see that their raylet died
    while set(ray_processes()) - search.others and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not set(ray_processes()) - search.others


def kill_and_finish(search: Search, moments: list[float]) -> None:
    """Kill the driver so many seconds after each of its starts, then let it finish."""
    before: dict[int, TrialRecord] = {}
    process = search.begin()
    for count, moment in enumerate(moments):
        time.sleep(moment)
        if count and process.poll() is not None:
            break  # a fast machine is done by now
        search.kill(process)
        if (search.run / JOURNAL).is_file():
            now = ended(search.run)
            for number, record in before.items():
                assert now[number] == record
            assert search.acknowledged.keys() <= now.keys()
            before = now
        process = search.resume()
    search.finish(process)
    judge(search, before)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_driver_loses_nothing_on_ray(seed, tmp_path):
    """Three kills in one run; benchmarks/killed_drivers.py does twenty runs, beside plain Tune."""
    space = SPACE.replace("epochs: 12", "epochs: 120")
    search = Search(tmp_path, space=space)
    kill_and_finish(search, random.Random(seed).choices(range(1, 9), k=3))


def test_a_driver_killed_within_its_first_second_loses_nothing(tmp_path):
    kill_and_finish(Search(tmp_path, "--local"), [0.1, 0.3, 0.6, 0.9])


def test_a_driver_killed_right_after_a_finished_line_loses_nothing(tmp_path):
    search = Search(tmp_path, "--local")
    process = search.begin()
    for count in range(1, 4):
        search.until(process, count)
        search.kill(process)
        before = ended(search.run)
        assert search.acknowledged.keys() <= before.keys()
        process = search.resume()
    search.finish(process)
    judge(search, before)


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGINT], 130), ([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGINT], 130)],
)
def test_a_search_on_ray_that_is_asked_to_end_loses_nothing(signals, code, tmp_path):
    search = Search(tmp_path)
    process = search.begin()
    search.until(process, 2)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)
    began = time.monotonic()
    search.finish(process, code)
    assert time.monotonic() - began < 20
    before = ended(search.run)
    search.finish(search.resume())
    judge(search, before)


def test_of_two_searches_on_one_folder_one_is_refused(tmp_path):
    search, other = Search(tmp_path, "--local"), Search(tmp_path, "--local")
    first, second = search.begin(), other.begin()
    errors = [first.communicate()[1], second.communicate()[1]]
    assert sorted([first.returncode, second.returncode]) == [0, 2]
    assert "there is a run at" in "".join(errors)
    judge(search, {})


def test_a_resume_of_a_search_that_is_alive_is_refused_with_who_holds_it(tmp_path):
    search = Search(tmp_path, "--local")
    process = search.begin()
    search.until(process, 1)
    refused = search.resume()
    _, err = refused.communicate()
    assert refused.returncode == 2
    assert f"is being written by process {process.pid} on " in err
    search.finish(process)
    judge(search, {})


def test_a_killed_worker_costs_no_other_trial_anything(tmp_path):
    unpruned = SPACE.partition("pruner:")[0].replace("epochs: 12", "epochs: 60") + "pruner: none\n"
    search = Search(tmp_path, space=unpruned)  # a pruned trial might end before it is seen
    process = search.begin()
    search.until(process, 1)
    while not (workers := training_workers()):
        assert process.poll() is None, "the search ended before a worker was seen"
        time.sleep(0.01)
    workers[0].kill()
    search.finish(process)
    judge(search, {})
    attempts = [record.attempts for record in read_records(search.run)]
    assert sorted(attempts) == [1] * (TRIALS - 1) + [2]


def test_a_trial_whose_workers_always_die_is_given_up_and_the_search_goes_on(tmp_path):
    search = Search(
        tmp_path,
        "--max-failures",
        "1",
        "--cpus-per-trial",
        "2",
        space=SPACE.replace("epochs: 12", "epochs: 200"),
    )
    process = search.begin()
    for _ in range(2):  # both workers of the first trial
        while not list((search.run / "checkpoints").glob("trial-00000-*")):
            time.sleep(0.05)
        (worker,) = training_workers()
        worker.kill()
        worker.wait(20)
        while not training_workers():
            time.sleep(0.05)
    (search.folder / "space.yaml").write_text(SPACE)
    search.finish(process)
    judge(search, {})
    first = read_records(search.run)[0]
    assert (first.outcome, first.attempts) == ("error", 2)


def training_workers() -> list[psutil.Process]:
    """Return the workers that train; Ray names a process by the class that it wrapped last."""
    return [p for p in ray_processes() if re.match(r"ray::\w+\.train", " ".join(p.cmdline()))]


@pytest.fixture
def nodes(monkeypatch):
    """A Ray cluster whose head has no cores, and three nodes of one core each."""
    from tunecnn.engines.cluster import QUIET

    for name, value in {**QUIET, "RAY_AUTH_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    there = [cluster.add_node(num_cpus=1) for _ in range(3)]
    cluster.wait_for_nodes()
    yield cluster, there
    cluster.shutdown()


def test_a_node_that_goes_and_one_that_comes_change_nothing(nodes, tmp_path):
    cluster, there = nodes
    space = SPACE.replace("epochs: 12", "epochs: 40")
    search = Search(tmp_path, "--address", cluster.address, space=space)
    process = search.begin()
    search.until(process, 1)
    before = ended(search.run)
    cluster.remove_node(there[0], allow_graceful=False)
    search.until(process, 3)
    cluster.add_node(num_cpus=1)
    search.finish(process)
    cluster.shutdown()
    judge(search, before)


def test_without_any_node_a_search_waits_a_while_and_can_be_resumed(nodes, tmp_path):
    cluster, there = nodes
    space = SPACE.replace("epochs: 12", "epochs: 60")
    search = Search(tmp_path, "--address", cluster.address, "--wait-for-workers", "10",
                    "--max-failures", "5", space=space)  # fmt: skip
    process = search.begin()
    search.until(process, 1)
    for node in there:
        cluster.remove_node(node, allow_graceful=False)
    err = search.finish(process, 1)
    assert "no node of the cluster has had room for a trial for 10 s" in err
    assert "Traceback" not in err
    before = ended(search.run)
    cluster.add_node(num_cpus=2)
    search.finish(search.resume())
    cluster.shutdown()
    judge(search, before)


@pytest.mark.parametrize(("bad", "code"), [("some", 0), ("all", 1)])
def test_losses_that_are_not_finite_end_their_trials_only(bad, code, tmp_path):
    high = "choice: [1.0e-3, 1.0e+8]" if bad == "some" else "choice: [1.0e+8, 1.0e+9]"
    space = SPACE.replace("float: [1e-3, 1e-2], log: true", high)
    space = space.replace("sampler: tpe", "sampler: random")
    space = space.replace("  net.width:", "  optimizer: sgd\n  net.width:")
    search = Search(tmp_path, "--local", space=space)
    search.finish(search.begin(), code)
    judge(search, {})
    endings = {record.outcome for record in read_records(search.run)}
    assert "diverged" in endings
    assert ("complete" in endings) == (bad == "some")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of six megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_becomes_full_ends_the_search_with_its_reason(small_disk):
    search = Search(
        small_disk,
        "--local",
        "--min-free-gb",
        "0",
        space=SPACE.replace("epochs: 12", "epochs: 30"),
    )
    process = search.begin()
    search.until(process, 2)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass
    err = search.finish(process, 1)
    assert "No space left on device" in err
    assert "Traceback" not in err
    filler.unlink()
    before = ended(search.run)
    assert search.acknowledged.keys() <= before.keys()
    search.finish(search.resume())
    judge(search, before)


def test_a_folder_that_is_read_only_is_refused_before_anything_is_trained(small_disk):
    search = Search(small_disk, "--local", "--min-free-gb", "0")
    process = search.begin()
    search.until(process, 1)
    search.kill(process)
    before = ended(search.run)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    err = search.finish(search.resume(), 2)
    assert err.strip() == f"error: the run {search.run} cannot be written: Read-only file system"
    search.words += ["--name", "other"]
    err = search.finish(search.begin(), 2)
    assert err.startswith("error: cannot make the run's folder")
    assert err.strip().endswith("Read-only file system")
    subprocess.run([*remount[:2], "remount,rw", str(small_disk)], check=True)
    search.words = search.words[:-2]
    search.finish(search.resume())
    judge(search, before)


def test_a_trial_without_enough_memory_costs_no_other_anything(tmp_path):
    """A network 10,000 times as wide asks for more memory than any machine has."""
    space = SPACE.replace("choice: [0.25, 0.5]", "choice: [0.25, 10000.0]")
    search = Search(tmp_path, "--local", space=space.replace("sampler: tpe", "sampler: random"))
    search.finish(search.begin())
    judge(search, {})
    endings = {r.values["net.width"]: r.outcome for r in read_records(search.run)}
    assert endings[10000.0] == "out_of_memory"
    assert endings[0.25] != "out_of_memory"


def test_a_search_whose_folder_goes_says_so(tmp_path):
    search = Search(tmp_path, "--local", space=SPACE.replace("epochs: 12", "epochs: 60"))
    process = search.begin()
    search.until(process, 1)
    shutil.rmtree(search.run)
    err = search.finish(process, 1)
    assert "cannot be written" in err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A reproduction that has ended, with weights and predictions, to be damaged."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(
        [sys.executable, "-m", "tunecnn", "reproduce", "--dataset", "digits", "--against", "none",
         "--models", "model1", "--seeds", "3", "--epochs", "3", "--local", "--quiet",
         "--runs-dir", str(folder), "--name", "run"],
        check=True,
    )  # fmt: skip
    return folder / "run"


def answers(run: Path) -> list[tuple]:
    """All that a run says: trials, epochs, looks, predictions."""
    there = load_run(run)
    return [
        tuple(frame.drop(columns="run").itertuples(index=False))
        for frame in (there.trials.fillna(-1), there.epochs, there.evaluations, there.predictions)
    ]


def refusal(run: Path, whole: Path) -> str:
    """Return the message with which a run is refused; empty if it says what the whole one says."""
    try:
        said = answers(run)
    except TunecnnError as error:
        return str(error)
    assert said == answers(whole)
    return ""


def damages(data: bytes) -> dict[str, bytes]:
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    return {
        "nothing": b"",
        "half": data[: len(data) // 2],
        "a byte": data[:-1],
        "flipped": bytes(flipped),
    }


TRUE_FILES = [
    "run.json",
    "space.yaml",
    "study.journal",
    "study.seal",
    "predictions/trial-00001.parquet",
]


@pytest.mark.parametrize("damage", ["nothing", "half", "a byte", "flipped"])
@pytest.mark.parametrize("name", TRUE_FILES)
def test_a_damaged_file_is_refused_by_name_or_makes_no_difference(name, damage, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    file = run / name
    file.write_bytes(damages(file.read_bytes())[damage])
    message = refusal(run, whole)
    assert not message or file.name in message
    if name in ("study.journal", "study.seal"):
        repair(run)
        states = [record.state for record in read_records(run)]
        assert set(states) <= {"COMPLETE", "WAITING", "RUNNING"}


@pytest.mark.parametrize("damage", ["nothing", "half", "a byte", "flipped"])
def test_damaged_weights_are_not_tested(damage, whole, tmp_path):
    from tunecnn.run.folder import RunFolder

    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    file = folder.path / "weights" / "trial-00001.safetensors"
    file.write_bytes(damages(file.read_bytes())[damage])
    with pytest.raises(TunecnnError, match="trial-00001.safetensors are damaged"):
        folder.read_weights(read_records(folder.path)[1])


def contents(path):
    """The bytes of a file, or of the files of a folder, by name."""
    files = path.iterdir() if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["trials.parquet", "summary.md", "summary.json", "figures"])
def test_what_is_derived_is_made_again(name, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    there = contents(run / name)
    assert there
    shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).write_bytes(b"")
    write_summary(load_run(run))
    moved = (str(whole).encode(), str(run).encode())
    assert contents(run / name) == {file: one.replace(*moved) for file, one in there.items()}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_random_damage_goes_unnoticed(data, whole, tmp_path_factory):
    run = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("figures", "weights"))
    file = run / data.draw(st.sampled_from(TRUE_FILES))
    content = bytearray(file.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop", "zeros"]))
    at = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(1, 64))
    if kind == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[at:]
    elif kind == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    elif kind == "drop":
        del content[at : at + length]
    else:
        content[at : at + length] = bytes(len(content[at : at + length]))
    file.write_bytes(bytes(content))
    message = refusal(run, whole)
    assert not message or file.name in message
    shutil.rmtree(run.parent)
