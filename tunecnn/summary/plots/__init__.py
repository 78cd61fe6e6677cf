"""Pictures of a run; each function takes a run (`comparison` several) and returns a figure."""

from matplotlib.figure import Figure

from tunecnn.run.run import Run
from tunecnn.summary.plots import confirmation, reproduction, search
from tunecnn.summary.plots.comparison import comparison
from tunecnn.summary.plots.confirmation import confirmed
from tunecnn.summary.plots.reproduction import accuracy, loss
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
from tunecnn.summary.plots.style import picture

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

_CONFUSION = {
    "search": search.confusion,
    "confirmation": confirmation.confusion,
    "reproduction": reproduction.confusion,
}


@picture
def confusion(run: Run) -> Figure:
    """Draw confusion matrices: of the best trial of a search, or of what a run has tested.

    Raises:
        InputError: if the search keeps no predictions of its best trial.
    """
    return _CONFUSION[run.job.type](run)
