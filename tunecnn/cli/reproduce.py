"""`tunecnn reproduce`."""

from __future__ import annotations

from typing import Annotated

import typer

from tunecnn.cli.options import Json, Quiet, Resume, takes_run_options
from tunecnn.cli.output import end, listening_to_user
from tunecnn.errors import InputError
from tunecnn.workflows.options import RunOptions


@takes_run_options(without=("keep_weights",))
def reproduce(
    *,
    dataset: Annotated[
        str | None, typer.Option(help="Data set: cifar10 or mnist; others with --against.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Networks to train. Default: model1,model2,proposed."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds per network. Default: 3.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs per trial. Default: as published.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Data set whose published results to compare with, if --dataset has the same "
            "images in other files; none: no comparison."
        ),
    ] = None,
    resume: Resume = None,
    options: RunOptions,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Train the published networks with the published protocol, and compare the results."""
    from tunecnn.workflows.reproduce import check_reproduction
    from tunecnn.workflows.reproduce import reproduce as start
    from tunecnn.workflows.search import resume as resume_run

    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    if resume is not None:
        check_reproduction(resume)
        result = resume_run(resume, options, listening)
    elif dataset is None:
        raise InputError("give --dataset, such as --dataset mnist, or --resume RUN")
    else:
        names = None if models is None else [model.strip() for model in models.split(",")]
        result = start(dataset, against, names, seeds, epochs, options, listening)
    end(result, quiet=quiet, json_lines=json_lines)
