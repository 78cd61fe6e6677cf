from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from tests.support.networks import NETS
from tests.support.searching import TEXT, Silent, begin, listening_to
from tunecnn import load_run
from tunecnn.engines.cluster import Resources, connected, count_slots
from tunecnn.errors import InputError
from tunecnn.trial.messages import Checkpoint
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.search import search

pytestmark = pytest.mark.ray

NODE = {"Alive": True, "NodeManagerHostname": "n"}


def node(cpus: float, gpus: float) -> dict[str, object]:
    return {**NODE, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "slots"),
    [
        ([node(2, 0)], 1, 0, 2),
        ([node(3, 0)], 2, 0, 1),
        ([node(16, 4)], 1, 1, 4),
        ([node(16, 4)], 1, 0.25, 16),
        ([node(6, 4)], 1, 0.25, 6),
        ([node(16, 4)], 1, 0.3, 12),  # three on each GPU, not 13 over four
        ([node(8, 2), node(8, 1)], 1, 1, 3),
        ([node(8, 0), node(8, 1)], 1, 1, 1),
        ([node(1, 4)], 2, 1, 0),
        ([node(4, 2)], 0, 1, 2),
    ],
)
def test_slots_are_counted_node_by_node_and_gpu_by_gpu(nodes, cpus, gpus, slots):
    assert count_slots(nodes, cpus, gpus) == slots


def run_on_cluster(
    folder: Path,
    text: str,
    listener: Silent | None = None,
    checkpoint_seconds: float = 30.0,
    trial_timeout: float | None = None,
    **where,
):
    options = RunOptions(
        runs_dir=folder,
        name="ray",
        checkpoint_seconds=checkpoint_seconds,
        trial_timeout=trial_timeout,
        **where,
    )
    return search(prepare_text(text, "space", folder), options, listening_to(listener or Silent()))


def test_a_trial_takes_a_gpu_where_there_are_any_and_what_it_is_told(ray_cluster):
    with connected(None, Resources()) as cluster:
        assert (cluster.cpus, cluster.gpus, cluster.slots) == (1, 1, 4)
    with connected(None, Resources(cpus=0.5, gpus=0.25)) as cluster:
        assert cluster.slots == 8
    with connected(None, Resources(cpus=2, gpus=0)) as cluster:
        assert (cluster.slots, cluster.threads) == (2, 2)


def test_a_connection_of_somebody_else_stays(ray_cluster):
    import ray

    with connected(ray.get_runtime_context().gcs_address, Resources()) as cluster:
        cluster.leave()
        assert ray.is_initialized()
    elsewhere = connected("127.0.0.1:1", Resources())
    with (
        pytest.raises(InputError, match="this process is connected to the Ray cluster"),
        elsewhere,
    ):
        pass
    assert ray.is_initialized()


def test_more_than_any_node_has_is_refused(ray_cluster, tmp_path):
    with pytest.raises(InputError, match=r"cannot hold one trial of 8 cores and 1 GPU .* 4 GPUs"):
        run_on_cluster(tmp_path / "runs", TEXT, cpus_per_trial=8)
    assert not (tmp_path / "runs").exists()


def test_a_search_on_ray_gives_the_trials_of_one_in_this_process(ray_cluster, tmp_path):
    # In bfloat16 the number of threads changes the last bits, on processors that compute in it.
    here = load_run(begin(tmp_path / "here", threads=2).folder).trials
    result = run_on_cluster(tmp_path, TEXT, cpus_per_trial=2, gpus_per_trial=1)
    assert result.ending == "done"
    run = load_run(result.folder)
    columns = ["trial", "state", "seed", "epochs", "val_accuracy", "val_loss", "param.net.width"]
    assert run.trials[columns].equals(here[columns])
    assert run.info.sessions[0].engine.slots == 2
    assert not (result.folder / "ray").exists()
    assert len(list((result.folder / "weights").iterdir())) == 3


