"""Pictures of a reproduction. Each function takes a run and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tunecnn.analysis.classes import confusion_on_test
from tunecnn.analysis.published import EXPERIMENTS, published_curves
from tunecnn.analysis.reproduction import summarize_reproduction
from tunecnn.run.info import ReproductionJob
from tunecnn.run.run import Run
from tunecnn.summary.plots.images import draw_confusion, most_confused
from tunecnn.summary.plots.style import BEST as VALIDATION
from tunecnn.summary.plots.style import COMPLETE as TRAINING
from tunecnn.summary.plots.style import (
    Picture,
    Plot,
    count_along,
    legend_below,
    picture,
    state_finding,
)
from tunecnn.trial.messages import Outcome
from tunecnn.words import count_in_words


@picture
def accuracy(run: Run) -> Figure:
    """Draw accuracy by epoch, one panel per network, with the published curves over ours."""
    return _curves(run, "accuracy")


@picture
def loss(run: Run) -> Figure:
    """Draw loss by epoch, one panel per network, with the published curves over ours."""
    return _curves(run, "loss")


@picture
def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the test images, one panel per network."""
    names = run.info.dataset.classes
    panels = _panels(run, height=4.4)
    findings = []
    for axes, architecture in panels:
        tested = run.trials.loc[run.trials["architecture"] == architecture, "trial"]
        counts = confusion_on_test(run, set(tested))
        if not counts.any():
            _nothing_yet(axes, "not tested yet")
            continue
        draw_confusion(axes, counts, names)
        mistake = most_confused(counts, names)
        findings.append(f"{architecture}: {mistake[0].lower()}{mistake[1:]}")
    panels[0][0].set_ylabel("true class")
    figure = panels[0][0].figure
    assert isinstance(figure, Figure)
    state_finding(
        figure,
        "; ".join(findings) or "No network has been tested yet",
        "Test images with each seed, in % of the true class",
    )
    return figure


def _curves(run: Run, what: str) -> Figure:
    published = None
    against = run.job_as(ReproductionJob).against
    if against:
        published = published_curves(against)
        published = published[published["epoch"] <= run.space.epochs]
    panels = _panels(run)
    for axes, architecture in panels:
        epochs = _epochs(run, architecture)
        if epochs.empty:
            _nothing_yet(axes, "not trained yet")
        for column, color, words in (
            (f"train_{what}", TRAINING, "training"),
            (f"val_{what}", VALIDATION, "validation"),
        ):
            _ours(axes, epochs, column, color, words)
            if published is not None:
                theirs = published[published["architecture"] == architecture]
                axes.plot(
                    theirs["epoch"],
                    theirs[column],
                    color=color,
                    linestyle="--",
                    linewidth=1.1,
                    alpha=0.9,
                    label=f"{words}, published",
                    marker="x" if len(theirs) < 3 else "",
                )
        axes.set_xlabel("epoch")
        count_along(axes.xaxis)
        if run.space.epochs == 1:
            axes.set_xlim(0.5, 1.5)
        if what == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            _leave_out_the_start(axes, epochs, published, architecture)
    panels[0][0].set_ylabel(what)
    figure = panels[0][0].figure
    assert isinstance(figure, Figure)
    beside = f"; dashed: published, {EXPERIMENTS[against].title}" if against else ""
    note = f"Thin: each seed, thick: mean of {_seeds(run)}{beside}"
    legend_below(figure, panels[-1][0], 4 if len(panels) > 1 else 2, note)  # one panel is narrow
    state_finding(figure, _finding(run, what))
    return figure


def _finding(run: Run, what: str) -> str:
    """Say where each network ends in validation, and where its published run does."""
    found = []
    for model in summarize_reproduction(run).models:
        figure = model.val_accuracy if what == "accuracy" else model.val_loss
        form = ".2%" if what == "accuracy" else ".3f"
        if figure.mean is None:
            found.append(f"{model.architecture} not yet")
            continue
        text = f"{model.architecture} {figure.mean:{form}} after epoch {model.compared_epoch}"
        if figure.published is not None:
            text += f" (published {figure.published:{form}})"
        found.append(text)
    return f"Validation {what}: {'; '.join(found)}"


def _seeds(run: Run) -> str:
    """Say how many seeds are drawn: in each panel, or in most of them."""
    counts = [_epochs(run, name)["trial"].nunique() for name in run.space.architectures]
    words = count_in_words(max(counts), "seed")
    return words if len(set(counts)) == 1 else f"up to {words}"


def _epochs(run: Run, architecture: str) -> pd.DataFrame:
    """Return the epochs of the complete trials or, without any, of the trials still running."""
    trials = run.trials[run.trials["architecture"] == architecture]
    complete = trials[trials["outcome"] == Outcome.COMPLETE]
    under_way = trials[trials["outcome"].isin([Outcome.RUNNING, Outcome.WAITING])]
    trials_there = under_way if complete.empty else complete
    return run.epochs[run.epochs["trial"].isin(trials_there["trial"])]


def _ours(axes: Axes, epochs: pd.DataFrame, column: str, color: str, words: str) -> None:
    """Draw the curve of each seed, and their mean over the epochs that all seeds reached."""
    by_seed = epochs.pivot(index="epoch", columns="trial", values=column)
    mean = by_seed.dropna().mean(axis=1)
    axes.plot(
        mean.index,
        mean,
        color=color,
        linewidth=1.8,
        label=f"{words}, ours",
        marker="." if len(mean) < 8 else "",
    )
    if len(by_seed.columns) > 1:
        axes.plot(by_seed.index, by_seed, color=color, linewidth=0.7, alpha=0.4)


def _leave_out_the_start(
    axes: Axes, epochs: pd.DataFrame, published: pd.DataFrame | None, architecture: str
) -> None:
    """Scale a panel without the first epoch, whose loss can be ten times that of the others."""
    parts = [epochs]
    if published is not None:
        parts.append(published[published["architecture"] == architecture])
    later = pd.concat([part[part["epoch"] > 1] for part in parts])
    values = later[["train_loss", "val_loss"]].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if len(values):
        axes.set_ylim(0, 1.05 * float(values.max()))


def _panels(run: Run, height: float = 3.4) -> list[tuple[Axes, str]]:
    names = run.space.architectures
    figure = Picture(figsize=(max(5.0, 3.6 * len(names)), height), layout="constrained")
    grid = figure.subplots(1, len(names), squeeze=False)
    for axes, name in zip(grid.flat, names, strict=True):
        axes.set_title(name, fontsize=10)
    return list(zip(grid.flat, names, strict=True))


def _nothing_yet(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)


PLOTS: Mapping[str, Plot] = {
    "accuracy": Plot(accuracy),
    "loss": Plot(loss),
    "confusion": Plot(confusion, lambda run: not run.predictions.empty),
}
"""Pictures of a reproduction, by file name."""
