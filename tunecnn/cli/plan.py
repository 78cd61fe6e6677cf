"""`tunecnn plan`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tunecnn.cli.options import (
    Address,
    Confirm,
    CpusPerTrial,
    DataDir,
    Fit,
    GpusPerTrial,
    Local,
    Size,
    SkipBad,
    Splits,
    candidates_in,
)
from tunecnn.console import PlainConsole
from tunecnn.workflows.options import RunOptions

if TYPE_CHECKING:
    from tunecnn.space.space import SearchSpace
    from tunecnn.workflows.forecast import Plan
    from tunecnn.workflows.plan import PlannedRun


def plan(
    space: Annotated[str, typer.Option(help="Space file, or name of a shipped space.")],
    dataset: Annotated[str | None, typer.Option(help="Data set, instead of the space's.")] = None,
    size: Size = None,
    fit: Fit = None,
    skip_bad: SkipBad = False,
    trials: Annotated[
        int | None, typer.Option(help="Number of trials, instead of the space's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs per full trial, instead of the space's.")
    ] = None,
    data_dir: DataDir = None,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    local: Local = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time a few epochs, and estimate the duration.")
    ] = False,
    confirm: Confirm = None,
    splits: Splits = None,
) -> None:
    """Print the plan of a search: its size, memory and disk space, without training trials."""
    from tunecnn.workflows.prepare import prepare

    candidates = candidates_in(confirm, splits)
    changes = {"dataset": dataset, "trials": trials, "epochs": epochs, "splits": splits}
    prepared = prepare(space, {**changes, "size": size, "fit": fit, "skip_bad": skip_bad or None})
    options = RunOptions(
        data_dir=data_dir,
        local=local,
        address=address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    print_plan(prepared.space, options, candidates, measure=measure)


def print_plan(
    space: SearchSpace,
    options: RunOptions,
    candidates: tuple[int, int] | None = None,
    *,
    measure: bool = False,
    ended: int = 0,
) -> None:
    """Print the plan of a search of a space.

    Args:
        space: space to search.
        options: options of the run.
        candidates: number of best trials to confirm at the end, and of new seeds; None to
            confirm none.
        measure: whether to time a few epochs, in order to estimate the duration.
        ended: number of trials that have ended before those of the space.
    """
    from tunecnn.cli.spaces import print_space
    from tunecnn.workflows.plan import plan_search

    planned = plan_search(space, options, measure=measure, ended=ended)
    console = PlainConsole()
    print_space(space, console)
    _print_networks(planned.plan, console)
    for line in _lines(planned, space):
        console.print(line, soft_wrap=True)
    if candidates is not None:
        line = _confirmation_line(planned, space, space.trials + ended, *candidates)
        console.print(line, soft_wrap=True)


def print_confirmation(
    space: SearchSpace, options: RunOptions, candidates: tuple[int, int], trials: int
) -> None:
    """Print what a confirmation of a search that has ended would train."""
    from tunecnn.workflows.plan import plan_search

    planned = plan_search(space, options, ended=trials)
    print(_confirmation_line(planned, space, trials, *candidates))


def _print_networks(plan: Plan, console: PlainConsole) -> None:
    from tunecnn.words import bytes_in_words

    table = Table("network", "params", "MACs per image", "memory per trial", box=None)
    for name, network in plan.networks.items():
        table.add_row(
            name, f"{network.params:,}", f"{network.macs:,}", bytes_in_words(network.memory)
        )
    console.print(table)


def _lines(planned: PlannedRun, space: SearchSpace) -> Iterator[str]:
    from tunecnn.words import bytes_in_words, count_in_words

    plan, slots = planned.plan, planned.slots
    yield (
        "memory per trial: weights, gradients, optimizer states and the values of a batch, by "
        "arithmetic; torch itself and the images come on top"
    )
    if space.constraints:
        yield (
            f"constraints: about {plan.infeasible:.0%} of random proposals break one and are not "
            "trained; the smallest and the largest network above meet them"
        )
    expected = f", about {plan.forecast.epochs:,.0f} expected" if plan.forecast else ""
    yield f"epochs: {plan.full_epochs:,} if no trial is stopped early{expected}"
    if plan.rungs:
        rungs = ", ".join(map(str, plan.rungs))
        yield f"rungs: only the best go on after epoch {rungs}"
    if plan.repeats is not None and plan.repeats >= 0.05:
        yield (
            f"repeats: of {space.trials} randomly sampled trials, about {plan.repeats:,.1f} "
            f"would repeat one of the {plan.size:,} configurations"
        )
    if limits := space.budget.in_words:
        yield f"budget: no trial starts after {limits}"
    images, disk = bytes_in_words(plan.image_memory), bytes_in_words(plan.disk)
    yield f"images on the device: {images}; disk: {disk}"
    sheet = planned.dataset.sheet
    if files := sheet.files_in_words():
        yield f"images: {files}"
        yield from sheet.notes
    classes = planned.dataset.trial_data.classes
    yield from sheet.parts_in_words(classes)
    yield from (f"{name}: {text}" for name, text in space.image_changes.items())
    for text in sheet.warnings(classes):
        yield f"warning: {text}"
    yield f"at once: {count_in_words(slots, 'trial')}, {planned.placement}"
    if plan.time is not None:
        yield _time_line(planned)
    yield f"corners of the space: {plan.corners}, {len(plan.unbuildable)} cannot be built"
    for text in plan.unbuildable:
        yield f"cannot be built: {text}"
    for text in plan.warnings:
        yield f"warning: {text}"


def _confirmation_line(
    planned: PlannedRun, space: SearchSpace, trials: int, top: int, seeds: int
) -> str:
    """Say how much a confirmation trains at most, with the baseline as one more candidate."""
    from tunecnn.words import count_in_words, seconds_in_words

    top = min(top, trials)
    trainings = (top + 1) * seeds * space.splits
    splits = f" in each of {space.splits} new splits of the data" if space.splits > 1 else ""
    text = (
        f"confirmation: {trainings:,} trainings of {count_in_words(space.epochs, 'epoch')} "
        f"({count_in_words(top, 'trial')} and the baseline, {count_in_words(seeds, 'new seed')} "
        f"each{splits})"
    )
    if planned.plan.time is None:
        return text
    rounds = math.ceil(trainings / max(1, planned.slots))
    seconds = planned.plan.time.epoch * space.epochs * rounds
    return f"{text}: about {seconds_in_words(seconds)} more, if the networks are of mean size"


def _time_line(planned: PlannedRun) -> str:
    from tunecnn.words import seconds_in_words

    plan, around = planned.plan, planned.overhead_seconds
    assert plan.time is not None
    guess = "" if plan.forecast else " if no trial is stopped early"
    return (
        f"time: about {seconds_in_words(around + plan.time.longest)}{guess}, of which "
        f"{seconds_in_words(around)} to start and to summarize; total training time of all "
        f"trials: {seconds_in_words(plan.time.training)} (estimated from epochs timed where "
        f"trials would run, {planned.slots} at once)"
    )
