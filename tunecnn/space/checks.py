"""Checks of a space whose values are each well formed, and the messages about mistakes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from graphlib import CycleError

from pydantic_core import ErrorDetails

from tunecnn.data.options import IMAGE_OPTIONS, option_problems
from tunecnn.data.registry import dataset_info
from tunecnn.documents import Loc, Mistake
from tunecnn.errors import InputError, nearest
from tunecnn.models.signature import REQUIRED, UNREADABLE
from tunecnn.space.parameters import (
    Constant,
    FloatParameter,
    IntParameter,
    Parameter,
    describe,
    plain,
)
from tunecnn.space.schema import SpaceSchema
from tunecnn.space.strategy import (
    AfterStartup,
    Budget,
    Cmaes,
    Grid,
    NoPruner,
    Nsga2,
    Patient,
    RandomSearch,
    WithRungs,
    strategy_name,
)
from tunecnn.trial.config import (
    CHOICES,
    NET,
    REPEATS,
    SETTINGS,
    VIEWS,
    Scalar,
    TrialConfig,
    setting_problem,
)
from tunecnn.trial.recipes import RECIPES, make_config
from tunecnn.words import error_in_words

# Settings without a key of their own in a space that have the same value for all trials.
_NOT_SEARCHED = frozenset({"split", "validation", "train_images"})

# Keys whose values can only be judged if another key is right.
_RESTING: Mapping[str, tuple[str, ...]] = {
    "dataset": (*IMAGE_OPTIONS, "start"),
    "architecture": ("code", "start"),
    "code": ("start",),
    "recipe": ("start",),
    "parameters": ("start",),
    "epochs": ("pruner",),
    "objectives": ("sampler", "pruner", "random_baseline"),
    "sampler": ("random_baseline",),
}


def may_follow(mistake: Mistake, others: Iterable[Loc]) -> bool:
    """Return whether a mistake may only follow from values that were left out as mistaken.

    Args:
        mistake: mistake in a space without these values, which has defaults in their place.
        others: locations of the values.
    """
    key = mistake.loc[0] if mistake.loc else ""
    names = {"architecture", "code"}
    for loc in others:
        if not loc or key in _RESTING.get(str(loc[0]), ()):
            return True
        if key == "parameters" and len(mistake.loc) > 1:
            name = str(mistake.loc[1])
            if name.startswith(NET) and (
                loc[0] in names or loc[:2] == ("parameters", "architecture")
            ):
                return True
            if name in REPEATS and loc[0] == "sampler":  # which only a grid may search
                return True
            is_parent = loc[0] == "parameters" and repr(loc[1:2])[1:-2] in mistake.text
            if mistake.loc[2:3] == ("when",) and (loc == ("parameters",) or is_parent):
                return True
    return False


def mistakes_of(space: SpaceSchema) -> list[Mistake]:
    """Return the mistakes of a space whose values are each well formed."""
    found = list(_network_mistakes(space))
    usable = not found
    if space.recipe not in RECIPES:
        text = f"unknown recipe {space.recipe!r}; {nearest(space.recipe, RECIPES)}"
        found.append(Mistake(("recipe",), text))
    try:
        dataset_info(space.dataset)
    except InputError as error:
        found.append(Mistake(("dataset",), str(error)))
    else:
        problems = option_problems(space.image_options, space.dataset)
        found += [Mistake((name,), text) for name, text in problems]
    if usable:
        found += _parameter_mistakes(space)
        found += _missing_mistakes(space)
    found += _strategy_mistakes(space)
    found += _condition_mistakes(space)
    return found or list(_start_mistakes(space))


def _condition_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    searched = space.searched
    for name, parameter in searched.items():
        loc: Loc = ("parameters", name, "when")
        for parent, allowed in parameter.when.items():
            if parent not in searched:
                is_fixed = isinstance(space.parameters.get(parent), Constant)
                advice = (
                    "it has one value, so leave the condition out, or the parameter"
                    if is_fixed
                    else nearest(parent, searched)
                )
                yield Mistake(loc, f"{parent!r} is not searched; {advice}")
                continue
            condition = searched[parent]
            if condition.grid() is None and parent != name:
                text = f"{parent} is hardly ever {allowed[0]!r}; give it a step, or choices"
                yield Mistake(loc, text)
                continue
            for value in allowed:
                if not searched[parent].contains(value):
                    yield Mistake(
                        loc,
                        f"{parent} is never {value!r} ({describe(searched[parent])})",
                    )
    try:
        _ = space.parents_first
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        yield Mistake(("parameters", error.args[1][0], "when"), f"goes in a circle: {circle}")


def _strategy_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    if space.random_baseline and isinstance(space.sampler, Grid | RandomSearch):
        text = "random trials are a baseline for a sampler that learns; not for random or grid"
        yield Mistake(("random_baseline",), text)
    if len(space.objectives) > 1:
        if not isinstance(space.pruner, NoPruner):
            text = "judges trials by one value, and there are two objectives; write pruner: none"
            yield Mistake(("pruner",), text)
        if isinstance(space.sampler, Cmaes):
            yield Mistake(
                ("sampler",), "cmaes supports one objective; use nsga2, tpe or gp for two"
            )
        if space.random_baseline:
            text = "compares the best of one objective, and there are two"
            yield Mistake(("random_baseline",), text)
    elif isinstance(space.sampler, Nsga2):
        text = "nsga2 weighs two objectives, such as objectives: [val_accuracy, params]"
        yield Mistake(("sampler",), text)
    if isinstance(space.sampler, Grid):
        for name, parameter in space.searched.items():
            if parameter.grid() is None:
                text = "the grid sampler needs a step for every float, and at most 100,000 values"
                yield Mistake(("parameters", name), text)


def warnings_of(space: SpaceSchema) -> list[str]:
    """Return warnings about settings that are allowed but probably unintended."""
    found = [mistake.text for mistake in rung_mistakes(space)]
    for check in (
        _waits_too_long,
        _without_effect,
        _unseen_mirror_images,
        _baseline_as_fixed,
        _unused_starts,
        _sampled_at_random,
        _single_values,
    ):
        found += check(space)
    return found


def rung_mistakes(space: SpaceSchema) -> list[Mistake]:
    """Return a mistake if the pruner can never stop a trial.

    It is a mistake in a file, which gives both numbers. With epochs from the command line it is
    only a warning, since a quick try with fewer epochs is legitimate.
    """
    pruner = space.pruner
    if not isinstance(pruner, WithRungs) or pruner.min_epochs < space.epochs:
        return []
    text = (
        f"{strategy_name(pruner)} from epoch {pruner.min_epochs} leaves no rung before "
        f"the last of {space.epochs} epochs, so it would never stop a trial; lower min_epochs, or "
        "use pruner: none"
    )
    return [Mistake(("pruner",), text)]


# Settings that matter only for some values of another one.
_MATTERS_WITH: Mapping[str, tuple[str, tuple[Scalar, ...]]] = {
    "momentum": ("optimizer", ("sgd", "muon")),
    "nesterov": ("optimizer", ("sgd", "muon")),
    "beta1": ("optimizer", ("adamw", "muon")),
    "beta2": ("optimizer", ("adamw", "muon")),
    "rho": ("optimizer", ("rmsprop",)),
    "epsilon": ("optimizer", ("rmsprop", "adamw", "muon")),
    "warmup": ("schedule", ("one_cycle",)),
    "alternate_flip": ("flip", (True,)),
    "split_seed": ("split", ("stratified",)),
    "validation": ("split", ("stratified",)),
}


def _without_effect(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning for each setting that changes nothing, whatever the others are."""
    for name, (other, values) in _MATTERS_WITH.items():
        if name not in space.parameters:
            continue
        own = space.searched.get(name)
        if own is not None and other in own.when:
            can_matter = any(value in values for value in own.when[other])
        else:
            can_matter = _can_be(space, other, values)
        if not can_matter:
            few = " or ".join(map(str, values)).lower()
            yield f"{name} changes nothing in this space: it is for {other}: {few}"
    if "cutmix" in space.parameters and space.constants.get("batch_size") == 1:
        yield "cutmix changes nothing in this space: it is for batches of two images or more"


