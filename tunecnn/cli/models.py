"""`tunecnn evaluate` and `tunecnn export`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunecnn.cli.options import DataDir, Json
from tunecnn.console import print_json

Model = Annotated[
    Path,
    typer.Argument(
        help="File of weights, or folder of a run, whose confirmed or best trial is taken."
    ),
]


def evaluate(
    model: Model,
    dataset: Annotated[
        str | None, typer.Option(help="Data set, instead of that of the training.")
    ] = None,
    data_dir: DataDir = None,
    json_lines: Json = False,
) -> None:
    """Evaluate a model on test images; the run records that its test images were used."""
    from tunecnn.workflows.evaluate_model import evaluate as evaluate_model

    found = evaluate_model(model, dataset, data_dir)
    if json_lines:
        print_json({"event": "evaluation", **asdict(found)})
        return
    for note in found.notes:
        print(f"images: {note}", file=sys.stderr)
    low, high = found.interval
    print(
        f"{found.accuracy:.2%} accuracy on {found.images:,} test images of {found.dataset} "
        f"(95 % interval {low:.2%} to {high:.2%}), balanced {found.balanced_accuracy:.2%}, mean "
        f"cross-entropy {found.loss:.4f}"
    )
    if found.recorded:
        used = f"its test images have been used for trial {found.trial}"
        print(f"recorded in {found.recorded}: {used}")


def export(
    model: Model,
    format_: Annotated[
        Literal["torch-export", "onnx"],
        typer.Option("--format", help="Format of the exported model."),
    ] = "torch-export",
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: named by run and trial.")
    ] = None,
) -> None:
    """Export a model to PyTorch or ONNX, compare the outputs, and write a model card."""
    from tunecnn.workflows.export import export as export_model

    found = export_model(model, format_, out)
    print(f"{found.path}: probabilities equal the model's within {found.difference:.1g}")
    print(f"model card: {found.card}")
