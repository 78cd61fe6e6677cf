"""What a search would do, before it is started: sizes, memory, disk and, if measured, time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunecnn.data.images import Images, TrialData
from tunecnn.errors import InputError
from tunecnn.models.designs import InputShape, count_macs, count_params, layers
from tunecnn.space.parameters import ChoiceParameter, Parameter
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Grid, Halving, NoPruner, Tpe, rungs
from tunecnn.trial.config import Scalar, TrialConfig
from tunecnn.trial.timing import Timing

_MOST_CORNERS = 512
_SAMPLE = 200
_FLOAT = 4  # bytes
_JOURNAL_BYTES = 3_000  # of a trial with some ten epochs, measured
# Numbers that an optimizer keeps of each weight, at most.
_STATES = {"rmsprop": 1, "adamw": 2, "sgd": 1, "muon": 2}
_KEPT = 3
_MEASURED_IMAGES = 1_280

Timer = Callable[[Sequence[TrialConfig], TrialData], Timing]
"""Times an epoch of each of some configs, where the trials would run."""


@dataclass(frozen=True)
class Network:
    """What one configuration of a space costs.

    Attributes:
        values: of the searched parameters.
        params: trainable numbers.
        macs: multiply-accumulates of one forward pass of one image.
        memory: bytes that training takes, roughly: weights, gradients, the optimizer's state, and
            what a batch leaves for the way back; without the images and without torch itself.
    """

    values: Mapping[str, Scalar]
    params: int
    macs: int
    memory: int


@dataclass(frozen=True)
class Forecast:
    """Epochs of all trials together, and until the last slot has nothing more to do."""

    epochs: float
    longest: float


@dataclass(frozen=True)
class Time:
    """Seconds that a search would take to train.

    Attributes:
        training: of all trials together.
        longest: until the last slot has nothing more to do.
        spent: what measuring it took.
    """

    training: float
    longest: float
    spent: float


@dataclass(frozen=True)
class Plan:
    """What a search would do.

    Attributes:
        rungs: epochs after which successive halving stops trials; empty for other pruners.
        full_epochs: epochs if no trial were stopped early.
        forecast: epochs that are to be expected; None where the pruner allows no forecast.
        networks: the smallest, the baseline (if the space has it) and the largest, by name.
        unbuildable: corners of the space that cannot be built, in words.
        corners: number of corners that were tried.
        size: different configurations; None for a continuum.
        repeats: trials that would draw a configuration again, if drawn at random; None for a
            continuum or a grid.
        image_memory: bytes of the images on the device.
        disk: bytes that the run writes, roughly.
        time: None if not measured; without a forecast, as if no trial were stopped early.
        warnings: what is allowed but probably not meant.
    """

    rungs: tuple[int, ...]
    full_epochs: int
    forecast: Forecast | None
    networks: Mapping[str, Network]
    unbuildable: tuple[str, ...]
    corners: int
    size: int | None
    repeats: float | None
    image_memory: int
    disk: int
    time: Time | None
    warnings: tuple[str, ...]


def make_plan(
    space: SearchSpace, data: TrialData, *, slots: int = 1, timer: Timer | None = None
) -> Plan:
    """Plan a search.

    Args:
        space: what would be searched.
        data: on which.
        slots: trials that would run at once.
        timer: measures the time of epochs; None to measure nothing.
    """
    shape, classes = data.input_shape, len(data.classes)
    networks, unbuildable = [], []
    corners = list(itertools.islice(_corners(space), _MOST_CORNERS))
    for values in corners:
        try:
            networks.append(_network(space.config(values), values, shape, classes))
        except InputError as error:
            unbuildable.append(f"{_in_words(values)}: {error}")
    named: dict[str, Network] = {}
    if networks:
        named["smallest"] = min(networks, key=lambda network: network.macs)
        if "baseline" in space.start:
            values = space.baseline_point()
            named["baseline"] = _network(space.config(values), values, shape, classes)
        named["largest"] = max(networks, key=lambda network: network.macs)
    expected = forecast(space, slots)
    all_epochs = forecast(space.override(pruner="none"), slots)
    assert all_epochs is not None
    size = space.size()
    kept = max((network.params for network in networks), default=0) * _FLOAT
    return Plan(
        rungs=tuple(_rungs(space)),
        full_epochs=space.trials * space.epochs,
        forecast=expected,
        networks=named,
        unbuildable=tuple(unbuildable),
        corners=len(corners),
        size=size,
        repeats=_repeats(space, size),
        image_memory=data.train.pixels.nbytes + data.validation.pixels.nbytes,
        disk=space.trials * _JOURNAL_BYTES + _KEPT * kept,
        time=_time(space, data, named, timer, expected or all_epochs) if timer else None,
        warnings=(*space.warnings(), *_warnings(space, size)),
    )


def forecast(space: SearchSpace, slots: int = 1, repeats: int = 50) -> Forecast | None:
    """Foretell the epochs of a search, if which trial is good is drawn at random.

    For successive halving the rule is played through, one trial after the other; without a pruner
    it is every epoch. Other pruners depend on the curves, so there is no forecast.

    Args:
        space: what would be searched.
        slots: trials that run at once.
        repeats: games to average over.
    """
    if not isinstance(space.pruner, Halving | NoPruner):
        return None
    draw = random.Random(0)
    total = longest = 0
    for _ in range(repeats):
        seen: dict[int, list[float]] = {rung: [] for rung in _rungs(space)}
        ends = [0] * slots
        for _ in range(space.trials):
            epochs = _epochs_of_one(draw.random(), seen, space)
            total += epochs
            heapq.heapreplace(ends, ends[0] + epochs)
        longest += max(ends)
    return Forecast(total / repeats, longest / repeats)


def _epochs_of_one(value: float, seen: dict[int, list[float]], space: SearchSpace) -> int:
    """Let one trial of a given quality climb the rungs; return where it stops."""
    for rung, values in seen.items():
        assert isinstance(space.pruner, Halving)
        values.append(value)
        best = sorted(values, reverse=True)[: max(1, len(values) // space.pruner.factor)]
        if value < best[-1]:
            return rung
    return space.epochs


def _rungs(space: SearchSpace) -> list[int]:
    if not isinstance(space.pruner, Halving):
        return []
    return rungs(space.pruner, space.epochs)


def _corners(space: SearchSpace) -> Iterable[dict[str, Scalar]]:
    """Yield the combinations of the ends of all parameters that change the network."""
    ends = {
        name: dict.fromkeys(parameter.ends())
        for name, parameter in space.searched.items()
        if name.startswith("width") or name in ("dense_units", "architecture")
    }
    for values in itertools.product(*ends.values()):
        yield dict(zip(ends, values, strict=True))


def _network(
    config: TrialConfig, values: Mapping[str, Scalar], shape: InputShape, classes: int
) -> Network:
    design = config.design()
    params = count_params(design, shape, classes)
    outputs = sum(math.prod(layer.output) for layer in layers(design, shape, classes))
    weights = params * (2 + _STATES[config.optimizer])
    return Network(
        values,
        params,
        count_macs(design, shape, classes),
        _FLOAT * (weights + 2 * outputs * config.batch_size),
    )


def _repeats(space: SearchSpace, size: int | None) -> float | None:
    if size is None or isinstance(space.sampler, Grid):
        return None
    return space.trials - size * (1 - (1 - 1 / size) ** space.trials)


def _warnings(space: SearchSpace, size: int | None) -> Iterable[str]:
    if isinstance(space.sampler, Tpe) and space.sampler.startup_trials >= space.trials:
        yield (
            f"tpe draws its first {space.sampler.startup_trials} trials at random, and there are "
            f"only {space.trials}: nothing would be learned from them"
        )
    if isinstance(space.sampler, Grid) and size is not None and size > space.trials:
        yield (
            f"the grid has {size:,} points, but only {space.trials} trials are requested: it "
            "would be left unfinished"
        )
    if not isinstance(space.sampler, Grid) and size is not None and size < space.trials:
        yield (
            f"there are only {size:,} different configurations for {space.trials} trials; "
            "sampler: grid would try each once"
        )


def _time(
    space: SearchSpace,
    data: TrialData,
    networks: Mapping[str, Network],
    timer: Timer,
    forecast: Forecast,
) -> Time | None:
    """Time epochs of the smallest and the largest network, and spread them over the space.

    The time of an epoch is taken as a + b * macs, through these two, for the mean size of
    configurations drawn at random. It is measured on few images, and taken to grow with them.
    """
    small, large = networks["smallest"], networks["largest"]
    few = _few(data)
    timing = timer([space.config(network.values) for network in (small, large)], few)
    first, last = timing.epochs
    slope = (last - first) / (large.macs - small.macs) if large.macs > small.macs else 0.0
    numbers = random.Random(0)
    sizes = []
    for _ in range(_SAMPLE):
        values = {name: _draw(parameter, numbers) for name, parameter in space.searched.items()}
        try:
            design = space.config(values).design()
            sizes.append(count_macs(design, data.input_shape, len(data.classes)))
        except InputError:
            continue
    if not sizes:
        return None
    of_few = first + slope * (sum(sizes) / len(sizes) - small.macs)
    epoch = of_few * len(data.train) / len(few.train)
    return Time(forecast.epochs * epoch, forecast.longest * epoch, timing.spent)


def _few(data: TrialData) -> TrialData:
    """Return as many of the images as are worth measuring on."""
    share = min(1.0, _MEASURED_IMAGES / len(data.train))
    parts = [
        Images(images.pixels[:count], images.labels[:count])
        for images in (data.train, data.validation)
        for count in [max(1, round(share * len(images)))]
    ]
    return TrialData.measure(data.name, data.classes, *parts)


def _in_words(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "the network"


def _draw(parameter: Parameter, numbers: random.Random) -> Scalar:
    """Draw a value as random search would."""
    values = parameter.grid()
    if values:
        return numbers.choice(values)
    assert not isinstance(parameter, ChoiceParameter)  # it has a grid
    low, high = parameter.bounds
    if parameter.log:
        return math.exp(numbers.uniform(math.log(low), math.log(high)))
    return numbers.uniform(low, high)
