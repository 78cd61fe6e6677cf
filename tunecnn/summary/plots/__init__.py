"""Pictures of a run; each function takes a run and returns a matplotlib figure."""

from tunecnn.summary.plots.confirmation import confirmed
from tunecnn.summary.plots.reproduction import accuracy, confusion, loss
from tunecnn.summary.plots.search import (
    curves,
    front,
    history,
    importances,
    interaction,
    isolation,
    parameters,
    random_baseline,
)

__all__ = [
    "accuracy",
    "confirmed",
    "confusion",
    "random_baseline",
    "curves",
    "front",
    "history",
    "importances",
    "interaction",
    "isolation",
    "loss",
    "parameters",
]
