"""The plot of a comparison: what several searches found, by the time that they spent."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from tunecnn.analysis.comparison import best_so_far_by_time, check_comparable, names_of
from tunecnn.analysis.overview import balanced_in_words
from tunecnn.run.run import Run
from tunecnn.summary.plots.style import Picture, picture, state_finding

_DASHES = ("-", "--", "-.", ":")


@picture
def comparison(runs: Sequence[Run]) -> Figure:
    """Draw the best accuracy so far of each search, by the training time of its trials.

    Raises:
        InputError: as for `tunecnn.compare`.
    """
    check_comparable(runs)
    figure = Picture(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    ends = []
    for index, (run, name) in enumerate(zip(runs, names_of(runs), strict=True)):
        best = best_so_far_by_time(run)
        if best.empty:
            continue
        ends.append((float(best.iloc[-1]), name))
        axes.step(  # the accuracy comes first: matplotlib hides a label that begins with _
            best.index,
            best * 100,
            where="post",
            label=f"{best.iloc[-1]:.2%}: {name}",
            linestyle=_DASHES[index % len(_DASHES)],
            marker=".",
        )
    axes.set_xlabel("training time of all trials together (s)")
    metrics = {run.space.metric for run in runs}
    which = balanced_in_words(metrics.pop()) if len(metrics) == 1 else ""
    note = ", each in its own metric" if metrics else ""
    axes.set_ylabel(f"best {which}validation accuracy so far{note} (%)")
    finding = "No trial has been trained to the end"
    if ends:
        accuracy, name = max(ends)
        finding = f"Highest single trial: {accuracy:.2%}, by {name}"
        axes.legend(fontsize=8)
    state_finding(figure, finding)
    return figure
