"""Run a study's trials on a Ray cluster.

Ray Tune decides when and where a trial runs; the study decides which trial runs and when it stops.
The workers are actors that are reused from trial to trial. They get the images once, through Ray's
object store, and return metrics and weights the same way, so no shared disk is needed.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune import (
    Callback,
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    Stopper,
    TuneConfig,
    Tuner,
)
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from tunecnn.data.images import TrialData
from tunecnn.engines.cluster import Cluster, alive_nodes, count_slots
from tunecnn.engines.worker import Worker
from tunecnn.errors import RunError
from tunecnn.models.code import NetworkCode
from tunecnn.run.info import EngineRecord
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.timing import Timing, time_epochs

if TYPE_CHECKING:
    # Workers import this module too, but they do not need the study.
    from tunecnn.run.recorder import Recorder

_COUNT_SECONDS = 5.0


@dataclass(frozen=True)
class RayEngine:
    """Engine that runs trials on a connected Ray cluster.

    A trial sends a checkpoint every `checkpoint_seconds` seconds, and fails when its worker has
    died more than `max_failures` times. The session ends when the cluster has had no room for a
    trial for `wait_for_workers` seconds.
    """

    cluster: Cluster
    checkpoint_seconds: float
    max_failures: int
    wait_for_workers: float

    @property
    def devices(self) -> float:
        """Number of GPUs per trial, or of cores if a trial takes no GPU."""
        return self.cluster.gpus or self.cluster.cpus

    def record(self) -> EngineRecord:
        """Return the record of the hardware on which trials run."""
        return self.cluster.record()

    def run(
        self, recorder: Recorder, data: TrialData, code: NetworkCode | None, scratch: Path
    ) -> None:
        """Run trials until all requested trials have ended, or the user interrupts.

        Args:
            recorder: recorder that hands out trials and records their updates.
            data: training and validation images for the workers.
            code: code of the networks for the workers; it travels like the images.
            scratch: folder for the files that Ray itself writes; it is deleted at the end.

        Raises:
            RunError: if Ray or the study cannot continue.
        """
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.cluster.slots)
        try:
            with recorder.interrupts.deferred():  # _StopWithSession stops running trials
                self._tuner(recorder, data, code, scratch).fit()
        except (ray.exceptions.RayError, tune.TuneError) as error:
            last = str(error).strip().splitlines()[-1:]
            raise RunError(f"Ray cannot continue: {' '.join(last)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if recorder.failure is not None:
            raise recorder.failure

    def _tuner(
        self, recorder: Recorder, data: TrialData, code: NetworkCode | None, scratch: Path
    ) -> Tuner:
        worker = tune.with_parameters(
            Worker,
            data=data,
            code=code,
            threads=self.cluster.threads,
            checkpoint_seconds=self.checkpoint_seconds,
        )
        room = _Room(self.cluster)
        return Tuner(
            tune.with_resources(worker, {"cpu": self.cluster.cpus, "gpu": self.cluster.gpus}),
            param_space={"trial": None},
            tune_config=TuneConfig(
                num_samples=-1,
                search_alg=_StudySearcher(recorder, room),
                scheduler=_StudyScheduler(recorder, self.max_failures),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=RunConfig(
                name="tune",
                storage_path=str(scratch.resolve()),
                verbose=0,
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
                failure_config=FailureConfig(max_failures=0),  # the study orders retries
                stop=_StopWithSession(recorder),
                callbacks=[_Housekeeping(recorder, room, self.wait_for_workers)],
            ),
        )


def time_on(
    cluster: Cluster, configs: Sequence[TrialConfig], data: TrialData, code: NetworkCode | None
) -> Timing:
    """Time epochs of some configs on a cluster, in as many tasks at once as it has slots."""
    timed = ray.remote(time_epochs).options(num_cpus=cluster.cpus, num_gpus=cluster.gpus)
    there = ray.put(data)
    slots = [timed.remote(configs, there, code, cluster.threads) for _ in range(cluster.slots)]
    timings: list[Timing] = ray.get(slots)
    means = [statistics.mean(times) for times in zip(*(t.epochs for t in timings), strict=True)]
    return Timing(tuple(means), max(timing.spent for timing in timings))


class _NotSaved:
    """Has no pickled state: Tune pickles its parts for `Tuner.restore`, which is never used."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Room:
    """Number of trials that fit on the cluster now, which can grow and shrink."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._slots = cluster.slots
        self._counted = self._seen = time.monotonic()

    @property
    def slots(self) -> int:
        """Number of trials that fit at once, recounted every few seconds."""
        now = time.monotonic()
        if now - self._counted > _COUNT_SECONDS:
            self._slots = count_slots(alive_nodes(), self._cluster.cpus, self._cluster.gpus)
            self._counted = now
        if self._slots:
            self._seen = now
        return self._slots

    @property
    def missing_seconds(self) -> float:
        """Seconds for which the cluster has had no room for any trial."""
        return 0.0 if self.slots else time.monotonic() - self._seen


class _StudySearcher(_NotSaved, Searcher):
    """Hands the study's next trial to Tune, as long as the cluster has room for it."""

    def __init__(self, recorder: Recorder, room: _Room) -> None:
        super().__init__()
        self._recorder = recorder
        self._room = room

    def suggest(self, trial_id: str) -> Any:
        running = len(self._recorder.running)
        if running >= self._room.slots:
            return None
        trial = self._recorder.next_trial()
        if trial is None:
            # A running trial may have to be retried, so the search ends only after the last one.
            return None if running else str(Searcher.FINISHED)
        return {
            "trial": {
                "number": trial.number,
                "config": trial.config.to_dict(),
                "checkpoint": trial.checkpoint,
                "rungs": trial.rungs,
            }
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the state is in the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the state is in the journal."""


class _StudyScheduler(_NotSaved, FIFOScheduler):
    """Records each update of a trial, and stops the trial when the study says so."""

    def __init__(self, recorder: Recorder, max_failures: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder
        self._max_failures = max_failures

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self._recorder.take(trial.config["trial"]["number"], result["update"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Retry a trial whose worker died; exceptions in the training are not handled here."""
        number = trial.config["trial"]["number"]
        if number not in self._recorder.running:
            return  # the trial had ended; only its actor was left
        self._recorder.worker_died(number, _reason(trial), self._max_failures)


class _Housekeeping(_NotSaved, Callback):
    """Removes updates from the results that Tune stores, enforces time limits, calls `tick`."""

    def __init__(self, recorder: Recorder, room: _Room, wait_seconds: float) -> None:
        self._recorder = recorder
        self._room = room
        self._wait_seconds = wait_seconds

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        result.pop("update", None)  # it may hold weights, and Tune keeps the last result

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._recorder.started(trial.config["trial"]["number"])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if overdue := self._recorder.give_up_overdue():
            # A trial that hangs sends no update; without its actor, Tune frees its slot.
            for trial in trials:
                actor = trial.temporary_state.ray_actor
                is_running = trial.status == TuneTrial.RUNNING and actor is not None
                if is_running and trial.config["trial"]["number"] in overdue:
                    ray.kill(actor)
        if self._room.missing_seconds > self._wait_seconds:
            text = (
                f"no node of the cluster has had room for a trial for {self._wait_seconds:g} s "
                "(--wait-for-workers); bring nodes back, then resume"
            )
            self._recorder.fail(RunError(text))
        self._recorder.tick()


class _StopWithSession(_NotSaved, Stopper):
    """Stops Tune when the session has to end, or the study cannot continue."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.stopped


def _reason(trial: Any) -> str:
    """Find the line of Ray's error that says why a worker died; it is seldom the last line."""
    # `get_error` reads a copy that Tune updates now and then; this is the original file.
    try:
        lines = Path(trial.error_file or "").read_text(encoding="utf-8").strip().splitlines()
    except OSError:
        return "its worker died"
    telling = [line for line in lines if "Worker exit detail" in line or "Error: " in line]
    return " ".join((telling or lines)[-1].split())[:500]


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['trial']['number']:05d}-{trial.trial_id}"
