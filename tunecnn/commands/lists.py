"""`tunecnn spaces` and `tunecnn data`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tunecnn.commands.options import DataDir

spaces_app = typer.Typer(help="List, show and check search spaces.", no_args_is_help=True)
data_app = typer.Typer(
    help="List data sets, and fetch them before a search.", no_args_is_help=True
)


@spaces_app.command("list")
def spaces_list() -> None:
    """List the spaces that come with tunecnn."""
    from tunecnn.shipped import shipped_spaces
    from tunecnn.space import SearchSpace

    table = Table("space", "trials", "epochs", "goal", box=None)
    for name, path in shipped_spaces().items():
        space = SearchSpace.from_yaml(path)
        table.add_row(name, str(space.trials), str(space.epochs), space.goal)
    Console().print(table)


@spaces_app.command("show")
def spaces_show(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
) -> None:
    """Print a space file as it is."""
    from tunecnn.shipped import find_space

    print(find_space(space).read_text(encoding="utf-8-sig"), end="")


@spaces_app.command("check")
def spaces_check(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
) -> None:
    """Check a space file, and say what a search of it would do."""
    from tunecnn.shipped import find_space
    from tunecnn.space import SearchSpace

    checked = SearchSpace.from_yaml(find_space(space))
    console = Console()
    print_space(checked, console)
    for text in checked.warnings():
        print(f"warning: {text}", file=sys.stderr)


def print_space(space: Any, console: Console) -> None:
    """Print what a space searches and fixes, and how much there is to search."""
    from tunecnn.parameters import Constant, describe

    report = space.report_point()
    table = Table("parameter", "role", "values", "the report", box=None)
    for name, parameter in space.parameters.items():
        role = "" if isinstance(parameter, Constant) else parameter.role
        table.add_row(name, role, describe(parameter), str(report.get(name, "")))
    console.print(table)
    size = space.size()
    console.print(
        f"{space.name}: {space.trials} trials of at most {space.epochs} epochs on "
        f"{space.dataset}, "
        + (f"{size:,} different configurations" if size is not None else "a continuum of values"),
        highlight=False,
        soft_wrap=True,
    )


@data_app.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """List the data sets, and which of them are on this machine."""
    from tunecnn.catalogue import FACTS, IMAGEFOLDER
    from tunecnn.datasets import default_data_dir

    folder = data_dir or default_data_dir()
    table = Table("data set", "here", "what it is", box=None)
    for name, facts in FACTS.items():
        table.add_row(name, "" if name == IMAGEFOLDER else _is_here(name, folder), facts.about)
    console = Console()
    console.print(table)
    console.print(f"data folder: {folder}", highlight=False, soft_wrap=True)


@data_app.command("prepare")
def data_prepare(
    dataset: Annotated[str, typer.Argument(help="Data set: see `tunecnn data list`.")],
    data_dir: DataDir = None,
) -> None:
    """Fetch a data set (or decode an image folder), check it, and say what is in it."""
    from tunecnn.datasets import read_arrays

    arrays = read_arrays(dataset, data_dir)
    height, width, channels = arrays.train_pixels.shape[1:]
    print(
        f"{dataset}: {len(arrays.train_labels):,} training and {len(arrays.test_labels):,} test "
        f"images of {height}x{width}x{channels}, {len(arrays.classes)} classes, fingerprint "
        f"{arrays.fingerprint()}"
    )


def _is_here(name: str, folder: Path) -> str:
    if name == "digits":
        return "yes"
    from tunecnn.downloads import missing_files

    return "no" if missing_files(name, folder) else "yes"
