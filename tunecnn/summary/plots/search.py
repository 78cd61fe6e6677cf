"""Pictures of a search. Each function takes a run and returns a matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from tunecnn.analysis import diagnostics
from tunecnn.analysis.classes import confusion_matrix
from tunecnn.analysis.random_baseline import best_so_far, compare_with_random
from tunecnn.errors import InputError
from tunecnn.run.run import Run
from tunecnn.space.parameters import ChoiceParameter, IntParameter
from tunecnn.summary.plots.images import confusion_figure

COMPLETE, STOPPED, BEST, BASELINE = "#2f6fab", "#a8b3bd", "#c8502d", "#1c1c1c"


def history(run: Run) -> Figure:
    """Draw each trial's validation accuracy, and the best so far, by trial number."""
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
    """Draw each trial's validation accuracy by epoch; the best and the baseline stand out."""
    figure, axes = _figure("Learning curves")
    best = None if run.best is None else int(run.best["trial"])
    baseline = None if run.baseline_trial is None else int(run.baseline_trial["trial"])
    ends = dict(zip(run.trials["trial"], run.trials["state"], strict=True))
    lines: dict[bool, list[Any]] = {True: [], False: []}
    for number, epochs in run.epochs.groupby("trial")[["epoch", "val_accuracy"]]:
        lines[ends[number] == "COMPLETE"].append(epochs.to_numpy())
    for is_complete, some in lines.items():
        line_style: dict[str, Any] = {
            "color": COMPLETE if is_complete else STOPPED,
            "alpha": 0.45 if is_complete else 0.7,
        }
        # One collection for all of them: thousands of separate lines would take seconds.
        longer = [points for points in some if len(points) > 1]
        axes.add_collection(LineCollection(longer, linewidths=1, **line_style))
        single = [points[0] for points in some if len(points) == 1]
        if single:
            axes.plot(*zip(*single, strict=True), ".", **line_style)
    axes.autoscale_view()
    for trial, color, style, name in (
        (baseline, BASELINE, "--", "the baseline"),
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
    """Draw validation accuracy against the searched parameters, one panel per parameter."""
    searched = run.space.searched
    if not searched:
        figure, axes = _figure("No parameter was searched")
        axes.set_axis_off()
        return figure
    figure, panels = _panels(len(searched), 3, (3.5, 2.9), sharey=True)
    baseline = run.space.baseline_point()
    complete, stopped = _by_state(run.trials.dropna(subset=["val_accuracy"]))
    for i, (axes, name) in enumerate(zip(panels, searched, strict=True)):
        parameter = searched[name]
        column = f"param.{name}"
        # A parameter with a condition does not exist in every trial.
        done, ended = complete.dropna(subset=[column]), stopped.dropna(subset=[column])
        bins, stopped_places = done[column], ended[column]
        if isinstance(parameter, ChoiceParameter):
            position = list(parameter.options).index
            bins, stopped_places = bins.map(position), stopped_places.map(position)
            axes.set_xticks(range(len(parameter.options)), list(map(str, parameter.options)))
            axes.set_xlim(-0.5, len(parameter.options) - 0.5)
        elif parameter.log:
            _log_scale(axes)
        elif isinstance(parameter, IntParameter):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scatter(axes, bins, stopped_places, done, ended)
        if name in baseline and parameter.contains(baseline[name]):
            value: Any = baseline[name]
            at = (
                parameter.options.index(value) if isinstance(parameter, ChoiceParameter) else value
            )
            axes.axvline(float(at), color=BASELINE, linestyle=":", linewidth=1)
        axes.set_xlabel(name)
        _finish(axes, legend=False, label=i % 3 == 0)
    figure.suptitle(
        "Accuracy against each searched parameter\n"
        "filled: trained to the end; hollow: stopped early (triangle: below the edge); "
        "dotted: value of the baseline",
        fontsize=10,
    )
    return figure


def importances(run: Run) -> Figure:
    """Draw the share of each parameter in the variance of the accuracy after an early epoch."""
    found = diagnostics.importance_analysis(run)
    figure, axes = _figure(
        f"Parameter importances (fANOVA, accuracy after epoch {found.epoch} of {found.trials} "
        "trials)"
    )
    shares = found.shares.iloc[::-1]
    if shares.empty:
        axes.text(0.5, 0.5, "no parameter has a clear effect", ha="center", va="center")
        axes.set_axis_off()
        return figure
    error = [
        (shares["share"] - shares["low"]).clip(lower=0),
        (shares["high"] - shares["share"]).clip(lower=0),
    ]
    axes.barh(list(shares.index), shares["share"], color=COMPLETE, xerr=error, ecolor=BASELINE)
    axes.set_xlabel("share of the variance of validation accuracy; 95 % over resampled trials")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def front(run: Run) -> Figure:
    """Draw the complete trials of a search with two objectives, and their Pareto front.

    Raises:
        InputError: if the search had one objective.
    """
    if len(run.space.objectives) == 1:
        raise InputError(f"{run.path} had one objective, so there is no front")
    cost = run.space.objectives[1]
    figure, axes = _figure("Accuracy against cost, and the Pareto front")
    best = diagnostics.pareto_front(run)
    axes.scatter(
        run.ranked[cost], run.ranked["val_accuracy"], s=26, color=COMPLETE, alpha=0.6,
        label=f"trained to the end ({len(run.ranked)})",
    )  # fmt: skip
    axes.step(best[cost], best["val_accuracy"], where="post", color=BEST, linewidth=1)
    axes.scatter(
        best[cost], best["val_accuracy"], s=40, color=BEST, zorder=3,
        label=f"Pareto front ({len(best)})",
    )  # fmt: skip
    for _, row in best.iterrows():
        axes.annotate(
            str(row["trial"]), (row[cost], row["val_accuracy"]), xytext=(0, 6),
            textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    baseline = run.baseline_trial
    if baseline is not None and baseline["state"] == "COMPLETE":
        axes.scatter(
            baseline[cost], baseline["val_accuracy"], s=110, facecolors="none",
            edgecolors=BASELINE, zorder=4, label="the baseline",
        )  # fmt: skip
    _log_scale(axes)
    axes.set_xlabel({"macs": "multiply-accumulates per image"}.get(cost, cost))
    _finish(axes)
    return figure


def _ends(accuracies: pd.Series) -> tuple[float, float]:
    """Return the limits of a scale for accuracies, at least one point apart."""
    if accuracies.empty:
        return 0.0, 1.0
    low, high = accuracies.min(), accuracies.max()
    middle, half = (low + high) / 2, max(high - low, 0.01) / 2
    return middle - half, middle + half


def isolation(run: Run) -> Figure:
    """Draw the best complete trial for each value of each scientific parameter."""
    lines = diagnostics.isolation(run)
    names = list(dict.fromkeys(line.parameter for line in lines))
    if not names:
        figure, axes = _figure("No scientific parameter has a complete trial")
        axes.set_axis_off()
        return figure
    figure, panels = _panels(len(names), 3, (3.5, 2.9), sharey=True)
    low, high = _ends(pd.Series([line.val_accuracy for line in lines]))
    panels[0].set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
    for i, (axes, name) in enumerate(zip(panels, names, strict=True)):
        there = [line for line in lines if line.parameter == name]
        axes.plot(
            [line.value for line in there], [line.val_accuracy for line in there],
            marker="o", color=COMPLETE, linewidth=1,
        )  # fmt: skip
        for line in there:
            axes.annotate(
                str(line.complete), (line.value, line.val_accuracy), xytext=(0, 5),
                textcoords="offset points", ha="center", fontsize=8,
            )  # fmt: skip
        axes.tick_params(axis="x", labelrotation=30)
        axes.set_xlabel(name)
        _finish(axes, legend=False, label=i % 3 == 0)
    figure.suptitle(
        "Best complete trial for each value, whatever the other parameters were\n"
        "numbers: complete trials with that value (the best of more is better by luck)",
        fontsize=10,
    )
    return figure


def interaction(run: Run) -> Figure:
    """Draw the best trial, and the number of trials, by width and each dropout.

    Raises:
        InputError: if the run did not search a width and a dropout together.
    """
    crossed = diagnostics.crossing(run)
    if crossed is None:
        raise InputError(f"{run.path} did not search a width and a dropout together")
    width, dropouts = crossed
    trials, which = diagnostics.crossed_trials(run) or (run.ranked, "trials trained to the end")
    figure, panels = _panels(len(dropouts), 2, (4.6, 3.1), sharey=False)
    low, high = _ends(trials[run.space.metric])
    image = None
    for axes, dropout in zip(panels, dropouts, strict=True):
        best, count = diagnostics.best_by(run, width, dropout, trials)
        values = best.to_numpy()
        image = axes.imshow(best, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        for row, column in np.ndindex(values.shape):
            number = int(count.to_numpy()[row, column])
            dark = number and values[row, column] < (low + high) / 2
            axes.text(
                column, row, str(number), ha="center", va="center", fontsize=8,
                color="white" if dark else BASELINE if number else STOPPED,
            )  # fmt: skip
        axes.set_xticks(range(best.shape[1]), best.columns, rotation=30, fontsize=8)
        axes.set_yticks(range(best.shape[0]), best.index, fontsize=8)
        axes.set_xlabel(dropout)
        axes.set_ylabel(width)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, label="best validation accuracy")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.suptitle(
        f"Width and dropout together, {which}: best accuracy (colour), number of trials (numbers)",
        fontsize=10,
    )
    return figure


def random_baseline(run: Run) -> Figure:
    """Draw the best complete trial so far of the search and of its random baseline."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for name, curve in best_so_far(run).items():
        color = BEST if name == "search" else BASELINE
        for axes, column in zip(panels, ("trial_count", "device_seconds"), strict=True):
            axes.step(curve[column], curve["best"], where="post", color=color, label=name)
    for axes, words in zip(
        panels, ("trials of the source", "device-seconds of the source"), strict=True
    ):
        axes.set_xlabel(words)
        _finish(axes, legend=False, label=axes is panels[0])
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle("Best complete trial so far: the search and random search", fontsize=11)
    return figure


def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the best trial on the validation images."""
    assert run.best is not None
    trial = int(run.best["trial"])
    counts = confusion_matrix(run, trial)
    return confusion_figure(
        counts,
        run.info.dataset.classes,
        f"Trial {trial} on {counts.sum():,} validation images, in % of the true class",
    )


def applies(name: str, run: Run) -> bool:
    """Return whether there is something to draw in the picture of some name."""
    if name == "front":
        return len(run.space.objectives) > 1
    if name == "interaction":
        return diagnostics.crossed_trials(run) is not None
    if name == "confusion":
        return run.best is not None and not run.validation.empty
    if name == "random_baseline":
        return compare_with_random(run) is not None
    if name == "importances":
        return not diagnostics.importances(run).empty
    if name == "isolation":
        return bool(diagnostics.isolation(run))
    return name != "parameters" or bool(run.space.searched)


FIGURES: Mapping[str, Callable[[Run], Figure]] = {
    "history": history,
    "curves": curves,
    "parameters": parameters,
    "front": front,
    "isolation": isolation,
    "interaction": interaction,
    "random_baseline": random_baseline,
    "importances": importances,
    "confusion": confusion,
}
"""Functions that draw the pictures of a search, by file name."""


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


def _panels(
    count: int, most: int, size: tuple[float, float], *, sharey: bool
) -> tuple[Figure, list[Axes]]:
    """Make a figure with at most `most` panels per row; `size` is that of a panel, in inches."""
    columns = min(most, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def _log_scale(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _by_state(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return trials[trials["outcome"] == "complete"], trials[trials["outcome"] == "pruned"]


def _scatter(
    axes: Axes, at: pd.Series, stopped_at: pd.Series, complete: pd.DataFrame, stopped: pd.DataFrame
) -> None:
    """Draw complete and stopped trials, on the scale of the complete ones.

    The accuracy of stopped trials is often far lower, and would compress the scale.
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
