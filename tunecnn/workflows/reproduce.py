"""The workflow of a reproduction, which is a search of a grid of networks and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder, resume_command
from tunecnn.run.info import ConfirmationJob, ReproductionJob
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.reproduction_space import published_for, reproduction_space
from tunecnn.workflows.search import search
from tunecnn.workflows.session import Listening, RunResult


def check_reproduction(path: Path) -> None:
    """Check that a run is a reproduction, before it is resumed as one.

    Raises:
        InputError: if it is something else, or no run.
    """
    job = RunFolder.open(path).read_info().job
    if isinstance(job, ConfirmationJob):
        raise InputError(f"{path} is a confirmation; tunecnn confirm goes on with it")
    if not isinstance(job, ReproductionJob):
        raise InputError(f"{path} is a {job.type}; go on with it by {resume_command(path)}")


def reproduce(
    dataset: str,
    against: str | None,
    models: Sequence[str] | None,
    seeds: int | None,
    epochs: int | None,
    options: RunOptions,
    listening: Listening,
) -> RunResult:
    """Train the published networks with the published protocol and several seeds, and test them.

    Args:
        dataset: data set to train on.
        against: data set whose published results to compare with; None for `dataset` itself,
            `none` for no comparison.
        models: names of the networks; None for all.
        seeds: number of seeds per network; None for three.
        epochs: epochs per trial; None for the published number.
        options: options of the run.
        listening: function that opens the listener which displays the run.

    Raises:
        InputError: if an argument is invalid; nothing has been written then.
        RunError: if the run had to stop; it can be resumed.
    """
    published = published_for(dataset, against)
    text = reproduction_space(dataset, published, models, seeds, epochs)
    job = ReproductionJob(against=published)
    return search(prepare_text(text, "reproduction"), options, listening, job)
