"""Pictures of a run; each function takes a run (`comparison` several) and returns a figure."""

from collections.abc import Mapping

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
from tunecnn.summary.plots.style import Plot, picture

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

PLOTS: Mapping[str, Mapping[str, Plot]] = {
    "search": search.PLOTS,
    "confirmation": confirmation.PLOTS,
    "reproduction": reproduction.PLOTS,
}
"""Pictures by file name, by the type of the run's job."""


@picture
def confusion(run: Run) -> Figure:
    """Draw confusion matrices: of the best trial of a search, or of what a run has tested.

    Raises:
        InputError: if the search keeps no predictions of its best trial.
    """
    return PLOTS[run.job.type]["confusion"].draw(run)
