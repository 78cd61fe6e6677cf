"""What all pictures share: colours, a title that states the finding, and scales."""

from __future__ import annotations

import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from tunecnn.errors import InputError
from tunecnn.run.run import Run, as_run

P = ParamSpec("P")

# Okabe and Ito's colours for colour-blind readers; they also differ in lightness, for grey print.
COMPLETE, STOPPED, BEST, BASELINE = "#0b4f8a", "#9a9a9a", "#d55e00", "#000000"
_HANDLE_INCHES, _LETTER_INCHES = 0.55, 0.062  # of a legend in 8 points
MANY = 300  # marks from which on a vector graphic holds them as pixels, to stay small

_RC: Any = {
    "text.parse_math": False,  # a name with $ is a name
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
}


def has_epochs(run: Run) -> bool:
    """Return whether a trial of a run has ended an epoch."""
    return not run.epochs.empty


@dataclass(frozen=True)
class Plot:
    """A picture of a summary.

    Attributes:
        draw: function that draws it.
        applies: function that returns whether there is something to draw.
    """

    draw: Callable[[Run], Figure]
    applies: Callable[[Run], bool] = has_epochs


def picture(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Give all pictures the same look, whatever the caller has set in matplotlib.

    A run may be given by its folder. What draws one run is not given a list of them.
    """
    of_one = [*inspect.signature(draw).parameters][:1] == ["run"]

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        given: Any = [*map(_with_runs, args[:1]), *args[1:]]
        named: Any = {
            name: _with_runs(one) if name in ("run", "runs") else one
            for name, one in kwargs.items()
        }
        first = given[0] if given else named.get("run")
        if of_one and not isinstance(first, Run):
            raise InputError(f"{draw.__name__} draws one run, not {type(first).__name__}")
        with matplotlib.rc_context(_RC):
            return draw(*given, **named)

    return styled


def _with_runs(given: Any) -> Any:
    """Return an argument with the runs of folders in their place, also in a list of them."""
    if isinstance(given, list | tuple):
        return [_with_runs(one) for one in given]
    return as_run(given) if isinstance(given, str | Path) else given


class Picture(Figure):
    """A figure that a notebook shows, also without `%matplotlib inline`."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=96)
        return stream.getvalue()


def count_along(axis: Axis) -> None:
    """Give an axis of trials, epochs or other counts whole numbers only, at least one."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def state_finding(figure: Figure, finding: str, note: str = "") -> None:
    """Write what a picture shows above it, and how to read it below.

    Args:
        figure: figure with its axes.
        finding: sentence that is true of the data shown; also the text for those who cannot see.
        note: what the marks mean, and how many things are shown.
    """
    width = figure.get_size_inches()[0]
    figure.suptitle(
        textwrap.fill(finding, int(10.8 * width)),
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
    )
    if note:
        text = textwrap.fill(note, int(16.5 * width))
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color="#444444")


def finding_of(figure: Figure) -> str:
    """Return the finding that a picture states."""
    return figure.get_suptitle().replace("\n", " ")


def legend_below(figure: Figure, axes: Axes, columns: int = 4, note: str = "") -> None:
    """Put the legend of some axes below a figure, under a note on how to read it."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=_columns_within(figure.get_figwidth(), labels, columns),
            fontsize=8,
            frameon=False,
            title=note or None,
            title_fontsize=8,
        )


def _columns_within(width: float, labels: Sequence[str], most: int) -> int:
    """Return how many columns of a legend have room in a width in inches."""
    for count in range(most, 1, -1):
        columns = np.array_split([len(label) for label in labels], count)
        longest = [int(column.max()) for column in columns if len(column)]
        if sum(_HANDLE_INCHES + _LETTER_INCHES * letters for letters in longest) <= width:
            return count
    return 1


def panels(
    count: int, most: int, size: tuple[float, float], *, sharey: bool
) -> tuple[Figure, list[Axes]]:
    """Make a figure with at most `most` panels per row; `size` is that of a panel, in inches."""
    columns = min(most, count)
    rows = math.ceil(count / columns)
    width = max(6.0, size[0] * columns)  # a title needs room
    figure = Picture(figsize=(width, size[1] * rows + 0.5), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharey=sharey, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def in_percent(axes: Axes, words: str = "validation accuracy") -> None:
    """Label the vertical axis as accuracy."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if words:
        axes.set_ylabel(words)


def ends_of(accuracies: pd.Series) -> tuple[float, float]:
    """Return the limits of a scale for accuracies, at least one point apart."""
    if accuracies.empty:
        return 0.0, 1.0
    low, high = accuracies.min(), accuracies.max()
    middle, half = (low + high) / 2, max(high - low, 0.01) / 2
    return middle - half, middle + half


def where_decided(accuracies: pd.Series) -> tuple[float, float]:
    """Return limits of a scale on which the better half of some trials can be told apart."""
    high, middle = float(accuracies.max()), float(accuracies.median())
    below = max(4 * (high - middle), min(high - float(accuracies.min()), 0.02), 0.004)
    return max(0.0, high - below * 1.1), min(1.0, high + 0.1 * below)


def log_scale(axes: Axes) -> None:
    """Give the horizontal axis a logarithmic scale with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
