"""Pictures of a search. Each function takes a run and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tunecnn.analysis import diagnostics
from tunecnn.analysis.classes import confusion_matrix
from tunecnn.analysis.overview import COSTS, ranked_by
from tunecnn.analysis.random_baseline import best_so_far, compare_with_random
from tunecnn.errors import InputError
from tunecnn.run.run import Run
from tunecnn.space.parameters import ChoiceParameter, IntParameter
from tunecnn.study.origin import Source
from tunecnn.summary.plots.images import confusion_figure
from tunecnn.summary.plots.style import (
    BASELINE,
    BEST,
    COMPLETE,
    MANY,
    STOPPED,
    Picture,
    Plot,
    count_along,
    ends_of,
    has_epochs,
    in_percent,
    legend_below,
    log_scale,
    panels,
    picture,
    state_finding,
    where_decided,
)
from tunecnn.trial.messages import Outcome
from tunecnn.words import count_in_words, in_short

_MOST_LABELS = 12


@picture
def history(run: Run) -> Figure:
    """Draw each trial's validation accuracy, and the best so far, by trial number."""
    figure, axes = _figure()
    complete, stopped = _by_state(run.trials.dropna(subset=[run.space.metric]))
    _scatter(axes, complete["trial"], stopped["trial"], complete, stopped, _scale(run))
    finding = "No trial has been trained to the end yet"
    if len(complete):
        in_order = complete.sort_values("trial")
        best = in_order[run.space.metric].cummax()
        axes.step(in_order["trial"], best, where="post", color=BEST, label="best up to this trial")
        # Trials end in another order than that of their numbers: a paused one goes on later.
        top = complete.sort_values("ended").nlargest(1, run.space.metric).iloc[0]
        number = int(top["trial"])
        has_means = _trial_or_mean(run) != "trial"
        best_of = "Highest of a single trial" if has_means else "Best"
        finding = f"{best_of} {top[run.space.metric]:.2%}, first reached by trial {number}"
        later = int((complete["ended"] > top["ended"]).sum())
        if later and not has_means:
            finding += f"; nothing gained in {count_in_words(later, 'complete trial')} after it"
    marks: tuple[tuple[pd.Series, str, dict[str, Any]], ...] = (
        (run.trials["proposal"] == "start", "start point", {"marker": "s", "facecolors": "none"}),
        (run.trials["source"] == Source.RANDOM_BASELINE, "random baseline", {"marker": "x"}),
    )
    for which, words, mark in marks:
        there = complete[which.reindex(complete.index)]
        if len(there):
            edge = axes.get_ylim()[0]
            axes.scatter(
                there["trial"],
                there[run.space.metric].clip(lower=edge),
                s=60,
                zorder=4,
                color=BASELINE,
                linewidths=1.1,
                label=f"{words}, to the end ({len(there)})",
                **mark,
            )
    axes.set_xlabel("trial")
    count_along(axes.xaxis)
    in_percent(axes, ranked_by(run))
    legend_below(figure, axes, 3)
    state_finding(figure, finding)
    return figure


