"""Run a study's trials on a Ray cluster. This is the only module that imports ray.

Ray Tune decides when and where a trial runs; which trial, and when it stops, is the study's. The
workers are actors that stay alive from trial to trial. They get the images once, through Ray's
object store, and give metrics and weights back the same way, so no shared disk is needed.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tunecnn.config import TrialConfig
from tunecnn.errors import InputError, RunError
from tunecnn.images import TrialData

if TYPE_CHECKING:
    # Workers import this module too, and need nothing of the study.
    from tunecnn.recorder import Recorder

MAX_ATTEMPTS = 3
_REPORT_SECONDS = 0.5  # a report costs milliseconds: tiny epochs are sent several at a time

# Ray reads these when it is imported or started; a user who has set one keeps his own.
_QUIET = {
    "RAY_AUTH_MODE": "disabled",  # a local cluster listens on this machine only
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the old reporter can be silenced
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal holds what these would write
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # an interrupted epoch is lost either way
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the study keeps the text of each error
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own snapshots are never read
}


@dataclass(frozen=True)
class Resources:
    """What one trial takes of the cluster; `gpus` may be a fraction, None is decided there.

    Without a GPU in the cluster a trial takes one core: two trials of one thread each get more
    done than one trial of two. With GPUs it takes one of them.
    """

    cpus: float | None = None
    gpus: float | None = None


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected.

    Attributes:
        nodes: of each node its name, cores and GPUs.
        cpus: cores a trial.
        gpus: GPUs a trial.
        slots: trials that fit at once.
    """

    nodes: tuple[Mapping[str, Any], ...]
    cpus: float
    gpus: float
    slots: int

    @property
    def threads(self) -> int:
        """Threads that torch uses in a trial: its cores."""
        return max(1, int(self.cpus))

    def record(self) -> dict[str, Any]:
        """Return what a run writes down about where it ran."""
        return {
            "engine": "ray",
            "nodes": [dict(node) for node in self.nodes],
            "threads": self.threads,
            "cpus_per_trial": self.cpus,
            "gpus_per_trial": self.gpus,
            "slots": self.slots,
        }


@contextlib.contextmanager
def connected(address: str | None, resources: Resources) -> Iterator[Cluster]:
    """Join a running cluster, or start a local one, for as long as the context lasts.

    Args:
        address: of a running cluster; None for `RAY_ADDRESS`, or else a cluster of this machine.
        resources: of one trial.

    Raises:
        InputError: if the cluster cannot be reached, or no node of it can hold one trial.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS")
    ours = not ray.is_initialized()
    if ours:
        _start(address)
    try:
        yield _fit(resources)
    finally:
        if ours:
            ray.shutdown()


def run_on_ray(recorder: Recorder, data: TrialData, cluster: Cluster, folder: Path) -> None:
    """Run trials until the study has as many as were asked for, or the user interrupts.

    Args:
        recorder: asked for trials, and told what they report.
        data: training and validation images for the workers.
        cluster: the connected cluster.
        folder: for the files that Ray itself writes; none of them is needed later.

    Raises:
        RunError: if Ray cannot go on.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cluster.slots)
    worker = tune.with_resources(
        tune.with_parameters(Worker, data=data, threads=cluster.threads),
        {"cpu": cluster.cpus, "gpu": cluster.gpus},
    )
    tuner = Tuner(
        worker,
        param_space={"trial": None},
        tune_config=TuneConfig(
            num_samples=-1,
            search_alg=_StudySearcher(recorder, cluster),
            scheduler=_StudyScheduler(recorder),
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=str(folder.resolve()),
            verbose=0,
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            failure_config=FailureConfig(max_failures=0),  # a retry is the study's to order
            stop=_StopWhenFailed(recorder),
            callbacks=[_Housekeeping(recorder)],
        ),
    )
    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError) as error:
        last = str(error).strip().splitlines()[-1:]
        raise RunError(f"Ray cannot go on: {' '.join(last)}") from error
    if recorder.failure is not None:
        raise recorder.failure