def _unseen_mirror_images(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning if mirror images are classified, and none is ever trained on."""
    if _can_be(space, "views", tuple(VIEWS)) and not _can_be(space, "flip", (True,)):
        yield (
            "views classifies mirror images as well, and no training in this space sees any: for "
            "images that may be mirrored, add flip: true"
        )


def _can_be(space: SpaceSchema, name: str, values: Sequence[Scalar]) -> bool:
    """Return whether a setting has one of some values in any trial, by the space or a recipe."""
    given = space.parameters.get(name)
    if isinstance(given, Constant):
        return given.value in values
    if given is not None:
        return any(map(given.contains, values))
    recipes = (make_config(space.recipe, one, space.dataset) for one in space.architectures)
    return any(getattr(recipe, name) in values for recipe in recipes)


def _baseline_as_fixed(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning for each argument that the baseline has not as its network has it."""
    arguments = space.network().signature.arguments
    for name, value in space.constants.items() if "baseline" in space.start else ():
        argument = arguments.get(name.removeprefix(NET)) if name.startswith(NET) else None
        if argument is not None and argument.default is None:
            yield (
                f"the baseline has {name} = {value} as well, since the space fixes it; the "
                "network's own is None"
            )


def _unused_starts(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning if there are more start points than trials."""
    if (count := len(space.different_start_points())) > space.trials:
        yield (
            f"there are {count:,} different start points for {space.trials:,} trials: the "
            "last ones are not tried"
        )


def _sampled_at_random(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning if the sampler can model no parameter of the space."""
    if isinstance(space.sampler, Cmaes) and not space.models_numbers:
        yield (
            "cmaes models numbers without a condition, and the space searches none: all its "
            "proposals would be random; use tpe"
        )


def _waits_too_long(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning if a pruner waits so long that it can never stop a trial."""
    pruner = space.pruner
    if not isinstance(pruner, Patient | AfterStartup):
        return
    wait = "patience" if isinstance(pruner, Patient) else "warmup_epochs"
    epochs = dict(pruner)[wait]
    if epochs >= max(1, space.epochs - 1):
        yield (
            f"{strategy_name(pruner)} with {wait}: {epochs} could stop no trial before the "
            f"last of {space.epochs} epochs; lower {wait}, or use pruner: none"
        )


def _single_values(space: SpaceSchema) -> Iterator[str]:
    """Yield a warning for each parameter in which nothing is searched."""
    for name, parameter in space.searched.items():
        ends = parameter.ends()
        if ends[0] == ends[-1]:
            yield f"{name} has only one value, {ends[0]}: nothing is searched in it"


def _parameter_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    for name, parameter in space.parameters.items():
        loc: Loc = ("parameters", name)
        if _is_own_key(name, parameter):
            yield Mistake(
                loc,
                f"is a key of the space itself, not a parameter: {name}: ... at the top level",
            )
        elif name == "split_seed" and not _may_differ(space, parameter):
            yield Mistake(
                loc,
                "must be the same for all trials of a search: give one plain value; a "
                "confirmation makes its own splits of the data, three with splits: 3",
            )
        elif name == "seed" and not isinstance(space.sampler, Grid):
            yield Mistake(loc, "repeats each configuration, so it needs sampler: grid")
        elif name == "seed" and not isinstance(space.pruner, NoPruner):
            yield Mistake(
                loc,
                "repeats each configuration, and a pruner would stop the unlucky seeds, so it "
                "would be ranked by its lucky ones: leave the pruner out",
            )
        elif name in _NOT_SEARCHED and not isinstance(parameter, Constant):
            yield Mistake(loc, "must be the same for all trials: give one plain value")
        elif name in CHOICES and isinstance(parameter, FloatParameter | IntParameter):
            yield Mistake(loc, f"is one of {', '.join(CHOICES[name])}: use choice")
        elif name.startswith(NET):
            yield from (Mistake(loc, text) for text in _argument_problems(space, name, parameter))
        elif problem := _name_problem(space, name):
            yield Mistake(loc, problem)
        elif name != "architecture":
            for value in parameter.ends():
                try:
                    TrialConfig.from_dict({name: value})
                except InputError as error:
                    yield Mistake(loc, str(error))


def _network_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    """Yield the mistakes in the networks' names and files; their code is not run."""
    is_searched = "architecture" in space.searched
    for name in dict.fromkeys((space.architecture, *space.architectures)):
        loc: Loc = ("architecture",)
        if is_searched and name in space.architectures:
            loc = ("parameters", "architecture")
        try:
            _ = space.network(name).signature
        except InputError as error:
            yield Mistake(loc, str(error))
            return
    try:
        space.network_code()
    except InputError as error:
        yield Mistake(("code",) if space.code else ("architecture",), str(error))


def _architectures_of(space: SpaceSchema, parameter: Parameter | Constant) -> list[str]:
    """Return the networks that get a parameter: all, or those that its `when` names."""
    when = {} if isinstance(parameter, Constant) else parameter.when
    allowed = when.get("architecture")
    return [name for name in space.architectures if allowed is None or name in allowed]


def _argument_problems(
    space: SpaceSchema, name: str, parameter: Parameter | Constant
) -> Iterator[str]:
    """Yield the problems of an argument of the network, in any of its networks."""
    argument = name.removeprefix(NET)
    for architecture in _architectures_of(space, parameter):
        network = space.network(architecture)
        known = network.signature.arguments
        if argument not in known and argument in SETTINGS:
            yield f"{argument} is a setting of the training: write it without {NET}"
            continue
        if (
            argument in known
            and known[argument].values
            and isinstance(parameter, FloatParameter | IntParameter)
        ):
            low, high = parameter.bounds
            is_whole = isinstance(parameter, IntParameter)
            middle = (low + high) // 2 if is_whole else (low + high) / 2
            inside = parameter.grid() or [low, high, middle]
            problems = (network.signature.problem(argument, value) for value in inside)
            if problem := next(filter(None, problems), ""):
                yield f"{problem}; use choice"
            continue
        for value in parameter.ends():
            if problem := _value_problem(architecture, argument, value, space):
                if isinstance(parameter, FloatParameter) and "a whole number" in problem:
                    problem += "; use int: in the place of float:"
                yield problem
                break


def _value_problem(architecture: str, argument: str, value: Scalar, space: SpaceSchema) -> str:
    network = space.network(architecture)
    if problem := network.signature.problem(argument, value):
        return problem
    if network.is_published:  # whose values are known to have bounds
        try:
            TrialConfig(architecture=architecture, net={argument: value})
        except InputError as error:
            return str(error)
    return ""


def _name_problem(space: SpaceSchema, name: str) -> str:
    """Return why a name is no setting of the training; empty if it is one."""
    for architecture in space.architectures:
        signature = space.network(architecture).signature
        if name not in SETTINGS and name in signature.arguments:
            where = signature.where(name)
            return f"is an argument of {signature.name} ({where}): write {NET}{name}"
    return setting_problem(name, SETTINGS - _OWN_KEYS)


def _missing_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    """Yield the arguments that a network needs, and that the space neither searches nor fixes."""
    for architecture in space.architectures:
        signature = space.network(architecture).signature
        for name in signature.required:
            given = space.parameters.get(f"{NET}{name}")
            if given is None or architecture not in _architectures_of(space, given):
                yield Mistake(
                    ("architecture",),
                    f"{signature.name} needs a value of {name} ({signature.where(name)}): add "
                    f"{NET}{name} to the parameters",
                )


_OWN_KEYS = frozenset({"dataset", "epochs", "splits", "code", *IMAGE_OPTIONS})


def _is_own_key(name: str, parameter: Parameter | Constant) -> bool:
    if name in ("architecture", "seed"):  # a parameter if it has several values
        return isinstance(parameter, Constant)
    return name in _OWN_KEYS


def _may_differ(space: SpaceSchema, split_seed: Parameter | Constant) -> bool:
    """Return whether a space may have a split seed: one value, or those of a confirmation.

    A confirmation, whose space is not written by hand, has all its trials as start points.
    """
    is_confirmation = (
        isinstance(space.sampler, Grid)
        and 1 < len(split_seed.ends()) == space.splits
        and len(space.start) == space.trials
    )
    return isinstance(split_seed, Constant) or is_confirmation


def _start_mistakes(space: SpaceSchema) -> Iterator[Mistake]:
    searched = space.searched
    for i, point in enumerate(space.start):
        loc: Loc = ("start", i)
        if point == "baseline":
            yield from (Mistake(loc, text) for text in _unknown_baseline(space))
            for name, (baseline, fixed) in space.departures().items():
                yield Mistake(
                    loc,
                    f"the baseline has {name} = {baseline}, but the space fixes it at {fixed}: "
                    f"search it, fix it at {baseline}, or leave baseline out of start",
                )
        values = space.baseline_point() if point == "baseline" else point
        for name in values.keys() & searched.keys():
            parents = searched[name].when
            if parents.keys() <= values.keys() and not space.is_active(name, values):
                yield Mistake(loc, f"{name} is not there ({describe(searched[name])})")
        for name, value in values.items():
            if name not in searched:
                yield Mistake(
                    loc,
                    f"{name!r} is not searched; {nearest(name, searched)}",
                )
            elif not searched[name].contains(value):
                what = "the baseline has" if point == "baseline" else "it has"
                yield Mistake(
                    loc,
                    f"{what} {name} = {value!r}, which the space does not contain "
                    f"({describe(searched[name])})",
                )


def _unknown_baseline(space: SpaceSchema) -> Iterator[str]:
    """Yield what is searched and has no value in the baseline that could be written in a space."""
    for name in space.without_baseline():
        yield (
            f"the baseline has no {name} with recipe {space.recipe}; write the start point out: "
            f"{{{name}: ...}}"
        )
    signature, baseline = space.network().signature, space.baseline_point()
    for name in space.searched:
        argument = name.removeprefix(NET)
        if not name.startswith(NET) or not space.is_active(name, baseline):
            continue
        default = (
            signature.arguments[argument].default
            if argument in signature.arguments
            else UNREADABLE
        )
        what = {
            id(None): "None",
            id(REQUIRED): "missing",
            id(UNREADABLE): "not written as a plain value",
        }.get(id(default))
        if what and signature.open and argument not in signature.arguments:
            what = f"not known, as {signature.open},"
        if what:
            yield (
                f"the baseline has the network's own {argument}, which is {what} in "
                f"{signature.where(argument)}; write the start point out: {{{name}: ...}}"
            )


_AS_BUDGET = {"hours": "hours", "device_hours": "device_hours", "until": "accuracy"}
"""Options of the command line that a space has in its budget."""


def explain(details: ErrorDetails, keys: Iterable[str]) -> Mistake:
    """Convert a pydantic error into a mistake with tunecnn's wording."""
    # Pydantic names its own steps in angle brackets; so may a user a key.
    steps = tuple(key for key in details["loc"] if not str(key).startswith("<"))
    loc = steps or details["loc"]
    error_type = details["type"]
    if error_type == "extra_forbidden":
        known: Iterable[str] = ("step", "log", "role", "when")
        if len(loc) == 1 and (str(loc[0]) in SETTINGS or str(loc[0]).startswith(NET)):
            return Mistake(loc, "is no key of a space: write it under parameters")
        if len(loc) == 1 and loc[0] in _AS_BUDGET:
            return Mistake(loc, f"is a limit: write budget: {{{_AS_BUDGET[str(loc[0])]}: ...}}")
        if len(loc) == 1:
            known = keys
        elif loc[0] == "budget":
            known = Budget.model_fields
        return Mistake(loc, f"unknown key; {nearest(loc[-1], known)}")
    if error_type == "missing":  # the second of two bounds
        return Mistake(loc[:-1], error_in_words(details))
    if len(loc) > 3 and loc[0] == "start":  # one error for each type that is allowed
        name = str(loc[3])  # after the type that the point has
        given = details["input"]
        if isinstance(given, dict):
            return Mistake(
                loc[:2],
                f"{name} has a mapping; of an argument, write the whole name: {name}."
                f"{next(iter(given), '...')}",
            )
        return Mistake(loc[:2], f"{name} must be a number, a word, true or false, not {given!r}")
    if error_type == "parameter_type" and loc[-1] == "net" and isinstance(details["input"], dict):
        argument = next(iter(details["input"]), "...")
        return Mistake(loc, f"write each argument with its whole name: {NET}{argument}")
    if error_type == "parameter_type":
        given = details["input"]
        if isinstance(given, Sequence | Set) and not isinstance(given, str) and given:
            several = ", ".join(str(plain(one)) for one in itertools.islice(given, 3))
            more = ", ..." * (len(given) > 3)
            return Mistake(loc, f"several values are written {{choice: [{several}{more}]}}")
        return Mistake(loc, f"{details['msg']}, not {given!r}")
    return Mistake(loc, error_in_words(details))