@picture
def curves(run: Run) -> Figure:
    """Draw each trial's validation accuracy by epoch; the best and the baseline stand out."""
    figure, axes = _figure()
    best = None if run.best is None else int(run.best["trial"])
    baseline = None if run.baseline_trial is None else int(run.baseline_trial["trial"])
    ends = dict(zip(run.trials["trial"], run.trials["outcome"], strict=True))
    lines: dict[bool, list[Any]] = {True: [], False: []}
    for number, epochs in run.epochs.groupby("trial")[["epoch", run.space.metric]]:
        lines[ends[number] == Outcome.COMPLETE].append(epochs.to_numpy())
    for is_complete, some in lines.items():
        color = COMPLETE if is_complete else STOPPED
        # One collection for all of them: thousands of separate lines would take seconds.
        longer = [points for points in some if len(points) > 1]
        axes.add_collection(
            LineCollection(
                longer,
                linewidths=0.9,
                colors=color,
                rasterized=len(longer) > MANY,
                linestyles="solid" if is_complete else "dashed",
            )
        )
        single = [points[0] for points in some if len(points) == 1]
        if single:
            axes.plot(*zip(*single, strict=True), "." if is_complete else "x", color=color)
    axes.autoscale_view()
    _leave_out_the_start(axes, run)
    edge = axes.get_ylim()[0]
    for trial, color, style, name in (
        (baseline, BASELINE, "--", "the baseline"),
        (best, BEST, "-", "best"),
    ):
        if trial is not None and not (name == "best" and trial == baseline):
            epochs = run.epochs[run.epochs["trial"] == trial]
            unseen = ", below the edge" if epochs[run.space.metric].max() < edge else ""
            axes.plot(
                epochs["epoch"],
                epochs[run.space.metric],
                color=color,
                linestyle=style,
                linewidth=2.6,
                label=f"{name} (trial {trial}{unseen})",
                marker="o" if len(epochs) == 1 else "",
            )
    count, total = len(lines[True]), len(lines[True]) + len(lines[False])
    total += sum(record.outcome.is_failure and not record.epochs for record in run.records)
    axes.plot([], [], color=COMPLETE, label=f"trained to the end ({count})")
    others = len(lines[False])
    axes.plot([], [], color=STOPPED, linestyle="--", label=f"not to the end ({others})")
    axes.set_xlabel("epoch")
    count_along(axes.xaxis)
    in_percent(axes, ranked_by(run))
    low = sum(points[:, 1].max() < edge for points in (*lines[True], *lines[False]))
    note = f"{count_in_words(low, 'trial')} below the edge all along" if low else ""
    legend_below(figure, axes, note=note)
    finding = f"{count} of {total} trials were trained to the end"
    if run.best is not None:
        finding += f"; the best of them, trial {best}, reaches {_reached(run, best)}"
        if baseline == best:
            finding += " and is the baseline"
        elif run.baseline_trial is not None and run.baseline_trial["outcome"] == Outcome.COMPLETE:
            finding += f", the baseline {_reached(run, baseline)}"
    state_finding(figure, finding)
    return figure


def _reached(run: Run, trial: int | None) -> str:
    """Return the accuracy of a complete trial, and the mean if its values had several seeds."""
    row = run.ranked[run.ranked["trial"] == trial].iloc[0]
    text = f"{row[run.space.metric]:.2%}"
    return (
        text if row["seeds"] == 1 else f"{text} (mean of {row['seeds']} seeds: {row['mean']:.2%})"
    )


