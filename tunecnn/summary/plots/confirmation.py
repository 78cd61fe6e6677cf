"""Picture of a confirmation. The function takes a run and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tunecnn.analysis.classes import confusion_on_test
from tunecnn.analysis.confirmation import (
    ConfirmationSummary,
    summarize_confirmation,
    trials_of,
)
from tunecnn.analysis.overview import balanced_in_words
from tunecnn.run.run import Run
from tunecnn.summary.plots.images import confusion_figure
from tunecnn.summary.plots.style import (
    BASELINE,
    Picture,
    Plot,
    legend_below,
    picture,
    state_finding,
)
from tunecnn.summary.plots.style import BEST as SEARCH
from tunecnn.summary.plots.style import COMPLETE as NEW


@picture
def confirmed(run: Run) -> Figure:
    """Draw each candidate's accuracy with each new seed, their mean, and that of the search.

    With several splits of the data, a point is the mean over the seeds of one.
    """
    summary = summarize_confirmation(run)
    repeat = "seed" if summary.splits == 1 else "split, mean of its seeds"
    lines = summary.candidates[::-1]
    figure = Picture(figsize=(8, 2.1 + 0.45 * len(lines)), layout="constrained")
    titles = ["validation", "test"] if any(line.test.values for line in lines) else ["validation"]
    panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, title in zip(panels, titles, strict=True):
        for row, line in enumerate(lines):
            over_seeds = line.validation if title == "validation" else line.test
            values = list(over_seeds.repeats.values())
            color = BASELINE if line.is_baseline else NEW
            marker = "s" if line.is_baseline else "o"
            axes.plot(values, [row] * len(values), marker, color=color, alpha=0.6, markersize=5)
            if over_seeds.mean is not None:
                axes.plot(over_seeds.mean, row, "|", color=color, markersize=18, mew=2.5)
            if title == "validation" and line.search_accuracy is not None:
                axes.plot(line.search_accuracy, row, "D", mfc="none", color=SEARCH)
        axes.set_title(f"{balanced_in_words(summary.metric)}{title} accuracy", fontsize=10)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    names = [one.name if len(one.name) < 28 else f"{one.name[:26]}..." for one in lines]
    panels[0].set_yticks(range(len(lines)), names, fontsize=9)
    panels[0].set_ylim(-0.6, len(lines) - 0.4)
    panels[0].plot([], [], "o", color=NEW, alpha=0.5, label=f"one new {repeat}")
    panels[0].plot([], [], "|", color=NEW, markersize=14, mew=2.5, label="their mean")
    if not summary.searched_with:
        panels[0].plot([], [], "D", mfc="none", color=SEARCH, label="in the search")
    panels[0].plot([], [], "s", color=BASELINE, label="the baseline")
    legend_below(figure, panels[0])
    state_finding(figure, _finding(summary))
    return figure


def _finding(summary: ConfirmationSummary) -> str:
    pick = summary.candidates[0]
    gain, where = pick.test_gain, "on the test images"
    if gain.mean is None:
        gain, where = pick.validation_gain, "on the validation images"
    if pick.validation.mean is None:
        return "No candidate has been trained to its end with a new seed yet"
    balanced = balanced_in_words(summary.metric)
    on_validation = f"{pick.validation.mean:.2%} mean {balanced}validation accuracy"
    if pick.is_baseline:
        return f"The baseline has {on_validation}"
    if gain.mean is None:
        return f"{pick.name} has {on_validation}"
    text = f"{pick.name} is {100 * gain.mean:+.2f} points from the baseline {where}"
    if gain.interval is not None:
        text += f" ({100 * gain.interval[0]:+.2f} to {100 * gain.interval[1]:+.2f})"
    return f"{text}: {gain.verdict}"


@picture
def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the best candidate on the test images, over its new seeds."""
    best = summarize_confirmation(run).candidates[0]
    counts = confusion_on_test(run, trials_of(run, best.name))
    return confusion_figure(
        counts,
        run.info.dataset.classes,
        f"{best.name}, on the test images with each new seed",
    )


def _has_tested_its_best(run: Run) -> bool:
    """Return whether the best candidate has predictions: an interrupted run may have others'."""
    best = summarize_confirmation(run).candidates[0].name
    return bool((run.predictions["candidate"] == best).any())


PLOTS: Mapping[str, Plot] = {
    "confirmed": Plot(confirmed, lambda _: True),
    "confusion": Plot(confusion, _has_tested_its_best),
}
"""Pictures of a confirmation, by file name."""
