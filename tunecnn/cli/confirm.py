"""`tunecnn confirm`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunecnn.cli.options import Json, Quiet, takes_run_options
from tunecnn.cli.output import end, listening_to_user
from tunecnn.errors import InputError
from tunecnn.workflows.options import RunOptions


@takes_run_options(without=("runs_dir", "name", "resume_or_start", "keep_weights"))
def confirm(
    *,
    run: Annotated[Path, typer.Argument(help="Folder of a search.")],
    top: Annotated[int, typer.Option(help="Number of its best trials to confirm.")] = 3,
    seeds: Annotated[
        int, typer.Option(help="Number of new seeds per configuration and split.")
    ] = 5,
    splits: Annotated[
        int | None,
        typer.Option(
            help="Number of new splits into training and validation images, each with as many "
            "seeds; instead of the space's. 1 for that of the search."
        ),
    ] = None,
    train_images: Annotated[
        str | None,
        typer.Option(
            help="Number of training images, or all; instead of the search's.", metavar="N"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of each training, instead of the search's.", min=1, max=1_000_000_000
        ),
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option(help="Config file to confirm as well; repeatable.")
    ] = None,
    options: RunOptions,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Train the best trials of a search and the baseline again with new seeds, and test them.

    After an interruption, the same command resumes the confirmation.
    """
    from tunecnn.trial.config_file import read_config
    from tunecnn.workflows.confirm import confirm as confirm_search
    from tunecnn.workflows.confirmation_space import TrainingScale

    scale = TrainingScale(_images_in(train_images), epochs)
    configs = {str(path): read_config(path) for path in config or []}
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    result = confirm_search(run, top, seeds, configs, options, listening, splits, scale)
    end(result, quiet=quiet, json_lines=json_lines)


def _images_in(text: str | None) -> int | Literal["all"] | None:
    """Parse `20000` or `all`."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text):
        raise InputError(
            "--train-images must be all, or a whole number from 1 to 999,999,999, "
            f"not {text[:40]!r}"
        )
    return int(text)
