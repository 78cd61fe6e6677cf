"""The plan of a search: reads the images and connects to the cluster, but trains no trial."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tunecnn.data.images import Dataset
from tunecnn.data.loading import load_dataset
from tunecnn.models.counting import CostCounter
from tunecnn.run.info import KEEP_WEIGHTS
from tunecnn.space.space import SearchSpace
from tunecnn.words import resources_in_words
from tunecnn.workflows.confirmation_space import check_splits
from tunecnn.workflows.forecast import Plan, Timer, make_plan
from tunecnn.workflows.options import RunOptions, check_threads

_END_SECONDS = 11.0  # start of the first trials, summary and plots, end of Ray: measured


@dataclass(frozen=True)
class PlannedRun:
    """The plan of a search with the given resources.

    Attributes:
        plan: plan of the space and the images.
        slots: number of trials that would run at once.
        placement: description of where the trials would run.
        overhead_seconds: seconds that a search takes before its first trial and after its last.
        dataset: images of the search.
    """

    plan: Plan
    slots: int
    placement: str
    overhead_seconds: float
    dataset: Dataset


def plan_search(
    space: SearchSpace, options: RunOptions, *, measure: bool = False, ended: int = 0
) -> PlannedRun:
    """Plan a search.

    Args:
        space: space to search.
        options: options of the run.
        measure: whether to time a few epochs, in order to estimate the duration.
        ended: number of trials that have ended before those of the space.

    Raises:
        InputError: if the data or the cluster cannot be used.
    """
    started = time.monotonic()
    dataset = load_dataset(space.dataset, space.data_split, options.data_dir, space.image_options)
    check_splits(space, dataset)
    data = dataset.trial_data
    with _slots(options) as (slots, placement, timer):
        code = space.network_code()
        with CostCounter(code, data.input_shape, len(data.classes)) as costs:
            plan = make_plan(
                space,
                data,
                costs,
                slots=slots,
                timer=timer if measure else None,
                ended=ended,
                keep_weights=options.keep_weights or KEEP_WEIGHTS,
            )
        seconds = time.monotonic() - started
    # A search does all of this before its first epoch, except for the timed epochs.
    timed = plan.time.spent if plan.time else 0.0
    return PlannedRun(plan, slots, placement, seconds - timed + _END_SECONDS, dataset)


@contextlib.contextmanager
def _slots(options: RunOptions) -> Iterator[tuple[int, str, Timer]]:
    """Yield the number of trials at once, their placement, and a timer of their epochs."""
    if options.local:
        from tunecnn.trial.timing import time_epochs

        check_threads(options.threads)
        yield 1, "in this process", partial(time_epochs, threads=options.threads)
        return
    from tunecnn.engines.cluster import Resources, connected

    resources = Resources(options.cpus_per_trial, options.gpus_per_trial)
    with connected(options.address, resources) as cluster:
        from tunecnn.engines.ray import time_on  # ray reads the environment when it is imported

        there = "; ".join(
            f"{node.name} has {resources_in_words(node.cpus, node.gpus)}" for node in cluster.nodes
        )
        takes = f"a trial takes {resources_in_words(cluster.cpus, cluster.gpus)}; {there}"
        yield cluster.slots, takes, partial(time_on, cluster)
