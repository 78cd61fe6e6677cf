"""`Recorder`: passes messages between engine and study, to the journal and to the user."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunecnn.errors import RunError, TunecnnError
from tunecnn.process import Interrupts
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.budget import Spending
from tunecnn.run.folder import cannot_be_written, resume_command
from tunecnn.run.info import KEEP_WEIGHTS
from tunecnn.run.listener import Listener
from tunecnn.run.lock import Lease
from tunecnn.study.records import Ranking
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.environment import Comparable, Environment
from tunecnn.trial.faults import ran_out_of_memory
from tunecnn.trial.messages import Outcome, TrialEnd, TrialUpdate

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits that a recorder enforces.

    Attributes:
        keep_weights: number of the best trials whose weights are kept.
        trial_timeout: time limit of one trial in seconds; None for no limit.
        min_free_gb: free space on the disk, in 10^9 bytes, below which no trial starts.
        allow_changes: whether trials may be computed in another precision than those of earlier
            sessions.
    """

    keep_weights: int = KEEP_WEIGHTS
    trial_timeout: float | None = None
    min_free_gb: float = 0.0
    allow_changes: bool = False


class Recorder:
    """Hands out the trials of a study, and records the updates of their workers.

    Args:
        study: study that is open for writing.
        artifacts: store of the checkpoints and weights.
        listener: listener that is called about every event.
        spending: spending of the run, checked against its budget.
        limits: limits on kept weights, trial time and disk space.
        interrupts: interrupts by the user, which end the session.
        lease: right to write the run.
        packages: packages that the networks use, besides those that all trials do.
        on_abandoned: function that is called as the last act of a process that has to end at once.
        clock: function that returns the time in seconds.

    Attributes:
        failure: error because of which the study cannot continue; None if there is none.
        interrupts: interrupts by the user, which end the session.
        packages: packages that the networks use, whose versions a worker has to report.
        used_up: limit of the budget that kept a further trial from starting, in words.
        shut_out: reason why trials do not run on a node any more, by the node's name.
    """

    def __init__(
        self,
        study: Study,
        artifacts: Artifacts,
        listener: Listener,
        spending: Spending,
        limits: Limits,
        interrupts: Interrupts,
        lease: Lease,
        packages: Collection[str] = (),
        on_abandoned: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._artifacts = artifacts
        self.listener = listener
        self._spending = spending
        self._limits = limits
        self._clock = clock
        self._lease = lease
        self.packages = tuple(packages)
        self._on_abandoned = on_abandoned
        self.used_up = ""
        self.shut_out: dict[str, str] = {}
        self.interrupts = interrupts
        self._started: dict[int, float] = {}
        self._ranking = Ranking(study.space.metric, study.records)
        complete = {record.number for record in self._ranking.ranked()}
        self._kept = complete.intersection(artifacts.trials_with_weights())
        self._waiting = set(study.paused)  # paused trials that may have a checkpoint
        self._deaths: Counter[int] = Counter()  # of workers, by trial
        self._any_epoch_seen = False
        self.failure: TunecnnError | None = None
        self._comparable = Comparable(packages=packages)
        for record in study.records:
            if record.outcome.has_ended:
                artifacts.drop_checkpoints(record.number)  # of one that ended just before a kill
            if record.device:
                # Where changes are allowed, another precision is no reason against a trial.
                allowed = self._limits.allow_changes
                setting = "" if allowed else str(record.config.get("precision", ""))
                self._comparable.add(setting, record.precision, record.node, record.device)

    @property
    def stopped(self) -> bool:
        """Whether the engine has to stop at once, after a failure or an interrupt."""
        return self.failure is not None or self.interrupts.requested != 0

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the running trials."""
        return self._study.running

    def next_trial(self) -> TrialTask | None:
        """Return the next trial to train, or None if there is none or the session has to end."""
        task = None if self.stopped else self._guard(self._next_trial)
        if task is not None:
            self.listener.on_trial_start(task)
        return task

    def started(self, number: int) -> None:
        """Record that a worker has started a trial; the trial's time limit counts from here."""
        self._started[number] = self._clock()

    def begins(self, number: int, there: Environment) -> str:
        """Record where a trial will be trained.

        Returns:
            Reason why its results would not be comparable with those of the other trials; then
            nothing is recorded, and the trial must not be trained there. Empty if there is none.
        """
        if number not in self.running:
            return ""
        return self._guard(lambda: self._begins(number, there)) or ""

    def _begins(self, number: int, there: Environment) -> str:
        setting = str(self._study.record(number).config["precision"])
        if difference := self._comparable.difference(there, setting):
            return difference
        precision = there.precision(setting)
        devices = self._spending.devices
        self._study.place(number, there.node, there.device, precision, devices)
        if warning := self._comparable.add(setting, precision, there.node, there.device):
            self.listener.on_warning(warning)
        return ""

    def take(self, number: int, update: TrialUpdate) -> bool:
        """Record a worker's update of a trial; return whether the trial continues."""
        if number not in self.running:
            return False
        return bool(self._guard(lambda: self._take(number, update)))

    def worker_died(self, number: int, reason: str, max_failures: int) -> None:
        """Put a trial back into the queue, or fail it after more than `max_failures` deaths.

        A worker that was killed since memory was missing is no reason for the same attempt again:
        its trial has run out of memory, and is tried once more alone.

        If more than `max_failures` workers die before any has finished an epoch, and those of
        several trials, more than are alive, then the cause is the cluster and not the trials, so
        the session ends. Where a node is the reason, and not the trial, call `put_back` instead.
        """

        def retry_or_fail() -> None:
            if ran_out_of_memory(reason):
                self._finish(number, TrialEnd(Outcome.OUT_OF_MEMORY, reason=reason))
                return
            self._deaths[number] += 1
            alive = set(self.running) - self._deaths.keys()
            if (
                not self._any_epoch_seen
                and self._deaths.total() > max_failures
                and len(self._deaths) > max(1, len(alive))
            ):
                raise RunError(
                    f"the workers of {len(self._deaths)} trials died before any had finished an "
                    f"epoch: {reason}; when the reason is gone, carry on with: "
                    f"{resume_command(self.folder)}"
                )
            if self._study.count_failure(number) <= max_failures:
                self._put_back(number, reason)
            else:
                self._finish(number, TrialEnd(Outcome.ERROR, reason=reason))

        self._guard(retry_or_fail)

    def put_back(self, number: int, reason: str) -> None:
        """Put a trial back into the queue; it is not counted as a failure of the trial."""
        if number in self.running:
            self._guard(lambda: self._put_back(number, reason))

    def fail_trial(self, number: int, reason: str) -> None:
        """End a trial with an error."""
        end = TrialEnd(Outcome.ERROR, reason=reason)
        self._guard(lambda: self._finish(number, end))

    def node_shut_out(self, node: str, reason: str) -> None:
        """Record that no trial runs on a node any more, and warn the user."""
        self.shut_out[node] = reason
        self.listener.on_warning(f"node {node} gets no more trials: {reason}")

    def give_up_overdue(self) -> list[int]:
        """End the trials that have exceeded their time limit, and return their numbers.

        The engine has to stop their workers, since a worker that hangs sends no updates.
        """
        overdue = [number for number in self.running if self._is_overdue(number)]
        for number in overdue:
            self._guard(partial(self._give_up, number))
        return overdue

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self._artifacts.folder

    def abandon(self) -> None:
        """Give back the right to write the run, as the last act of this process."""
        self.failure = self.failure or RunError("this process is ending")
        self._lease.end()
        self._on_abandoned()

    def fail(self, error: TunecnnError) -> None:
        """End the session with an error of the engine."""
        self.failure = self.failure or error

    def _next_trial(self) -> TrialTask | None:
        self._check_free_space()
        self.used_up = self._spending.used_up
        # Trials that have begun are trained to their end, whatever is used up.
        only_interrupted = bool(self.used_up)
        task = self._study.next_trial(lambda: self.stopped, only_interrupted=only_interrupted)
        if task is None:
            if not self.used_up and not self.stopped and not self._study.running:
                self._stop_paused()
            return None
        checkpoint = self._artifacts.newest_checkpoint(task.number)
        if self._study.go_on_from(task, checkpoint.epoch if checkpoint else 0):
            return dataclasses.replace(task, checkpoint=checkpoint)
        if checkpoint is not None:  # of epochs that the journal does not have
            self._artifacts.drop_checkpoints(task.number)
        return task

    def _stop_paused(self) -> None:
        """Stop the paused trials for good, since no trial is left that could change their rank."""
        for record in self._study.stop_paused():
            self._artifacts.drop_checkpoints(record.number)
            self.listener.on_trial_end(record)

    def _check_free_space(self) -> None:
        folder = self._artifacts.folder
        free = shutil.disk_usage(folder).free / 1e9
        if free < self._limits.min_free_gb:
            raise RunError(
                f"only {free:.2g} GB are free on the disk of {folder}; no trial starts below "
                f"{self._limits.min_free_gb:g} GB (--min-free-gb); make room, and carry on with: "
                f"{resume_command(folder)}"
            )

    def _take(self, number: int, update: TrialUpdate) -> bool:
        self._any_epoch_seen |= bool(update.epochs)
        if update.bad_checkpoint:
            self._artifacts.drop_checkpoints(number)
            self._put_back(number, f"it starts from the beginning, since {update.bad_checkpoint}")
            return False
        stops = False
        for count, metrics in enumerate(update.epochs, 1):
            is_last = update.end is not None and count == len(update.epochs)
            self._spending.epoch(metrics)
            stops = self._study.report(number, metrics, is_last=is_last)
            self.listener.on_epoch(number, metrics)
            if stops:
                break
        if stops and number not in self._study.paused:
            self._artifacts.drop_checkpoints(number)
            self.listener.on_trial_end(self._study.record(number))
            return False
        # After the epochs that a checkpoint includes, but before the end: a trial that is complete
        # in the study is never trained again.
        end = None if stops else update.end
        self._artifacts.write_files(number, update.checkpoint, end)
        if stops:
            self._pause(number)
        elif end is not None:
            self._finish(number, end)
        elif self._is_overdue(number):
            self._give_up(number)
        else:
            return True
        return False

    def _pause(self, number: int) -> None:
        """Keep a paused trial, whose checkpoint is stored, for its promotion."""
        self._waiting.add(number)
        for other in self._waiting.intersection(self._study.unlikely):
            self._artifacts.drop_checkpoints(other)
            self._waiting.discard(other)
        self._forget(number)
        self.listener.on_trial_pause(self._study.record(number))

    def _is_overdue(self, number: int) -> bool:
        timeout = self._limits.trial_timeout
        if timeout is None or number not in self._started:
            return False
        return self._clock() - self._started[number] > timeout

    def _give_up(self, number: int) -> None:
        reason = f"not finished after {self._limits.trial_timeout:g} s (--trial-timeout)"
        self._finish(number, TrialEnd(Outcome.TIMEOUT, reason=reason))

    def _put_back(self, number: int, reason: str) -> None:
        self._study.requeue(number)
        self._forget(number)
        self.listener.on_trial_requeue(number, reason)

    def _forget(self, number: int) -> None:
        """Forget the start time of a trial, since it will run again later."""
        self._started.pop(number, None)

    def _finish(self, number: int, end: TrialEnd) -> None:
        if end.outcome is Outcome.OUT_OF_MEMORY and self._study.postpone(number):
            self._forget(number)
            reason = f"it will run alone, at the end, after: {end.reason}"
            self.listener.on_trial_requeue(number, reason)
            return
        self._study.finish(number, end)
        self._artifacts.drop_checkpoints(number)
        record = self._study.record(number)
        if record.is_complete:
            assert record.kept is not None
            self._spending.complete(record.kept)
            self._kept.add(number)
            self._ranking.add(record)
            self._drop_all_but_the_best()
        self.listener.on_trial_end(record)

    def _drop_all_but_the_best(self) -> None:
        ranked = sorted(map(self._study.record, self._kept), key=self._ranking.key)
        for record in ranked[self._limits.keep_weights :]:
            self._kept.discard(record.number)
            # The best trial is compared with the baseline image by image.
            is_baseline = record.has_settings(self._study.space.baseline_point())
            self._artifacts.drop_weights(record.number, keep_predictions=is_baseline)

    def _guard(self, action: Callable[[], T]) -> T | None:
        """Apply an action to the study; an error ends the session, but the run can be resumed."""
        if self.failure is not None:
            return None
        try:
            self._lease.check()
            return action()
        except TunecnnError as error:
            self.failure = error
        except ConnectionError:  # of a listener's service: no file has one
            raise
        except OSError as error:
            self.failure = cannot_be_written(self.folder, error)
            self.failure.__cause__ = error
        return None
