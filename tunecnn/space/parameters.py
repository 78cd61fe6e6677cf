"""The types of parameters that a space can have: float, int, choice, or a constant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunecnn.errors import InputError
from tunecnn.trial.config import Count, Scalar
from tunecnn.words import error_in_words

Role = Literal["scientific", "nuisance"]
"""Scientific: the search studies the parameter. Nuisance: trials only need a fair value of it."""

_LARGEST = 2**53  # beyond it not every whole number is a float
_MOST_VALUES = 100_000
_MOST_OPTIONS = 1000

Number = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
Whole = Annotated[int, Strict(), Field(ge=-_LARGEST, le=_LARGEST)]
Plain = StrictBool | StrictInt | StrictFloat | StrictStr


def wrong(text: str) -> PydanticCustomError:
    """Return the error that a validator raises for a value that is not allowed."""
    return PydanticCustomError("tunecnn", "{text}", {"text": text})


class SpaceModel(BaseModel):
    """A frozen part of a space that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _listed(given: object) -> object:
    if not isinstance(given, dict) or not given:
        raise wrong(f"must be a mapping such as {{optimizer: sgd}}, not {given!r}")
    return {
        name: tuple(values) if isinstance(values, list | tuple) else (values,)
        for name, values in given.items()
    }


When = Annotated[dict[str, tuple[Plain, ...]], BeforeValidator(_listed)]
"""Values of other parameters for which a parameter exists; written `{optimizer: sgd}`."""


class FloatParameter(SpaceModel):
    """A float from `low` to `high`, both included, on a grid from `low` if `step` is given."""

    bounds: tuple[Number, Number] = Field(alias="float")
    step: Number | None = None
    log: bool = False
    role: Role = "scientific"
    when: When = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(*self.bounds, self.step, self.log)
        return self

    def ends(self) -> tuple[Scalar, ...]:
        """Return the values to check: both bounds."""
        return self.bounds

    def contains(self, value: object) -> bool:
        """Tell whether a value can be drawn."""
        low, high = self.bounds
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return low <= value <= high and _on_grid(value, low, self.step)

    def own(self, value: Scalar) -> Scalar:
        """Return a value as it is drawn."""
        return value

    def grid(self) -> list[Scalar] | None:
        """Return all values, or None if there are endlessly many."""
        low, high = self.bounds
        if low == high:
            return [float(low)]
        return None if self.step is None else [float(v) for v in _steps(low, high, self.step)]


