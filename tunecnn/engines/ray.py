"""Run a study's trials on a Ray cluster.

Ray Tune decides when and where a trial runs; the study decides which trial runs and when it stops.
The workers are actors that are reused from trial to trial. They get the images once, through Ray's
object store, and return metrics and weights the same way, so no shared disk is needed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
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
from tunecnn.engines import worker
from tunecnn.engines.cluster import Cluster
from tunecnn.engines.internals import actor_id, actor_of, actor_record
from tunecnn.engines.nodes import Blame, Nodes, Place
from tunecnn.engines.room import Room
from tunecnn.engines.worker import DEVICE_ERROR, Parcel, Supplies, Worker, environment_of
from tunecnn.errors import RunError
from tunecnn.models.code import NetworkCode
from tunecnn.run.folder import resume_command
from tunecnn.run.info import EngineRecord
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.faults import ran_out_of_memory
from tunecnn.trial.timing import Timing, time_epochs
from tunecnn.words import count_in_words

if TYPE_CHECKING:
    # Workers import this module too, but they do not need the study.
    from tunecnn.run.recorder import Recorder

_NODE_LOST = re.compile(r"node has died|node was terminated|NODE_DIED|node_died", re.IGNORECASE)
_UNREACHABLE = re.compile(r"actor is temporarily unavailable", re.IGNORECASE)
"""What Ray says of a worker whose node is gone, before it knows that; a crash has other words."""


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

    def notes(self) -> tuple[str, ...]:
        """Return what limits the number of trials at once."""
        return (self.cluster.limit,) if self.cluster.limit else ()

    def run(
        self,
        recorder: Recorder,
        splits: Mapping[int, TrialData],
        code: NetworkCode | None,
        scratch: Path,
    ) -> None:
        """Run trials until all requested trials have ended, or the user interrupts.

        Args:
            recorder: recorder that hands out trials and records their updates.
            splits: training and validation images for the workers, by the seed of their split.
            code: code of the networks for the workers; it travels like the images.
            scratch: folder for the files that Ray itself writes; it is deleted at the end.

        Raises:
            RunError: if Ray or the study cannot continue.
        """
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(10**6)  # the searcher limits them
        self.cluster.watchdog.on_warning = recorder.listener.on_warning
        self.cluster.watchdog.on_loss = lambda reason: _abandon(recorder, scratch, reason)
        try:
            with recorder.interrupts.deferred():  # _StopWithSession stops running trials
                self._tuner(recorder, splits, code, scratch).fit()
            # What follows, such as a command of --on-end that ends the cluster, needs no Ray.
            self.cluster.leave()
        except (ray.exceptions.RayError, tune.TuneError, RuntimeError) as error:
            # Tune wraps what it did not expect, such as an update that was lost with its node.
            cause = error.__cause__ if type(error) is RuntimeError else error
            if not isinstance(cause, ray.exceptions.RayError | tune.TuneError):
                raise
            last = str(cause).strip().splitlines()[-1:]
            raise RunError(f"Ray cannot continue: {' '.join(last)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if recorder.failure is not None:
            raise recorder.failure

    def _tuner(
        self,
        recorder: Recorder,
        splits: Mapping[int, TrialData],
        code: NetworkCode | None,
        scratch: Path,
    ) -> Tuner:
        by_value: Any = ray.cloudpickle.register_pickle_by_value
        by_value(worker)  # see `tunecnn.engines.worker`
        supplies = Supplies(
            {seed: ray.put(data) for seed, data in splits.items()},
            ray.put(code),
            self.cluster.threads,
            self.cluster.gpus,
            self.checkpoint_seconds,
            recorder.packages,
        )
        crew = _Crew(recorder, self.cluster, self.max_failures, self.wait_for_workers)
        return Tuner(
            tune.with_parameters(Worker, supplies=supplies),
            param_space={"trial": None},
            tune_config=TuneConfig(
                num_samples=-1,
                search_alg=_StudySearcher(recorder, crew, self.cluster),
                scheduler=_StudyScheduler(recorder, crew),
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
                callbacks=[_Housekeeping(recorder, crew, self.wait_for_workers)],
            ),
        )


def _abandon(recorder: Recorder, scratch: Path, reason: str) -> str:
    """Leave a run as a resumed session expects it, from another thread; return what to say."""
    recorder.abandon()
    shutil.rmtree(scratch, ignore_errors=True)
    again = resume_command(recorder.folder)
    return f"{reason}; all that was recorded is kept; go on with: {again}"


def time_on(
    cluster: Cluster, configs: Sequence[TrialConfig], data: TrialData, code: NetworkCode | None
) -> Timing:
    """Time epochs of some configs on a cluster, in as many tasks at once as it has slots."""
    # After one call the process ends, and with it what it holds of a GPU.
    make_task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_calls=1)
    timed = make_task(time_epochs)
    there = ray.put(data)
    slots = [
        timed.remote(  # Ray's types know no keywords
            configs,
            there,
            code,
            threads=cluster.threads,
            gpus=cluster.gpus,  # type: ignore[call-arg]
        )
        for _ in range(cluster.slots)
    ]
    timings: list[Timing] = ray.get(slots)
    means = [statistics.mean(times) for times in zip(*(t.epochs for t in timings), strict=True)]
    return Timing(tuple(means), max(timing.spent for timing in timings))


class _NotSaved:
    """Has no pickled state: Tune pickles its parts for `Tuner.restore`, which is never used."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Crew(_NotSaved):
    """The workers of a session: where each trial runs, and what happens when one fails."""

    def __init__(
        self, recorder: Recorder, cluster: Cluster, max_failures: int, wait_seconds: float
    ) -> None:
        self._recorder = recorder
        self._max_failures = max_failures
        self._nodes = Nodes(max_failures)
        self._places: dict[int, Place] = {}
        self._actors: dict[int, str] = {}
        self._has_reported: set[str] = set()
        self._warned: set[str] = set()
        self._ended: set[str] = set()
        self.room = Room(cluster, self._nodes.shut_out, wait_seconds)

    def end(self, trial: Any) -> None:
        """End the actor of a Tune trial that is running; Tune reports that as its error."""
        actor = actor_of(trial)
        if trial.status == TuneTrial.RUNNING and actor is not None:
            self._ended.add(trial.trial_id)
            ray.kill(actor)

    def was_ended(self, trial: Any) -> bool:
        """Return whether the actor of a Tune trial was ended on purpose."""
        return trial.trial_id in self._ended

    def starts(self, number: int, trial: Any) -> None:
        """Note where the actor of a trial runs, which it may not live to report."""
        self._actors[number] = actor_id(actor_of(trial))
        actor = actor_record(self._actors[number])
        node_id = actor.get("Address", {}).get("NodeID", "")
        self._places[number] = Place(node_id, self.room.name_of(node_id))

    def avoided(self, number: int) -> tuple[str, ...]:
        """Return the ids of the nodes on which a trial must not run."""
        return self._nodes.avoided(number, self.room.usable)

    def is_stranded(self, trial: Any) -> bool:
        """Return whether a Tune trial waits, and the nodes that it avoids are all there is."""
        avoided = set(trial.config["trial"]["avoided"])
        usable = self.room.usable if avoided else set()
        return trial.status == TuneTrial.PENDING and bool(usable) and usable <= avoided

    def takes(self, number: int, result: dict[str, Any]) -> bool:
        """Take a worker's report, if it gave one; return whether it may train the trial."""
        if number not in self._recorder.running:
            return False
        if reason := result.get("unfit"):
            self._unfit(number, Place(result["node_id"], result["node"]), reason)
            return False
        report = result.get("report")
        if report is None:
            return "update" in result
        there = environment_of(report)
        self._places[number] = Place(result["node_id"], there.node, there.device_id)
        self._has_reported.add(self._actors.get(number, ""))
        if difference := self._recorder.begins(number, there):
            return self._incomparable(number, result, difference)
        self._recorder.started(number)  # the time of its worker's imports is not its own
        if there.unused and there.node not in self._warned:
            self._warned.add(there.node)
            self._recorder.listener.on_warning(f"{there.node}: {there.unused}")
        return True

    def worked(self, number: int) -> None:
        """Note that a trial has made progress."""
        if place := self._places.get(number):
            self._nodes.worked(place, number)

    def failed(self, number: int, text: str) -> None:
        """Decide what becomes of a trial whose worker has ended with an error."""
        place = self._places.pop(number, Place("", ""))
        if place.node_id:
            is_lost = not self.room.is_alive(place.node_id)
        else:  # it has not said yet where it is
            is_lost = _UNREACHABLE.search(text) is not None
        if is_lost or _NODE_LOST.search(text):
            if not self._nodes.lost(number):
                which = f"node {place}" if place.node else "its node"
                self._recorder.put_back(number, f"{which} was lost")
                return
            text = f"{text} (each time with its node)"
        elif DEVICE_ERROR in text:
            self._device_failed(number, place, text.partition(DEVICE_ERROR)[2].strip())
            return
        where = f"{text} (on {place})" if place.node else text
        is_new = self._actors.get(number, "") not in self._has_reported
        may_be_the_node = is_new and place.node_id and not ran_out_of_memory(text)
        if may_be_the_node and self.room.usable - {place.node_id}:
            # It died before it began with any trial, and there are other nodes.
            self._recorder.put_back(number, where)
            if self._nodes.unfit(place):
                self._shut(place, f"workers die there before they begin: {text}")
            return
        self._recorder.worker_died(number, where, self._max_failures)

    def _device_failed(self, number: int, place: Place, reason: str) -> None:
        blame = self._nodes.failed(place, number)
        if blame is Blame.TRIAL:
            times, nodes = self._nodes.failures(number)
            before = "elsewhere" if nodes > 1 else f"{count_in_words(times - 1, 'time')} there"
            self._recorder.fail_trial(number, f"{reason} (on {place}, and before that {before})")
            return
        self._recorder.put_back(number, f"{place}: {reason}")
        if blame is not None:
            advice = (
                f"{reason}; look at it with nvidia-smi. To use its other GPUs, leave this one out "
                "of CUDA_VISIBLE_DEVICES when Ray is started there"
            )
            self._shut(place, f"{place if blame is Blame.DEVICE else 'several devices'}: {advice}")

    def _unfit(self, number: int, place: Place, reason: str) -> None:
        reason = " ".join(reason.split())[:500]
        if ran_out_of_memory(reason):
            self._recorder.worker_died(number, f"{reason} (on {place})", self._max_failures)
            return
        self._recorder.put_back(number, f"{place}: {reason}")
        if self._nodes.unfit(place):
            self._shut(place, f"no worker can begin there: {reason}")

    def _incomparable(self, number: int, result: dict[str, Any], difference: str) -> bool:
        place = self._places.pop(number, Place(result.get("node_id", ""), result.get("node", "")))
        reason = f"its results would not be comparable: {difference}"
        self._recorder.put_back(number, f"{place}: {reason}")
        self._shut(place, reason)
        return False

    def _shut(self, place: Place, reason: str) -> None:
        if place.node_id in self._nodes.shut_out:
            return  # another worker there was faster
        self._nodes.shut(place)
        self._recorder.node_shut_out(place.node, reason)
        if self.room.is_shut:
            names = ", ".join(self._recorder.shut_out)
            self._recorder.fail(
                RunError(
                    f"no node is left that may train trials ({names}): {reason}; resume when "
                    "there is one"
                )
            )


