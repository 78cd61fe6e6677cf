"""One listener that calls several."""

from __future__ import annotations

from collections.abc import Sequence

from tunecnn.run.listener import Listener
from tunecnn.study.records import TrialRecord
from tunecnn.study.study import TrialTask
from tunecnn.trial.messages import EpochMetrics


class Several(Listener):
    """Calls listeners in their order.

    Args:
        listeners: listeners to call.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def on_trial_start(self, task: TrialTask) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_trial_start(task)

    def on_epoch(self, number: int, metrics: EpochMetrics) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_epoch(number, metrics)

    def on_trial_end(self, record: TrialRecord) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_trial_end(record)

    def on_trial_pause(self, record: TrialRecord) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_trial_pause(record)

    def on_trial_requeue(self, number: int, reason: str) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_trial_requeue(number, reason)

    def on_note(self, text: str) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_note(text)

    def on_warning(self, text: str) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_warning(text)

    def on_tick(self) -> None:
        """Call each listener."""
        for one in self._listeners:
            one.on_tick()
