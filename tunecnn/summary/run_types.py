"""What is said of each type of run: its analysis, its pictures and its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from tunecnn.analysis.confirmation import ConfirmationSummary, summarize_confirmation
from tunecnn.analysis.reproduction import ReproductionSummary, summarize_reproduction
from tunecnn.analysis.search import SearchSummary, summarize_search
from tunecnn.run.run import Run
from tunecnn.summary.plots import confirmation, reproduction, search

RunSummary = SearchSummary | ReproductionSummary | ConfirmationSummary


@dataclass(frozen=True)
class RunType:
    """What is said of one type of run.

    Attributes:
        summarize: analyses a run.
        figures_of: returns the functions that draw the pictures of a run, by file name.
        template: file of the summary's text.
    """

    summarize: Callable[[Run], RunSummary]
    figures_of: Callable[[Run], Mapping[str, Callable[[Run], Figure]]]
    template: str


RUN_TYPES: Mapping[str, RunType] = {
    "search": RunType(summarize_search, search.figures_of, "search.md.j2"),
    "reproduction": RunType(summarize_reproduction, reproduction.figures_of, "reproduction.md.j2"),
    "confirmation": RunType(summarize_confirmation, confirmation.figures_of, "confirmation.md.j2"),
}
"""By the type of a run's job."""


def summarize(run: Run) -> RunSummary:
    """Summarize a run as it stands, whatever its type."""
    return RUN_TYPES[run.job.type].summarize(run)
