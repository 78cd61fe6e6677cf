"""Shows the progress of a run in a terminal: one line per trial, and a live status line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunecnn.run.folder import RunFolder
from tunecnn.run.info import ConfirmationJob, Job
from tunecnn.run.listener import Listener
from tunecnn.study.records import Ranking, TrialRecord
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.config import NET
from tunecnn.trial.messages import EpochMetrics
from tunecnn.words import in_short, seconds_in_words

_COLUMNS = {"ended": 7, "trial": 5, "outcome": 10, "accuracy": 8, "epochs": 6, "time": 10, "": 4}
"""Width of each column of a line, by its heading."""
_LINES_PER_HEADING = 40
_NARROWEST = 8
_MARKS = {"complete": "green", "pruned": "dim", "paused": "dim"}


class Terminal(Listener):
    """A listener that prints the progress of a run for people.

    Args:
        study: study whose trials are shown.
        folder: folder of the run.
        console: console to print to.
        job: job of the run: of a confirmation, the candidate of each trial is shown.
    """

    def __init__(
        self, study: Study, folder: Path, console: Console, job: Job | None = None
    ) -> None:
        self._study = study
        self._console = console
        self._is_closed = False
        self._started = time.monotonic()
        self._before = study.started
        self._ranking = Ranking(study.space.metric, study.records)
        self._live: Live | None = None
        self._confirmation = job if isinstance(job, ConfirmationJob) else None
        self._columns = self._fitting_columns()
        self._printed = 0
        self._print(f"run: {folder}")
        if study.dropped_line:
            self._print("the journal's last record was incomplete and has been dropped")
        if self._before:
            paused = len(study.paused)
            ended = f"{study.ended} of {study.space.trials} trials had ended"
            self._print(f"resumed: {ended}{f', {paused} paused' * bool(paused)}")

    @classmethod
    def of_run(cls, study: Study, folder: Path, console: Console) -> Self:
        """Make the listener of a run, which knows the candidates if it is a confirmation."""
        return cls(study, folder, console, RunFolder(folder).read_info().job)

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Keep a live line at the bottom of a terminal for as long as the context lasts."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as self._live:
            yield self
        self._live = None

    def on_trial_start(self, task: TrialTask) -> None:
        """Refresh the live line."""
        self.on_tick()

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Refresh the live line."""
        self.on_tick()

    def on_trial_end(self, record: TrialRecord) -> None:
        """Print one line for a trial that has ended, unless it was paused before."""
        self._ranking.add(record)
        if not record.was_paused:
            self._print_trial(record)
        self.on_tick()

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Print one line for a trial that has been paused."""
        self._print_trial(record)
        self.on_tick()

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Print that a trial went back into the queue."""
        self.on_note(f"trial {number} will be retried: {reason}")

    def on_note(self, text: str) -> None:
        """Print a statement."""
        self._print(text)

    def on_warning(self, text: str) -> None:
        """Print a warning."""
        self._print(f"warning: {text}")

    def on_tick(self) -> None:
        """Refresh the live line."""
        live = self._live
        if live is not None:
            self._say(lambda: live.update(Text(self._status()), refresh=True))

    def _print(self, text: str | Text) -> None:
        self._say(lambda: self._console.print(text, highlight=False, soft_wrap=True))

    def _say(self, say: Callable[[], None]) -> None:
        """Print, unless the output has been closed: a closed output must not end the search."""
        if self._is_closed:
            return
        try:
            say()
        except (OSError, SystemExit):  # rich raises SystemExit on a closed pipe
            self._is_closed, self._live = True, None

    def _accuracy(self, record: TrialRecord) -> str:
        return f"{getattr(record.kept, self._study.space.metric):.2%}" if record.kept else "-"

    def _line(self, record: TrialRecord) -> Text:
        ended = self._study.ended
        outcome = record.outcome
        best = self._ranking.best
        is_best = best is not None and best.number == record.number
        line = Text()
        for words, (heading, width), style in zip(
            (
                f"{ended}/{self._study.space.trials}",
                str(record.number),
                str(outcome),
                self._accuracy(record),
                str(len(record.epochs)),
                seconds_in_words(record.seconds),
                "best" * is_best,
            ),
            _COLUMNS.items(),
            ("", "", _MARKS.get(outcome, "red"), "", "", "", "bold"),
            strict=True,
        ):
            line.append(_cell(words, heading, width), style)
        if self._confirmation:
            line.append(f"  {self._confirmation.candidate_of(record.number).name}")
        for name, width in self._columns.items():
            value = record.values.get(name)
            line.append(f"  {'-' if value is None else in_short(value):>{width}s}")
        line.rstrip()
        if outcome not in _MARKS:
            line.append(f"  {record.reason}", "red")
        return line

    def _print_trial(self, record: TrialRecord) -> None:
        """Print the line of a trial, below a heading now and then."""
        if self._printed % _LINES_PER_HEADING == 0:
            heading = "".join(_cell(name, name, width) for name, width in _COLUMNS.items())
            heading += "  candidate" if self._confirmation else ""
            heading += "".join(
                f"  {_short(name):>{width}s}" for name, width in self._columns.items()
            )
            self._print(Text(heading.rstrip(), "dim"))
        self._printed += 1
        self._print(self._line(record))

    def _fitting_columns(self) -> dict[str, int]:
        """Return the searched parameters for which there is room, with the width of each."""
        if self._confirmation:
            return {}  # what they differ in is in the summary
        names = list(self._study.space.searched_settings)
        room = (
            self._console.width - sum(2 + width for width in _COLUMNS.values())
            if self._console.is_terminal
            else math.inf
        )
        columns: dict[str, int] = {}
        for name in names:
            width = max(len(_short(name)), _NARROWEST)
            room -= width + 2
            if room < 0:
                break
            columns[name] = width
        return columns

    def _status(self) -> str:
        running, paused = len(self._study.running), len(self._study.paused)
        ended, requested = self._study.ended, self._study.space.trials
        parts = [f"{ended}/{requested} trials", f"{running} running"]
        if paused:
            parts.append(f"{paused} paused")
        best = self._ranking.best
        if best is not None:
            parts.append(f"best {self._accuracy(best)} (trial {best.number})")
        elapsed = time.monotonic() - self._started
        parts.append(f"{seconds_in_words(elapsed)}")
        # Few paused trials go on, so the time that is left is that of the trials still to start.
        tried = ended + paused
        if tried > self._before and tried < requested:
            left = elapsed / (tried - self._before) * (requested - tried)
            parts.append(f"about {seconds_in_words(left)} left")
        return ", ".join(parts)


def _cell(words: str, heading: str, width: int) -> str:
    """Return words with the width of their column; what is no number stands on the left."""
    side = "<" if heading in ("outcome", "") else ">"
    return f"  {words:{side}{width}s}"


def _short(name: str) -> str:
    return name.removeprefix(NET)
