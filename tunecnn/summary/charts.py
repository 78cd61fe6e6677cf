"""Charts of a run that answer to the pointer, as specifications of Vega-Lite.

The page of a run shows them where JavaScript runs; its pictures say the same without. Fields have
names of ours, such as `p3`, and names that a user chose occur only as titles and values, so none
of them is read as an expression.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from tunecnn.analysis import diagnostics
from tunecnn.analysis.overview import COSTS, ranked_by
from tunecnn.run.run import Run
from tunecnn.space.parameters import ChoiceParameter, Parameter, position
from tunecnn.trial.messages import Outcome
from tunecnn.words import in_short

_WIDTH, _HEIGHT = 640, 260
_COLORS = alt.Scale(domain=["trained to the end", "not to the end"], range=["#3b82c4", "#9a9a9a"])
_SHAPES = alt.Scale(domain=["trained to the end", "not to the end"], range=["circle", "cross"])
# Without viridis's ends: yellow is hardly seen on a white page, and violet on a dark one.
_VIRIDIS = alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0.15, 0.85]))
_MOST_CROSSED = 4
_MOST_AXES = 12  # parallel axes that can be told apart


@dataclass(frozen=True)
class Chart:
    """An interactive chart.

    Attributes:
        title: heading.
        hint: what the reader can do with it.
        spec: specification in Vega-Lite.
    """

    title: str
    hint: str
    spec: dict[str, Any]


def charts_of(run: Run) -> list[Chart]:
    """Return the interactive charts of a search; other runs have few trials, and none."""
    if run.job.type != "search" or run.trials[run.space.metric].notna().sum() < 2:
        return []
    with alt.data_transformers.enable("default", max_rows=None):
        return list(_charts(run))


def _charts(run: Run) -> Iterator[Chart]:
    epoch, early = diagnostics.early_trials(run)
    trials, color = _trials(run, early), _by_accuracy(run, epoch)
    searched = dict(list(run.space.searched_settings.items())[:_MOST_AXES])
    if searched:
        more = len(run.space.searched_settings) - len(searched)
        yield Chart(
            "Trials and their parameters",
            "Draw a box around trials above to see their values below."
            + (
                f" The first {len(searched)} parameters; {more} more are in the table."
                * bool(more)
            ),
            _parallel(run, trials, searched, color),
        )
    yield Chart(
        "Learning curves",
        "Point at a curve to see its trial; click in the legend to see one outcome only.",
        _curves(run, trials),
    )
    if (crossed := diagnostics.crossing(run)) is not None:
        width, dropouts = crossed
        for dropout in dropouts[:_MOST_CROSSED]:
            yield Chart(
                f"{width} and {dropout}",
                "Point at a trial to see its values.",
                _crossing(run, trials, width, dropout, color),
            )
    if len(run.space.objectives) > 1 and len(run.ranked):
        yield Chart(
            "Accuracy against cost",
            "Point at a trial to see its values.",
            _front(run, trials),
        )


def _trials(run: Run, early: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with an accuracy, and that in early epochs, as a chart can name them."""
    metric = run.space.metric
    shown = run.trials[run.trials[metric].notna()]
    frame = pd.DataFrame(
        {
            "t": shown["trial"].astype(int),
            "a": shown[metric].round(5),
            "b": shown["trial"].map(early.set_index("trial")[metric]).round(5),
            "o": shown["outcome"]
            .eq(Outcome.COMPLETE)
            .map({True: "trained to the end", False: "not to the end"}),
            "e": shown["epochs"].astype(int),
        }
    )
    for i, name in enumerate(run.space.searched_settings):
        frame[f"p{i}"] = [_plain(one) for one in shown[f"param.{name}"]]
    return frame


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, a number with four significant digits."""
    if pd.isna(value):
        return None
    return (
        float(f"{value:.4g}")
        if isinstance(value, float)
        else getattr(value, "item", lambda: value)()
    )


def _tooltip(run: Run) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("t:Q", title="trial"),
        alt.Tooltip("a:Q", title=ranked_by(run), format=".2%"),
        alt.Tooltip("o:N", title="outcome"),
        *(
            alt.Tooltip(f"p{i}:N", title=name)
            for i, name in enumerate(run.space.searched_settings)
        ),
    ]


def _accuracy(run: Run, low: float, high: float) -> alt.Y:
    return alt.Y(
        "a:Q",
        title=ranked_by(run),
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[low, high], nice=False),
    )


def _domain(accuracies: pd.Series) -> tuple[float, float]:
    low, high = float(accuracies.min()), float(accuracies.max())
    margin = max(0.05 * (high - low), 0.005)
    return max(0.0, low - margin), min(1.0, high + margin)


def _parallel(
    run: Run, trials: pd.DataFrame, searched: dict[str, Parameter], color: alt.Color
) -> dict[str, Any]:
    """Draw accuracy by trial and, below, a line through each trial's values."""
    brush = alt.selection_interval(name="box", encodings=["x", "y"])
    points = (
        alt.Chart(trials)
        .mark_point(filled=True, size=45)
        .encode(
            x=alt.X("t:Q", title="trial", axis=alt.Axis(tickMinStep=1)),
            y=_accuracy(run, *_domain(trials["a"])),
            color=alt.condition(
                brush, alt.Color("o:N", title=None, scale=_COLORS), alt.value("#cccccc")
            ),
            shape=alt.Shape("o:N", title=None, scale=_SHAPES),
            tooltip=_tooltip(run),
        )
        .add_params(brush)
        .properties(width=_WIDTH, height=180)
    )
    both = alt.vconcat(points, _lines(run, trials, searched, brush, color))
    return _spec(
        both.resolve_scale(color="independent", shape="independent"),
        "Accuracy of each trial and, below, a line through its values",
    )


