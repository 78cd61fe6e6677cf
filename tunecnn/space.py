"""`SearchSpace`: what a search may try, and how: the YAML file as checked, typed values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from tunecnn.architectures import DESIGNS, design_parameters
from tunecnn.catalogue import dataset_facts
from tunecnn.config import CHOICES, Scalar, TrialConfig, derive_seed, dotted, field_name
from tunecnn.errors import InputError, nearest
from tunecnn.parameters import (
    Constant,
    Count,
    FloatParameter,
    IntParameter,
    Parameter,
    Part,
    Plain,
    Setting,
    describe,
    kind_tag,
    wrong,
)
from tunecnn.recipes import RECIPES, make_config
from tunecnn.space_file import (
    Document,
    Mistake,
    Place,
    SpaceError,
    parse_document,
    read_document,
    without,
)
from tunecnn.strategy import (
    PRUNERS,
    SAMPLERS,
    Budget,
    Constraint,
    Grid,
    Halving,
    Hyperband,
    NoPruner,
    Pruner,
    Sampler,
    Tpe,
    in_words,
    named_part,
)

# Settings that have a key of their own in a space, or that must be the same for all its trials.
_NOT_SEARCHED = frozenset(
    {"dataset", "epochs", "split", "split_seed", "validation", "train_images"}
)


class SearchSpace(Part):
    """What a search may try, and how; `from_yaml` reads one from a file.

    Attributes:
        name: of the space, and the start of the names of its runs.
        goal: the question that the search is to answer, in a sentence.
        dataset: a name of `tunecnn data list`.
        architecture: `model1`, `model2` or `proposed`; may be a parameter instead.
        recipe: `report` or `fast`: the settings that are neither searched nor fixed here.
        epochs: of a trial trained to its end.
        trials: how many configurations to train.
        parameters: what is searched, and what is fixed, by dotted name.
        start: the first trials: `report`, or values of some parameters.
        constraints: what a configuration must fulfil to be trained.
        sampler: who proposes configurations.
        pruner: who stops trials early.
        budget: when no further trial begins, however many were asked for.
        seed: of the sampler, and of the trials' own seeds.

    Raises:
        SpaceError: with every mistake that can be found at once.
    """

    name: str = "search"
    goal: str = ""
    dataset: str = "cifar10"
    architecture: str = "proposed"
    recipe: str = "fast"
    epochs: Count = 30
    trials: Count = 64
    parameters: dict[str, Setting] = Field(default_factory=dict)
    start: tuple[Literal["report"] | dict[str, Plain], ...] = ()
    constraints: tuple[Constraint, ...] = ()
    sampler: Sampler = Tpe()
    pruner: Pruner = NoPruner()
    budget: Budget = Budget()
    seed: Annotated[int, Strict(), Field(ge=0)] = 0

    @field_validator("name")
    @classmethod
    def _check_name(cls, given: str) -> str:
        if not re.fullmatch(r"[\w.-]+", given) or given.startswith("."):
            raise wrong(f"{given!r} cannot name a folder; use letters, digits, '-', '_' and '.'")
        return given

    @field_validator("parameters", mode="before")
    @classmethod
    def _wrap_constants(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise wrong(f"must be a mapping of names to {{float: ...}} and so on, not {given!r}")
        return {
            name: Constant(value=value)
            if kind_tag(value) == "<constant>" and not isinstance(value, Part)
            else value
            for name, value in given.items()
        }

    @field_validator("start", mode="before")
    @classmethod
    def _check_start(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            raise wrong(f"must be a list of 'report' and mappings of values, not {given!r}")
        for point in given:
            if point != "report" and not isinstance(point, dict):
                raise wrong(f"{point!r} is neither 'report' nor a mapping of values")
        return given

    @field_validator("constraints", mode="before")
    @classmethod
    def _parse_constraints(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            raise wrong(f"must be a list such as ['parameters <= 3_000_000'], not {given!r}")
        try:
            return [c if isinstance(c, Constraint) else Constraint.parse(str(c)) for c in given]
        except InputError as error:
            raise wrong(str(error)) from error

    @field_validator("sampler", mode="before")
    @classmethod
    def _parse_sampler(cls, given: object) -> object:
        return named_part(given, SAMPLERS, "sampler")

    @field_validator("pruner", mode="before")
    @classmethod
    def _parse_pruner(cls, given: object) -> object:
        return named_part(given, PRUNERS, "pruner")

    @model_validator(mode="after")
    def _check_meaning(self) -> Self:
        mistakes = _mistakes(self)
        if mistakes:
            raise SpaceError(mistakes)
        return self

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read and check a space.

        Raises:
            SpaceError: with every mistake in the file, each with its line and key.
            InputError: if the file cannot be read, or is not YAML.
        """
        return cls._from_document(read_document(Path(path)))

    @classmethod
    def from_text(cls, text: str, source: str = "space") -> Self:
        """Read and check a space from YAML text; `source` names it in messages."""
        return cls._from_document(parse_document(text, source))

    @classmethod
    def _from_document(cls, document: Document) -> Self:
        if not isinstance(document.value, dict):
            kind = "a list" if isinstance(document.value, list) else "a single value"
            raise document.error(
                [Mistake((), f"a space is a mapping of keys to values, not {kind}")]
            )
        mistakes = list(document.mistakes)
        space, found = cls._try(document.value)
        whole = space
        if space is None and (bad := [mistake.place for mistake in found]):
            # Look at the rest as well, so that all mistakes come at once.
            whole, more = cls._try(without(document.value, [*bad, *(p[:2] for p in bad)]))
            found += more
        if whole is not None:
            found += _rung_mistakes(whole)
        if mistakes or found or space is None:
            raise document.error([*mistakes, *found])
        return space

    @classmethod
    def _try(cls, values: dict[str, Any]) -> tuple[Self | None, list[Mistake]]:
        try:
            return cls.model_validate(values), []
        except SpaceError as error:
            return None, list(error.mistakes)
        except ValidationError as error:
            return None, [_explain(details) for details in error.errors()]

    def override(self, **changes: object) -> Self:
        """Return a copy with some keys changed (None leaves a key as it is), checked again."""
        given = {key: value for key, value in changes.items() if value is not None}
        space, mistakes = type(self)._try({**dict(self), **given})
        if space is None:
            raise SpaceError(mistakes)
        return space

    @property
    def searched(self) -> dict[str, Parameter]:
        """The parameters that are searched, without the constants."""
        return {
            name: parameter
            for name, parameter in self.parameters.items()
            if not isinstance(parameter, Constant)
        }

    @property
    def searched_settings(self) -> dict[str, Parameter]:
        """The searched parameters that make a configuration; a grid's `seed` only repeats it."""
        return {name: part for name, part in self.searched.items() if name != "seed"}

    def config(self, values: Mapping[str, Scalar], trial: int = 0) -> TrialConfig:
        """Make the config of a trial from the values of the searched parameters.

        Args:
            values: by dotted name; what is absent is as the recipe and the constants say.
            trial: number of the trial, from which and from the space's seed its own derives,
                unless a grid goes over the seeds.
        """
        settings: dict[str, Any] = {
            name: parameter.value
            for name, parameter in self.parameters.items()
            if isinstance(parameter, Constant)
        }
        settings |= {"seed": derive_seed(self.seed, trial), **values}
        architecture = settings.pop("architecture", self.architecture)
        return make_config(
            self.recipe, architecture, self.dataset,
            **settings, epochs=self.epochs,
        )  # fmt: skip

    def report_point(self) -> dict[str, Scalar]:
        """Return the values that the report's design, in this recipe, has for what is searched."""
        config = make_config(self.recipe, self.architecture, self.dataset)
        report = {**config.to_dict(), **design_parameters(self.architecture)}
        return {name: report[name] for name in self.searched_settings if name in report}

    def departures(self) -> dict[str, tuple[Scalar, Scalar]]:
        """Return where the constants depart from the report's design: its value, and theirs.

        A space with departures does not contain the report's design.
        """
        report = design_parameters(self.architecture)
        return {
            name: (report[name], parameter.value)
            for name, parameter in self.parameters.items()
            if isinstance(parameter, Constant)
            and name in report
            and parameter.value != report[name]
        }

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that a trial may have."""
        searched = self.parameters.get("architecture")
        return tuple(map(str, searched.ends())) if searched else (self.architecture,)

    def start_points(self) -> list[dict[str, Scalar]]:
        """Return the start points as values of (some of) the searched parameters."""
        return [self.report_point() if point == "report" else dict(point) for point in self.start]

    def warnings(self) -> list[str]:
        """Say what is allowed but probably not meant."""
        found = [mistake.text for mistake in _rung_mistakes(self)]
        for name, parameter in self.searched.items():
            ends = parameter.ends()
            if ends[0] == ends[-1]:
                found.append(f"{name} has only one value, {ends[0]}: nothing is searched in it")
        return found

    def size(self) -> int | None:
        """Return how many different configurations there are, or None if they are a continuum."""
        grids = [parameter.grid() for parameter in self.searched.values()]
        return None if None in grids else math.prod(len(grid) for grid in grids if grid)


def _mistakes(space: SearchSpace) -> list[Mistake]:
    """Find what is wrong although each value is well formed."""
    found = []
    for key, value, known in (
        ("architecture", space.architecture, tuple(DESIGNS)),
        ("recipe", space.recipe, RECIPES),
    ):
        if value not in known:
            found.append(Mistake((key,), f"unknown {key} {value!r}; {nearest(value, known)}"))
    try:
        dataset_facts(space.dataset)
    except InputError as error:
        found.append(Mistake(("dataset",), str(error)))
    if space.architecture in DESIGNS:
        found += _parameter_mistakes(space)
    found += _strategy_mistakes(space)
    return found or list(_start_mistakes(space))


def _strategy_mistakes(space: SearchSpace) -> Iterator[Mistake]:
    if isinstance(space.sampler, Grid):
        for name, parameter in space.searched.items():
            if parameter.grid() is None:
                yield Mistake(
                    ("parameters", name), "the grid sampler needs a step for every float"
                )


def _rung_mistakes(space: SearchSpace) -> list[Mistake]:
    """Find a pruner that cannot stop anything: a mistake in a file, where both numbers stand.

    From the command line it is not: fewer epochs for a quick try are no mistake.
    """
    pruner = space.pruner
    if not isinstance(pruner, Halving | Hyperband) or pruner.min_epochs < space.epochs:
        return []
    text = (
        f"{type(pruner).__name__.lower()} from epoch {pruner.min_epochs} leaves no rung before "
        f"the last of {space.epochs} epochs, so it would never stop a trial; lower min_epochs, or "
        "use pruner: none"
    )
    return [Mistake(("pruner",), text)]


def _parameter_mistakes(space: SearchSpace) -> Iterator[Mistake]:
    for name, parameter in space.parameters.items():
        place: Place = ("parameters", name)
        try:
            field = field_name(name)
        except InputError as error:
            yield Mistake(place, str(error))
            continue
        if dotted(field) != name:
            yield Mistake(place, f"is written {dotted(field)!r} in a space")
        elif _is_own_key(field, parameter):
            yield Mistake(place, f"is a key of the space itself, not a parameter: {name}: ...")
        elif field == "seed" and not isinstance(space.sampler, Grid):
            yield Mistake(place, "repeats each configuration, so it needs sampler: grid")
        elif field in _NOT_SEARCHED and not isinstance(parameter, Constant):
            yield Mistake(place, "must be the same for all trials: give one plain value")
        elif field in CHOICES and isinstance(parameter, FloatParameter | IntParameter):
            yield Mistake(place, f"is one of {', '.join(CHOICES[field])}: use choice")
        else:
            for value in parameter.ends():
                for architecture in space.architectures:
                    try:
                        own = {} if name == "architecture" else {"architecture": architecture}
                        TrialConfig.from_dict({**own, name: value})
                    except InputError as error:
                        yield Mistake(place, str(error))


def _is_own_key(field: str, parameter: Parameter | Constant) -> bool:
    if field in ("architecture", "seed"):  # several of them are a parameter
        return isinstance(parameter, Constant)
    return field in ("dataset", "epochs")


def _start_mistakes(space: SearchSpace) -> Iterator[Mistake]:
    searched = space.searched
    for i, point in enumerate(space.start):
        place: Place = ("start", i)
        if point == "report":
            for name, (report, fixed) in space.departures().items():
                text = (
                    f"the report's design has {name} = {report}, but the space fixes it at {fixed}"
                )
                yield Mistake(place, text)
        values = space.report_point() if point == "report" else point
        for name, value in values.items():
            if name not in searched:
                yield Mistake(
                    place,
                    f"{name!r} is not searched; {nearest(name, searched)}",
                )
            elif not searched[name].contains(value):
                what = "the report's design has" if point == "report" else "it has"
                yield Mistake(
                    place,
                    f"{what} {name} = {value!r}, which the space does not contain "
                    f"({describe(searched[name])})",
                )


def _explain(details: ErrorDetails) -> Mistake:
    """Turn one of pydantic's errors into a mistake in our words."""
    place = tuple(key for key in details["loc"] if not str(key).startswith("<"))
    kind = details["type"]
    if kind == "extra_forbidden":
        known: Iterable[str] = ("step", "log", "role")
        if len(place) == 1:
            known = SearchSpace.model_fields
        elif place[0] == "budget":
            known = Budget.model_fields
        return Mistake(place, f"unknown key; {nearest(place[-1], known)}")
    if kind == "missing":  # the second of two bounds
        return Mistake(place[:-1], in_words(details))
    if kind == "kind":
        return Mistake(place, f"{details['msg']}, not {details['input']!r}")
    return Mistake(place, in_words(details))
