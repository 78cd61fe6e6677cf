"""The parameters of a space as Optuna distributions, and the points of a grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from tunecnn.space.parameters import ChoiceParameter, IntParameter, Parameter
from tunecnn.space.space import SearchSpace
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
    """Yield every combination of the searched parameters' values."""
    names = list(space.searched)
    grids = [space.searched[name].grid() or [] for name in names]
    seen: set[tuple[tuple[str, Scalar], ...]] = set()
    for values in itertools.product(*grids):
        point = space.only_active(dict(zip(names, values, strict=True)))
        if not space.has_conditions:
            yield point
        elif (key := tuple(point.items())) not in seen:  # new without its inactive parameters
            seen.add(key)
            yield point
