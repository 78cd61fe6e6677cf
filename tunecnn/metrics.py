"""What a trial reports: the figures of an epoch, and how the trial ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self


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


Ending = Literal["complete", "diverged", "out_of_memory", "timeout", "error", "bad_checkpoint"]


@dataclass(frozen=True)
class Outcome:
    """How a trial that was not pruned ended.

    Attributes:
        ending: `complete` if it was trained to its end; `bad_checkpoint` if it could not go on
            from the one it was given, so that it has to begin again.
        kept_epoch: the epoch whose weights the trial keeps: its last one, unless early stopping
            restored an earlier one.
        reason: in words, for everything but `complete`.
        weights: the kept weights as safetensors bytes, where they were asked for.
    """

    ending: Ending
    kept_epoch: int | None = None
    reason: str = ""
    weights: bytes | None = field(default=None, repr=False)  # Ray writes reports into its log


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `epoch` epochs, as `tunecnn.training` writes it."""

    epoch: int
    data: bytes = field(repr=False)  # Ray makes names and log lines of what it is given


@dataclass(frozen=True)
class Report:
    """What a worker says of the trial that it trains: new epochs, and the outcome at the end.

    `node` is the name of its machine, `device` is such as `cpu` or `cuda`; now and then there is
    a checkpoint, from which the trial can go on in another process.
    """

    epochs: tuple[EpochMetrics, ...]
    outcome: Outcome | None
    node: str
    device: str
    checkpoint: Checkpoint | None = None