def _lines(
    run: Run,
    trials: pd.DataFrame,
    searched: dict[str, Parameter],
    brush: alt.Parameter,
    color: alt.Color,
) -> alt.LayerChart | alt.FacetChart:
    """Draw a line through each trial's values, for the trials in a box."""
    rows, ticks = [], []
    for i, (name, parameter) in enumerate(searched.items()):
        at = f"{i}"
        values = run.trials.set_index("trial")[f"param.{name}"].reindex(trials["t"])
        for (_, trial), value in zip(trials[["t", "a", "b"]].iterrows(), values, strict=True):
            if not pd.isna(value):
                rows.append(
                    {
                        "t": int(trial["t"]),
                        "a": float(trial["a"]),
                        "b": _plain(trial["b"]),
                        "i": at,
                        "y": round(_place(parameter, value), 3),
                    }
                )
        ticks += [{"i": at, "y": y, "label": label} for y, label in _ticks(parameter)]
    best = [int(number) for number in run.ranked["trial"].head(1)]
    shown = [name if len(name) < 18 else f"...{name[-15:]}" for name in searched]
    axis = alt.X(
        "i:O",
        title=None,
        sort=[f"{i}" for i in range(len(searched))],
        axis=alt.Axis(
            labelExpr=f"{json.dumps(shown)}[toNumber(datum.value)]",
            labelAngle=-20,
            grid=True,
            domain=False,
            orient="top",
            labelAlign="left",
            labelLimit=160,
        ),
    )
    place = alt.Y("y:Q", title=None, axis=None, scale=alt.Scale(domain=[-0.05, 1.05]))
    lines = (
        alt.Chart(pd.DataFrame(rows))
        .transform_filter(brush)
        .mark_line(strokeWidth=1.2, opacity=0.7)
        .encode(x=axis, y=place, detail="t:N", color=color)
    )
    winner = (
        alt.Chart(pd.DataFrame(rows))
        .transform_filter(alt.FieldOneOfPredicate(field="t", oneOf=best))
        .mark_line(strokeWidth=3.5, color="#d55e00", point=True)
        .encode(x=axis, y=place, detail="t:N")
    )
    labels = (
        alt.Chart(pd.DataFrame(ticks))
        .mark_text(align="left", dx=5, fontSize=10)
        .encode(x=axis, y=place, text="label:N")
    )
    return alt.layer(lines, winner, labels).properties(width=_WIDTH, height=_HEIGHT)


def _curves(run: Run, trials: pd.DataFrame) -> dict[str, Any]:
    epochs = run.epochs[["trial", "epoch", run.space.metric]]
    epochs = epochs.set_axis(["t", "e", "a"], axis="columns").round({"a": 5})
    outcomes = trials[["t", "o"]]
    hover = alt.selection_point(
        name="near", on="pointerover", fields=["t"], nearest=True, empty=False
    )
    outcome = alt.selection_point(name="outcome", fields=["o"], bind="legend")
    low, high = float(epochs["a"].quantile(0.1)), float(epochs["a"].max())
    base = alt.Chart(epochs).transform_lookup(
        lookup="t", from_=alt.LookupData(outcomes, "t", ["o"])
    )
    x = alt.X("e:Q", title="epoch", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(nice=False))
    y = _accuracy(run, max(0.0, low - 0.02), min(1.0, high + 0.01))
    color = alt.Color("o:N", title=None, scale=_COLORS)
    lines = base.mark_line(clip=True).encode(
        x=x,
        y=y,
        color=color,
        detail="t:N",
        opacity=alt.condition(outcome, alt.value(0.6), alt.value(0.05)),
        strokeWidth=alt.condition(hover, alt.value(4), alt.value(1)),
    )
    points = (
        base.mark_point(clip=True, filled=True)
        .encode(
            x=x,
            y=y,
            color=color,
            opacity=alt.condition(hover, alt.value(1), alt.value(0)),
            tooltip=[
                alt.Tooltip("t:Q", title="trial"),
                alt.Tooltip("e:Q", title="epoch"),
                alt.Tooltip("a:Q", title=ranked_by(run), format=".2%"),
                alt.Tooltip("o:N", title="outcome"),
            ],
        )
        .add_params(hover, outcome)
    )
    return _spec(
        (lines + points).properties(width="container", height=_HEIGHT),
        f"{ranked_by(run).capitalize()} of each trial by epoch",
    )


