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
from tunecnn.summary.plots import PLOTS
from tunecnn.summary.plots.style import Plot

RunSummary = SearchSummary | ReproductionSummary | ConfirmationSummary


@dataclass(frozen=True)
class RunType:
    """Analysis, pictures and template of one type of run.

    Attributes:
        summarize: function that summarizes a run.
        plots: its pictures, by file name.
        template: file name of the summary's template.
    """

    summarize: Callable[[Run], RunSummary]
    plots: Mapping[str, Plot]
    template: str

    def figures_of(self, run: Run) -> dict[str, Figure]:
        """Draw the pictures of a run for which there is something to draw, by file name."""
        return {name: one.draw(run) for name, one in self.plots.items() if one.applies(run)}


RUN_TYPES: Mapping[str, RunType] = {
    "search": RunType(summarize_search, PLOTS["search"], "search.md.j2"),
    "reproduction": RunType(summarize_reproduction, PLOTS["reproduction"], "reproduction.md.j2"),
    "confirmation": RunType(summarize_confirmation, PLOTS["confirmation"], "confirmation.md.j2"),
}
"""Types of run by the type of their job."""


def summarize(run: Run | str | Path) -> RunSummary:
    """Summarize a run as it stands, whatever its type; it may be given by its folder."""
    run = as_run(run)
    return RUN_TYPES[run.job.type].summarize(run)