class IntParameter(SpaceModel):
    """An integer from `low` to `high`, both included, in steps of `step`."""

    bounds: tuple[Whole, Whole] = Field(alias="int")
    step: Count = 1
    log: bool = False
    role: Role = "scientific"
    when: When = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(*self.bounds, None if self.step == 1 else self.step, self.log)
        return self

    def ends(self) -> tuple[Scalar, ...]:
        """Return the values to check: both bounds."""
        return self.bounds

    def contains(self, value: object) -> bool:
        """Tell whether a value can be drawn."""
        low, high = self.bounds
        if not isinstance(value, int | float) or isinstance(value, bool) or value % 1:
            return False
        return low <= value <= high and (value - low) % self.step == 0

    def own(self, value: Scalar) -> Scalar:
        """Return a value as it is drawn: 3 for 3.0, as a row of a data frame has it."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def grid(self) -> list[Scalar] | None:
        """Return all values, or None if there are too many to list."""
        values = range(self.bounds[0], self.bounds[1] + 1, self.step)
        return list(values) if len(values) <= _MOST_VALUES else None


class ChoiceParameter(SpaceModel):
    """One of several values: numbers, words, true or false."""

    options: tuple[Plain, ...] = Field(alias="choice")
    role: Role = "scientific"
    when: When = Field(default_factory=dict)

    @field_validator("options", mode="before")
    @classmethod
    def _check(cls, options: object) -> object:
        if not isinstance(options, list | tuple) or not options:
            raise wrong(f"must be a list of at least one value, not {options!r}")
        if len(options) > _MOST_OPTIONS:
            raise wrong(f"{len(options):,} values are too many: the limit is {_MOST_OPTIONS:,}")
        for option in options:
            if not isinstance(option, bool | int | float | str):
                way = ", each by itself" if isinstance(option, list | tuple | range) else ""
                raise wrong(
                    f"a choice must be a number, a word, true or false{way}, not {option!r}"
                )
        repeated = [option for i, option in enumerate(options) if option in options[:i]]
        if repeated:
            raise wrong(f"{repeated[0]!r} is given twice")
        return options

    @property
    def has_order(self) -> bool:
        """Whether its values are numbers, which have an order."""
        return not any(isinstance(option, bool | str) for option in self.options)

    @property
    def in_order(self) -> tuple[Scalar, ...]:
        """All values, in the order of an axis: numbers by size, others as they were written."""
        return tuple(sorted(self.options, key=float)) if self.has_order else self.options

    def ends(self) -> tuple[Scalar, ...]:
        """Return the values to check: all of them."""
        return self.options

    def contains(self, value: object) -> bool:
        """Tell whether a value can be drawn."""
        return any(map(partial(_same, value), self.options))

    def own(self, value: Scalar) -> Scalar:
        """Return a value as it is drawn: 128 for 128.0, as a row of a data frame has it."""
        return next(filter(partial(_same, value), self.options), value)

    def grid(self) -> list[Scalar]:
        """Return all values."""
        return list(self.options)


class Constant(SpaceModel):
    """A setting with the same value for all trials, which replaces that of the recipe."""

    value: Plain

    def ends(self) -> tuple[Scalar, ...]:
        """Return the values to check: the constant."""
        return (self.value,)


_TYPES = {"float": FloatParameter, "int": IntParameter, "choice": ChoiceParameter}


def type_tag(value: object) -> str | None:
    """Return the tag of the parameter type of a value, or None if it has no known type."""
    if isinstance(value, dict):
        named = [name for name in _TYPES if name in value]
        return f"<{named[0]}>" if len(named) == 1 else None
    if isinstance(value, SpaceModel):
        return next(
            (f"<{name}>" for name, part in _TYPES.items() if isinstance(value, part)),
            "<constant>",
        )
    return "<constant>" if isinstance(value, bool | int | float | str) else None


def position(value: float, low: float, high: float, *, log: bool = False) -> float:
    """Return where a value lies in a range: 0 at its low end, 1 at its high end."""
    if low == high:
        return 0.5
    scale = math.log if log else float
    return (scale(value) - scale(low)) / (scale(high) - scale(low))


Parameter = FloatParameter | IntParameter | ChoiceParameter
Setting = Annotated[
    Annotated[FloatParameter, Tag("<float>")]
    | Annotated[IntParameter, Tag("<int>")]
    | Annotated[ChoiceParameter, Tag("<choice>")]
    | Annotated[Constant, Tag("<constant>")],
    Discriminator(
        type_tag,
        custom_error_type="parameter_type",
        custom_error_message="must be {float: [low, high]}, {int: [low, high]}, "
        "{choice: [a, b, ...]} or one plain value",
    ),
]


def describe(parameter: Parameter | Constant) -> str:
    """Return a short description of a parameter: `0.0 to 0.5 by 0.05`."""
    if isinstance(parameter, Constant):
        return f"fixed at {parameter.value}"
    when = "".join(
        f", when {name} is {' or '.join(map(str, values))}"
        for name, values in parameter.when.items()
    )
    if isinstance(parameter, ChoiceParameter):
        return "one of " + ", ".join(map(str, parameter.options)) + when
    low, high = parameter.bounds
    step = parameter.step if parameter.step and parameter.step != 1 else None
    return (
        f"{low:g} to {high:g}"
        + (f" by {step:g}" if step else "")
        + (", log scale" if parameter.log else "")
        + when
    )


def _check_range(low: float, high: float, step: float | None, log: bool) -> None:
    if low > high:
        raise wrong(f"the low bound {low:g} is above the high bound {high:g}")
    if log and step is not None:
        raise wrong(
            "has both log and step; a log scale has no even steps, so give only one of them"
        )
    if log and low <= 0:
        raise wrong(f"a log scale cannot start at {low:g}; the low bound must be above 0")
    if step is not None:
        if step <= 0:
            raise wrong(f"the step must be above 0, not {step:g}")
        if not (high - low) / step <= _MOST_VALUES:
            raise wrong(
                f"steps of {step:g} make more than {_MOST_VALUES:,} values; take larger steps, or "
                "leave step out"
            )
        if not _on_grid(high, low, step):
            below = low + step * math.floor((high - low) / step)
            raise wrong(
                f"steps of {step:g} from {low:g} do not reach {high:g}; the high bound "
                f"could be {below:g} or {below + step:g}"
            )


def _on_grid(value: float, low: float, step: float | None) -> bool:
    if step is None:
        return True
    steps = (value - low) / step
    return math.isclose(steps, round(steps), abs_tol=1e-6)


def _steps(low: float, high: float, step: float) -> list[float]:
    digits = max(12, 3 - math.floor(math.log10(step)))  # sums of floats are not exact
    return [round(low + i * step, digits) for i in range(round((high - low) / step) + 1)]


def Float(
    low: float,
    high: float,
    *,
    step: float | None = None,
    log: bool = False,
    role: Role = "scientific",
    when: dict[str, Scalar | list[Scalar]] | None = None,
) -> FloatParameter:
    """Return a searched number from `low` to `high`, for a space that Python code makes.

    Args:
        low: lowest value.
        high: highest value.
        step: difference between two values; None for a continuum.
        log: whether to sample by the logarithm: 0.001 to 0.01 as often as 0.01 to 0.1.
        role: `scientific` for what the question is about, `nuisance` for what must only suit it.
        when: values of other parameters with which it exists, such as `{"optimizer": "sgd"}`.
    """
    given = {"float": (low, high), "step": step, "log": log, "role": role, "when": when}
    return _made(FloatParameter, given)


def Int(
    low: int,
    high: int,
    *,
    step: int = 1,
    log: bool = False,
    role: Role = "scientific",
    when: dict[str, Scalar | list[Scalar]] | None = None,
) -> IntParameter:
    """Return a searched whole number from `low` to `high`, for a space that Python code makes.

    For the arguments see `Float`.
    """
    given = {"int": (low, high), "step": step, "log": log, "role": role, "when": when}
    return _made(IntParameter, given)


def Choice(
    *options: Scalar,
    role: Role = "scientific",
    when: dict[str, Scalar | list[Scalar]] | None = None,
) -> ChoiceParameter:
    """Return a searched choice among values, for a space that Python code makes.

    Args:
        *options: the values: numbers, words, true or false.
        role: as in `Float`.
        when: as in `Float`.
    """
    return _made(ChoiceParameter, {"choice": list(options), "role": role, "when": when})


_P = TypeVar("_P", FloatParameter, IntParameter, ChoiceParameter)


def _same(one: object, other: object) -> bool:
    """Return whether two values are equal, and not 1 and True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def plain(value: Any) -> Any:
    """Return a value of Python code as YAML has it; a parameter becomes its mapping."""
    if isinstance(value, SpaceModel):
        return plain(value.model_dump(by_alias=True, exclude_defaults=True))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, PathLike) else value


def _made(type_: type[_P], given: dict[str, Any]) -> _P:
    try:
        return type_.model_validate({k: plain(v) for k, v in given.items() if v is not None})
    except ValidationError as error:
        raise InputError(error_in_words(error.errors()[0])) from error
