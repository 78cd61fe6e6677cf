"""The keys of a space, checked one by one, and the values derived from them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, Strict, field_validator, model_validator

from tunecnn.data.options import (
    IMAGE_OPTIONS,
    Fit,
    ImageOptions,
    Scale,
    Size,
    SkipBad,
    absolute_groups,
)
from tunecnn.data.registry import absolute
from tunecnn.data.splits import Split
from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.models.code import NetworkCode
from tunecnn.models.code_files import code_files
from tunecnn.space.parameters import (
    Constant,
    FloatParameter,
    IntParameter,
    Parameter,
    Plain,
    Setting,
    SpaceModel,
    describe,
    type_tag,
    wrong,
)
from tunecnn.space.strategy import (
    ACCURACIES,
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
    parse_named,
)
from tunecnn.trial.config import NET, REPEATS, VIEWS, Count, Scalar, TrialConfig, derive_seed
from tunecnn.trial.recipes import make_config, recipe_settings
from tunecnn.words import in_utf8

_SPLIT_FIELDS = {
    "split": "method",
    "split_seed": "seed",
    "validation": "validation",
    "train_images": "train_images",
}

MOST_SPLITS = 100
Splits = Annotated[int, Strict(), Field(ge=1, le=MOST_SPLITS)]
"""A number of splits of the data."""
MOST_COUNTED = 100_000
"""Number of configurations with conditions up to which they are counted."""


class SpaceSchema(SpaceModel):
    """The keys of a space; a `SearchSpace` has been checked as a whole.

    Attributes:
        name: name of the space, and the prefix of the names of its runs.
        goal: question that the search should answer, as one sentence.
        dataset: name of a data set, as in `tunecnn data list`.
        size: height and width of all images in pixels; None to leave them as they are.
        fit: `crop`, `pad` or `stretch`: how an image that is not square gets `size`.
        background: colour behind transparent pixels and of padding.
        scale: value that becomes white in images of more than 8 bits per channel.
        groups: images that are not divided: `folder`, or a CSV file with `file` and `group`.
        skip_bad: whether to leave out files that cannot be read.
        architecture: `model1`, `model2`, `proposed`, or a network of one's own as `file.py:Name`
            or `package.module:Name`; may be a parameter instead.
        code: files and folders that the network's file needs; empty for the file, or its package.
        recipe: `published` or `fast`, the source of the settings that are not given here.
        epochs: number of epochs of a trial that is trained to its end.
        trials: number of configurations to train.
        parameters: searched parameters and constants by name; those of the network begin with
            `net.`.
        start: start points of the search: `baseline`, or values of some parameters.
        objectives: quantities to optimize: `val_accuracy` or `val_balanced_accuracy`, and
            optionally a cost.
        constraints: conditions that a configuration must meet to be trained.
        sampler: algorithm that proposes configurations.
        pruner: algorithm that stops trials early.
        budget: limits after which no further trial starts, however many were requested.
        random_baseline: share of the trials that are sampled at random for comparison.
        splits: number of splits into training and validation images in which a confirmation
            of the search trains all its candidates; 1 for that of the search itself.
        seed: seed of the sampler, from which the seeds of the trials derive too.
    """

    name: Annotated[str, AfterValidator(in_utf8)] = "search"
    goal: Annotated[str, Field(max_length=2000), AfterValidator(in_utf8)] = ""
    dataset: str = "cifar10"
    size: Size | None = None
    fit: Fit = "crop"
    background: str = "white"
    scale: Scale | None = None
    groups: str | None = None
    skip_bad: SkipBad = False
    architecture: str = "proposed"
    code: tuple[str, ...] = ()
    recipe: str = "fast"
    epochs: Count = 30
    trials: Count = 64
    parameters: dict[str, Setting] = Field(default_factory=dict)
    start: tuple[Literal["baseline"] | dict[str, Plain], ...] = ()
    objectives: tuple[Objective, ...] = ("val_accuracy",)
    constraints: tuple[Constraint, ...] = ()
    sampler: Sampler = Tpe()
    pruner: Pruner = NoPruner()
    budget: Budget = Budget()
    random_baseline: Annotated[float, Field(ge=0, lt=1)] = 0.0
    splits: Splits = 1
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**63)] = 0
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _code: NetworkCode | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder that the networks' files are relative to: that of the space's file."""
        return self._folder

    @model_validator(mode="before")
    @classmethod
    def _take_a_searched_architecture(cls, given: Any) -> Any:
        """Let the baseline be of a network that is searched, if the space does not name one."""
        try:
            options = given["parameters"]["architecture"]["choice"]
            default = cls.model_fields["architecture"].default
            if "architecture" in given or default in options:
                return given
            return {**given, "architecture": options[0]}
        except (KeyError, TypeError, IndexError):
            return given

    @field_validator("code", mode="before")
    @classmethod
    def _check_code(cls, given: object) -> object:
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
            raise wrong(f"must be a list of files and folders, not {given!r}")
        return names

    @field_validator("dataset")
    @classmethod
    def _make_path_absolute(cls, given: str) -> str:
        return absolute(given)

    @field_validator("groups")
    @classmethod
    def _make_groups_absolute(cls, given: str | None) -> str | None:
        return given if given is None else absolute_groups(given)

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
            if type_tag(value) == "<constant>" and not isinstance(value, SpaceModel)
            else value
            for name, value in given.items()
        }

    @field_validator("start", mode="before")
    @classmethod
    def _check_start(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            raise wrong(f"must be a list of 'baseline' and mappings of values, not {given!r}")
        for point in given:
            if point != "baseline" and not isinstance(point, dict):
                raise wrong(f"{point!r} is neither 'baseline' nor a mapping of values")
        return given

    @field_validator("objectives", mode="before")
    @classmethod
    def _check_objectives(cls, given: object) -> object:
        costs = [name for name in OBJECTIVES if name not in ACCURACIES]
        allowed = [[name, *cost] for name in ACCURACIES for cost in ([], *([c] for c in costs))]
        if not isinstance(given, list | tuple) or list(given) not in allowed:
            words = " or ".join(f"[{', '.join(names)}]" for names in allowed)
            raise wrong(f"must be {words}, not {given!r}")
        return given

    @field_validator("constraints", mode="before")
    @classmethod
    def _parse_constraints(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            raise wrong(f"must be a list such as ['params <= 3_000_000'], not {given!r}")
        try:
            return [c if isinstance(c, Constraint) else Constraint.parse(str(c)) for c in given]
        except InputError as error:
            raise wrong(str(error)) from error

    @field_validator("sampler", mode="before")
    @classmethod
    def _parse_sampler(cls, given: object) -> object:
        return parse_named(given, SAMPLERS, "sampler")

    @field_validator("pruner", mode="before")
    @classmethod
    def _parse_pruner(cls, given: object) -> object:
        return parse_named(given, PRUNERS, "pruner")

    @property
    def metric(self) -> str:
        """The accuracy that trials are ranked and pruned by: the first objective."""
        return self.objectives[0]

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
        """The searched parameters that define a configuration; a grid's `seed` only repeats it."""
        return {name: part for name, part in self.searched.items() if name not in REPEATS}

    @property
    def parents_first(self) -> list[str]:
        """Names of the searched parameters, each after the parents named in its `when`.

        Raises:
            graphlib.CycleError: if the conditions form a cycle.
        """
        parents = {name: parameter.when.keys() for name, parameter in self.searched.items()}
        return [name for name in TopologicalSorter(parents).static_order() if name in parents]

    @property
    def has_conditions(self) -> bool:
        """Whether any parameter exists only for certain values of another."""
        return any(parameter.when for parameter in self.searched.values())

    @property
    def models_numbers(self) -> bool:
        """Whether a number without a condition is searched, as some samplers need it."""
        return any(
            isinstance(parameter, FloatParameter | IntParameter) and not parameter.when
            for parameter in self.searched.values()
        )

    def is_active(self, name: str, values: Mapping[str, Scalar]) -> bool:
        """Return whether a parameter exists for given values of the other parameters."""
        return all(
            parent in values and values[parent] in allowed
            for parent, allowed in self.searched[name].when.items()
        )

    def only_active(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the values without those of inactive parameters."""
        active: dict[str, Scalar] = {}
        for name in self.parents_first:
            if name in values and self.is_active(name, active):
                active[name] = values[name]
        return {name: active[name] for name in values if name in active}

    @property
    def data_split(self) -> Split:
        """The split of the images, which is the same for all trials of a search."""
        return self.data_splits[0]

    @property
    def data_splits(self) -> list[Split]:
        """The splits of the images, which differ in the seed: one, or those of a confirmation."""
        settings = self._fixed_settings
        split = Split(
            **{field: settings[name] for name, field in _SPLIT_FIELDS.items() if name in settings}  # type: ignore[arg-type]
        )
        searched = self.searched.get("split_seed")
        return (
            [replace(split, seed=int(seed)) for seed in searched.ends()] if searched else [split]
        )

    @property
    def image_options(self) -> ImageOptions:
        """How the images are read, which is the same for all trials."""
        return ImageOptions(**{name: getattr(self, name) for name in IMAGE_OPTIONS})

    @property
    def augmentation(self) -> str:
        """How training images are changed at random, in words."""
        settings = self._fixed_settings
        mirrored = "in every other epoch" if settings.get("alternate_flip") else "at random"
        if "alternate_flip" in self.searched:
            mirrored = "at random or in every other epoch"
        words = []
        for name, what, how in (
            ("flip", "mirrored", mirrored),
            ("crop", "shifted", "at random by up to {:.4g} of the size"),
            ("cutout", "covered", "in a square of {:.4g} of the shorter side, at random"),
            ("cutmix", "pasted over by a part of another", "with probability {:.4g}"),
        ):
            if name in self.searched:
                words.append(f"{what} ({name}: {describe(self.searched[name])})")
            elif value := settings.get(name):
                words.append(f"{what} {how.format(value)}")
        return ", ".join(words) or "none"

    @property
    def views(self) -> str:
        """Over which views of an image its logits are averaged, in words; empty for itself."""
        if searched := self.searched.get("views"):
            return f"{describe(searched)}, by trial"
        return VIEWS.get(str(self.constants.get("views")), "")

    @property
    def image_changes(self) -> dict[str, str]:
        """What is done to images in a training and in use, in words, by its name."""
        views = {"views of an image": self.views} if self.views else {}
        return {"augmentation": self.augmentation, **views}

    @property
    def _fixed_settings(self) -> dict[str, Scalar]:
        """The settings of the recipe, and the constants in their place."""
        return {**recipe_settings(self.recipe, self.architecture, self.dataset), **self.constants}

    @property
    def constants(self) -> dict[str, Scalar]:
        """The parameters with one value, by name."""
        return {
            name: parameter.value
            for name, parameter in self.parameters.items()
            if isinstance(parameter, Constant)
        }

    def config(self, values: Mapping[str, Scalar], trial: int = 0) -> TrialConfig:
        """Make the config of a trial from the values of the searched parameters.

        Args:
            values: values by name; the constants and the recipe supply absent ones.
            trial: number of the trial; its seed derives from this number and the space's seed,
                unless `values` contains a seed.
        """
        settings: dict[str, Any] = {**asdict(self.image_options), **self.constants}
        settings |= {"seed": derive_seed(self.seed, trial), **values}
        architecture = settings.pop("architecture", self.architecture)
        if self.network(architecture).is_own_file:
            code = self.network_code()
            settings["code"] = code.hash if code else None
        return make_config(
            self.recipe,
            architecture,
            self.dataset,
            **settings,
            epochs=self.epochs,
        )

    def network(self, architecture: str | None = None) -> Architecture:
        """Return a network of the space; None for the one of `architecture`."""
        return Architecture(architecture or self.architecture, self._folder)

    def network_code(self) -> NetworkCode | None:
        """Return the code that the networks of the space need; None without files of one's own.

        Raises:
            InputError: if a file is missing or too large.
        """
        if self._code is None:
            files = code_files(self.architectures, self.code, self._folder)
            self._code = NetworkCode.read(self._folder, files) if files else None
        return self._code

    def baseline_point(self) -> dict[str, Scalar]:
        """Return the baseline's values of the searched parameters, with the space's recipe.

        The baseline has the network's own defaults; None is not a value of a space.
        """
        baseline = {
            **make_config(self.recipe, self.architecture, self.dataset).to_dict(),
            **self._network_defaults(),
        }
        values = {name: baseline[name] for name in self.searched_settings if name in baseline}
        return self.only_active(values)

    def without_baseline(self) -> list[str]:
        """Return the searched settings that the baseline should have, and its recipe has not."""
        recipe = make_config(self.recipe, self.architecture, self.dataset)
        baseline = self.baseline_point()
        return [
            name
            for name in self.searched_settings
            if getattr(recipe, name, "") is None and self.is_active(name, baseline)
        ]

    def departures(self) -> dict[str, tuple[Scalar, Scalar]]:
        """Return the constants that depart from the baseline, as (baseline value, constant).

        A space with departures does not contain the baseline.
        """
        baseline = self._network_defaults()
        return {
            name: (baseline[name], value)
            for name, value in self.constants.items()
            if name in baseline and value != baseline[name]
        }

    def _network_defaults(self) -> dict[str, Scalar]:
        defaults = self.network().signature.defaults
        return {
            f"{NET}{name}": value
            for name, value in defaults.items()
            if isinstance(value, bool | int | float | str)
        }

    @property
    def architectures(self) -> tuple[str, ...]:
        """The possible architectures of a trial."""
        searched = self.parameters.get("architecture")
        return tuple(map(str, searched.ends())) if searched else (self.architecture,)

    def different_start_points(self) -> list[dict[str, Scalar]]:
        """Return the start points without repetitions."""
        return list({tuple(sorted(one.items())): one for one in self.start_points()}.values())

    def start_points(self) -> list[dict[str, Scalar]]:
        """Return the start points as values of some or all of the searched parameters."""
        points = (self.baseline_point() if one == "baseline" else one for one in self.start)
        return [
            {name: self.searched[name].own(value) for name, value in point.items()}
            for point in points
        ]

    def count(self) -> int | None:
        """Return the number of different configurations, or None for a continuum.

        Conditions, which reduce the number, are ignored if there are more than `MOST_COUNTED`.
        """
        grids = [parameter.grid() for parameter in self.searched.values()]
        if None in grids:
            return None
        whole = math.prod(len(grid) for grid in grids if grid)
        if not self.has_conditions:
            return whole
        count = sum(1 for _ in itertools.islice(self.points(), MOST_COUNTED + 1))
        return count if count <= MOST_COUNTED else whole

    def points(self) -> Iterator[dict[str, Scalar]]:
        """Yield every configuration of a space without a continuum, each once."""
        names = self.parents_first

        def further(given: dict[str, Scalar], index: int) -> Iterator[dict[str, Scalar]]:
            if index == len(names):
                yield {name: given[name] for name in self.searched if name in given}
            elif not self.is_active(names[index], given):
                yield from further(given, index + 1)
            else:
                for value in self.searched[names[index]].grid() or []:
                    yield from further({**given, names[index]: value}, index + 1)

        yield from further({}, 0)
