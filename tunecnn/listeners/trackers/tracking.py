"""Keeps a tracker up to date with a run, and the run safe from the tracker."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel

from tunecnn.errors import text_of
from tunecnn.files import read_own, write_atomically
from tunecnn.listeners.trackers.base import TrackedRun, Tracker
from tunecnn.run.folder import resume_command
from tunecnn.run.listener import Listener
from tunecnn.study.records import TrialRecord
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.messages import EpochMetrics, Outcome
from tunecnn.words import count_in_words

SENT = "trackers"
"""Folder in that of a run with what each tracker has received."""
PATIENCE = 10.0  # seconds without progress after which a tracker is given up at the end
_MOMENT = 2.0  # seconds
_TRIES = 3  # at the end, a second apart, of a tracker that fails
_RETRY_SECONDS = 10.0


class Tracking(Listener):
    """A listener that sends what a run records to one tracker.

    A thread sends it, so that a tracker that is slow, fails or hangs costs the run nothing. What
    could not be sent is tried again later and at the end, and when the run is resumed: what has
    been sent is kept in the run's folder.

    Args:
        name: name of the tracker.
        make: function that makes the tracker; called in the thread, since imports take seconds.
        run: run to track.
        study: study of the run.
    """

    def __init__(
        self, name: str, make: Callable[[], Tracker], run: TrackedRun, study: Study
    ) -> None:
        self.name = name
        self._make, self._run, self._study = make, run, study
        self._sent = Sent(run.folder / SENT / f"{name.partition(':')[0]}.json")
        self._tracker: Tracker | None = None
        self._key = ""
        self._newest: dict[int, TrialRecord] = {}  # what is not yet sent, by trial
        self._refused = 0  # trials that it did not take at the end, though it took others
        self._closing: tuple[str, Sequence[Path]] | None = None
        self._changed = threading.Condition()
        self._progress = time.monotonic()
        self._problems: list[str] = []
        self._is_done = False
        self._has_warned = False
        self._earlier = study.records
        for record in self._earlier:
            self._take(record)
        threading.Thread(target=self._send_all, name=f"tracker {name}", daemon=True).start()

    def on_trial_start(self, task: TrialTask) -> None:
        """Send the config of a trial."""
        self._take(self._study.record(task.number))

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Send an epoch."""
        self._take(self._study.record(number))

    def on_trial_end(self, record: TrialRecord) -> None:
        """Send the outcome of a trial."""
        self._take(record)

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Let the tracker free what it holds open for a trial."""
        self._take(record)

    def problems(self) -> list[str]:
        """Return what should be said to the user since the last call."""
        with self._changed:
            problems, self._problems = self._problems, []
        return problems

    def finish(self, ending: str, files: Sequence[Path]) -> list[str]:
        """Send what is missing, and the summary; give up after `PATIENCE` without progress.

        Args:
            ending: how the session ended.
            files: summary and pictures.

        Returns:
            What should be said to the user.
        """
        with self._changed:
            self._closing = ending, files
            now = time.monotonic()
            # One that has hung during the search already gets only a moment more.
            stalled = now - self._progress if self._newest else 0.0
            self._progress = now - min(stalled, PATIENCE - min(_MOMENT, PATIENCE))
            self._changed.notify_all()
            while not self._is_done:
                left = self._progress + PATIENCE - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            missing = len(self._newest) + self._refused
            if missing or not self._is_done:
                self._problems.append(
                    f"{self.name} has not taken everything"
                    + (f": {count_in_words(missing, 'trial')} missing" if missing else "")
                    + "; send the rest later with: "
                    + resume_command(self._run.folder)
                )
        return self.problems()

    def _take(self, record: TrialRecord) -> None:
        """Note the newest state of a trial."""
        if not record.config or self._sent.is_complete(record):
            return
        if record.outcome is Outcome.INFEASIBLE:  # of which nothing was trained
            return
        with self._changed:
            self._newest[record.number] = record
            self._changed.notify_all()

    def _send_all(self) -> None:
        """Send whatever there is, until the run is closed; runs in the thread."""
        failures = 0
        while not self._is_done:
            record, closing = self._next()
            try:
                self._send_next(record, closing)
            except Exception as error:  # of whatever kind: a tracker must not end a search
                self._complain(error)
                failures += closing is not None
                if self._put_last(record, failures):
                    failures = _TRIES - 1
                elif failures < _TRIES:
                    self._wait_to_retry(is_closing=closing is not None)
                else:
                    with self._changed:
                        self._progress = -math.inf
                        self._changed.notify_all()
                    return
            else:
                failures = 0
                with self._changed:
                    self._progress = time.monotonic()

    def _next(self) -> tuple[TrialRecord | None, tuple[str, Sequence[Path]] | None]:
        """Wait for something to send: a trial's newest state, if any, and what closes the run."""
        with self._changed:
            while not self._newest and self._closing is None:
                self._changed.wait()
                self._progress = time.monotonic()  # it was idle, and does not hang
            return next(iter(self._newest.values()), None), self._closing

    def _send_next(
        self, record: TrialRecord | None, closing: tuple[str, Sequence[Path]] | None
    ) -> None:
        """Open the tracker's run, send a trial, or close the run: the first that is due."""
        if self._tracker is None:
            self._tracker = self._make()
        if not self._key:
            self._open(self._tracker)
        elif record is not None:
            self._send(self._tracker, record)
            with self._changed:
                if self._newest.get(record.number) is record:
                    del self._newest[record.number]
        elif closing is not None:
            self._tracker.close(self._key, *closing)
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

    def _put_last(self, record: TrialRecord | None, failures: int) -> bool:
        """Put a trial that was refused behind the others; return whether all were, and are left.

        It may be refused alone, since it was deleted there.
        """
        with self._changed:
            if record is not None and self._newest.get(record.number) is record:
                self._newest[record.number] = self._newest.pop(record.number)
            if failures < _TRIES or not self._key or not self._newest:
                return False
            self._refused = len(self._newest)
            self._newest.clear()
            return True

    def _wait_to_retry(self, *, is_closing: bool) -> None:
        with self._changed:
            if is_closing:
                self._changed.wait(1.0)
            else:
                self._changed.wait_for(lambda: self._closing is not None, _RETRY_SECONDS)

    def _open(self, tracker: Tracker) -> None:
        """Begin or continue the tracker's run; one that is new gets the earlier trials too."""
        key = tracker.open(self._run, self._sent.key)
        self._sent.open(key)
        with self._changed:
            for record in self._earlier:
                if record.number not in self._newest:
                    self._take(record)
        self._key = key

    def _send(self, tracker: Tracker, record: TrialRecord) -> None:
        """Send what a trial has and the tracker has not."""
        key, sent, attempts, _ = self._sent.trial(record.number)
        if key is None or attempts == 0:
            key = tracker.begin(record, key)
        if attempts != record.attempts:
            sent = 0  # it went on from a checkpoint: epochs after that were repeated, and count
        self._sent.note(record.number, key, sent, record.attempts)
        if new := record.epochs[sent:]:
            tracker.log(key, new)
            self._sent.note(record.number, key, len(record.epochs), record.attempts)
        if record.outcome is Outcome.PAUSED:
            tracker.pause(key)
        if record.outcome.has_ended:
            tracker.end(key, record)
            self._sent.note(record.number, key, len(record.epochs), record.attempts, ended=True)

    def _complain(self, error: Exception) -> None:
        """Warn once; the search goes on."""
        if self._has_warned:
            return
        self._has_warned = True
        with self._changed:
            self._problems.append(
                f"{self.name} does not take the run ({type(error).__name__}: {text_of(error)}); "
                "the search goes on, and what is missing is sent again"
            )


