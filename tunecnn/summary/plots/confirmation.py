"""Picture of a confirmation. The function takes a run and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tunecnn.analysis.classes import confusion_on_test
from tunecnn.analysis.confirmation import summarize_confirmation, trials_of
from tunecnn.run.run import Run
from tunecnn.summary.plots.images import confusion_figure

NEW, SEARCH, BASELINE = "#2f6fab", "#c8502d", "#1c1c1c"


def confirmed(run: Run) -> Figure:
    """Draw each candidate's accuracy with each new seed, their mean, and that of the search."""
    lines = summarize_confirmation(run).candidates[::-1]
    figure = Figure(figsize=(8, 1.4 + 0.45 * len(lines)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title in zip(panels, ("validation", "test"), strict=True):
        for row, line in enumerate(lines):
            over_seeds = line.validation if title == "validation" else line.test
            values = list(over_seeds.values.values())
            color = BASELINE if line.is_baseline else NEW
            axes.plot(values, [row] * len(values), "o", color=color, alpha=0.5, markersize=5)
            if over_seeds.mean is not None:
                axes.plot(over_seeds.mean, row, "|", color=color, markersize=18, mew=2.5)
            if title == "validation" and line.search_accuracy is not None:
                axes.plot(line.search_accuracy, row, "D", mfc="none", color=SEARCH)
        axes.set_title(f"{title} accuracy", fontsize=10)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(lines)), [line.name for line in lines], fontsize=9)
    panels[0].set_ylim(-0.6, len(lines) - 0.4)
    panels[0].plot([], [], "o", color=NEW, alpha=0.5, label="one new seed")
    panels[0].plot([], [], "|", color=NEW, markersize=14, mew=2.5, label="their mean")
    panels[0].plot([], [], "D", mfc="none", color=SEARCH, label="one seed, in the search")
    panels[0].plot([], [], "o", color=BASELINE, label="the baseline")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the best candidate on the test images, over its new seeds."""
    best = summarize_confirmation(run).candidates[0]
    counts = confusion_on_test(run, trials_of(run, best.name))
    return confusion_figure(
        counts,
        run.info.dataset.classes,
        f"{best.name}, on the test images with each new seed, in % of the true class",
    )


def applies(name: str, run: Run) -> bool:
    """Return whether there is something to draw in the picture of some name."""
    return name != "confusion" or not run.predictions.empty


FIGURES: Mapping[str, Callable[[Run], Figure]] = {"confirmed": confirmed, "confusion": confusion}
"""Functions that draw the pictures of a confirmation, by file name."""
