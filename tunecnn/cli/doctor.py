"""`tunecnn doctor` and `notebooks`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tunecnn.cli.options import Address, DataDir, Json
from tunecnn.console import PlainConsole, print_json

_STYLES = {"good": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    runs_dir: Annotated[Path, typer.Option(help="Parent folder of the runs.")] = Path("runs"),
    data_dir: DataDir = None,
    address: Address = None,
    json_lines: Json = False,
) -> None:
    """Check versions, devices, cluster, storage and data; exit with 1 if there is a problem."""
    from tunecnn.workflows.doctor import examine

    console = PlainConsole()
    has_problem = False
    for found in examine(runs_dir, data_dir, address):
        has_problem |= found.state == "problem"
        if json_lines:
            print_json({"event": "finding", **asdict(found)})
            continue
        line = Text(f"{found.state:8s}", _STYLES[found.state])
        line.append(f" {found.what}: {found.words}", "default")
        console.print(line, soft_wrap=True)
        if found.advice:
            console.print(f"         {found.advice}", soft_wrap=True)
    if has_problem:
        raise typer.Exit(1)


def notebooks(
    copy_to: Annotated[Path, typer.Argument(help="Folder to copy them to; it may exist.")],
) -> None:
    """Copy tunecnn's notebooks into a folder, to open and change them there."""
    from tunecnn.workflows.notebooks import copy_notebooks

    for path in copy_notebooks(copy_to):
        print(path)
