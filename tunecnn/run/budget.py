"""Spending of a run; when its budget is used up, no further trial starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tunecnn.space.strategy import Budget
from tunecnn.study.records import TrialRecord
from tunecnn.trial.messages import EpochMetrics

_HOUR = 3600.0


class Spending:
    """The part of a run's budget that has been spent.

    Args:
        budget: limits of the run.
        metric: accuracy by which its trials are ranked, to which `accuracy` applies.
        devices: number of GPUs per trial, or of cores without GPUs, in this session.
        wall_seconds: duration of the earlier sessions, in seconds.
        records: trials of the earlier sessions.
        clock: function that returns the time in seconds.
    """

    def __init__(
        self,
        budget: Budget,
        metric: str,
        devices: float,
        wall_seconds: float,
        records: Iterable[TrialRecord],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._metric = metric
        self.devices = devices
        self._wall_before = wall_seconds
        self._clock = clock
        self._started = clock()
        self._device_seconds = 0.0
        self._best = 0.0
        for record in records:
            took = devices if record.devices is None else record.devices
            self._device_seconds += took * record.spent
            if record.is_complete and record.kept is not None:
                self.complete(record.kept)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Add the duration of an epoch."""
        self._device_seconds += metrics.seconds * self.devices

    def complete(self, kept: EpochMetrics) -> None:
        """Record the kept epoch of a trial that was trained to its end."""
        self._best = max(self._best, getattr(kept, self._metric) or 0.0)

    @property
    def used_up(self) -> str:
        """Limit that has been reached, in words; empty if none."""
        budget = self._budget
        hours = (self._wall_before + self._clock() - self._started) / _HOUR
        if budget.accuracy is not None and self._best >= budget.accuracy:
            balanced = "" if self._metric == "val_accuracy" else "balanced "
            return f"a trial reached {self._best:.2%} {balanced}validation accuracy"
        if budget.hours is not None and hours >= budget.hours:
            return f"{hours:.3g} of {budget.hours:g} hours are used up"
        device_hours = self._device_seconds / _HOUR
        if budget.device_hours is not None and device_hours >= budget.device_hours:
            return f"{device_hours:.3g} of {budget.device_hours:g} device-hours are used up"
        return ""
