"""The search strategy of a space: samplers, pruners, budget, objectives and constraints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, Strict, ValidationError

from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import Cost
from tunecnn.space.parameters import Number, SpaceModel, wrong
from tunecnn.trial.config import Count
from tunecnn.words import count_in_words, error_in_words


class Tpe(SpaceModel):
    """Optuna's tree-structured Parzen estimator, after some random trials.

    It models all parameters together, or each by itself where `multivariate` is false.
    """

    startup_trials: Count = 10
    multivariate: bool = True


class Gp(SpaceModel):
    """A Gaussian process model of the objective (Matern kernel), after some random trials."""

    startup_trials: Count = 10


class Cmaes(SpaceModel):
    """CMA-ES, an evolution of normal distributions; choices are sampled at random."""

    startup_trials: Count = 1


class Nsga2(SpaceModel):
    """NSGA-II, an evolutionary search for the Pareto front of two objectives."""

    population: Annotated[int, Strict(), Field(ge=2, le=10**9)] = 16


class Qmc(SpaceModel):
    """Scrambled Sobol points: like random search, but more evenly distributed."""


class RandomSearch(SpaceModel):
    """Random search: each trial is sampled independently."""


class Grid(SpaceModel):
    """Grid search: every combination once; the search ends after the last one."""


class WithRungs(SpaceModel):
    """A pruner that compares trials after `min_epochs`, `min_epochs * factor`, ... epochs."""

    min_epochs: Count = 1
    factor: Annotated[int, Strict(), Field(ge=2, le=10**9)] = 3


class Halving(WithRungs):
    """Asynchronous successive halving.

    After the epochs of a rung, only the best 1/`factor` of the trials that have reached it so far
    continue.
    """


class Promotion(WithRungs):
    """Asynchronous successive halving that pauses trials instead of stopping them.

    After the epochs of a rung, a trial is paused, and goes on as soon as it is among the best
    1/`factor` of those that have reached it.
    """


class Hyperband(WithRungs):
    """Several successive halvings in parallel, each with a different first rung."""


class AfterStartup(SpaceModel):
    """A pruner that compares a trial with the complete ones at the same epoch."""

    startup_trials: Count = 5
    warmup_epochs: Annotated[int, Strict(), Field(ge=0, le=10**9)] = 0


class Median(AfterStartup):
    """Stop a trial that is below the median of the earlier trials at the same epoch."""


class Percentile(AfterStartup):
    """Stop a trial that is not among the best `percentile` percent at the same epoch."""

    percentile: Annotated[float, Field(gt=0, lt=100)] = 25.0


class Patient(SpaceModel):
    """Stop a trial without improvement for `patience` epochs, regardless of other trials."""

    patience: Count = 5
    min_delta: Annotated[float, Field(ge=0, le=1)] = 0.0


class NoPruner(SpaceModel):
    """Train every trial to its end."""


class Budget(SpaceModel):
    """Limits of a run; no further trial starts after the first one is reached.

    `hours` is the duration of the run's sessions, `device_hours` the GPU-hours of all trials
    together (core-hours without GPUs), and `accuracy` the validation accuracy of a trial trained
    to its end, in [0, 1], or the balanced one in a search for that.
    """

    hours: Annotated[float, Field(gt=0, le=10**6, allow_inf_nan=False)] | None = None
    device_hours: Annotated[float, Field(gt=0, le=10**6, allow_inf_nan=False)] | None = None
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def in_words(self) -> str:
        """The limits as text; empty if there are none."""
        limits = {
            count_in_words(self.hours or 0, "hour"): self.hours,
            count_in_words(self.device_hours or 0, "device-hour"): self.device_hours,
            f"a trial with an accuracy of {(self.accuracy or 0):.2%}": self.accuracy,
        }
        return " or ".join(words for words, limit in limits.items() if limit is not None)


SAMPLERS: Mapping[str, type[SpaceModel]] = {
    "tpe": Tpe,
    "gp": Gp,
    "cmaes": Cmaes,
    "nsga2": Nsga2,
    "qmc": Qmc,
    "random": RandomSearch,
    "grid": Grid,
}
PRUNERS: Mapping[str, type[SpaceModel]] = {
    "promotion": Promotion,
    "halving": Halving,
    "hyperband": Hyperband,
    "median": Median,
    "percentile": Percentile,
    "patient": Patient,
    "none": NoPruner,
}
Sampler = Tpe | Gp | Cmaes | Nsga2 | Qmc | RandomSearch | Grid
Pruner = Promotion | Halving | Hyperband | Median | Percentile | Patient | NoPruner
_NAMES = {part: name for parts in (SAMPLERS, PRUNERS) for name, part in parts.items()}


def strategy_name(part: Sampler | Pruner) -> str:
    """Return the name of a sampler or pruner, as in a space."""
    return _NAMES[type(part)]


def strategy_in_words(part: Sampler | Pruner) -> str:
    """Return the name of a sampler or pruner with its options: `tpe (startup trials 10)`."""
    options = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in dict(part).items())
    return strategy_name(part) + (f" ({options})" if options else "")


Quantity = Literal["params", "macs"]
QUANTITIES = get_args(Quantity)
"""Costs of a network, as in `tunecnn.models.designs.Cost`."""
Objective = Literal["val_accuracy", "val_balanced_accuracy", "params", "macs"]
OBJECTIVES: Mapping[Objective, Literal["maximize", "minimize"]] = {
    "val_accuracy": "maximize",
    "val_balanced_accuracy": "maximize",
    "params": "minimize",
    "macs": "minimize",
}
"""Objectives of a search, and their directions."""
ACCURACIES = tuple(name for name, direction in OBJECTIVES.items() if direction == "maximize")
"""Objectives of which one comes first in every search."""
_Comparison = Literal["<=", ">="]


def rungs(pruner: WithRungs, epochs: int) -> list[int]:
    """Return the epochs before the last one after which only the best trials continue."""
    found, rung = [], pruner.min_epochs
    while rung < epochs:
        found.append(rung)
        rung *= pruner.factor
    return found


class Constraint(SpaceModel):
    """A bound on a quantity of a configuration: `params <= 3_000_000`."""

    quantity: Quantity
    comparison: _Comparison
    bound: Number

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a constraint from its text.

        Raises:
            InputError: if the text is not a constraint.
        """
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\d[\d_]*(?:\.\d+)?(?:e\d+)?)\s*", text)
        if not match or match[1] not in QUANTITIES:
            raise InputError(
                f"{text!r} is no constraint; write one like 'params <= 3_000_000', without a "
                f"comma, with {' or '.join(QUANTITIES)} and {' or '.join(get_args(_Comparison))}"
            )
        return cls(quantity=match[1], comparison=match[2], bound=float(match[3]))  # type: ignore[arg-type]

    def violation(self, cost: Cost) -> float:
        """Return the violation of the constraint by a network; 0 or less if it is met."""
        value: int = getattr(cost, self.quantity)
        return value - self.bound if self.comparison == "<=" else self.bound - value

    def __str__(self) -> str:
        return f"{self.quantity} {self.comparison} {self.bound:,.0f}"