class _Content(BaseModel):
    """What a tracker has of a run: keys, and of each trial its epochs, attempts and end."""

    key: str | None = None
    trials: dict[int, tuple[str | None, int, int, bool]] = {}


class Sent:
    """What a tracker has of a run, in a file of the run's folder.

    Args:
        path: path of the file; one that cannot be read counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = _Content()
        with contextlib.suppress(OSError, ValueError):
            self._content = _Content.model_validate_json(read_own(path))

    @property
    def key(self) -> str | None:
        """Key of the tracker's run of the search; None before the first."""
        return self._content.key

    def open(self, key: str) -> None:
        """Keep the key of the tracker's run of the search."""
        if key != self.key:
            self._content = _Content(key=key)
            self._write()

    def trial(self, number: int) -> tuple[str | None, int, int, bool]:
        """Return the key of a trial, its number of epochs and attempts, and whether it ended."""
        return self._content.trials.get(number, (None, 0, 0, False))

    def is_complete(self, record: TrialRecord) -> bool:
        """Return whether the tracker has all of a trial that has ended."""
        return record.outcome.has_ended and self.trial(record.number)[3]

    def note(
        self, number: int, key: str, epochs: int, attempts: int, *, ended: bool = False
    ) -> None:
        """Keep what the tracker has of a trial."""
        self._content.trials[number] = (key, epochs, attempts, ended)
        self._write()

    def _write(self) -> None:
        write_atomically(self._path, self._content.model_dump_json())


def files_of(folder: Path) -> list[Path]:
    """Return the files of a run that a tracker gets at the end."""
    pages = [folder / f"summary.{form}" for form in ("md", "html", "json")]
    more: Iterable[Path] = sorted((*folder.glob("figures/*.svg"), *folder.glob("configs/*.yaml")))
    return [path for path in (folder / "space.yaml", *pages, *more) if path.is_file()]