def test_a_worker_changes_the_split_of_the_data_with_the_trial(ray_cluster, tmp_path):
    """One at once, so one actor trains them all."""
    here = begin(tmp_path / "here").folder
    there = Path(shutil.copytree(here, tmp_path / "there"))
    local, on_ray = RunOptions(local=True), RunOptions(max_trials_at_once=1)
    one, other = (
        load_run(confirm(folder, 1, 1, {}, options, listening_to(Silent()), splits=2).folder)
        for folder, options in ((here, local), (there, on_ray))
    )
    columns = ["trial", "state", "seed", "param.split_seed", "val_accuracy", "val_loss"]
    assert other.trials[columns].equals(one.trials[columns])
    assert other.evaluations["accuracy"].equals(one.evaluations["accuracy"])


@pytest.mark.slow
def test_an_actor_serves_several_trials(ray_cluster, tmp_path):
    text = TEXT.replace("trials: 3", "trials: 10")
    listener = Silent()
    run = load_run(
        run_on_cluster(tmp_path, text, listener, cpus_per_trial=2, gpus_per_trial=1).folder
    )
    assert run.trials["state"].tolist() == ["COMPLETE"] * 10
    assert listener.epochs == 20


@pytest.mark.slow
def test_a_pruned_trial_frees_its_slot(ray_cluster, tmp_path):
    text = TEXT.replace("sampler: random", "sampler: random\npruner: {halving: {factor: 2}}")
    text = text.replace("epochs: 2", "epochs: 8").replace("trials: 3", "trials: 8")
    run = load_run(run_on_cluster(tmp_path, text, cpus_per_trial=2, gpus_per_trial=1).folder)
    assert set(run.trials["state"]) == {"COMPLETE", "PRUNED"}
    assert len(run.trials) == 8
    pruned = run.trials[run.trials["state"] == "PRUNED"]
    assert pruned["epochs"].isin([1, 2, 4]).all()


def test_the_driver_lets_go_of_the_checkpoints_that_workers_have(ray_cluster, tmp_path):
    class Counter(Silent):
        alive = 0
        paused: ClassVar[set[int]] = set()

        def on_trial_pause(self, record):
            self.paused.add(record.number)

        def on_trial_end(self, record):
            alive = sum(each is Checkpoint for each in map(type, gc.get_objects()))
            self.alive = max(self.alive, alive)

    text = TEXT.replace("random", "random\npruner: {promotion: {min_epochs: 1, factor: 2}}")
    text = text.replace("epochs: 2", "epochs: 4").replace("trials: 3", "trials: 8")
    counter = Counter()
    run = load_run(run_on_cluster(tmp_path, text, counter, max_trials_at_once=1).folder)
    went_on = run.trials[run.trials["trial"].isin(counter.paused) & (run.trials["epochs"] > 1)]
    assert len(went_on) >= 4
    assert counter.alive <= 1


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_trial_goes_on_from_its_checkpoint(
    ray_cluster, tmp_path
):
    """The listener kills the worker in the middle of an epoch, once there is a checkpoint."""

    class Killer(Silent):
        def __init__(self) -> None:
            super().__init__()
            self.killed_at = 0
            self.retried: list[str] = []

        def on_epoch(self, number, metrics):
            super().on_epoch(number, metrics)
            if not self.killed_at and list(tmp_path.glob("ray/checkpoints/*")):
                self.killed_at = self.epochs
                (worker,) = training_workers()
                worker.kill()

        def on_trial_requeue(self, number, reason):
            self.retried.append(reason)

    killer = Killer()
    # More epochs than go into one update of a worker, also on a machine where all was quick.
    text = TEXT.replace("epochs: 2", "epochs: 400").replace("trials: 3", "trials: 1")
    run = load_run(run_on_cluster(tmp_path, text, killer, checkpoint_seconds=0.0).folder)
    assert len(killer.retried) == 1
    assert run.trials["state"].tolist() == ["COMPLETE"]
    assert run.trials["attempts"].tolist() == [2]
    assert killer.epochs < 400 + killer.killed_at  # it did not begin again
    here = load_run(begin(tmp_path / "here", text).folder)
    figures = [name for name in here.epochs if name not in ("run", "seconds")]
    assert run.epochs[figures].equals(here.epochs[figures])


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed_and_its_place_used_again(ray_cluster, tmp_path):
    class Stopper(Silent):
        def on_epoch(self, number, metrics):
            super().on_epoch(number, metrics)
            if self.epochs == 1:
                (worker,) = training_workers()
                worker.suspend()

    text = TEXT.replace("epochs: 2", "epochs: 20").replace("trials: 3", "trials: 2")
    result = run_on_cluster(
        tmp_path, text, Stopper(), trial_timeout=8.0, cpus_per_trial=4, gpus_per_trial=1
    )
    run = load_run(result.folder)
    assert run.trials["outcome"].tolist() == ["timeout", "complete"]
    assert run.trials["reason"][0] == "not finished after 8 s (--trial-timeout)"


