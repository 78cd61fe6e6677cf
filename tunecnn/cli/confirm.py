"""`tunecnn confirm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunecnn.cli.options import Json, Quiet, takes_run_options
from tunecnn.cli.output import end, listening_to_user
from tunecnn.workflows.options import RunOptions


@takes_run_options(without=("runs_dir", "name"))
def confirm(
    *,
    run: Annotated[Path, typer.Argument(help="The folder of a search.")],
    top: Annotated[int, typer.Option(help="How many of its best trials.")] = 3,
    seeds: Annotated[int, typer.Option(help="New seeds for each.")] = 5,
    config: Annotated[
        list[Path] | None, typer.Option(help="A config file to confirm as well; repeatable.")
    ] = None,
    options: RunOptions,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Train what a search found again, with new seeds, beside the baseline, and test it.

    After an interruption, the same command carries on.
    """
    from tunecnn.trial.config_file import read_config
    from tunecnn.workflows.confirm import confirm as confirm_search

    configs = {str(path): read_config(path) for path in config or []}
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    result = confirm_search(run, top, seeds, configs, options, listening)
    end(result, quiet=quiet, json_lines=json_lines)
