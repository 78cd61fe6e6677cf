"""`tunecnn spaces`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tunecnn.cli.options import DataDir
from tunecnn.console import PlainConsole

spaces_app = typer.Typer(help="List, show and check search spaces.", no_args_is_help=True)


@spaces_app.command("list")
def spaces_list() -> None:
    """List the spaces that come with tunecnn."""
    from tunecnn.space.library import shipped_spaces
    from tunecnn.space.space import SearchSpace

    table = Table("space", "trials", "epochs", "goal", box=None)
    for name, path in shipped_spaces().items():
        space = SearchSpace.from_yaml(path)
        table.add_row(name, str(space.trials), str(space.epochs), space.goal)
    PlainConsole().print(table)


@spaces_app.command("show")
def spaces_show(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
) -> None:
    """Print the text of a space file."""
    from tunecnn.documents import read_text
    from tunecnn.space.library import find_space

    print(read_text(find_space(space)), end="")


@spaces_app.command("check")
def spaces_check(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
    build: Annotated[
        bool,
        typer.Option("--build", help="Build the networks at its corners too, for its images."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Check a space file, and print its parameters and size; only --build runs networks' code."""
    from tunecnn.space.library import find_space
    from tunecnn.space.space import SearchSpace

    checked = SearchSpace.from_yaml(find_space(space))
    console = PlainConsole()
    print_space(checked, console)
    for text in checked.warnings():
        print(f"warning: {text}", file=sys.stderr)
    if build:
        _print_build(checked, data_dir)
    else:
        for name in checked.architectures:
            if reason := checked.network(name).signature.open:
                print(f"{name} may have other arguments, since {reason}; --build tells")


def _print_build(space: Any, data_dir: Path | None) -> None:
    """Build the networks at the corners of a space, in a process of its own."""
    from tunecnn.workflows.networks import build_corners

    found, problems = build_corners(space, data_dir)
    params = [corner.cost.params for corner in found if corner.cost]
    if params:
        print(
            f"built: {len(params)} of {len(found)} corners, with {min(params):,} to "
            f"{max(params):,} params"
        )
    for text in problems:
        print(f"warning: {text}", file=sys.stderr)


def print_space(space: Any, console: PlainConsole) -> None:
    """Print the searched and fixed parameters of a space, and its size."""
    from tunecnn.space.parameters import Constant, describe

    baseline = space.baseline_point()
    table = Table("parameter", "role", "values", "the baseline", box=None)
    for name, parameter in space.parameters.items():
        role = "" if isinstance(parameter, Constant) else parameter.role
        table.add_row(name, role, describe(parameter), str(baseline.get(name, "")))
    console.print(table)
    size = space.count()
    console.print(
        f"{space.name}: {space.trials} trials of at most {space.epochs} epochs on "
        f"{space.dataset}, "
        + (f"{size:,} different configurations" if size is not None else "a continuum of values"),
        highlight=False,
        soft_wrap=True,
    )
