"""`tunecnn summarize` and `repair`: work on a run's folder without training."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunecnn.cli.options import Json
from tunecnn.cli.output import print_result


class PictureFormat(StrEnum):
    """Formats of the pictures besides SVG, which the pages use."""

    png = "png"
    pdf = "pdf"


def summarize(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    figures: Annotated[
        list[PictureFormat] | None,
        typer.Option(help="Write the pictures in this format too: png or pdf; may be repeated."),
    ] = None,
    json_lines: Json = False,
) -> None:
    """Write a run's summary and pictures again; also possible while the run is active."""
    from tunecnn.workflows.session import summarize as summarize_run

    print_result(
        run,
        "summarized",
        summarize_run(run, [form.value for form in figures or ()]),
        quiet=False,
        json_lines=json_lines,
    )


def repair(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Recover the readable lines of a damaged journal, so that the run can be resumed."""
    from tunecnn.words import list_in_words
    from tunecnn.workflows.repair import repair as repair_run

    done = repair_run(run)
    if done.old is None:
        print("nothing to repair: every line can be read")
        return
    print(f"saved {done.lines} lines; lost: {list_in_words(done.lost, 'line') or 'none'}")
    if done.again:
        print(f"to be trained again: {list_in_words(done.again, 'trial')}")
    print(f"the damaged journal is kept: {done.old}")
    print(f"carry on with: tunecnn search --resume {shlex.quote(str(run))}")
