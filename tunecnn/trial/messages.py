"""What a worker says of a trial: the figures of each epoch, checkpoints, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


@dataclass(frozen=True)
class EpochMetrics:
    """The figures of one epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: mean loss over the epoch's training steps, as the optimizer saw it (dropout,
            augmentation and label smoothing included).
        train_accuracy: share of the training images classified right in those steps, in [0, 1].
        val_loss: mean cross-entropy over the validation images after the epoch.
        val_accuracy: share of the validation images classified right after the epoch, in [0, 1].
        seconds: wall time of the epoch, its validation included.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    @property
    def diverged(self) -> bool:
        """Whether a loss is not finite, so that nothing more is to be learned."""
        return not (math.isfinite(self.train_loss) and math.isfinite(self.val_loss))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a mapping; a loss that is not finite becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Undo `to_dict`; None becomes NaN."""
        figures: dict[str, Any] = {k: math.nan if v is None else v for k, v in values.items()}
        return cls(**figures)


class Outcome(StrEnum):
    """How a trial ended, or where it stands."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    ERROR = "error"
    INFEASIBLE = "infeasible"
    RUNNING = "running"
    WAITING = "waiting"

    @property
    def words(self) -> str:
        """The outcome as a summary says it."""
        return _WORDS[self]

    @property
    def is_failure(self) -> bool:
        """Whether the trial ended by a fault, of which a summary gives the reason."""
        return self in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.TIMEOUT, Outcome.ERROR)


_WORDS = {
    Outcome.COMPLETE: "trained to the end",
    Outcome.PRUNED: "stopped early by the pruner",
    Outcome.DIVERGED: "diverged",
    Outcome.OUT_OF_MEMORY: "out of memory",
    Outcome.TIMEOUT: "took too long",
    Outcome.ERROR: "failed with an error",
    Outcome.INFEASIBLE: "not trained: broke a constraint",
    Outcome.RUNNING: "running",
    Outcome.WAITING: "waiting",
}


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended that was not pruned.

    Attributes:
        outcome: how it ended.
        kept_epoch: epoch whose weights a complete trial keeps: its last one, unless early stopping
            restored an earlier one.
        reason: in words, for every outcome but `complete`.
        weights: kept weights as safetensors bytes, where they were requested.
    """

    outcome: Outcome
    kept_epoch: int | None = None
    reason: str = ""
    weights: bytes | None = field(default=None, repr=False)  # Ray writes messages into its log


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `epoch` epochs, as `tunecnn.trial.training` writes it."""

    epoch: int
    data: bytes = field(repr=False)  # Ray makes names and log lines of what it is given


@dataclass(frozen=True)
class TrialUpdate:
    """A worker's message about the trial that it trains.

    Attributes:
        epochs: figures of the epochs that ended since the last message.
        end: how the trial ended; None while it goes on.
        node: name of the worker's machine.
        device: such as `cpu` or `cuda`.
        checkpoint: now and then, the state from which another process can go on.
        bad_checkpoint: why the given checkpoint could not be used, so that the trial has to start
            again; empty if it could.
    """

    epochs: tuple[EpochMetrics, ...]
    end: TrialEnd | None
    node: str
    device: str
    checkpoint: Checkpoint | None = None
    bad_checkpoint: str = ""
