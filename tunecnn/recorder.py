"""Between whoever runs trials and the study: every report goes to the journal and to the user."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from tunecnn.budget import Spending
from tunecnn.checkpoint_files import CheckpointFiles, weights_path
from tunecnn.errors import RunError, TunecnnError
from tunecnn.files import write_atomically
from tunecnn.interrupts import Interrupts
from tunecnn.messages import EpochMetrics, Outcome, TrialEnd, TrialUpdate
from tunecnn.records import TrialRecord
from tunecnn.study import Study, Trial

KEEP_WEIGHTS = 3

P = ParamSpec("P")
T = TypeVar("T")


class Listener(Protocol):
    """Is told what happens in a run, to show it."""

    def began(self, trial: Trial) -> None:
        """Take note that a trial is under way."""

    def epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Take note of an epoch of a trial."""

    def ended(self, record: TrialRecord) -> None:
        """Take note that a trial has ended."""

    def interrupted(self, number: int, reason: str) -> None:
        """Take note that a trial went back into the queue."""

    def warned(self, text: str) -> None:
        """Take note of something that the user should know."""

    def tick(self) -> None:
        """Take note that time passes: called several times a second."""


class Recorder:
    """Hands out a study's trials and takes in what becomes of them.

    Args:
        study: open for writing.
        weights_dir: where the weights of the best complete trials are kept.
        checkpoints: of the trials under way.
        listener: shows what happens.
        spending: what the run may spend yet.
        keep_weights: of how many trials.
        trial_timeout: seconds after which a trial is given up; None for no limit.
        min_free_gb: room on the disk, in 10^9 bytes, below which no trial begins.
        interrupts: tells whether the session is to end.

    Attributes:
        failure: why the study cannot go on, once it cannot.
        interrupts: the same.
        used_up: which limit of the budget kept a further trial from beginning, in words.
    """

    def __init__(
        self,
        study: Study,
        weights_dir: Path,
        checkpoints: CheckpointFiles,
        listener: Listener,
        spending: Spending,
        keep_weights: int = KEEP_WEIGHTS,
        trial_timeout: float | None = None,
        min_free_gb: float = 0.0,
        interrupts: Interrupts | None = None,
    ) -> None:
        self._study = study
        self._weights_dir = weights_dir
        self._checkpoints = checkpoints
        self._listener = listener
        self._spending = spending
        self._keep_weights = keep_weights
        self.used_up = ""
        self.interrupts = interrupts or Interrupts()
        self._trial_timeout = trial_timeout
        self._min_free_gb = min_free_gb
        self._started: dict[int, float] = {}
        self._placed: set[int] = set()
        self._kept = {number for number in _kept_numbers(weights_dir)
                      if study.record(number).state == "COMPLETE"}  # fmt: skip
        self._deaths = 0
        self._heard = False
        self.failure: TunecnnError | None = None

    @property
    def stopped(self) -> bool:
        """Whether whoever runs trials is to stop at once: on a failure, or when interrupted."""
        return self.failure is not None or self.interrupts.asked != 0

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the trials under way."""
        return self._study.running

    def next_trial(self) -> Trial | None:
        """Return the next trial to train, or None if there is none or the session is to end."""
        trial = None if self.stopped else self._guard(self._next_trial)
        if trial is not None:
            self._listener.began(trial)
        return trial

    def started(self, number: int) -> None:
        """Take note that a worker has begun with a trial: its time runs from here."""
        self._started[number] = time.monotonic()

    def take(self, number: int, update: TrialUpdate) -> bool:
        """Record a worker's message about a trial; return whether the trial is to go on."""
        if number not in self.running:
            return False
        return bool(self._guard(lambda: self._take(number, update)))

    def worker_died(self, number: int, reason: str, max_failures: int) -> None:
        """Put a trial back into the queue, or give it up after more failures than that.

        If workers die and not one has ever reported an epoch, something is wrong with the
        cluster and not with the trials: then the search ends.
        """

        def retry_or_fail() -> None:
            self._deaths += 1
            if self._deaths > max_failures and not self._heard:
                raise RunError(f"{self._deaths} workers died before their first epoch: {reason}")
            if self._study.count_failure(number) <= max_failures:
                self._put_back(number, reason)
            else:
                self._finish(number, TrialEnd(Outcome.ERROR, reason=reason))

        self._guard(retry_or_fail)

    def give_up_overdue(self) -> list[int]:
        """End the trials that have been under way for too long, and return their numbers.

        Whoever runs them has to stop them: one that hangs does not ask whether to go on.
        """
        overdue = [number for number in self.running if self._is_overdue(number)]
        for number in overdue:
            self._guard(partial(self._give_up, number))
        return overdue

    def tick(self) -> None:
        """Say that time passes."""
        self._listener.tick()

    def _next_trial(self) -> Trial | None:
        self._check_room()
        self.used_up = self._spending.used_up
        trial = None if self.used_up else self._study.next_trial()
        checkpoint = self._checkpoints.newest(trial.number) if trial else None
        if trial and checkpoint and self._study.go_on_from(trial.number, checkpoint.epoch):
            return dataclasses.replace(trial, checkpoint=checkpoint)
        return trial

    def _check_room(self) -> None:
        folder = self._weights_dir.parent
        free = shutil.disk_usage(folder).free / 1e9
        if free < self._min_free_gb:
            raise RunError(
                f"only {free:.2g} GB are free on the disk of {folder}, and no trial begins below "
                f"{self._min_free_gb:g} (--min-free-gb); make room, then resume"
            )

    def fail(self, error: TunecnnError) -> None:
        """End the session: whoever runs trials cannot go on."""
        self.failure = self.failure or error

    def _take(self, number: int, update: TrialUpdate) -> bool:
        self._heard = True
        if number not in self._placed:
            self._study.place(number, update.node, update.device)
            self._placed.add(number)
        if update.bad_checkpoint:
            self._checkpoints.drop(number)
            self._put_back(number, f"it starts again, since {update.bad_checkpoint}")
            return False
        for metrics in update.epochs:
            is_last = update.end is not None and metrics == update.epochs[-1]
            self._spending.epoch(metrics)
            pruned = self._study.report(number, metrics, is_last=is_last)
            self._listener.epoch(number, metrics)
            if pruned:
                self._checkpoints.drop(number)
                self._listener.ended(self._study.record(number))
                return False
        if update.end is not None:
            self._finish(number, update.end)
            return False
        if update.checkpoint is not None:  # after the epochs that led to it
            self._checkpoints.write(number, update.checkpoint)
        if self._is_overdue(number):
            self._give_up(number)
            return False
        return True

    def _is_overdue(self, number: int) -> bool:
        if self._trial_timeout is None or number not in self._started:
            return False
        return time.monotonic() - self._started[number] > self._trial_timeout

    def _give_up(self, number: int) -> None:
        reason = f"not at its end after {self._trial_timeout:g} s (--trial-timeout)"
        self._finish(number, TrialEnd(Outcome.TIMEOUT, reason=reason))

    def _put_back(self, number: int, reason: str) -> None:
        self._study.requeue(number)
        self._started.pop(number, None)
        self._placed.discard(number)
        self._listener.interrupted(number, reason)

    def _finish(self, number: int, end: TrialEnd) -> None:
        if end.outcome is Outcome.OUT_OF_MEMORY and self._study.postpone(number):
            self._placed.discard(number)
            self._started.pop(number, None)
            self._listener.interrupted(number, f"alone, at the end, after: {end.reason}")
            return
        # Weights first: a trial that is told complete is not trained again.
        if end.weights is not None:
            write_atomically(weights_path(self._weights_dir, number), end.weights)
        self._study.finish(number, end)
        self._checkpoints.drop(number)
        record = self._study.record(number)
        if record.state == "COMPLETE":
            assert record.kept is not None
            self._spending.complete(record.kept.val_accuracy)
            self._kept.add(number)
            self._drop_all_but_the_best()
        self._listener.ended(record)

    def _drop_all_but_the_best(self) -> None:
        ranked = sorted(map(self._study.record, self._kept), key=lambda record: record.rank)
        for record in ranked[self._keep_weights :]:
            self._kept.discard(record.number)
            weights_path(self._weights_dir, record.number).unlink(missing_ok=True)

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


def _kept_numbers(weights_dir: Path) -> list[int]:
    return [int(path.stem.removeprefix("trial-")) for path in weights_dir.glob("trial-*")]
