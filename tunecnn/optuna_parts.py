"""The parts of a space as Optuna's own: distributions, samplers, pruners; and a grid's points."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
)
from optuna.trial import Trial

from tunecnn.config import Scalar, derive_seed
from tunecnn.long_studies import BoundedTpe
from tunecnn.long_studies import Halving as HalvingPruner
from tunecnn.parameters import ChoiceParameter, IntParameter, Parameter
from tunecnn.space import SearchSpace
from tunecnn.strategy import (
    Cmaes,
    Gp,
    Halving,
    Hyperband,
    Median,
    Nsga2,
    Patient,
    Percentile,
    Qmc,
    Tpe,
)

_CONTROL = 1  # keeps its seed apart from that of the sampler beside it


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution from which a parameter's values are drawn."""
    if isinstance(parameter, ChoiceParameter):
        return CategoricalDistribution(parameter.options)
    low, high = parameter.bounds
    if isinstance(parameter, IntParameter):
        return IntDistribution(int(low), int(high), log=parameter.log, step=parameter.step)
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def suggest(trial: Trial, name: str, among: BaseDistribution) -> Scalar:
    """Draw one value within a trial."""
    if isinstance(among, CategoricalDistribution):
        value: Scalar = trial.suggest_categorical(name, among.choices)  # type: ignore[assignment]
        return value
    if isinstance(among, IntDistribution):
        return trial.suggest_int(name, among.low, among.high, step=among.step, log=among.log)
    assert isinstance(among, FloatDistribution)
    return trial.suggest_float(name, among.low, among.high, step=among.step, log=among.log)


def sampler(space: SearchSpace, trials: int) -> BaseSampler:
    """Return who proposes the trials of a space.

    Args:
        space: names it.
        trials: how many the study has already. A resumed run must not draw again what its first
            part drew, so the count is in the seed; Sobol's points are counted by Optuna.
    """
    part = space.sampler
    seed = derive_seed(space.seed, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if isinstance(part, Tpe):
            return BoundedTpe(
                n_startup_trials=part.startup_trials, seed=seed, group=space.has_conditions
            )
        if isinstance(part, Gp):
            return GPSampler(
                n_startup_trials=part.startup_trials, seed=seed, warn_independent_sampling=False
            )
        if isinstance(part, Cmaes):
            return CmaEsSampler(
                n_startup_trials=part.startup_trials, seed=seed, warn_independent_sampling=False
            )
        if isinstance(part, Nsga2):
            return NSGAIISampler(population_size=part.population, seed=seed)
        if isinstance(part, Qmc):
            return QMCSampler(
                scramble=True,
                seed=space.seed,
                warn_asynchronous_seeding=False,
                warn_independent_sampling=False,
            )
    return RandomSampler(seed=seed)


def control_sampler(space: SearchSpace, trials: int) -> BaseSampler:
    """Return who draws the control's trials at random; for the arguments see `sampler`."""
    return RandomSampler(seed=derive_seed(space.seed, trials, _CONTROL))


def pruner(space: SearchSpace) -> BasePruner:
    """Return who stops the trials of a space."""
    part = space.pruner
    if isinstance(part, Halving):
        return HalvingPruner(part.min_epochs, part.factor)
    if isinstance(part, Hyperband):
        return HyperbandPruner(
            min_resource=part.min_epochs,
            max_resource=space.epochs,
            reduction_factor=part.factor,
        )
    if isinstance(part, Median):
        return MedianPruner(
            n_startup_trials=part.startup_trials, n_warmup_steps=part.warmup_epochs
        )
    if isinstance(part, Percentile):
        return PercentilePruner(
            part.percentile,
            n_startup_trials=part.startup_trials,
            n_warmup_steps=part.warmup_epochs,
        )
    if isinstance(part, Patient):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PatientPruner(None, patience=part.patience, min_delta=part.min_delta)
    return NopPruner()


def grid(space: SearchSpace) -> Iterator[dict[str, Scalar]]:
    """Yield every combination of the searched parameters' values."""
    names = list(space.searched)
    grids = [space.searched[name].grid() or [] for name in names]
    seen: set[tuple[tuple[str, Scalar], ...]] = set()
    for values in itertools.product(*grids):
        point = space.only_active(dict(zip(names, values, strict=True)))
        if not space.has_conditions:
            yield point
        elif (key := tuple(point.items())) not in seen:  # they differed in what is not there
            seen.add(key)
            yield point
