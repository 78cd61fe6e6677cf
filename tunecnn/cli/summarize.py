"""`tunecnn summarize` and `repair`: work on a run's folder without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunecnn.cli.options import Json
from tunecnn.cli.output import print_result
from tunecnn.summary.formats import Format


def summarize(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    figures: Annotated[
        list[Format] | None,
        typer.Option(help="Write the pictures in this format too: png or pdf; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to, instead of the run's, such as one that is full."),
    ] = None,
    json_lines: Json = False,
) -> None:
    """Write a run's summary and pictures again; also possible while the run is active."""
    from tunecnn.workflows.summarize import summarize as summarize_run

    found = summarize_run(run, figures or (), out)
    print_result(run, "summarized", found, quiet=False, json_lines=json_lines, written=out)


def repair(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Recover the readable lines of a damaged journal, so that the run can be resumed."""
    from tunecnn.run.folder import resume_command
    from tunecnn.words import list_in_words
    from tunecnn.workflows.repair import repair as repair_run

    done = repair_run(run)
    if done.old is None:
        print("nothing to repair: every line can be read")
        return
    lost = list_in_words(done.lost, "line") or ("none" if done.lines else "all")
    print(f"saved {done.lines} lines; lost: {lost}")
    if done.again:
        print(f"to be trained again: {list_in_words(done.again, 'trial')}")
    print(f"the damaged journal is kept: {done.old}")
    print(f"carry on with: {resume_command(run)}")
