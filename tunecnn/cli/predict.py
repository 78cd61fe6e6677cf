"""The command `predict`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tunecnn.cli.models import Model
from tunecnn.cli.options import Json
from tunecnn.console import print_json


def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    top: Annotated[
        int, typer.Option(help="Number of classes for each image.", min=1, max=10**9)
    ] = 1,
    json_lines: Json = False,
) -> None:
    """Predict the classes of images: CSV with the columns file, rank, class and probability."""
    from tunecnn.workflows.predict import predict_files

    predictions = predict_files(model, images, top)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if not json_lines:
        writer.writerow(["file", "rank", "class", "probability"])
    for file, ranked in predictions:
        if json_lines:
            print_json({"file": file, "classes": _as_json(ranked)})
            continue
        for rank, (name, probability) in enumerate(ranked, 1):
            writer.writerow([file, rank, name, f"{probability:.6f}"])


def _as_json(ranked: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"class": name, "probability": round(probability, 6)} for name, probability in ranked]
