"""Messages of a worker about a trial: metrics of each epoch, checkpoints, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, TypeAdapter


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of one epoch.

    Attributes:
        epoch: number of the epoch, counted from 1.
        train_loss: mean loss over the epoch's training steps, as minimized by the optimizer (with
            dropout, augmentation and label smoothing).
        train_accuracy: share of the training images classified correctly in those steps, in
            [0, 1].
        val_loss: mean cross-entropy over the validation images after the epoch.
        val_accuracy: share of the validation images classified correctly after the epoch, in
            [0, 1].
        seconds: wall time of the epoch, including validation, in seconds.
        val_balanced_accuracy: mean over the classes of the share of their validation images that
            are classified correctly, in [0, 1]; NaN if it was not recorded.
    """

    epoch: Annotated[int, Field(ge=1, lt=2**31)]
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: Annotated[float, Field(ge=0, le=1)]
    seconds: Annotated[float, Field(ge=0, le=1e9)]
    val_balanced_accuracy: float = math.nan

    @property
    def diverged(self) -> bool:
        """Whether a loss is not finite, so that the network cannot learn any more."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochMetrics:
        """Make metrics from the values in a file; None, where the file cannot hold NaN, is NaN.

        Raises:
            ValueError: if these are no values of metrics.
        """
        figures: dict[str, Any] = {k: math.nan if v is None else v for k, v in values.items()}
        return _METRICS.validate_python(figures)


_METRICS = TypeAdapter(EpochMetrics)


class Outcome(StrEnum):
    """The outcome of a trial, or its current state if it has not ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    ERROR = "error"
    INFEASIBLE = "infeasible"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"

    @property
    def words(self) -> str:
        """The text of the outcome in a summary."""
        return _WORDS[self]

    @property
    def has_ended(self) -> bool:
        """Whether the trial is neither running, paused nor waiting."""
        return self not in (Outcome.RUNNING, Outcome.PAUSED, Outcome.WAITING)

    @property
    def is_judged(self) -> bool:
        """Whether its accuracy counts: trained to the end, or stopped or paused by the pruner."""
        return self in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.PAUSED)

    @property
    def is_failure(self) -> bool:
        """Whether the trial failed, so that a summary gives the reason."""
        return self in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT, Outcome.ERROR)


_WORDS = {
    Outcome.COMPLETE: "trained to the end",
    Outcome.PRUNED: "stopped early by the pruner",
    Outcome.DIVERGED: "diverged",
    Outcome.OUT_OF_MEMORY: "out of memory",
    Outcome.TIMEOUT: "took too long",
    Outcome.ERROR: "failed with an error",
    Outcome.INFEASIBLE: "not trained: broke a constraint, or could not be built",
    Outcome.RUNNING: "running",
    Outcome.PAUSED: "paused by the pruner",
    Outcome.WAITING: "waiting",
}


@dataclass(frozen=True)
class TrialEnd:
    """The end of a trial that was not pruned.

    Attributes:
        outcome: outcome of the trial.
        kept_epoch: epoch whose weights a complete trial keeps: the last one, unless early stopping
            restored an earlier one.
        reason: text about every outcome except `complete`.
        weights: kept weights of a complete trial, as safetensors bytes.
        predictions: labels and predicted classes of the validation images with these weights: an
            int32 array of shape (2, n), as the bytes of a `.npy` file.
    """

    outcome: Outcome
    kept_epoch: int | None = None
    reason: str = ""
    weights: bytes | None = field(default=None, repr=False)  # kept out of Ray's log
    predictions: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `epoch` epochs, as serialized by `tunecnn.trial.training`."""

    epoch: int
    data: bytes = field(repr=False)  # kept out of Ray's names and log lines


@dataclass(frozen=True)
class TrialUpdate:
    """A worker's message about the trial that it trains.

    Attributes:
        epochs: metrics of the epochs that ended since the last message.
        end: end of the trial; None while it is running.
        checkpoint: state from which another process can continue; None in most messages.
        bad_checkpoint: reason why the given checkpoint could not be used, so that the trial has to
            start again; empty if it could be used.
        device_error: error of the device, which is not the trial's fault until it comes back on
            another one; after it, the process cannot use the device any more. Empty if there was
            none.
    """

    epochs: tuple[EpochMetrics, ...]
    end: TrialEnd | None
    checkpoint: Checkpoint | None = None
    bad_checkpoint: str = ""
    device_error: str = ""
