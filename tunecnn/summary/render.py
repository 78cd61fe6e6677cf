"""Write the summary of a run into its folder: Markdown, HTML, JSON, pictures, frames, configs."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from tunecnn.analysis.search import SearchSummary, config_path, train_command
from tunecnn.documents import to_yaml
from tunecnn.files import write_atomically
from tunecnn.run.frames import to_parquet
from tunecnn.run.run import Run
from tunecnn.summary.formats import Format
from tunecnn.summary.markdown import render_markdown
from tunecnn.summary.page import render_page
from tunecnn.summary.plots.style import finding_of
from tunecnn.summary.run_types import RUN_TYPES, RunSummary

_DPI = 200  # of pixels in a picture, for paper


def write_summary(
    run: Run, formats: Collection[Format] = (), folder: Path | None = None
) -> RunSummary:
    """Write a run's summary, pictures, frames and configs into a folder.

    Args:
        run: run of any type.
        formats: formats of the pictures besides SVG, which the pages use.
        folder: folder to write to; None for that of the run.
    """
    run_type = RUN_TYPES[run.job.type]
    summary = run_type.summarize(run)
    if folder is None:
        folder = run.path
    elif isinstance(summary, SearchSummary) and summary.best is not None:
        trial = summary.best.trial if summary.confirmed is None else summary.confirmed
        command = train_command(run, trial, folder)
        summary = dataclasses.replace(summary, command=command)
    figures = run_type.figures_of(run)
    pictures = {name: encode(figure, Format.svg) for name, figure in figures.items()}
    for name, figure in figures.items():
        write_atomically(folder / "figures" / f"{name}.svg", pictures[name])
        for form in formats:
            write_atomically(folder / "figures" / f"{name}.{form}", encode(figure, form))
    write_atomically(folder / "trials.parquet", to_parquet(run.trials))
    write_atomically(folder / "epochs.parquet", to_parquet(run.epochs))
    for trial in summary.exported:
        write_atomically(config_path(folder, trial), to_yaml(run.config(trial).to_dict()))
    markdown = render_markdown(
        summary,
        {name: (f"figures/{name}.svg", finding_of(figure)) for name, figure in figures.items()},
    )
    write_atomically(folder / "summary.md", markdown)
    write_atomically(folder / "summary.json", render_json(summary))
    write_atomically(folder / "summary.html", render_page(run, markdown, pictures))
    return summary


def render_json(summary: RunSummary) -> bytes:
    """Return a whole summary as JSON; docs/summary.schema.json is its schema."""
    return TypeAdapter(type(summary)).dump_json(summary, indent=1)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `summary.json`, for every type of run."""
    return TypeAdapter(RunSummary).json_schema(mode="serialization")


def encode(figure: Figure, form: Format) -> bytes:
    """Return a picture as a file's content."""
    stream = io.BytesIO()
    # The same run gives the same file: no date, and no random names inside.
    date = {Format.svg: "Date", Format.pdf: "CreationDate"}.get(form)
    with matplotlib.rc_context({"svg.hashsalt": "tunecnn"}):
        figure.savefig(stream, format=form, dpi=_DPI, metadata={date: None} if date else {})
    return stream.getvalue()
