"""`SearchSpace`: what a search may try, and how: the YAML file as checked, typed values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, ValidationError, field_validator, model_validator

from tunecnn.architectures import design_parameters
from tunecnn.config import Scalar, TrialConfig, derive_seed
from tunecnn.errors import InputError
from tunecnn.parameters import (
    Constant,
    Count,
    Parameter,
    Part,
    Plain,
    Setting,
    kind_tag,
    wrong,
)
from tunecnn.recipes import make_config, recipe_settings
from tunecnn.space_checks import explain, mistakes_of, rung_mistakes
from tunecnn.space_file import (
    Document,
    Mistake,
    SpaceError,
    parse_document,
    read_document,
    without,
)
from tunecnn.splits import Split
from tunecnn.strategy import (
    OBJECTIVES,
    PRUNERS,
    SAMPLERS,
    Budget,
    Constraint,
    NoPruner,
    Objective,
    Pruner,
    Sampler,
    Tpe,
    named_part,
)

_SPLIT_FIELDS = {
    "split": "method",
    "split_seed": "seed",
    "validation": "validation",
    "train_images": "train_images",
}


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
        objectives: what is to be good: `val_accuracy`, and perhaps what it may cost.
        constraints: what a configuration must fulfil to be trained.
        sampler: who proposes configurations.
        pruner: who stops trials early.
        budget: when no further trial begins, however many were asked for.
        control: share of the trials that is drawn at random, to compare the search with.
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
    objectives: tuple[Objective, ...] = ("val_accuracy",)
    constraints: tuple[Constraint, ...] = ()
    sampler: Sampler = Tpe()
    pruner: Pruner = NoPruner()
    budget: Budget = Budget()
    control: Annotated[float, Field(ge=0, lt=1)] = 0.0
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

    @field_validator("objectives", mode="before")
    @classmethod
    def _check_objectives(cls, given: object) -> object:
        costs = [name for name in OBJECTIVES if name != "val_accuracy"]
        allowed = [["val_accuracy"], *(["val_accuracy", cost] for cost in costs)]
        if not isinstance(given, list | tuple) or list(given) not in allowed:
            words = " or ".join(f"[{', '.join(names)}]" for names in allowed)
            raise wrong(f"must be {words}, not {given!r}")
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
        mistakes = mistakes_of(self)
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
        # What YAML itself got wrong is said once, and not again as a wrong value.
        value = without(document.value, [mistake.place for mistake in mistakes if mistake.place])
        space, found = cls._try(value)
        whole = space
        if space is None and (bad := [mistake.place for mistake in found]):
            # Look at the rest as well, so that all mistakes come at once.
            whole, more = cls._try(without(value, [*bad, *(p[:2] for p in bad)]))
            found += more
        if whole is not None:
            found += rung_mistakes(whole)
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
            return None, [explain(details, cls.model_fields) for details in error.errors()]

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

    @property
    def parents_first(self) -> list[str]:
        """Names of the searched parameters, each after those that its `when` names.

        Raises:
            graphlib.CycleError: if they go in a circle.
        """
        parents = {name: parameter.when.keys() for name, parameter in self.searched.items()}
        return [name for name in TopologicalSorter(parents).static_order() if name in parents]

    @property
    def has_conditions(self) -> bool:
        """Whether some parameter exists only for some values of another."""
        return any(parameter.when for parameter in self.searched.values())

    def is_active(self, name: str, values: Mapping[str, Scalar]) -> bool:
        """Tell whether a parameter exists beside some values of others."""
        return all(
            parent in values and values[parent] in allowed
            for parent, allowed in self.searched[name].when.items()
        )

    def only_active(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the values of the parameters that exist beside each other."""
        active: dict[str, Scalar] = {}
        for name in self.parents_first:
            if name in values and self.is_active(name, active):
                active[name] = values[name]
        return {name: active[name] for name in values if name in active}

    @property
    def data_split(self) -> Split:
        """How the images are split, which is the same for all trials."""
        settings = {**recipe_settings(self.recipe, self.architecture, self.dataset)}
        settings |= self._constants
        return Split(
            **{field: settings[name] for name, field in _SPLIT_FIELDS.items() if name in settings}  # type: ignore[arg-type]
        )

    @property
    def _constants(self) -> dict[str, Scalar]:
        return {
            name: parameter.value
            for name, parameter in self.parameters.items()
            if isinstance(parameter, Constant)
        }

    def config(self, values: Mapping[str, Scalar], trial: int = 0) -> TrialConfig:
        """Make the config of a trial from the values of the searched parameters.

        Args:
            values: by dotted name; what is absent is as the recipe and the constants say.
            trial: number of the trial, from which and from the space's seed its own derives,
                unless a grid goes over the seeds.
        """
        settings: dict[str, Any] = dict(self._constants)
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
        values = {name: report[name] for name in self.searched_settings if name in report}
        return self.only_active(values)

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
        found = [mistake.text for mistake in rung_mistakes(self)]
        for name, parameter in self.searched.items():
            ends = parameter.ends()
            if ends[0] == ends[-1]:
                found.append(f"{name} has only one value, {ends[0]}: nothing is searched in it")
        return found

    def size(self) -> int | None:
        """Return how many different configurations there are, or None if they are a continuum.

        Conditions make them fewer, which is not counted.
        """
        grids = [parameter.grid() for parameter in self.searched.values()]
        return None if None in grids else math.prod(len(grid) for grid in grids if grid)
