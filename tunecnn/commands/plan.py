"""`tunecnn plan`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tunecnn.commands.options import Address, CpusPerTrial, DataDir, GpusPerTrial, Local

if TYPE_CHECKING:
    from tunecnn.plan import Plan, Timer
    from tunecnn.space import SearchSpace

_END_SECONDS = 11.0  # the first trials placed, the summary and its pictures, Ray's end: measured


def plan(
    space: Annotated[str, typer.Option(help="A space file, or a shipped space.")],
    dataset: Annotated[str | None, typer.Option(help="Data set, instead of the space's.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials, instead of the space's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the space's.")] = None,
    data_dir: DataDir = None,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    local: Local = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time some steps here, and estimate the time.")
    ] = False,
) -> None:
    """Say what a search would do, without training anything."""
    from tunecnn.shipped import find_space
    from tunecnn.space import SearchSpace

    changes: dict[str, Any] = {"dataset": dataset, "trials": trials, "epochs": epochs}
    checked = SearchSpace.from_yaml(find_space(space)).override(**changes)
    print_plan(
        checked, data_dir, address, cpus_per_trial, gpus_per_trial, local=local, measure=measure
    )


def print_plan(
    space: SearchSpace,
    data_dir: Path | None,
    address: str | None,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    *,
    local: bool,
    measure: bool,
) -> None:
    """Print what a search of a space would do."""
    from tunecnn.catalogue import absolute
    from tunecnn.commands.lists import print_space
    from tunecnn.datasets import load_dataset
    from tunecnn.plan import plan as make_plan

    began = time.monotonic()
    space = space.override(dataset=absolute(space.dataset))
    data = load_dataset(space.dataset, space.data_split, data_dir).trial_data
    with _slots(address, cpus_per_trial, gpus_per_trial, local=local) as (slots, why, timer):
        planned = make_plan(space, data, slots=slots, timer=timer if measure else None)
        started = time.monotonic() - began
    console = Console()
    print_space(space, console)
    _print_networks(planned, console)
    for line in _lines(planned, space, slots, why, started):
        console.print(line, highlight=False, soft_wrap=True)


def _print_networks(planned: Plan, console: Console) -> None:
    from tunecnn.words import bytes_in_words

    table = Table("network", "parameters", "MACs an image", "memory of a trial", box=None)
    for name, network in planned.networks.items():
        table.add_row(
            name, f"{network.parameters:,}", f"{network.macs:,}", bytes_in_words(network.memory)
        )
    console.print(table)


def _lines(
    planned: Plan, space: SearchSpace, slots: int, why: str, started: float
) -> Iterator[str]:
    from tunecnn.words import bytes_in_words, seconds_in_words

    forecast = planned.forecast
    expected = f", about {forecast.epochs:,.0f} to be expected" if forecast else ""
    yield f"epochs: {planned.full_epochs:,} if no trial is stopped early{expected}"
    if planned.rungs:
        rungs = ", ".join(map(str, planned.rungs))
        yield f"rungs: only the best go on after epoch {rungs}"
    if planned.repeats is not None and planned.repeats >= 0.05:
        yield (
            f"repeats: of {space.trials} trials drawn at random about {planned.repeats:,.1f} "
            f"would be one of the {planned.size:,} configurations again"
        )
    images, disk = bytes_in_words(planned.image_memory), bytes_in_words(planned.disk)
    yield f"images on the device: {images}; disk: {disk}"
    yield f"at once: {slots} trial{'' if slots == 1 else 's'}, {why}"
    if planned.time is not None:
        guess = "" if forecast else " if no trial is stopped early"
        # All of this command but the timed epochs is what a search does before its first one.
        around = started - planned.time.spent + _END_SECONDS
        yield (
            f"time: about {seconds_in_words(around + planned.time.longest)}{guess}, of which "
            f"{seconds_in_words(around)} to start and to summarize; all trials together train "
            f"for {seconds_in_words(planned.time.training)} (by epochs timed where trials would "
            f"run, {slots} at once)"
        )
    yield f"corners of the space: {planned.corners}, {len(planned.unbuildable)} cannot be built"
    for text in planned.unbuildable:
        yield f"cannot be built: {text}"
    for text in planned.warnings:
        yield f"warning: {text}"


@contextlib.contextmanager
def _slots(
    address: str | None, cpus: float | None, gpus: float | None, *, local: bool
) -> Iterator[tuple[int, str, Timer]]:
    """Give how many trials run at once, why, and what times their epochs there."""
    if local:
        from tunecnn.timing import time_epochs

        yield 1, "in this process", partial(time_epochs, threads=max(1, int(cpus or 1)))
        return
    from tunecnn.cluster import Resources, connected

    with connected(address, Resources(cpus, gpus)) as cluster:
        from tunecnn.engine import time_on  # ray reads the environment when it is imported

        there = "; ".join(
            f"{node.name}: {node.cpus:g} cores, {node.gpus:g} GPUs" for node in cluster.nodes
        )
        takes = f"a trial takes {cluster.cpus:g} cores and {cluster.gpus:g} GPUs of {there}"
        yield cluster.slots, takes, partial(time_on, cluster)
