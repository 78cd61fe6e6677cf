"""Pictures of a run; each function takes a run (`comparison` several) and returns a figure."""

from tunecnn.summary.plots.comparison import comparison
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
    "comparison",
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
