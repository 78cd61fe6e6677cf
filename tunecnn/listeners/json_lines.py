"""Prints one JSON object per trial that ends, for programs."""

from __future__ import annotations

import json

from tunecnn.run.listener import Listener
from tunecnn.study.records import TrialRecord


class JsonLines(Listener):
    """A listener that prints one JSON object per ended trial, for programs."""

    def __init__(self) -> None:
        self._is_closed = False

    def on_trial_end(self, record: TrialRecord) -> None:
        """Print the outcome of the trial, unless the output has been closed."""
        if self._is_closed:
            return
        event = {
            "event": "trial",
            "trial": record.number,
            "state": record.state,
            "outcome": record.outcome,
            "reason": record.reason,
            "val_accuracy": record.kept.val_accuracy if record.kept else None,
            "epochs": len(record.epochs),
            "params": record.params,
            "values": dict(record.values),
        }
        try:
            print(json.dumps(event), flush=True)
        except OSError:
            self._is_closed = True
