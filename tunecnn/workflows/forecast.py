"""The plan of a search before its start: sizes, memory, disk and, if measured, time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tunecnn.data.images import Images, TrialData
from tunecnn.errors import InputError
from tunecnn.models.code import NetworkCode
from tunecnn.models.counting import CostCounter
from tunecnn.models.designs import Cost
from tunecnn.run.info import KEEP_WEIGHTS
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Grid, Halving, NoPruner, Promotion, Tpe, rungs
from tunecnn.study.distributions import random_points
from tunecnn.study.halving import Arrival, Rungs
from tunecnn.study.origin import Source
from tunecnn.study.queue import is_protected, is_random
from tunecnn.trial.config import Scalar, TrialConfig
from tunecnn.trial.timing import Timing
from tunecnn.workflows.networks import (
    TriedNetwork,
    check_constraints,
    check_networks,
    is_allowed,
    meets,
    network_doubts,
    sampled_networks,
    values_in_words,
)

_SAMPLE = 200
_FLOAT = 4  # bytes
_JOURNAL_BYTES = 3_000  # per trial of about ten epochs, measured
# Maximum number of values that an optimizer keeps per weight.
_STATES = {"rmsprop": 1, "adamw": 2, "sgd": 1, "muon": 2}
_MEASURED_IMAGES = 1_280

Timer = Callable[[Sequence[TrialConfig], TrialData, NetworkCode | None], Timing]
"""Times one epoch per config, where the trials would run."""


@dataclass(frozen=True)
class Network:
    """The cost of one configuration of a space.

    Attributes:
        values: values of the searched parameters.
        config: the configuration.
        params: number of trainable parameters.
        macs: multiply-accumulates of one forward pass of one image.
        memory: approximate bytes of training: weights, gradients, the optimizer's state, and the
            activations of a batch for the backward pass; without the images and torch itself.
    """

    values: Mapping[str, Scalar]
    config: TrialConfig
    params: int
    macs: int
    memory: int


@dataclass(frozen=True)
class Forecast:
    """Epochs of all trials together (`epochs`), and of the slot that ends last (`longest`)."""

    epochs: float
    longest: float


@dataclass(frozen=True)
class Time:
    """The training time of a search, in seconds.

    Attributes:
        training: training time of all trials together.
        longest: training time of the slot that ends last.
        epoch: mean time of an epoch, over random points of the space, with all slots in use.
        spent: duration of the measurement itself.
    """

    training: float
    longest: float
    epoch: float
    spent: float


@dataclass(frozen=True)
class Plan:
    """The plan of a search.

    Attributes:
        rungs: epochs after which successive halving prunes trials; empty for other pruners.
        full_epochs: number of epochs if no trial were pruned.
        forecast: expected number of epochs; None if the pruner allows no forecast.
        networks: smallest and largest network that meet the constraints, and the baseline (if the
            space has it), by name.
        infeasible: share of random points of the space that break a constraint; such a proposal
            is not trained.
        unbuildable: descriptions of the corners of the space that cannot be built.
        corners: number of corners that were tried.
        size: number of different configurations; None for a continuum.
        repeats: expected number of trials that repeat a configuration, if sampled at random; None
            for a continuum or a grid.
        image_memory: bytes of the images on the device.
        disk: approximate bytes that the run writes.
        time: training time, without a forecast as if no trial were pruned; None if not measured.
        warnings: warnings about settings that are allowed but probably unintended.
    """

    rungs: tuple[int, ...]
    full_epochs: int
    forecast: Forecast | None
    networks: Mapping[str, Network]
    infeasible: float
    unbuildable: tuple[str, ...]
    corners: int
    size: int | None
    repeats: float | None
    image_memory: int
    disk: int
    time: Time | None
    warnings: tuple[str, ...]


def make_plan(
    space: SearchSpace,
    data: TrialData,
    costs: CostCounter,
    *,
    slots: int = 1,
    timer: Timer | None = None,
    ended: int = 0,
    keep_weights: int = KEEP_WEIGHTS,
) -> Plan:
    """Plan a search.

    Args:
        space: space to search.
        data: images and labels of the trials.
        costs: counts the costs of the networks for these images.
        slots: number of trials that would run at once.
        timer: function that measures the time of epochs; None for no measurement.
        ended: number of trials of the search that have ended, and are not those of the space.
        keep_weights: number of the best trials whose weights are kept.

    Raises:
        InputError: if no network of an architecture can be built for these images, or none meets
            the constraints.
    """
    found = check_networks(space, data.name, costs)
    broken = check_constraints(space, data.name, found, costs)
    size = space.count()
    if isinstance(space.sampler, Grid) and size is not None and size < space.trials:
        space = space.override(trials=size)  # the search ends with the last point
    samples = sampled_networks(space, costs) if space.constraints else []
    named = _named_networks(space, [*found, *samples], costs)
    unmeasured = ""
    if timer and not (named and slots):
        why = "no node has room yet" if named else "no network meets the constraints"
        unmeasured, timer = f"nothing was measured, since {why}", None
    slots = max(1, slots)  # where an autoscaler has no node yet
    expected = forecast(space, slots)
    all_epochs = forecast(space.override(pruner="none"), slots)
    assert all_epochs is not None
    sizes = [one.cost.params for one in (*found, *samples) if one.cost and is_allowed(space, one)]
    kept = max(sizes, default=0) * _FLOAT
    return Plan(
        rungs=tuple(_rungs(space)),
        full_epochs=space.trials * space.epochs,
        forecast=expected,
        networks=named,
        infeasible=1 - fmean(is_allowed(space, one) for one in samples) if samples else 0.0,
        unbuildable=tuple(
            f"{values_in_words(one.values)}: {one.problem}" for one in found if one.problem
        ),
        corners=len(found),
        size=size,
        repeats=_repeats(space, size),
        image_memory=data.train.pixels.nbytes + data.validation.pixels.nbytes,
        disk=space.trials * _JOURNAL_BYTES + min(keep_weights, space.trials) * kept,
        time=_time(space, data, costs, named, timer, expected or all_epochs) if timer else None,
        warnings=(
            *space.warnings(),
            *broken,
            *network_doubts(space, found, costs),
            *_warnings(space, size, ended),
            *filter(None, [unmeasured]),
        ),
    )


def _named_networks(
    space: SearchSpace, tried: Sequence[TriedNetwork], costs: CostCounter
) -> dict[str, Network]:
    """Return the smallest network, the baseline and the largest one; none if none is allowed."""
    networks = [
        _network(one.values, one.config, one.cost)
        for one in tried
        if is_allowed(space, one) and one.config and one.cost
    ]
    if not networks:
        return {}
    named = {"smallest": min(networks, key=lambda network: network.macs)}
    if "baseline" in space.start:
        values = space.baseline_point()
        config = space.config(values)
        cost = costs.cost(config.architecture, config.net)
        named["baseline"] = _network(values, config, cost)
    return {**named, "largest": max(networks, key=lambda network: network.macs)}


def forecast(space: SearchSpace, slots: int = 1) -> Forecast | None:
    """Estimate the number of epochs of a search, with a random quality per trial.

    Successive halving is simulated with random accuracies that do not change from epoch to epoch,
    one trial after the other; without a pruner, every trial trains for all epochs. Other pruners
    depend on the learning curves, so there is no forecast.

    Args:
        space: space to search.
        slots: number of trials that run at once.
    """
    if not isinstance(space.pruner, Promotion | Halving | NoPruner):
        return None
    draw = random.Random(0)
    total = longest = 0
    # The mean of many trials varies little, and their simulation takes the square of their number.
    repeats = max(2, min(50, 10_000 // space.trials))
    for _ in range(repeats):
        ends = [0] * slots
        for epochs in _simulated(space, draw):
            total += epochs
            heapq.heapreplace(ends, ends[0] + epochs)
        longest += max(ends)
    return Forecast(total / repeats, longest / repeats)


def _simulated(space: SearchSpace, draw: random.Random) -> Iterator[int]:
    """Simulate a search; yield the numbers of epochs that are trained without a pause."""
    if isinstance(space.pruner, NoPruner):
        yield from [space.epochs] * space.trials
        return
    rungs = Rungs(space, ())
    starts = space.different_start_points()[: space.trials]
    values = [draw.random() for _ in range(space.trials)]
    after: dict[int, int] = {}
    randoms: set[int] = set()  # trials of the random baseline
    for number in range(len(starts), space.trials):
        if is_random(space, len(randoms), number):
            randoms.add(number)

    def train(number: int) -> int:
        begin, is_start = after.pop(number, 0), number < len(starts)
        protected = is_start and is_protected(space, starts[number])
        for epoch in [one for one in rungs.epochs if one > begin]:
            source = Source.RANDOM_BASELINE if number in randoms else Source.SEARCH
            arrival = Arrival(number, epoch, values[number], source, is_start=is_start)
            if not rungs.goes_on(arrival, protected=protected):
                after[number] = epoch
                return epoch - begin
        rungs.end(number, is_complete=True)
        return space.epochs - begin

    for number in range(space.trials):
        yield train(number)
        while (promoted := rungs.promotable()) is not None:
            rungs.promote(promoted)
            yield train(promoted)
    while (promoted := rungs.needed()) is not None:
        rungs.promote(promoted)
        yield train(promoted)


def _rungs(space: SearchSpace) -> list[int]:
    if not isinstance(space.pruner, Promotion | Halving):
        return []
    return rungs(space.pruner, space.epochs)


def _network(values: Mapping[str, Scalar], config: TrialConfig, cost: Cost) -> Network:
    weights = cost.params * (2 + _STATES[config.optimizer])
    memory = _FLOAT * (weights + 2 * cost.activations * config.batch_size)
    return Network(values, config, cost.params, cost.macs, memory)


def _repeats(space: SearchSpace, size: int | None) -> float | None:
    if size is None or isinstance(space.sampler, Grid):
        return None
    return space.trials - size * (1 - (1 - 1 / size) ** space.trials)


def _warnings(space: SearchSpace, size: int | None, ended: int) -> Iterable[str]:
    trials = space.trials + ended
    if isinstance(space.sampler, Tpe) and space.sampler.startup_trials >= trials:
        yield (
            f"tpe samples its first {space.sampler.startup_trials} trials at random, and there "
            f"are only {trials}: it would be no better than random search"
        )
    if ended:
        return
    if isinstance(space.sampler, Grid) and size is not None and size > space.trials:
        yield (
            f"the grid has {size:,} points, but only {space.trials} trials are requested: they "
            "are drawn from it at random"
        )
    if not isinstance(space.sampler, Grid) and size is not None and size < space.trials:
        yield (
            f"there are only {size:,} different configurations for {space.trials} trials; "
            "sampler: grid would try each once"
        )


def _time(
    space: SearchSpace,
    data: TrialData,
    costs: CostCounter,
    networks: Mapping[str, Network],
    timer: Timer,
    forecast: Forecast,
) -> Time | None:
    """Time epochs of the smallest and the largest network, and interpolate for the space.

    The time of an epoch is modelled as a + b * macs, fitted to these two networks, and evaluated
    at the mean size of randomly sampled configurations. It is measured on a few images, and
    scaled in proportion to their number.
    """
    small, large = networks["smallest"], networks["largest"]
    few = _few(data)
    timing = timer([small.config, large.config], few, space.network_code())
    first, last = timing.epochs
    slope = (last - first) / (large.macs - small.macs) if large.macs > small.macs else 0.0
    sizes = []
    for values in random_points(space, _SAMPLE):
        try:
            config = space.config(values)
            cost = costs.cost(config.architecture, config.net)
        except InputError:
            continue
        if meets(space, cost):
            sizes.append(cost.macs)
    mean = sum(sizes) / len(sizes) if sizes else small.macs
    of_few = first + slope * (mean - small.macs)
    epoch = of_few * len(data.train) / len(few.train)
    return Time(forecast.epochs * epoch, forecast.longest * epoch, epoch, timing.spent)


def _few(data: TrialData) -> TrialData:
    """Return a subset of the images that is large enough for the measurement."""
    share = min(1.0, _MEASURED_IMAGES / len(data.train))
    parts = [
        Images(images.pixels[:count], images.labels[:count])
        for images in (data.train, data.validation)
        for count in [max(1, round(share * len(images)))]
    ]
    return TrialData.measure(data.name, data.classes, *parts)
