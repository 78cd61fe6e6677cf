"""`Tracker`: what a tracker of experiments must be able to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tunecnn.study.records import TrialRecord
from tunecnn.trial.config import Scalar
from tunecnn.trial.messages import EpochMetrics


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told about a run.

    Attributes:
        id: id of the run.
        name: name of the run.
        goal: question that the run should answer.
        folder: folder of the run.
        settings: settings of the search, by name.
    """

    id: str
    name: str
    goal: str
    folder: Path
    settings: Mapping[str, Scalar]


class Tracker(Protocol):
    """Sends what a run records to a tracker; each method may fail, and is then called again.

    The methods are called in one thread. Keys are the tracker's own ids, which are kept in the
    run's folder, so that a resumed run continues the same ones.
    """

    def open(self, run: TrackedRun, key: str | None) -> str:
        """Begin the tracker's run of the search, or continue it; return its key."""

    def begin(self, record: TrialRecord, key: str | None) -> str:
        """Begin the tracker's run of a trial below it, or continue it; return its key."""

    def log(self, key: str, epochs: Sequence[EpochMetrics]) -> None:
        """Send epochs of a trial."""

    def pause(self, key: str) -> None:
        """Free what is held open for a trial that may go on much later, or never."""

    def end(self, key: str, record: TrialRecord) -> None:
        """Send the outcome of a trial that has ended."""

    def close(self, key: str, ending: str, files: Sequence[Path]) -> None:
        """Send the summary and its pictures, and end the tracker's run of the search."""


def metrics_of(epoch: EpochMetrics) -> dict[str, float]:
    """Return the metrics of an epoch by name, without its number and what was not measured."""
    return {
        name: float(value)
        for name, value in vars(epoch).items()
        if name != "epoch" and math.isfinite(value)
    }


def result_of(record: TrialRecord) -> dict[str, float]:
    """Return the figures of a trial that count at its end, by name."""
    found: dict[str, float] = {}
    if record.kept is not None:
        found = {f"final_{name}": value for name, value in metrics_of(record.kept).items()}
        found.pop("final_seconds", None)
    found["epochs"] = float(len(record.epochs))
    found["training_seconds"] = record.seconds
    if record.params is not None:
        found["params"] = float(record.params)
    return found
