"""Shows the progress of a run in a terminal: one line per trial, and a live status line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunecnn.run.listener import Listener
from tunecnn.study.records import TrialRecord
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.messages import EpochMetrics
from tunecnn.words import in_short, seconds_in_words

_MARKS = {"complete": "green", "pruned": "dim", "paused": "dim", "infeasible": "dim"}


class Terminal(Listener):
    """A listener that prints the progress of a run for people.

    Args:
        study: study whose trials are shown.
        folder: folder of the run.
        console: console to print to.
    """

    def __init__(self, study: Study, folder: Path, console: Console) -> None:
        self._study = study
        self._console = console
        self._is_closed = False
        self._started = time.monotonic()
        self._before = study.started
        self._best: tuple[float, int] | None = None
        for record in study.records:
            self._note(record)
        self._live: Live | None = None
        self._print(f"run: {folder}")
        if study.dropped_line:
            self._print("the journal's last line was incomplete and has been dropped")
        if self._before:
            self._print(f"resumed: {self._before} of {study.space.trials} trials had ended")

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
        self._note(record)
        if not record.was_paused:
            self._print(self._line(record))
        self.on_tick()

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Print one line for a trial that has been paused."""
        self._print(self._line(record))
        self.on_tick()

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Print that a trial went back into the queue."""
        self.on_warning(f"trial {number} will be retried: {reason}")

    def on_note(self, text: str) -> None:
        """Print a statement."""
        self._print(text)

    def on_warning(self, text: str) -> None:
        """Print a warning."""
        self._print(text)

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

    def _note(self, record: TrialRecord) -> None:
        if record.state == "COMPLETE" and record.kept is not None:
            candidate = (record.kept.val_accuracy, -record.number)
            self._best = max(self._best, candidate) if self._best else candidate

    def _line(self, record: TrialRecord) -> Text:
        ended = self._study.started - len(self._study.running)
        accuracy = f"{record.kept.val_accuracy:7.2%}" if record.kept else "      -"
        seconds = sum(metrics.seconds for metrics in record.epochs)
        line = Text(f"{ended:3d}/{self._study.space.trials}  trial {record.number:<4d} ")
        line.append(f"{record.outcome:10s}", _MARKS.get(record.outcome, "red"))
        line.append(
            f" {accuracy}  {len(record.epochs):3d} epochs  {seconds_in_words(seconds):>8s}"
        )
        if self._best is not None and self._best[1] == -record.number:
            line.append("  best so far", "bold")
        for name, value in record.values.items():
            line.append(f"  {name}={in_short(value)}")
        if record.outcome not in _MARKS:
            line.append(f"  {record.reason}", "red")
        return line

    def _status(self) -> str:
        running = len(self._study.running)
        ended = self._study.started - running
        requested = self._study.space.trials
        parts = [f"{ended}/{requested} trials", f"{running} running"]
        if self._best is not None:
            parts.append(f"best {self._best[0]:.2%} (trial {-self._best[1]})")
        elapsed = time.monotonic() - self._started
        parts.append(f"{seconds_in_words(elapsed)}")
        done_here = ended - self._before
        if done_here > 0 and ended < requested:
            left = elapsed / done_here * (requested - ended)
            parts.append(f"about {seconds_in_words(left)} left")
        return ", ".join(parts)
