"""Between whoever runs trials and the study: every report goes to the journal and to the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from tunecnn.errors import RunError, TunecnnError
from tunecnn.files import write_atomically
from tunecnn.metrics import EpochMetrics, Outcome, Report
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

    def tick(self) -> None:
        """Take note that time passes: called several times a second."""


class Recorder:
    """Hands out a study's trials and takes in what becomes of them.

    Args:
        study: open for writing.
        weights_dir: where the weights of the best few complete trials are kept.
        listener: shows what happens.

    Attributes:
        failure: why the study cannot go on, once it cannot.
    """

    def __init__(self, study: Study, weights_dir: Path, listener: Listener) -> None:
        self._study = study
        self._weights_dir = weights_dir
        self._listener = listener
        self._placed: set[int] = set()
        self._kept: dict[int, float] = {
            number: kept.val_accuracy
            for number in _kept_numbers(weights_dir)
            if (kept := study.record(number).kept) is not None
        }
        self.failure: TunecnnError | None = None

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the trials under way."""
        return self._study.running

    def next_trial(self) -> Trial | None:
        """Return the next trial to train, or None if there is none or the study has failed."""
        trial = self._guard(self._study.next_trial)
        if trial is not None:
            self._listener.began(trial)
        return trial

    def report(self, number: int, report: Report) -> bool:
        """Take in what a worker says of a trial; return whether the trial is to go on."""
        return bool(self._guard(lambda: self._report(number, report)))

    def worker_died(self, number: int, reason: str, max_attempts: int) -> None:
        """Put a trial back into the queue, or give it up after so many times."""

        def retry_or_fail() -> None:
            if self._study.count_failure(number) < max_attempts:
                self._study.requeue(number)
                self._placed.discard(number)
                self._listener.interrupted(number, reason)
            else:
                self._finish(number, Outcome("error", reason=reason))

        self._guard(retry_or_fail)

    def tick(self) -> None:
        """Say that time passes."""
        self._listener.tick()

    def _report(self, number: int, report: Report) -> bool:
        if number not in self._placed:
            self._study.place(number, report.node, report.device)
            self._placed.add(number)
        for metrics in report.epochs:
            pruned = self._study.report(number, metrics)
            self._listener.epoch(number, metrics)
            if pruned:
                self._listener.ended(self._study.record(number))
                return False
        if report.outcome is not None:
            self._finish(number, report.outcome)
        return report.outcome is None

    def _finish(self, number: int, outcome: Outcome) -> None:
        self._study.finish(number, outcome)
        record = self._study.record(number)
        if outcome.weights is not None and record.kept is not None:
            self._keep(number, record.kept.val_accuracy, outcome.weights)
        self._listener.ended(record)

    def _keep(self, number: int, val_accuracy: float, weights: bytes) -> None:
        """Keep the weights of the best few trials, and those of no other."""
        self._kept[number] = val_accuracy
        best = sorted(self._kept, key=lambda n: (-self._kept[n], n))[:KEEP_WEIGHTS]
        if number in best:
            write_atomically(weights_path(self._weights_dir, number), weights)
        for other in set(self._kept) - set(best):
            del self._kept[other]
            weights_path(self._weights_dir, other).unlink(missing_ok=True)

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


def weights_path(weights_dir: Path, number: int) -> Path:
    """Return where the weights of a trial are kept."""
    return weights_dir / f"trial-{number:05d}.safetensors"


def _kept_numbers(weights_dir: Path) -> list[int]:
    return [int(path.stem.removeprefix("trial-")) for path in weights_dir.glob("trial-*")]
