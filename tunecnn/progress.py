"""Shows how a search goes: live in a terminal, a line a trial elsewhere, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunecnn.messages import EpochMetrics
from tunecnn.records import TrialRecord
from tunecnn.study import Study, TrialTask
from tunecnn.words import in_short, seconds_in_words

_MARKS = {"complete": "green", "pruned": "dim", "infeasible": "dim"}


class Progress:
    """A listener that prints.

    Args:
        study: whose trials are shown.
        folder: of the run.
        console: where to print.
        json_lines: print one JSON object a line for each trial that ends, and nothing else.
        quiet: print nothing.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        console: Console,
        *,
        json_lines: bool = False,
        quiet: bool = False,
    ) -> None:
        self._study = study
        self._console = console
        self._json = json_lines
        self._quiet = quiet or json_lines
        self._began = time.monotonic()
        self._before = study.begun
        self._best: tuple[float, int] | None = None
        for record in study.records:
            self._note(record)
        self._live: Live | None = None
        if not self._quiet:
            console.print(f"run: {folder}", highlight=False, soft_wrap=True)
            if study.dropped_line:
                console.print("the journal's last line was torn and has been dropped")
            if self._before:
                console.print(
                    f"resumed: {self._before} of {study.space.trials} trials had ended",
                    highlight=False,
                )

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Keep a live line at the bottom of a terminal for as long as the context lasts."""
        if self._quiet or not self._console.is_terminal:
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
        """Print a line for a trial that has ended."""
        self._note(record)
        if self._json:
            self._say(lambda: print(_json_line(record), flush=True))
        elif not self._quiet:
            self._say(lambda: self._console.print(self._line(record), soft_wrap=True))
        self.on_tick()

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Print that a trial went back into the queue."""
        self.on_warning(f"trial {number} will be tried again: {reason}")

    def on_warning(self, text: str) -> None:
        """Print something that the user should know."""
        if not self._quiet:
            self._say(lambda: self._console.print(text, highlight=False, soft_wrap=True))

    def on_tick(self) -> None:
        """Refresh the live line."""
        live = self._live
        if live is not None:
            self._say(lambda: live.update(Text(self._status()), refresh=True))

    def _say(self, say: Callable[[], None]) -> None:
        """Print, unless nobody listens any more: that is no reason to end a search."""
        try:
            say()
        except (OSError, SystemExit):  # rich answers a closed pipe with the latter
            self._quiet, self._json, self._live = True, False, None

    def _note(self, record: TrialRecord) -> None:
        if record.state == "COMPLETE" and record.kept is not None:
            candidate = (record.kept.val_accuracy, -record.number)
            self._best = max(self._best, candidate) if self._best else candidate

    def _line(self, record: TrialRecord) -> Text:
        ended = self._study.begun - len(self._study.running)
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
        ended = self._study.begun - running
        asked = self._study.space.trials
        parts = [f"{ended}/{asked} trials", f"{running} running"]
        if self._best is not None:
            parts.append(f"best {self._best[0]:.2%} (trial {-self._best[1]})")
        elapsed = time.monotonic() - self._began
        parts.append(f"{seconds_in_words(elapsed)}")
        done_here = ended - self._before
        if done_here > 0 and ended < asked:
            left = elapsed / done_here * (asked - ended)
            parts.append(f"about {seconds_in_words(left)} left")
        return ", ".join(parts)


def _json_line(record: TrialRecord) -> str:
    facts = {
        "event": "trial",
        "trial": record.number,
        "state": record.state,
        "outcome": record.outcome,
        "reason": record.reason,
        "val_accuracy": record.kept.val_accuracy if record.kept else None,
        "epochs": len(record.epochs),
        "parameters": record.parameters,
        "values": dict(record.values),
    }
    return json.dumps(facts)