def _crossing(
    run: Run, trials: pd.DataFrame, width: str, dropout: str, color: alt.Color
) -> dict[str, Any]:
    chart = (
        alt.Chart(trials)
        .mark_point(filled=True, size=70, opacity=0.85, stroke="#767676", strokeWidth=0.8)
        .encode(
            x=_along(alt.X, run, dropout),
            y=_along(alt.Y, run, width),
            color=color,
            shape=alt.Shape("o:N", title=None, scale=_SHAPES),
            tooltip=_tooltip(run),
        )
        .properties(width="container", height=_HEIGHT)
    )
    return _spec(chart, "Accuracy by width and dropout")


def _along(axis: type[alt.X] | type[alt.Y], run: Run, name: str) -> Any:
    """Return an axis with the values of a parameter, in their order where they are words."""
    field = f"p{list(run.space.searched_settings).index(name)}"
    parameter = run.space.searched[name]
    if isinstance(parameter, ChoiceParameter) and not parameter.has_order:
        return axis(f"{field}:N", title=name, sort=[str(one) for one in parameter.in_order])
    return axis(f"{field}:Q", title=name, scale=alt.Scale(zero=False))


def _by_accuracy(run: Run, epoch: int) -> alt.Color:
    """Return a colour for each trial by its accuracy after an epoch that nearly all reached."""
    after = f" after epoch {epoch}" if epoch < run.space.epochs else ""
    return alt.Color(
        "b:Q", title=f"accuracy{after}", scale=_VIRIDIS, legend=alt.Legend(format="%")
    )


def _front(run: Run, trials: pd.DataFrame) -> dict[str, Any]:
    cost = run.space.objectives[1]
    # The front is that of configurations, by their means over seeds.
    means = diagnostics.pareto_front(run).set_index("trial")["mean"]
    complete = trials[trials["o"] == "trained to the end"]
    values = run.trials.set_index("trial")[cost].reindex(complete["t"])
    complete = complete.assign(
        c=values.to_numpy(dtype=float),
        f=complete["t"].isin(means.index),
        a=complete["t"].map(means).fillna(complete["a"]),
    )
    words = COSTS[cost]
    chart = (
        alt.Chart(complete)
        .mark_point(filled=True)
        .encode(
            x=alt.X("c:Q", title=words, scale=alt.Scale(type="log", nice=False)),
            y=_accuracy(run, *_domain(complete["a"])),
            color=alt.Color(
                "f:N",
                title="on the front",
                scale=alt.Scale(domain=[True, False], range=["#d55e00", "#3b82c4"]),
            ),
            shape=alt.Shape(
                "f:N",
                title="on the front",
                scale=alt.Scale(domain=[True, False], range=["diamond", "circle"]),
            ),
            size=alt.condition("datum.f", alt.value(110), alt.value(45)),
            tooltip=[
                alt.Tooltip("c:Q", title=words, format=","),
                *_tooltip(run),
            ],
        )
        .properties(width="container", height=_HEIGHT)
    )
    return _spec(chart, "Accuracy against cost, with the Pareto front")


def _place(parameter: Parameter, value: Any) -> float:
    """Return where a value lies on an axis from 0 to 1."""
    if isinstance(parameter, ChoiceParameter):
        return parameter.in_order.index(value) / max(1, len(parameter.options) - 1)
    return position(value, *parameter.bounds, log=parameter.log)


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Return a few places on an axis from 0 to 1, with their values."""
    if isinstance(parameter, ChoiceParameter):
        options = parameter.in_order
        step = -(-len(options) // 8)
        return [(_place(parameter, option), in_short(option)[:18]) for option in options[::step]]
    low, high = map(float, parameter.bounds)
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    return [(_place(parameter, value), in_short(value)) for value in (low, middle, high)]


def _spec(chart: Any, description: str) -> dict[str, Any]:
    found: dict[str, Any] = chart.to_dict()
    for name in ("$schema", "config"):
        found.pop(name, None)
    found["description"] = description
    return found
