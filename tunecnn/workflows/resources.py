"""The resources of a session: its images, its engine, and the handlers of signals."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tunecnn.data.images import Dataset
from tunecnn.data.loading import fetch, load_dataset
from tunecnn.engines.base import Engine
from tunecnn.listeners.trackers.registry import check_trackers
from tunecnn.models.code import NetworkCode
from tunecnn.models.counting import CostCounter
from tunecnn.models.packages import packages_of
from tunecnn.process import Interrupts
from tunecnn.space.space import SearchSpace
from tunecnn.workflows.on_end import check_on_end
from tunecnn.workflows.options import RunOptions, check_threads

T = TypeVar("T")

_QUICK_SECONDS = 0.5
"""How long the start waits for the images before it starts Ray beside their reading."""


@dataclass(frozen=True)
class Opened:
    """What a session trains, how, and its open resources: images, an engine, signal handlers."""

    space: SearchSpace
    options: RunOptions
    dataset: Dataset
    code: NetworkCode | None
    costs: CostCounter
    engine: Engine
    interrupts: Interrupts

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """Packages that the networks use, besides those that all trials do."""
        return packages_of(map(self.space.network, self.space.architectures), self.code)


@contextlib.contextmanager
def opened(
    space: SearchSpace, data_dir: Path | None, options: RunOptions, code: NetworkCode | None
) -> Iterator[Opened]:
    """Open the resources of a session; the images are read while other processes start."""
    check_trackers(options.track)
    check_on_end(options.on_end)
    splits = space.data_splits
    fetch(space.dataset, data_dir)  # may take minutes or fail, so it comes first
    with CostCounter(code) as costs:
        if not all(space.network(name).is_published for name in space.architectures):
            costs.start()
        loading = _in_a_thread(
            lambda: load_dataset(
                space.dataset, splits[0], data_dir, space.image_options, more_splits=splits[1:]
            )
        )
        with contextlib.suppress(TimeoutError):
            loading.result(_QUICK_SECONDS)  # a wrong path is refused without a start of Ray
        with _engine(options) as engine, Interrupts() as interrupts:  # Ray sets handlers too
            dataset = loading.result()
            data = dataset.trial_data
            costs.set_images(data.input_shape, len(data.classes))
            yield Opened(space, options, dataset, code, costs, engine, interrupts)


def _in_a_thread(function: Callable[[], T]) -> Future[T]:
    """Call a function in a daemon thread, so that an interrupted process can exit at once."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@contextlib.contextmanager
def _engine(options: RunOptions) -> Iterator[Engine]:
    """Open the engine that runs the trials: this process, or a Ray cluster."""
    if options.local:
        from tunecnn.engines.local import LocalEngine

        check_threads(options.threads)
        yield LocalEngine(options.threads, options.checkpoint_seconds)
        return
    from tunecnn.engines.cluster import Resources, connected

    resources = Resources(
        options.cpus_per_trial, options.gpus_per_trial, options.max_trials_at_once
    )
    with connected(options.address, resources) as cluster:
        from tunecnn.engines.ray import RayEngine

        yield RayEngine(
            cluster, options.checkpoint_seconds, options.max_failures, options.wait_for_workers
        )
