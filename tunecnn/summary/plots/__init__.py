"""Pictures of a run; each function takes a run and returns a matplotlib figure."""

from tunecnn.summary.plots.confirmation import confirmed
from tunecnn.summary.plots.reproduction import accuracy, confusion, loss
from tunecnn.summary.plots.search import (
    control,
    curves,
    front,
    history,
    importances,
    interaction,
    isolation,
    parameters,
)

__all__ = [
    "accuracy",
    "confirmed",
    "confusion",
    "control",
    "curves",
    "front",
    "history",
    "importances",
    "interaction",
    "isolation",
    "loss",
    "parameters",
]