class Worker(tune.Trainable):  # type: ignore[misc]
    """An actor that trains one trial after the other; a step is one epoch, or a few tiny ones."""

    def setup(self, config: dict[str, Any], data: TrialData, threads: int) -> None:
        """Take the images to the device, once for all trials of this actor."""
        import torch

        from tunecnn.batches import to_device

        torch.set_num_threads(threads)
        gpu = bool(ray.get_gpu_ids()) and torch.cuda.is_available()
        self._device = torch.device("cuda" if gpu else "cpu")
        self._data = to_device(data, self._device)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for an epoch at least, and report the epochs and, at the end, the outcome."""
        return {"report": self._run.advance(_REPORT_SECONDS)}

    def _begin(self, config: dict[str, Any]) -> None:
        from tunecnn.trial import TrialRun

        self._run = TrialRun(TrialConfig.from_dict(config["trial"]["config"]), self._data)


class _NotSaved:
    """Tune pickles its parts for `Tuner.restore`, which is never used; the journal has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _StudySearcher(_NotSaved, Searcher):  # type: ignore[misc]
    """Hands the study's next trial to Tune, as long as the cluster has room for it."""

    def __init__(self, recorder: Recorder, cluster: Cluster) -> None:
        super().__init__()
        self._recorder = recorder
        self._cluster = cluster

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        running = len(self._recorder.running)
        if running >= self._slots():
            return None
        trial = self._recorder.next_trial()
        if trial is None:
            # A trial under way may yet have to be tried again, so the end is not before the last.
            return None if running else str(Searcher.FINISHED)
        return {"trial": {"number": trial.number, "config": trial.config.to_dict()}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the journal has it."""

    def _slots(self) -> int:
        """Count again, since a cluster grows and shrinks."""
        return max(1, _slots(ray.nodes(), self._cluster.cpus, self._cluster.gpus))


class _StudyScheduler(_NotSaved, FIFOScheduler):  # type: ignore[misc]
    """Tells the study what a trial reports, and stops the trial when the study says so."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self._recorder.report(trial.config["trial"]["number"], result["report"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Try again what died with its worker; an exception in the training does not end here."""
        number = trial.config["trial"]["number"]
        if number not in self._recorder.running:
            return  # it had ended; only its actor was left
        text = str(trial.get_error() or "its worker died")
        self._recorder.worker_died(number, text.strip().splitlines()[-1], MAX_ATTEMPTS)


class _Housekeeping(_NotSaved, Callback):  # type: ignore[misc]
    """Keeps Tune from storing what it is not to keep, and the progress display alive."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        result.pop("report", None)  # it may hold weights, and Tune keeps the last result

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._recorder.tick()


class _StopWhenFailed(_NotSaved, Stopper):  # type: ignore[misc]
    """Ends the search when the study itself cannot go on."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.failure is not None


def _start(address: str | None) -> None:
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address in (None, "local"):
            ray.init(address="local", include_dashboard=False, **common)
        else:
            ray.init(address=address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"the Ray cluster at {address!r} cannot be reached: {error}") from error


def _fit(resources: Resources) -> Cluster:
    """Decide what a trial takes, and count how many fit."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    total_gpus = sum(node["Resources"].get("GPU", 0) for node in nodes)
    gpus = resources.gpus if resources.gpus is not None else (1 if total_gpus else 0)
    cpus = resources.cpus if resources.cpus is not None else 1
    slots = _slots(nodes, cpus, gpus)
    named = tuple(
        {
            "name": node["NodeManagerHostname"],
            "cpus": node["Resources"].get("CPU", 0),
            "gpus": node["Resources"].get("GPU", 0),
        }
        for node in nodes
    )
    if slots < 1:
        there = "; ".join(f"{n['name']}: {n['cpus']:g} cores, {n['gpus']:g} GPUs" for n in named)
        raise InputError(
            f"no node of the cluster can hold one trial of {cpus:g} cores and {gpus:g} GPUs "
            f"({there}); lower --cpus-per-trial or --gpus-per-trial"
        )
    return Cluster(named, cpus, gpus, slots)


def _slots(nodes: list[dict[str, Any]], cpus: float, gpus: float) -> int:
    """Count the trials that fit on the nodes at once; a GPU is shared by whole fractions only."""
    slots = 0
    for node in nodes:
        if not node["Alive"]:
            continue
        there = node["Resources"]
        fits = [there.get("CPU", 0) / cpus] if cpus else []
        if gpus:
            a_gpu = int(1 / gpus + 1e-6)
            count = there.get("GPU", 0)
            fits.append(count * a_gpu if gpus <= 1 else count / gpus)
        slots += int(min(fits) + 1e-6) if fits else 1
    return slots


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['trial']['number']:05d}-{trial.trial_id}"
