"""Registry of the types of run: analysis, pictures and template of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from tunecnn.analysis.confirmation import ConfirmationSummary, summarize_confirmation
from tunecnn.analysis.reproduction import ReproductionSummary, summarize_reproduction
from tunecnn.analysis.search import SearchSummary, summarize_search
from tunecnn.run.run import Run, as_run
from tunecnn.summary.plots import confirmation, reproduction, search

RunSummary = SearchSummary | ReproductionSummary | ConfirmationSummary


@dataclass(frozen=True)
class RunType:
    """Analysis, pictures and template of one type of run.

    Attributes:
        summarize: function that summarizes a run.
        figures: functions that draw a run's pictures, by file name.
        template: file name of the summary's template.
        applies: function that returns whether a run has something to draw in a picture.
    """

    summarize: Callable[[Run], RunSummary]
    figures: Mapping[str, Callable[[Run], Figure]]
    template: str
    applies: Callable[[str, Run], bool]

    def figures_of(self, run: Run) -> dict[str, Callable[[Run], Figure]]:
        """Return the functions that draw the pictures of a run, by file name."""
        return {name: draw for name, draw in self.figures.items() if self.applies(name, run)}


RUN_TYPES: Mapping[str, RunType] = {
    "search": RunType(summarize_search, search.FIGURES, "search.md.j2", search.applies),
    "reproduction": RunType(
        summarize_reproduction, reproduction.FIGURES, "reproduction.md.j2", reproduction.applies
    ),
    "confirmation": RunType(
        summarize_confirmation, confirmation.FIGURES, "confirmation.md.j2", confirmation.applies
    ),
}
"""Types of run by the type of their job."""


def summarize(run: Run | str | Path) -> RunSummary:
    """Summarize a run as it stands, whatever its type; it may be given by its folder."""
    run = as_run(run)
    return RUN_TYPES[run.job.type].summarize(run)