def _leave_out_the_start(axes: Axes, run: Run) -> None:
    """Scale the curves to where trials are told apart: the first epochs are far below.

    Of the best trial, at least the last three quarters are seen, also if all end close together.
    """
    if len(run.ranked) and run.best is not None:
        low, high = where_decided(run.ranked[run.space.metric])
        best = run.epochs.loc[run.epochs["trial"] == run.best["trial"], run.space.metric]
        low = min(low, float(best.iloc[len(best) // 4]))
        highest = float(run.epochs[run.space.metric].max())
        axes.set_ylim(low, max(high, highest + 0.05 * (highest - low)))


@picture
def parameters(run: Run) -> Figure:
    """Draw validation accuracy against the searched parameters, one panel per parameter.

    Raises:
        InputError: if no parameter was searched.
    """
    searched = run.space.searched
    if not searched:
        raise InputError(f"{run.path} searched no parameter")
    figure, grid = panels(len(searched), 3, (3.5, 2.6), sharey=True)
    baseline = run.space.baseline_point()
    complete, stopped = _by_state(run.trials.dropna(subset=[run.space.metric]))
    scale = _scale(run)
    for i, (axes, name) in enumerate(zip(grid, searched, strict=True)):
        parameter = searched[name]
        column = f"param.{name}"
        # A parameter with a condition does not exist in every trial.
        done, ended = complete.dropna(subset=[column]), stopped.dropna(subset=[column])
        places, stopped_places = done[column], ended[column]
        if isinstance(parameter, ChoiceParameter):
            position = parameter.in_order.index
            places, stopped_places = places.map(position), stopped_places.map(position)
            labels = [_shortened(option) for option in parameter.in_order]
            step = -(-len(labels) // _MOST_LABELS)
            axes.set_xticks(
                range(0, len(labels), step),
                labels[::step],
                rotation=30 if sum(map(len, labels[::step])) > 28 else 0,
            )
            axes.set_xlim(-0.5, len(labels) - 0.5)
        elif parameter.log:
            log_scale(axes)
        elif isinstance(parameter, IntParameter):
            count_along(axes.xaxis)
        _scatter(axes, places, stopped_places, done, ended, scale)
        if name in baseline and parameter.contains(baseline[name]):
            value: Any = baseline[name]
            at = (
                parameter.in_order.index(value)
                if isinstance(parameter, ChoiceParameter)
                else value
            )
            axes.axvline(float(at), color=BASELINE, linestyle=":", linewidth=1.2)
        axes.set_xlabel(name)
        in_percent(axes, ranked_by(run) if i % 3 == 0 else "")
    state_finding(
        figure,
        _what_matters(run),
        f"Dots: {len(complete)} trials trained to the end; hollow: {len(stopped)} stopped early "
        "or paused (triangle: below the edge); dotted: value of the baseline",
    )
    return figure


def _what_matters(run: Run) -> str:
    """Say which parameters have an effect, and the values of the best trial in those."""
    found = diagnostics.importance_analysis(run)
    if found.nothing:
        return found.nothing.removesuffix(".")
    shares = "; ".join(
        f"{name} {row['share']:.0%}" for name, row in found.shares.head(3).iterrows()
    )
    which = f"Clear effects {found.when} ({found.trials} trials)"
    more = f"; and {len(found.shares) - 3} more" if len(found.shares) > 3 else ""
    return f"{which}, of the variance: {shares}{more}"


@picture
def importances(run: Run) -> Figure:
    """Draw the share of each parameter in the variance of the accuracy after an early epoch.

    Raises:
        InputError: if no parameter has a clear effect.
    """
    found = diagnostics.importance_analysis(run)
    shares = found.shares.iloc[::-1]
    if shares.empty:
        raise InputError(f"{run.path} shows no clear effect of any parameter")
    figure = Picture(figsize=(7, 1.5 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    error = [
        (shares["share"] - shares["low"]).clip(lower=0),
        (shares["high"] - shares["share"]).clip(lower=0),
    ]
    axes.barh(list(shares.index), shares["share"], color=COMPLETE, xerr=error, ecolor=BASELINE)
    axes.set_xlabel("share of the variance")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    first, which = shares.iloc[-1], "Only {} has a clear effect"
    if len(shares) > 1:
        which = f"Of {len(shares)} parameters with a clear effect, {{}} has the largest share"
    state_finding(
        figure,
        f"{which.format(shares.index[-1])}: {first['share']:.0%} of the variance "
        f"({first['low']:.0%} to {first['high']:.0%})",
        f"Epsilon squared of the accuracy of {found.trials} trials {found.when}; lines: 95 % "
        "intervals; parameters without a clear effect are left out",
    )
    return figure


@picture
def front(run: Run) -> Figure:
    """Draw the complete trials of a search with two objectives, and their Pareto front.

    Raises:
        InputError: if the search had one objective.
    """
    if len(run.space.objectives) == 1:
        raise InputError(f"{run.path} had one objective, so there is no front")
    cost = run.space.objectives[1]
    figure, axes = _figure()
    best = diagnostics.pareto_front(run)
    axes.scatter(
        run.ranked[cost],
        run.ranked[run.space.metric],
        s=26,
        color=COMPLETE,
        rasterized=len(run.ranked) > MANY,
        label=f"trained to the end ({len(run.ranked)})",
    )
    axes.step(best[cost], best["mean"], where="post", color=BEST, linewidth=1)
    axes.scatter(
        best[cost],
        best["mean"],
        s=44,
        color=BEST,
        marker="D",
        zorder=3,
        label=f"Pareto front ({len(best)})",
    )
    for _, row in best.iterrows():
        axes.annotate(
            str(row["trial"]),
            (row[cost], row["mean"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    baseline = run.baseline_trial
    if baseline is not None and baseline["outcome"] == Outcome.COMPLETE:
        axes.scatter(
            baseline[cost],
            baseline[run.space.metric],
            s=110,
            facecolors="none",
            edgecolors=BASELINE,
            zorder=4,
            label="the baseline",
        )
    log_scale(axes)
    words = COSTS[cost]
    axes.set_xlabel(words)
    in_percent(axes, ranked_by(run))
    legend_below(figure, axes, note="numbers: the best trial of each on the front, at its mean")
    finding = "No trial has been trained to the end yet"
    if len(best):
        least, most = best.iloc[0], best.iloc[-1]
        finding = (
            f"The front has {count_in_words(len(best), 'configuration')}: from "
            f"{least['mean']:.2%} with {least[cost]:,} {words} to "
            f"{most['mean']:.2%} with {most[cost]:,}"
        )
    state_finding(figure, finding)
    return figure


@picture
def isolation(run: Run) -> Figure:
    """Draw the best complete trial for each value of each scientific parameter.

    Raises:
        InputError: if there are too few complete trials for any parameter.
    """
    lines = diagnostics.isolation(run)
    names = list(dict.fromkeys(line.parameter for line in lines))
    if not names:
        raise InputError(f"{run.path} has too few complete trials for single parameters")
    figure, grid = panels(len(names), 3, (3.5, 2.7), sharey=True)
    low, high = ends_of(pd.Series([line.accuracy for line in lines]))
    grid[0].set_ylim(low - 0.2 * (high - low), high + 0.25 * (high - low))
    tops = []
    for i, (axes, name) in enumerate(zip(grid, names, strict=True)):
        there = [line for line in lines if line.parameter == name]
        parameter = run.space.searched[name]
        has_order = not isinstance(parameter, ChoiceParameter) or parameter.has_order
        axes.plot(
            [line.value for line in there],
            [line.accuracy for line in there],
            marker="o",
            color=COMPLETE,
            linewidth=1,
            linestyle="-" if has_order else "",
        )
        for line in there:
            axes.annotate(
                str(line.complete),
                (line.value, line.accuracy),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        best = max(line.accuracy for line in there)
        equals = [line.value for line in there if line.accuracy == best]
        tops.append(f"{name} {' and '.join(map(str, equals))}")
        axes.plot(equals, [best] * len(equals), "o", color=BEST, markersize=8, linestyle="")
        axes.tick_params(axis="x", labelrotation=30)
        axes.set_xlabel(name)
        in_percent(axes, ranked_by(run) if i % 3 == 0 else "")
    more = f" and {len(tops) - 3} more" if len(tops) > 3 else ""
    state_finding(
        figure,
        f"Highest for {', '.join(tops[:3])}{more}",
        f"Best complete {_trial_or_mean(run)} for each value, whatever the other parameters were; "
        "numbers: complete trials with that value (the best of more is better by luck)",
    )
    return figure


@picture
def interaction(run: Run) -> Figure:
    """Draw the best trial, and the number of trials, by width and each dropout.

    Raises:
        InputError: if the run did not search a width and a dropout together.
    """
    crossed = diagnostics.crossing(run)
    if crossed is None:
        raise InputError(f"{run.path} did not search a width and a dropout together")
    width, dropouts = crossed
    trials, epoch = diagnostics.crossed_trials(run) or (diagnostics.complete_trials(run), None)
    after = f" after epoch {epoch}" if epoch else ""
    figure, grid = panels(len(dropouts), 2, (4.6, 2.9), sharey=False)
    low, high = ends_of(trials[run.space.metric])
    image = None
    for axes, dropout in zip(grid, dropouts, strict=True):
        best, count = diagnostics.best_by(run, width, dropout, trials)
        values = best.to_numpy()
        image = axes.imshow(best, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        for row, column in np.ndindex(values.shape):
            number = int(count.to_numpy()[row, column])
            dark = number and values[row, column] < (low + high) / 2
            axes.text(
                column,
                row,
                str(number),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else BASELINE,
            )
        axes.set_xticks(range(best.shape[1]), best.columns, rotation=30, fontsize=8)
        axes.set_yticks(range(best.shape[0]), best.index, fontsize=8)
        axes.set_xlabel(dropout)
        axes.set_ylabel(width)
        axes.grid(visible=False)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, label=f"best {ranked_by(run)}")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    finding = "No trial has been trained to the end yet"
    if len(trials):
        top = trials.nlargest(1, run.space.metric).iloc[0]
        values_there = ", ".join(
            f"{name} {in_short(top[f'param.{name}'])}"
            for name in (width, *dropouts[:2])
            if not pd.isna(top[f"param.{name}"])
        )
        finding = f"Best {top[run.space.metric]:.2%}{after} at {values_there}"
    which = f"{len(trials)} trials{after or ' trained to the end'}"
    colour = "accuracy of the best " + _trial_or_mean(run)
    state_finding(figure, finding, f"{which}; colour: {colour}, numbers: trials")
    return figure


@picture
def random_baseline(run: Run) -> Figure:
    """Draw the best complete trial so far of the search and of its random baseline.

    Raises:
        InputError: if the search had no random baseline.
    """
    found = compare_with_random(run)
    if found is None:
        raise InputError(f"{run.path} had no random baseline")
    figure = Picture(figsize=(8, 3.6), layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    for name, curve in best_so_far(run).items():
        is_search = name == "search"
        for axes, column in zip(grid, ("trial_count", "seconds"), strict=True):
            axes.step(
                curve[column],
                curve["best"],
                where="post",
                label=name,
                color=BEST if is_search else BASELINE,
                linestyle="-" if is_search else "--",
            )
    for axes, words in zip(
        grid, ("trials of the source", "training time of the source (s)"), strict=True
    ):
        axes.set_xlabel(words)
    in_percent(grid[0], "best complete trial so far")
    count_along(grid[0].xaxis)
    grid[0].legend(frameon=False, fontsize=8, loc="lower right")
    at = [
        f"{words} {source.best_at_equal_cost:.2%}"
        if source.best_at_equal_cost is not None
        else f"{words} none"
        for words, source in (("the search", found.search), ("random search", found.random))
    ]
    state_finding(
        figure,
        f"Best at equal cost: {at[0]}, {at[1]}",
        f"{found.search.trials} trials of the search and {found.random.trials} random ones; one "
        "search of each kind, so a lead may be luck",
    )
    return figure


@picture
def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the best trial on the validation images.

    Raises:
        InputError: if no predictions of the best trial are kept.
    """
    if not _has_predictions(run):
        raise InputError(f"{run.path} keeps no predictions of its best trial")
    assert run.best is not None
    trial = int(run.best["trial"])
    counts = confusion_matrix(run, trial)
    return confusion_figure(
        counts, run.info.dataset.classes, f"trial {trial}, {counts.sum():,} validation images"
    )


def _has_predictions(run: Run) -> bool:
    """Return whether the predictions of the best trial are kept."""
    return run.best is not None and bool((run.validation["trial"] == run.best["trial"]).any())


PLOTS: Mapping[str, Plot] = {
    "history": Plot(history),
    "curves": Plot(curves),
    "parameters": Plot(parameters, lambda run: has_epochs(run) and bool(run.space.searched)),
    "front": Plot(front, lambda run: len(run.space.objectives) > 1 and not run.ranked.empty),
    "isolation": Plot(isolation, lambda run: bool(diagnostics.isolation(run))),
    "interaction": Plot(interaction, lambda run: diagnostics.crossed_trials(run) is not None),
    "random_baseline": Plot(random_baseline, lambda run: compare_with_random(run) is not None),
    "importances": Plot(importances, lambda run: not diagnostics.importances(run).empty),
    "confusion": Plot(confusion, _has_predictions),
}
"""Pictures of a search, by file name."""


def _figure() -> tuple[Figure, Axes]:
    figure = Picture(figsize=(7, 4.2), layout="constrained")
    return figure, figure.subplots()


def _shortened(option: object) -> str:
    text = in_short(option)
    return text if len(text) <= 16 else f"{text[:14]}..."


def _trial_or_mean(run: Run) -> str:
    """Say what is ranked: trials, or means where values were tried with several seeds."""
    return "mean over seeds" if (run.ranked["seeds"] > 1).any() else "trial"


def _by_state(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the trials that were trained to their end, and those stopped early or paused."""
    outcomes = trials["outcome"]
    is_stopped = outcomes.isin([Outcome.PRUNED, Outcome.PAUSED])
    return trials[outcomes == Outcome.COMPLETE], trials[is_stopped]


class _Limits(NamedTuple):
    """The accuracy that is drawn, and from where to where; without a range if none is known."""

    metric: str
    edge: float = 0.0
    top: float | None = None


def _scale(run: Run) -> _Limits:
    """Return the scale of the better trials: that of others would compress it."""
    complete, _ = _by_state(run.trials.dropna(subset=[run.space.metric]))
    if complete.empty:
        return _Limits(run.space.metric)
    return _Limits(run.space.metric, *where_decided(complete[run.space.metric]))


def _scatter(
    axes: Axes,
    at: pd.Series,
    stopped_at: pd.Series,
    complete: pd.DataFrame,
    stopped: pd.DataFrame,
    scale: _Limits,
) -> None:
    """Draw complete and stopped trials, those below the edge of the scale as triangles at it."""
    metric, edge, top = scale
    if top is not None:
        axes.set_ylim(edge, top)
    for trials, places, color, fill, name in (
        (stopped, stopped_at, STOPPED, "none", "stopped early or paused"),
        (complete, at, COMPLETE, COMPLETE, "trained to the end"),
    ):
        below = trials[metric] < edge
        for part, marker, words in ((~below, "o", ""), (below, "v", ", below the edge")):
            if part.any():
                axes.scatter(
                    places[part],
                    trials[metric][part].clip(lower=edge),
                    s=24,
                    marker=marker,
                    facecolors=fill,
                    edgecolors=color,
                    clip_on=False,
                    zorder=2 if trials is stopped else 3,
                    rasterized=len(trials) > MANY,
                    label=f"{name}{words} ({part.sum()})",
                )
