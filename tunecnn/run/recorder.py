"""Between whoever runs trials and the study: every message goes to the journal and to the user."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from tunecnn.errors import RunError, TunecnnError
from tunecnn.process import Interrupts
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.budget import Spending
from tunecnn.run.listener import Listener
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.messages import Outcome, TrialEnd, TrialUpdate

KEEP_WEIGHTS = 3

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits that a recorder enforces.

    Attributes:
        keep_weights: number of the best trials whose weights are kept.
        trial_timeout: seconds after which a trial is given up; None for no limit.
        min_free_gb: free space on the disk, in 10^9 bytes, below which no trial starts.
    """

    keep_weights: int = KEEP_WEIGHTS
    trial_timeout: float | None = None
    min_free_gb: float = 0.0


class Recorder:
    """Hands out a study's trials and records what their workers say.

    Args:
        study: open for writing.
        artifacts: store of checkpoints and weights.
        listener: called about everything that happens.
        spending: keeps the run within its budget.
        limits: of weights, time and disk.
        interrupts: holds whether the session is to end.
        clock: time in seconds.

    Attributes:
        failure: error because of which the study cannot go on; None before there is one.
        interrupts: the same.
        used_up: which limit of the budget kept a further trial from starting, in words.
    """

    def __init__(
        self,
        study: Study,
        artifacts: Artifacts,
        listener: Listener,
        spending: Spending,
        limits: Limits | None = None,
        interrupts: Interrupts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._artifacts = artifacts
        self._listener = listener
        self._spending = spending
        self._limits = limits or Limits()
        self._clock = clock
        self.used_up = ""
        self.interrupts = interrupts or Interrupts()
        self._started: dict[int, float] = {}
        self._placed: set[int] = set()
        self._kept = {number for number in artifacts.trials_with_weights()
                      if study.record(number).state == "COMPLETE"}  # fmt: skip
        self._deaths = 0
        self._any_epoch_seen = False
        self.failure: TunecnnError | None = None

    @property
    def stopped(self) -> bool:
        """Whether whoever runs trials is to stop at once: on a failure, or when interrupted."""
        return self.failure is not None or self.interrupts.requested != 0

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the running trials."""
        return self._study.running

    def next_trial(self) -> TrialTask | None:
        """Return the next trial to train, or None if there is none or the session is to end."""
        task = None if self.stopped else self._guard(self._next_trial)
        if task is not None:
            self._listener.on_trial_start(task)
        return task

    def started(self, number: int) -> None:
        """Record that a worker has started with a trial: its time runs from here."""
        self._started[number] = self._clock()

    def take(self, number: int, update: TrialUpdate) -> bool:
        """Record a worker's message about a trial; return whether the trial is to go on."""
        if number not in self.running:
            return False
        return bool(self._guard(lambda: self._take(number, update)))

    def worker_died(self, number: int, reason: str, max_failures: int) -> None:
        """Put a trial back into the queue, or give it up after more failures than that.

        If workers die and none has ever finished an epoch, something is wrong with the cluster
        and not with the trials: then the search ends.
        """

        def retry_or_fail() -> None:
            self._deaths += 1
            if self._deaths > max_failures and not self._any_epoch_seen:
                raise RunError(f"{self._deaths} workers died before their first epoch: {reason}")
            if self._study.count_failure(number) <= max_failures:
                self._put_back(number, reason)
            else:
                self._finish(number, TrialEnd(Outcome.ERROR, reason=reason))

        self._guard(retry_or_fail)

    def give_up_overdue(self) -> list[int]:
        """End the trials that have run for too long, and return their numbers.

        Whoever runs them has to stop them: one that hangs does not ask whether to go on.
        """
        overdue = [number for number in self.running if self._is_overdue(number)]
        for number in overdue:
            self._guard(partial(self._give_up, number))
        return overdue

    def tick(self) -> None:
        """Let the listener know that time passes."""
        self._listener.on_tick()

    def fail(self, error: TunecnnError) -> None:
        """End the session: whoever runs trials cannot go on."""
        self.failure = self.failure or error

    def _next_trial(self) -> TrialTask | None:
        self._check_free_space()
        self.used_up = self._spending.used_up
        task = None if self.used_up else self._study.next_trial()
        checkpoint = self._artifacts.newest_checkpoint(task.number) if task else None
        if task and checkpoint and self._study.go_on_from(task.number, checkpoint.epoch):
            return dataclasses.replace(task, checkpoint=checkpoint)
        return task

    def _check_free_space(self) -> None:
        folder = self._artifacts.folder
        free = shutil.disk_usage(folder).free / 1e9
        if free < self._limits.min_free_gb:
            raise RunError(
                f"only {free:.2g} GB are free on the disk of {folder}, and no trial starts below "
                f"{self._limits.min_free_gb:g} (--min-free-gb); make room, then resume"
            )

    def _take(self, number: int, update: TrialUpdate) -> bool:
        if number not in self._placed:
            self._study.place(number, update.node, update.device)
            self._placed.add(number)
        self._any_epoch_seen = True
        if update.bad_checkpoint:
            self._artifacts.drop_checkpoints(number)
            self._put_back(number, f"it starts again, since {update.bad_checkpoint}")
            return False
        for metrics in update.epochs:
            is_last = update.end is not None and metrics == update.epochs[-1]
            self._spending.epoch(metrics)
            pruned = self._study.report(number, metrics, is_last=is_last)
            self._listener.on_epoch(number, metrics)
            if pruned:
                self._artifacts.drop_checkpoints(number)
                self._listener.on_trial_end(self._study.record(number))
                return False
        if update.end is not None:
            self._finish(number, update.end)
            return False
        if update.checkpoint is not None:  # after the epochs that led to it
            self._artifacts.write_checkpoint(number, update.checkpoint)
        if self._is_overdue(number):
            self._give_up(number)
            return False
        return True

    def _is_overdue(self, number: int) -> bool:
        timeout = self._limits.trial_timeout
        if timeout is None or number not in self._started:
            return False
        return self._clock() - self._started[number] > timeout

    def _give_up(self, number: int) -> None:
        reason = f"not at its end after {self._limits.trial_timeout:g} s (--trial-timeout)"
        self._finish(number, TrialEnd(Outcome.TIMEOUT, reason=reason))

    def _put_back(self, number: int, reason: str) -> None:
        self._study.requeue(number)
        self._forget(number)
        self._listener.on_trial_requeue(number, reason)

    def _forget(self, number: int) -> None:
        """Forget where and since when a trial runs: it will run elsewhere, later."""
        self._started.pop(number, None)
        self._placed.discard(number)

    def _finish(self, number: int, end: TrialEnd) -> None:
        if end.outcome is Outcome.OUT_OF_MEMORY and self._study.postpone(number):
            self._forget(number)
            reason = f"alone, at the end, after: {end.reason}"
            self._listener.on_trial_requeue(number, reason)
            return
        # Weights first: a trial that is complete in the study is not trained again.
        if end.weights is not None:
            self._artifacts.write_weights(number, end.weights)
        self._study.finish(number, end)
        self._artifacts.drop_checkpoints(number)
        record = self._study.record(number)
        if record.state == "COMPLETE":
            assert record.kept is not None
            self._spending.complete(record.kept.val_accuracy)
            self._kept.add(number)
            self._drop_all_but_the_best()
        self._listener.on_trial_end(record)

    def _drop_all_but_the_best(self) -> None:
        ranked = sorted(map(self._study.record, self._kept), key=lambda record: record.rank)
        for record in ranked[self._limits.keep_weights :]:
            self._kept.discard(record.number)
            self._artifacts.drop_weights(record.number)

    def _guard(self, action: Callable[[], T]) -> T | None:
        """Do something to the study; if that fails the run is over, but not lost."""
        if self.failure is not None:
            return None
        try:
            return action()
        except TunecnnError as error:
            self.failure = error
        except OSError as error:
            self.failure = RunError(f"the run cannot be written: {error}")
        return None