_ELSEWHERE = {
    "asha": "promotion",
    "sha": "halving",
    "successive_halving": "halving",
    "bayes": "tpe",
    "bayesian": "tpe",
    "optuna": "tpe",
    "sobol": "qmc",
}
"""Names that others use, and those of tunecnn."""


def parse_named(given: object, known: Mapping[str, type[SpaceModel]], what: str) -> object:
    """Convert `tpe` or `{tpe: {startup_trials: 5}}` into the model of that name."""
    if isinstance(given, SpaceModel):
        return given
    given = {given: {}} if isinstance(given, str) else given
    if not isinstance(given, dict) or len(given) != 1:
        raise wrong(f"must be a name, or {{name: {{option: value}}}}, not {given!r}")
    ((name, options),) = given.items()
    if name not in known:
        elsewhere = {other: ours for other, ours in _ELSEWHERE.items() if ours in known}
        raise wrong(f"unknown {what} {name!r}; {nearest(name, known, elsewhere)}")
    options = options or {}
    if not isinstance(options, dict):
        raise wrong(f"the options of {name} must be a mapping, not {options!r}")
    fields = known[name].model_fields
    for option in options:
        if option not in fields:
            allowed = nearest(option, fields) if fields else "it has none"
            raise wrong(f"{name} has no option {option!r}; {allowed}")
    try:
        return known[name].model_validate(options)
    except ValidationError as error:
        details = error.errors()[0]
        raise wrong(f"{details['loc'][0]}: {error_in_words(details)}") from error
