"""`Listener`: whoever is called about what happens in a run."""

from __future__ import annotations

from typing import Protocol

from tunecnn.study.records import TrialRecord
from tunecnn.study.study import TrialTask
from tunecnn.trial.messages import EpochMetrics


class Listener(Protocol):
    """Is called about the events of a run, in the process that runs the study."""

    def on_trial_start(self, task: TrialTask) -> None:
        """Called when a trial starts, also when it starts again."""

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Called with the figures of each epoch of a trial."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Called when a trial has ended, whatever the outcome."""

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Called when a trial goes back into the queue."""

    def on_warning(self, text: str) -> None:
        """Called with something that the user should know."""

    def on_tick(self) -> None:
        """Called several times a second."""


class SilentListener:
    """A listener that does nothing: derive from it, and override what is needed."""

    def on_trial_start(self, task: TrialTask) -> None:
        """Do nothing."""

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Do nothing."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Do nothing."""

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Do nothing."""

    def on_warning(self, text: str) -> None:
        """Do nothing."""

    def on_tick(self) -> None:
        """Do nothing."""
