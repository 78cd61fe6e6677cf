"""Pictures of the images: a sheet as the network gets them, and confusion matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tunecnn.analysis.classes import Counts
from tunecnn.data.images import Labels, Pixels, TrialData
from tunecnn.summary.plots.style import Picture, picture, state_finding

_PER_CLASS = 6
_AUGMENTED = 3
_MOST_CLASSES = 30
_MOST_NAMED = 40  # classes of a confusion matrix with names and numbers


@picture
def sheet(data: TrialData, augment: Callable[[Labels], Pixels], words: str) -> Figure:
    """Draw a few training images of each class, plain and with augmentation.

    Args:
        data: images of a trial.
        augment: function that returns augmented copies of the training images at some indices.
        words: description of the augmentation.
    """
    shown = range(min(len(data.classes), _MOST_CLASSES))
    columns = _PER_CLASS + _AUGMENTED
    figure = Picture(figsize=(1.0 * columns + 1.6, 1.0 * len(shown) + 0.9), layout="constrained")
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for row, label in zip(grid, shown, strict=True):
        members = np.flatnonzero(data.train.labels == label)[:_PER_CLASS]
        plain = data.train.pixels[members]
        examples = np.resize(members, _AUGMENTED) if len(members) else members
        images = [*plain, *[None] * (_PER_CLASS - len(plain)), *augment(examples)]
        for axes, image in zip(row, images, strict=False):
            _draw(axes, image)
        for axes in row[len(images) :]:
            _draw(axes, None)
        name = data.classes[label]
        row[0].set_ylabel(
            name if len(name) < 20 else f"{name[:18]}...",
            rotation=0,
            ha="right",
            va="center",
            fontsize=8,
        )
    grid[0][_PER_CLASS].set_title(f"with {words}", fontsize=8, loc="left")
    more = len(data.classes) - len(shown)
    title = f"{data.name.rpartition('/')[2]}: training images as the network gets them"
    figure.suptitle(title + (f" (and {more} more classes)" if more else ""), fontsize=10)
    return figure


@picture
def confusion_figure(counts: Counts, classes: Sequence[str], of: str) -> Figure:
    """Draw one confusion matrix; `of` says whose predictions it counts, and of what."""
    size = min(9.0, 3.6 + 0.3 * len(classes))
    figure = Picture(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, counts, classes)
    axes.set_ylabel("true class")
    state_finding(figure, most_confused(counts, classes), f"{of}; in % of the true class")
    return figure


def most_confused(counts: Counts, classes: Sequence[str]) -> str:
    """Say which mistake is the most frequent one."""
    if not counts.any():
        return "No image has been classified"
    wrong = counts - np.diag(np.diag(counts))
    if not wrong.any():
        return "Every image is classified correctly"
    true, predicted = map(int, np.unravel_index(int(wrong.argmax()), wrong.shape))
    number, total = wrong[true, predicted], counts[true].sum()
    return (
        f"Most frequent mistake: {classes[true]} taken for {classes[predicted]}, "
        f"{number:,} of {total:,} times"
    )


def draw_confusion(axes: Axes, counts: Counts, classes: Sequence[str]) -> None:
    """Draw the shares of each true class (rows) that are predicted as each class (columns)."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class")
    axes.grid(visible=False)
    if len(classes) > _MOST_NAMED:
        return
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            axes.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=6,
                color="white" if share > 0.5 else "black",
            )
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
    axes.set_yticks(range(len(classes)), classes, fontsize=7)


def _draw(axes: Axes, image: Pixels | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if image is None:
        return
    if image.shape[2] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(image, interpolation="nearest")
