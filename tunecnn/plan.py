"""What a search would do, before it is begun: sizes, memory, disk and, if measured, time."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tunecnn.architectures import InputShape, count_macs, count_parameters, layers
from tunecnn.config import Scalar, TrialConfig
from tunecnn.errors import InputError
from tunecnn.images import Images, TrialData
from tunecnn.parameters import ChoiceParameter, Parameter
from tunecnn.space import SearchSpace
from tunecnn.strategy import Grid, Halving, NoPruner, Tpe, rungs

_MOST_CORNERS = 512
_SAMPLE = 200
_FLOAT = 4  # bytes
_JOURNAL_BYTES = 3_000  # of a trial with some ten reports, measured
# Numbers that an optimizer keeps of each weight, at most.
_STATES = {"rmsprop": 1, "adamw": 2, "sgd": 1, "muon": 2}
_KEPT = 3
_MEASURED_IMAGES = 1_280


@dataclass(frozen=True)
class Network:
    """What one configuration of a space costs.

    Attributes:
        values: of the searched parameters.
        parameters: trainable numbers.
        macs: multiply-accumulates of one forward pass of one image.
        memory: bytes that training takes, roughly: weights, gradients, the optimizer's state, and
            what a batch leaves for the way back; without the images and without torch itself.
    """

    values: Mapping[str, Scalar]
    parameters: int
    macs: int
    memory: int


@dataclass(frozen=True)
class Plan:
    """What a search would do.

    Attributes:
        rungs: epochs after which successive halving stops trials; empty for other pruners.
        full_epochs: epochs if no trial were stopped early.
        epochs: epochs that are to be expected; None where the pruner allows no forecast.
        networks: the smallest, the report's (if the space has it) and the largest, by name.
        unbuildable: corners of the space that cannot be built, in words.
        corners: how many were looked at.
        size: different configurations; None for a continuum.
        repeats: trials that would draw a configuration again, if drawn at random; None for a
            continuum or a grid.
        image_memory: bytes of the images on the device.
        disk: bytes that the run writes, roughly.
        seconds: of training on one slot, all trials together; None if not measured.
        warnings: what is allowed but probably not meant.
    """

    rungs: tuple[int, ...]
    full_epochs: int
    epochs: float | None
    networks: Mapping[str, Network]
    unbuildable: tuple[str, ...]
    corners: int
    size: int | None
    repeats: float | None
    image_memory: int
    disk: int
    seconds: float | None
    warnings: tuple[str, ...]


def plan(space: SearchSpace, data: TrialData, *, threads: int | None = None) -> Plan:
    """Plan a search.

    Args:
        space: what would be searched.
        data: on which.
        threads: measure some steps with so many threads; None to measure nothing.
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
        if "report" in space.start:
            values = space.report_point()
            named["the report's"] = _network(space.config(values), values, shape, classes)
        named["largest"] = max(networks, key=lambda network: network.macs)
    epochs = expected_epochs(space)
    size = space.size()
    kept = max((network.parameters for network in networks), default=0) * _FLOAT
    return Plan(
        rungs=tuple(_rungs(space)),
        full_epochs=space.trials * space.epochs,
        epochs=epochs,
        networks=named,
        unbuildable=tuple(unbuildable),
        corners=len(corners),
        size=size,
        repeats=_repeats(space, size),
        image_memory=data.train.pixels.nbytes + data.validation.pixels.nbytes,
        disk=space.trials * _JOURNAL_BYTES + _KEPT * kept,
        seconds=None if threads is None else _seconds(space, data, named, threads),
        warnings=(*space.warnings(), *_warnings(space, size)),
    )


def expected_epochs(space: SearchSpace, repeats: int = 50) -> float | None:
    """Return how many epochs all trials take together, if which trial is good is drawn at random.

    For successive halving the rule is played through, one trial after the other; without a pruner
    it is every epoch. Other pruners depend on the curves, so there is no forecast.
    """
    if isinstance(space.pruner, Halving):
        factor = space.pruner.factor
        draw = random.Random(0)
        total = 0
        for _ in range(repeats):
            seen: dict[int, list[float]] = {rung: [] for rung in _rungs(space)}
            for _ in range(space.trials):
                total += _epochs_of_one(draw.random(), seen, factor, space.epochs)
        return total / repeats
    if isinstance(space.pruner, NoPruner):
        return float(space.trials * space.epochs)
    return None


def _epochs_of_one(value: float, seen: dict[int, list[float]], factor: int, epochs: int) -> int:
    """Let one trial of a given quality climb the rungs; return where it stops."""
    for rung, values in seen.items():
        values.append(value)
        best = sorted(values, reverse=True)[: max(1, len(values) // factor)]
        if value < best[-1]:
            return rung
    return epochs


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
    parameters = count_parameters(design, shape, classes)
    outputs = sum(math.prod(layer.output) for layer in layers(design, shape, classes))
    weights = parameters * (2 + _STATES[config.optimizer])
    return Network(
        values,
        parameters,
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
            f"the grid has {size:,} points, but only {space.trials} trials are asked for: it "
            "would be left unfinished"
        )
    if not isinstance(space.sampler, Grid) and size is not None and size < space.trials:
        yield (
            f"there are only {size:,} different configurations for {space.trials} trials; "
            "sampler: grid would try each once"
        )


def _seconds(
    space: SearchSpace, data: TrialData, networks: Mapping[str, Network], threads: int
) -> float | None:
    """Time some steps of the named networks, and spread them over the space by their size.

    The time of an image is taken as a + b * macs, through the smallest and the largest network,
    for the mean size of configurations drawn at random.
    """
    small, large = networks["smallest"], networks["largest"]
    times = {
        network.macs: _image_seconds(space.config(network.values), data, threads)
        for network in (small, large)
    }
    slope = 0.0
    if large.macs > small.macs:
        slope = (times[large.macs] - times[small.macs]) / (large.macs - small.macs)
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
    per_image = times[small.macs] + slope * (sum(sizes) / len(sizes) - small.macs)
    epochs = expected_epochs(space) or float(space.trials * space.epochs)
    # A validation image has no way back: a third of the work.
    return epochs * per_image * (len(data.train) + len(data.validation) / 3)


def _image_seconds(config: TrialConfig, data: TrialData, threads: int) -> float:
    """Return the seconds that a training image takes, its optimizer step included."""
    import torch

    from tunecnn.training import Training

    torch.set_num_threads(threads)
    count = min(_MEASURED_IMAGES, len(data.train))
    few = Images(data.train.pixels[:count], data.train.labels[:count])
    none = Images(data.validation.pixels[:1], data.validation.labels[:1])
    part = TrialData.measure(data.name, data.classes, few, none)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    endless = dataclasses.replace(config, epochs=10**6, patience=None)
    training = Training(endless, part, device)
    training.run_epoch()  # the first one warms up
    began = time.perf_counter()
    rounds = 0
    while not rounds or time.perf_counter() - began < 1.0:
        training.run_epoch()
        rounds += 1
    return (time.perf_counter() - began) / rounds / count


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