class _StudySearcher(_NotSaved, Searcher):
    """Hands the study's next trial to Tune, as long as the cluster has room for it."""

    def __init__(self, recorder: Recorder, crew: _Crew, cluster: Cluster) -> None:
        super().__init__()
        self._recorder = recorder
        self._cluster = cluster
        self._crew = crew

    def suggest(self, trial_id: str) -> Any:
        running = len(self._recorder.running)
        if running >= self._crew.room.wanted:
            return None
        trial = self._recorder.next_trial()
        if trial is None:
            # A running trial may have to be retried, so the search ends only after the last one.
            return None if running else str(Searcher.FINISHED)
        return {
            "trial": {
                "number": trial.number,
                "config": trial.config.to_dict(),
                "checkpoint": Parcel(trial.checkpoint),
                "rungs": trial.rungs,
                "cpus": self._cluster.cpus,
                "gpus": self._cluster.gpus,
                "avoided": self._crew.avoided(trial.number),
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

    def __init__(self, recorder: Recorder, crew: _Crew) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder
        self._crew = crew

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = trial.config["trial"]["number"]
        trial.config["trial"]["checkpoint"].take()  # its worker has it
        if not self._crew.takes(number, result):
            self._crew.end(trial)  # else Tune would use it for the next trial
            return str(TrialScheduler.CONTINUE)
        update = result.get("update")
        if update is None:
            return str(TrialScheduler.CONTINUE)
        if update.epochs:
            self._crew.worked(number)
        goes_on = self._recorder.take(number, update)
        if not goes_on and result.get("is_damaged"):
            self._crew.end(trial)
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        # The nodes that a trial avoids belong to its request, which Tune does not change.
        for trial in filter(self._crew.is_stranded, list(tune_controller.get_live_trials())):
            number = trial.config["trial"]["number"]
            self._recorder.put_back(number, "the nodes that it could run on are gone")
            tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        """Decide about a trial whose worker died; exceptions in the training are no such error."""
        number = trial.config["trial"]["number"]
        trial.config["trial"]["checkpoint"].take()  # who tries again gets its own
        if number not in self._recorder.running or self._crew.was_ended(trial):
            return  # the trial had ended or runs elsewhere; only its actor was left
        self._crew.failed(number, _reason(trial))


class _Housekeeping(_NotSaved, Callback):
    """Removes updates from the results that Tune stores, and enforces time limits."""

    def __init__(self, recorder: Recorder, crew: _Crew, wait_seconds: float) -> None:
        self._recorder = recorder
        self._crew = crew
        self._room = crew.room
        self._wait_seconds = wait_seconds
        self._has_warned = False

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        result.pop("update", None)  # it may hold weights, and Tune keeps the last result

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config["trial"]["number"]
        self._recorder.started(number)
        self._crew.starts(number, trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if overdue := self._recorder.give_up_overdue():
            # A trial that hangs sends no update; without its actor, Tune frees its slot.
            for trial in trials:
                if trial.config["trial"]["number"] in overdue:
                    self._crew.end(trial)
        if self._room.missing_seconds > self._wait_seconds:
            text = (
                f"no node of the cluster has had room for a trial for {self._wait_seconds:g} s "
                "(--wait-for-workers); bring nodes back, then resume"
            )
            self._recorder.fail(RunError(text))
        if not self._has_warned and (node := self._room.unexpected_gpus):
            self._has_warned = True
            self._recorder.listener.on_warning(
                f"{node} has joined with GPUs, and the trials of this session use none, since no "
                "node had one at its start: resume with --gpus-per-trial 1"
            )
        statuses = [trial.status for trial in trials]
        active = statuses.count(TuneTrial.RUNNING)
        if text := self._room.words(active, statuses.count(TuneTrial.PENDING)):
            self._recorder.listener.on_note(text)
        self._recorder.listener.on_tick()


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
