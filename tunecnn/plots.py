"""The pictures of a run. Each function takes a run and returns a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from tunecnn.parameters import ChoiceParameter, IntParameter

if TYPE_CHECKING:
    from tunecnn.runs import Run

COMPLETE, STOPPED, BEST, REPORT = "#2f6fab", "#a8b3bd", "#c8502d", "#1c1c1c"


def history(run: Run) -> Figure:
    """Draw each trial's validation accuracy, and the best complete one so far, by number."""
    figure, axes = _figure("Search history")
    complete, stopped = _by_state(run.trials.dropna(subset=["val_accuracy"]))
    _scatter(axes, complete["trial"], stopped["trial"], complete, stopped)
    if len(complete):
        axes.step(
            complete["trial"], complete["val_accuracy"].cummax(), where="post", color=BEST,
            label="best so far",
        )  # fmt: skip
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes)
    return figure


def curves(run: Run) -> Figure:
    """Draw each trial's validation accuracy by epoch; the best and the report's stand out."""
    figure, axes = _figure("Learning curves")
    best = None if run.best is None else int(run.best["trial"])
    report = None if run.report_trial is None else int(run.report_trial["trial"])
    ends = dict(zip(run.trials["trial"], run.trials["state"], strict=True))
    for number, epochs in run.epochs.groupby("trial"):
        complete = ends[number] == "COMPLETE"
        axes.plot(
            epochs["epoch"], epochs["val_accuracy"], linewidth=1,
            color=COMPLETE if complete else STOPPED, alpha=0.45 if complete else 0.7,
            marker="" if len(epochs) > 1 else ".",
        )  # fmt: skip
    for trial, color, style, name in (
        (report, REPORT, "--", "the report's design"),
        (best, BEST, "-", "best"),
    ):
        if trial is not None:
            epochs = run.epochs[run.epochs["trial"] == trial]
            axes.plot(
                epochs["epoch"], epochs["val_accuracy"], color=color, linestyle=style,
                linewidth=2.2, label=f"{name} (trial {trial})",
            )  # fmt: skip
    axes.plot([], [], color=COMPLETE, alpha=0.6, label="trained to the end")
    axes.plot([], [], color=STOPPED, label="not trained to the end")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes)
    return figure


def parameters(run: Run) -> Figure:
    """Draw validation accuracy against each searched parameter, a panel for each."""
    searched = run.space.searched
    if not searched:
        figure, axes = _figure("No parameter was searched")
        axes.set_axis_off()
        return figure
    columns = min(3, len(searched))
    rows = math.ceil(len(searched) / columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    report = run.space.report_point()
    complete, stopped = _by_state(run.trials.dropna(subset=["val_accuracy"]))
    for i, (axes, name) in enumerate(zip(grid.flat, searched, strict=False)):
        parameter = searched[name]
        column = f"param.{name}"
        places, stopped_places = complete[column], stopped[column]
        if isinstance(parameter, ChoiceParameter):
            position = list(parameter.options).index
            places, stopped_places = places.map(position), stopped_places.map(position)
            axes.set_xticks(range(len(parameter.options)), list(map(str, parameter.options)))
            axes.set_xlim(-0.5, len(parameter.options) - 0.5)
        elif parameter.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif isinstance(parameter, IntParameter):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scatter(axes, places, stopped_places, complete, stopped)
        if name in report and parameter.contains(report[name]):
            value: Any = report[name]
            at = (
                parameter.options.index(value) if isinstance(parameter, ChoiceParameter) else value
            )
            axes.axvline(float(at), color=REPORT, linestyle=":", linewidth=1)
        axes.set_xlabel(name)
        _finish(axes, legend=False, label=i % columns == 0)
    for axes in list(grid.flat)[len(searched) :]:
        axes.set_axis_off()
    figure.suptitle(
        "Accuracy against each searched parameter\n"
        "filled: trained to the end; hollow: stopped early (at the edge: below it); "
        "dotted: the report's value",
        fontsize=10,
    )
    return figure


def importances(run: Run) -> Figure:
    """Draw the share of each parameter in the variance of the complete trials' accuracy."""
    count = len(run.ranked)
    figure, axes = _figure(f"Parameter importances (fANOVA on {count} complete trials)")
    shares = run.importances
    if not shares:
        axes.text(0.5, 0.5, "too few complete trials to say", ha="center", va="center")
        axes.set_axis_off()
        return figure
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=COMPLETE)
    axes.set_xlabel("share of the variance of validation accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES: Mapping[str, Callable[[Run], Figure]] = {
    "history": history,
    "curves": curves,
    "parameters": parameters,
    "importances": importances,
}
"""The summary's pictures by file name."""


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


def _by_state(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return trials[trials["ending"] == "complete"], trials[trials["ending"] == "pruned"]


def _scatter(
    axes: Axes, at: pd.Series, stopped_at: pd.Series, complete: pd.DataFrame, stopped: pd.DataFrame
) -> None:
    """Draw complete and stopped trials, on the scale of the complete ones.

    Trials that were stopped early are often far below; they would flatten all that matters.
    """
    edge = 0.0
    if len(complete):
        low, high = complete["val_accuracy"].min(), complete["val_accuracy"].max()
        margin = max(0.15 * (high - low), 0.002)
        edge = max(0.0, low - 3 * margin)
        axes.set_ylim(edge, min(1.0, high + margin))
    below = stopped["val_accuracy"] < edge
    for part, marker, words in ((~below, "o", ""), (below, "v", ", below the edge")):
        if not part.any():
            continue
        axes.scatter(
            stopped_at[part], stopped["val_accuracy"][part].clip(lower=edge), s=22, marker=marker,
            facecolors="none", edgecolors=STOPPED, clip_on=False, zorder=2,
            label=f"stopped early{words} ({part.sum()})",
        )  # fmt: skip
    axes.scatter(
        at, complete["val_accuracy"], s=26, color=COMPLETE, zorder=3, clip_on=False,
        label=f"trained to the end ({len(complete)})",
    )  # fmt: skip


def _finish(axes: Axes, *, legend: bool = True, label: bool = True) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if label:
        axes.set_ylabel("validation accuracy")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure = axes.get_figure()
    if legend and isinstance(figure, Figure) and axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