def training_workers() -> list[psutil.Process]:
    """Find the processes in which this process's Ray cluster is training."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "".join(process.cmdline()).startswith(("ray::Worker", "ray::ResourceTrainable"))
    ]


OTHER_RAY = """
import sys, ray
from tunecnn.engines.cluster import Resources, connected
from tunecnn.errors import InputError
ray.__version__ = "2.1.0"
try:
    with connected(sys.argv[1], Resources()):
        pass
except InputError as error:
    print(error)
"""


IDLE = """
import sys, time
from tunecnn.engines.cluster import Resources, connected
with connected(sys.argv[1], Resources()):
    time.sleep(1)  # the imports of a thread of its own end
    start = time.process_time()
    time.sleep(2)
    print(time.process_time() - start)
"""


def said_by(script: str, address: str) -> str:
    """What a script prints in a process of its own, which gets the address of a cluster."""
    words = [sys.executable, "-c", script, address]
    return subprocess.run(words, capture_output=True, text=True, timeout=280, check=True).stdout


@pytest.mark.slow
def test_a_driver_that_waits_leaves_the_cores_to_the_trials(ray_cluster):
    import ray

    address = ray.get_runtime_context().gcs_address
    said = said_by(IDLE, address)
    assert float(said) < 0.5  # seconds of computing in two


def test_a_cluster_with_another_version_of_ray_is_not_joined(ray_cluster):
    import ray

    address = ray.get_runtime_context().gcs_address
    said = said_by(OTHER_RAY, address)
    (line,) = said.splitlines()
    assert f"{address}' cannot be joined: Version mismatch" in line
    assert f"was started with: Ray: {ray.__version__}" in line
    assert "Ray: 2.1.0" in line
    assert line.endswith("install the versions of the cluster here")


def test_an_address_that_cannot_be_reached_is_an_input_error():
    done = subprocess.run(
        [sys.executable, "-m", "tunecnn", "search", "--space", "smoke", "--address",
         "127.0.0.1:1", "--runs-dir", "/nonexistent/runs"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "127.0.0.1:1' cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_workers_get_the_code_of_a_network_with_the_images(ray_cluster, tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    text = TEXT.replace("architecture: model1", "architecture: nets.py:Small")
    text = text.replace("[0.1, 0.2]", "[4, 8]").replace("{net.width: 0.2}", "{net.width: 8}")
    run = load_run(run_on_cluster(tmp_path, text, Silent()).folder)
    assert run.trials["outcome"].tolist() == ["complete"] * 3
    assert run.info.code is not None


@pytest.mark.slow
def test_a_worker_that_is_damaged_ends_with_its_trial(ray_cluster, tmp_path):
    """As by a CUDA graph that could not be recorded: the next trial gets another process."""
    (tmp_path / "nets.py").write_text(
        f"{NETS}\n\nfrom tunecnn.trial.step import GraphedStep\nGraphedStep.has_failed = True\n"
        f"open({str(tmp_path / 'imports')!r}, 'a').write('one\\n')\n"
    )
    text = TEXT.replace("architecture: model1", "architecture: nets.py:Small")
    text = text.replace("[0.1, 0.2]", "[4, 8]").replace("{net.width: 0.2}", "{net.width: 8}")
    run = load_run(run_on_cluster(tmp_path, text, Silent(), max_trials_at_once=1).folder)
    assert run.trials["outcome"].tolist() == ["complete"] * 3
    assert run.trials["attempts"].tolist() == [1] * 3
    assert run.info.last_session.ending == "done"
