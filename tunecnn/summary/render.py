"""Write the summary of a run into its folder: Markdown, HTML, JSON, pictures, frames, configs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from tunecnn.analysis.search import config_path
from tunecnn.documents import to_yaml
from tunecnn.files import write_atomically
from tunecnn.run.frames import to_parquet
from tunecnn.run.run import Run
from tunecnn.summary.run_types import RUN_TYPES, RunSummary
from tunecnn.words import in_short, seconds_in_words

_DPI = 120


def write_summary(run: Run) -> RunSummary:
    """Write a run's summary, pictures, frames and configs into the run's folder."""
    run_type = RUN_TYPES[run.job.type]
    summary = run_type.summarize(run)
    pictures = {name: _png(figure(run)) for name, figure in run_type.figures_of(run).items()}
    for name, png in pictures.items():
        write_atomically(run.path / "figures" / f"{name}.png", png)
    write_atomically(run.path / "trials.parquet", to_parquet(run.trials))
    write_atomically(run.path / "epochs.parquet", to_parquet(run.epochs))
    for trial in summary.exported:
        write_atomically(config_path(run, trial), to_yaml(run.config(trial).to_dict()))
    markdown = render_markdown(summary, {name: f"figures/{name}.png" for name in pictures})
    write_atomically(run.path / "summary.md", markdown)
    write_atomically(run.path / "summary.json", render_json(summary))
    write_atomically(run.path / "summary.html", render_html(markdown, summary.name, pictures))
    return summary


def render_markdown(summary: RunSummary, figures: Mapping[str, str]) -> str:
    """Return a summary as Markdown; `figures` has the links to the pictures by name."""
    template = RUN_TYPES[summary.type].template
    return _environment().get_template(template).render(s=summary, figures=figures)


def render_json(summary: RunSummary) -> bytes:
    """Return a whole summary as JSON; docs/summary.schema.json is its schema."""
    return TypeAdapter(type(summary)).dump_json(summary, indent=1)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `summary.json`, for every type of run."""
    return TypeAdapter(RunSummary).json_schema(mode="serialization")


def render_html(markdown: str, title: str, pictures: Mapping[str, bytes]) -> str:
    """Return a summary's Markdown as one HTML page with embedded pictures."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for name, png in pictures.items():
        inside = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        body = body.replace(f'src="figures/{name}.png"', f'src="{inside}"')
    return _environment().get_template("page.html.j2").render(title=escape(title), body=body)


def _environment() -> Environment:
    # In Markdown only table cells need escaping; markdown-it escapes the HTML.
    environment = Environment(
        loader=PackageLoader("tunecnn.summary"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    environment.filters["value"] = _value
    environment.filters["figure"] = _figure
    environment.filters["distance"] = _distance
    environment.filters["each"] = lambda values, form: ", ".join(_figure(v, form) for v in values)
    environment.filters["between"] = _between
    environment.filters["share"] = lambda share: "-" if share is None else f"{share:.0%}"
    environment.filters["duration"] = seconds_in_words
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment


def _value(value: Any) -> str:
    return "-" if value is None else in_short(value)


def _figure(value: float | None, form: str) -> str:
    """Format an accuracy as a percentage, or a loss as a number."""
    if value is None:
        return "-"
    return f"{value:.2%}" if form == "percent" else f"{value:.4f}"


def _distance(value: float | None, form: str, sign: str = "") -> str:
    """Format the difference between two accuracies, in points, or between two losses."""
    if value is None:
        return "-"
    return f"{100 * value:{sign}.2f} points" if form == "percent" else f"{value:{sign}.4f}"


def _between(interval: tuple[float, float] | None, form: str, sign: str = "") -> str:
    """Format an interval of accuracies or losses or, with a sign, of their differences."""
    if interval is None:
        return "-"
    low, high = (
        _distance(value, form, sign) if sign else _figure(value, form) for value in interval
    )
    return f"{low.removesuffix(' points')} to {high}"


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    return stream.getvalue()
