"""Write what a run says into its folder: summary.md, summary.html, pictures, frames, configs."""

from __future__ import annotations

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader
from ruamel.yaml import YAML

from tunecnn.files import write_atomically
from tunecnn.frames import to_parquet
from tunecnn.plots import FIGURES
from tunecnn.runs import Run
from tunecnn.summary import Summary, config_path, summarize

_DPI = 120


def write_summary(run: Run) -> Summary:
    """Write a run's summary, and everything derived that it names, into the run's folder."""
    summary = summarize(run)
    pictures = {name: _png(run, name) for name in FIGURES}
    for name, png in pictures.items():
        write_atomically(run.path / "figures" / f"{name}.png", png)
    write_atomically(run.path / "trials.parquet", to_parquet(run.trials))
    write_atomically(run.path / "epochs.parquet", to_parquet(run.epochs))
    for line in summary.top:
        write_atomically(config_path(run, line.trial), _yaml(run.config(line.trial).to_dict()))
    links = {name: f"figures/{name}.png" for name in pictures}
    write_atomically(run.path / "summary.md", render_markdown(summary, links))
    embedded = {
        name: f"data:image/png;base64,{base64.b64encode(png).decode()}"
        for name, png in pictures.items()
    }
    write_atomically(run.path / "summary.html", render_html(summary, embedded))
    return summary


def render_markdown(summary: Summary, figures: dict[str, str]) -> str:
    """Write a summary as Markdown; `figures` are links by name."""
    return _render("summary.md.j2", summary, figures)


def render_html(summary: Summary, figures: dict[str, str]) -> str:
    """Write a summary as one HTML page; `figures` are image sources by name."""
    return _render("summary.html.j2", summary, figures)


def _render(template: str, summary: Summary, figures: dict[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader("tunecnn"),
        autoescape=template.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    environment.filters["value"] = _value
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment.get_template(template).render(s=summary, figures=figures)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _png(run: Run, name: str) -> bytes:
    stream = io.BytesIO()
    FIGURES[name](run).savefig(stream, format="png", dpi=_DPI)
    return stream.getvalue()


def _yaml(values: dict[str, Any]) -> str:
    stream = io.StringIO()
    yaml = YAML()
    yaml.dump(values, stream)
    return stream.getvalue()
