"""`Listener`: base class of the objects that are called about the events of a run."""

from __future__ import annotations

from tunecnn.study.records import TrialRecord
from tunecnn.study.study import TrialTask
from tunecnn.trial.messages import EpochMetrics


class Listener:
    """Receives the events of a run, in the process that runs the study.

    The methods do nothing; a subclass overrides those that it needs.
    """

    def on_trial_start(self, task: TrialTask) -> None:
        """Is called when a trial starts or is restarted."""

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Is called with the metrics of each epoch of a trial."""

    def on_trial_end(self, record: TrialRecord) -> None:
        """Is called when a trial that was trained has ended, whatever its outcome."""

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Is called when the pruner has paused a trial, which it may promote later."""

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Is called when a trial goes back into the queue."""

    def on_note(self, text: str) -> None:
        """Is called with a statement about the images, the training or the cluster."""

    def on_warning(self, text: str) -> None:
        """Is called with a warning for the user."""

    def on_tick(self) -> None:
        """Is called several times per second."""
