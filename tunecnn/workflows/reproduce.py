"""A reproduction from its beginning to its end: a search in a grid of networks and seeds."""

from __future__ import annotations

from collections.abc import Sequence

from tunecnn.run.info import ReproductionJob
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.reproduction_space import published_for, reproduction_space
from tunecnn.workflows.search import search
from tunecnn.workflows.session import Listening, RunResult


def reproduce(
    dataset: str,
    against: str | None,
    models: Sequence[str] | None,
    seeds: int | None,
    epochs: int | None,
    options: RunOptions,
    listening: Listening,
) -> RunResult:
    """Train the published networks by its protocol, with several seeds, and test each once.

    Args:
        dataset: on which they are trained.
        against: data set whose published results they are compared with; None for `dataset`
            itself, `none` for no comparison.
        models: networks; None for all.
        seeds: trainings per network; None for three.
        epochs: of a training; None for those that were published.
        options: data, folders and where to run.
        listening: opens what shows the user how it goes.

    Raises:
        InputError: if something given cannot be used; then nothing was written.
        RunError: if the run could not go on; it can be resumed.
    """
    published = published_for(dataset, against)
    text = reproduction_space(dataset, published, models, seeds, epochs)
    job = ReproductionJob(against=published)
    return search(prepare_text(text, "reproduction"), options, listening, job)
