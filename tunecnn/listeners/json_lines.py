"""Prints a JSON object for each event of a run, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunecnn.console import print_json
from tunecnn.run.listener import Listener
from tunecnn.study.records import TrialRecord


class JsonLines(Listener):
    """Prints a JSON object for each trial that ends or is queued again, note and warning."""

    def __init__(self) -> None:
        self._is_closed = False

    def on_note(self, text: str) -> None:
        """Print a statement about the images or the training."""
        self._print({"event": "note", "text": text})

    def on_warning(self, text: str) -> None:
        """Print a warning."""
        self._print({"event": "warning", "text": text})

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Print that a trial goes back into the queue."""
        self._print({"event": "requeue", "trial": number, "reason": reason})

    def on_trial_end(self, record: TrialRecord) -> None:
        """Print the outcome of the trial."""
        event = {
            "event": "trial",
            "trial": record.number,
            "state": record.state,
            "outcome": record.outcome,
            "reason": record.reason,
            "val_accuracy": record.kept.val_accuracy if record.kept else None,
            "val_balanced_accuracy": record.kept.val_balanced_accuracy if record.kept else None,
            "epochs": len(record.epochs),
            "params": record.params,
            "values": dict(record.values),
        }
        self._print(event)

    def _print(self, event: Mapping[str, Any]) -> None:
        """Print an event, unless the output has been closed."""
        if self._is_closed:
            return
        try:
            print_json(event)
        except OSError:
            self._is_closed = True
