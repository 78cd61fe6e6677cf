"""The parameters of a space as Optuna distributions, and the points of a grid."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from optuna.trial import Trial

from tunecnn.space.parameters import ChoiceParameter, IntParameter, Parameter
from tunecnn.space.schema import MOST_COUNTED
from tunecnn.space.space import SearchSpace
from tunecnn.study.records import quiet_optuna, rounded
from tunecnn.trial.config import Scalar


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the Optuna distribution of a parameter."""
    if isinstance(parameter, ChoiceParameter):
        return CategoricalDistribution(parameter.options)
    low, high = parameter.bounds
    if isinstance(parameter, IntParameter):
        return IntDistribution(int(low), int(high), log=parameter.log, step=parameter.step)
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def suggest(trial: Trial, name: str, among: BaseDistribution) -> Scalar:
    """Sample the value of one parameter in a trial."""
    if isinstance(among, CategoricalDistribution):
        value: Scalar = trial.suggest_categorical(name, among.choices)  # type: ignore[assignment]
        return value
    if isinstance(among, IntDistribution):
        return trial.suggest_int(name, among.low, among.high, step=among.step, log=among.log)
    assert isinstance(among, FloatDistribution)
    return trial.suggest_float(name, among.low, among.high, step=among.step, log=among.log)


def grid(space: SearchSpace) -> Iterator[dict[str, Scalar]]:
    """Yield every combination of the searched parameters' values.

    They come in order, or in a random order by the space's seed if there are more of them than
    trials: the first ones in order would leave some parameters at their first value.
    """
    size = space.count()
    assert size is not None
    if size <= space.trials:
        yield from space.points()
    elif size <= MOST_COUNTED:
        points = list(space.points())
        random.Random(space.seed).shuffle(points)
        yield from points
    else:
        names = list(space.searched)
        grids = [space.searched[name].grid() or [] for name in names]
        seen: set[tuple[tuple[str, Scalar], ...]] = set()
        for values in _shuffled(grids, space.seed):
            point = space.only_active(dict(zip(names, values, strict=True)))
            if (key := tuple(point.items())) not in seen:  # new without its inactive parameters
                seen.add(key)
                yield point


def random_points(space: SearchSpace, count: int) -> list[dict[str, Scalar]]:
    """Draw some points of a space at random, always the same ones."""
    with quiet_optuna():
        study = optuna.create_study(sampler=RandomSampler(seed=0))
    among = {name: distribution(parameter) for name, parameter in space.searched.items()}
    return [space.only_active(rounded(study.ask(among).params)) for _ in range(count)]


def _shuffled(grids: Sequence[Sequence[Scalar]], seed: int) -> Iterator[tuple[Scalar, ...]]:
    """Yield the combinations in random order, without making them all: there may be billions."""
    draw, total = random.Random(seed), math.prod(map(len, grids))
    taken: set[int] = set()
    while len(taken) < total:
        index = draw.randrange(total)
        if index in taken:
            continue
        taken.add(index)
        values = []
        for options in reversed(grids):
            index, place = divmod(index, len(options))
            values.append(options[place])
        yield tuple(reversed(values))
