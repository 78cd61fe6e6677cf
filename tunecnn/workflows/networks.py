"""The networks of a space: its corners, and whether they can be built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunecnn.data.loading import load_dataset
from tunecnn.errors import InputError
from tunecnn.files import whole
from tunecnn.models.architecture import Architecture, is_published
from tunecnn.models.code import NetworkCode
from tunecnn.models.code_files import code_files, files_left_behind, package_or_file
from tunecnn.models.counting import CostCounter
from tunecnn.models.designs import Cost
from tunecnn.models.notebook import code_of_notebook
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import RunInfo
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Grid
from tunecnn.study.distributions import random_points
from tunecnn.trial.config import NET, Scalar, TrialConfig

_MOST_CORNERS = 512  # of published networks, which are counted by arithmetic
_MOST_BUILDS = 24  # of other networks, each of which is built
_DRAWS = 200  # random points of a space with published networks


@dataclass(frozen=True)
class TriedNetwork:
    """A network of a space that was built: at extreme values of its parameters, or random ones.

    Attributes:
        values: values of the active parameters that change what it costs.
        architecture: name of the network.
        config: config with these values; None if they are not allowed together.
        cost: what the network costs; None if it cannot be built.
        problem: why it cannot be built; empty if it can.
    """

    values: Mapping[str, Scalar]
    architecture: str
    config: TrialConfig | None = None
    cost: Cost | None = None
    problem: str = ""


def corners(space: SearchSpace, costs: CostCounter) -> list[TriedNetwork]:
    """Build the networks at the corners of a space.

    All combinations of the ends of the parameters are tried if they are few; otherwise those with
    all at one end, and those with one parameter at its other end.

    Args:
        space: space with the networks.
        costs: counts their costs.
    """
    kept = _costly(space, costs)
    kept |= {parent for name in kept for parent in _activated(space, name, {})}
    ends = {
        name: list(parameter.ends()) for name, parameter in space.searched.items() if name in kept
    }
    most = _MOST_CORNERS if _are_counted(space) else _MOST_BUILDS
    found = [space.only_active(values) for values in _combinations(space, ends, most)]
    different = {tuple(values.items()): values for values in found}.values()
    return [_tried(space, values, costs) for values in different]


def sampled_networks(space: SearchSpace, costs: CostCounter) -> list[TriedNetwork]:
    """Build the networks of some random points of a space.

    Args:
        space: space with the networks.
        costs: counts their costs.
    """
    points = random_points(space, _DRAWS if _are_counted(space) else _MOST_BUILDS)
    return [_tried(space, point, costs) for point in points]


def _are_counted(space: SearchSpace) -> bool:
    """Return whether all networks are published ones, which are counted without building them."""
    return all(map(is_published, space.architectures))


def check_networks(space: SearchSpace, dataset: str, costs: CostCounter) -> list[TriedNetwork]:
    """Check before a search that its networks can be built for its images.

    Args:
        space: space with the networks.
        dataset: name of the data set in messages.
        costs: counts the networks' costs for the images.

    Returns:
        The networks at the corners of the space.

    Raises:
        InputError: if no network of an architecture can be built.
    """
    if _are_counted(space):
        for name in space.architectures:
            try:
                costs.cost(name, {})
            except InputError as error:
                raise InputError(f"{name} on {dataset}: {error}") from error
        return corners(space, costs)
    found = corners(space, costs)
    _check_loadable(space)
    for name in space.architectures:
        own = [corner for corner in found if corner.architecture == name]
        if own and all(corner.problem for corner in own):
            raise InputError(f"{name} on {dataset}: {own[0].problem}")
    return found


def network_warnings(
    space: SearchSpace, found: Sequence[TriedNetwork], costs: CostCounter
) -> list[str]:
    """Return warnings about values that cannot be built, and about networks that can.

    Args:
        space: space with the networks.
        found: the networks at its corners.
        costs: counts the networks' costs for the images.
    """
    return [
        *(
            f"{values_in_words(corner.values)} cannot be built: {corner.problem}"
            for corner in found
            if corner.problem
        ),
        *network_doubts(space, found, costs),
    ]


def network_doubts(
    space: SearchSpace, found: Sequence[TriedNetwork], costs: CostCounter
) -> Iterator[str]:
    """Yield warnings about networks that can be built: random numbers, arguments and files.

    Args:
        space: space with the networks.
        found: the networks at its corners.
        costs: counts the networks' costs for the images.
    """
    yield from _random_evaluations(found)
    yield from _unseen_arguments(space, costs)
    yield from _unread_files(space)


def _check_loadable(space: SearchSpace) -> None:
    """Check that the models of installed networks can be loaded after the search.

    Raises:
        InputError: if one is a function that does not say that it returns a network: a file of
            weights might name any function, so those are not called.
    """
    for name in space.architectures:
        network = space.network(name)
        if network.is_published or network.is_own_file:
            continue
        from tunecnn.models.building import load, returns_network

        try:
            is_loadable = returns_network(load(network))
        except InputError:  # which says more where it is built
            continue
        if not is_loadable:
            raise InputError(
                f"{name} does not say that it returns a network (-> nn.Module), so its models "
                "could not be loaded after the search: write a function beside the space that "
                "calls it, and architecture: FILE.py:NAME"
            )


def _random_evaluations(found: Sequence[TriedNetwork]) -> Iterator[str]:
    """Yield a warning for each architecture that draws random numbers in evaluation.

    Args:
        found: networks of a space that were built.
    """
    # Some values of an argument may leave the operation out.
    random = {
        one.architecture: one.cost for one in found if one.cost and one.cost.random_operations
    }
    for name, cost in random.items():
        yield (
            f"{name} draws random numbers in evaluation as well "
            f"({', '.join(cost.random_operations)}), so its accuracy is that of one draw, and its "
            "predictions change; F.dropout draws there unless it is called with "
            "training=self.training"
        )


def _unread_files(space: SearchSpace) -> Iterator[str]:
    """Yield a warning for each file that the networks' code names, and that does not travel."""
    code = space.network_code()
    if code is None:
        return
    for file, name in files_left_behind(space.folder, code.files):
        yield (
            f"{file} names the file {name}, which is beside it and does not travel with it: if "
            f"the network reads it, write code: [{', '.join([*code.files, name])}]"
        )


def _unseen_arguments(space: SearchSpace, costs: CostCounter) -> Iterator[str]:
    """Yield a warning for each argument that changes nothing.

    No code reads it, or a network with `**kwargs` may not have it at all.
    """
    ends = {name: list(parameter.ends()) for name, parameter in space.searched.items()}
    usual = {name: values[0] for name, values in ends.items()}
    for name, value in space.constants.items():
        if isinstance(value, int | float):  # another value is tried; of a word, none is known
            ends[name] = [value, not value if isinstance(value, bool) else 2 * value or 1]
    for name in (name for name in ends if name.startswith(NET)):
        others = _activated(space, name, usual) if name in space.searched else usual
        architecture = str(others.get("architecture", space.architecture))
        argument, signature = name.removeprefix(NET), space.network(architecture).signature
        if (known := signature.arguments.get(argument)) is not None:
            if not known.is_read:
                yield (
                    f"{name} changes nothing: no line of {signature.name} "
                    f"({signature.where(argument)}) reads its argument {argument}"
                )
            continue
        config = _tried(space, others, costs).config
        ways = [_cost(costs, config, {argument: ends[name][at]}) for at in (0, -1)]
        layers = {cost.layers for cost in ways if cost is not None and cost.layers}
        if None not in ways and ways[0] == ways[1] and len(layers) == 1:
            yield (
                f"{name} changes neither the layers of {architecture} nor what they cost: is "
                "there such an argument? What a network takes as **kwargs cannot be checked"
            )


def _cost(
    costs: CostCounter, config: TrialConfig | None, changes: Mapping[str, Scalar]
) -> Cost | None:
    """Return what the network of a config costs with some other arguments, if it can be built."""
    if config is None:
        return None
    try:
        return costs.cost(config.architecture, {**config.net, **changes})
    except InputError:
        return None


def check_constraints(
    space: SearchSpace, dataset: str, found: Sequence[TriedNetwork], costs: CostCounter
) -> list[str]:
    """Check before a search that some networks meet its constraints for its images.

    Args:
        space: space with the networks.
        dataset: name of the data set in messages.
        found: the networks at its corners.
        costs: counts the networks' costs for the images.

    Returns:
        Warnings about start points that break a constraint, and are not trained.

    Raises:
        InputError: if none of many networks meets them.
    """
    if not space.constraints:
        return []
    notes, tried, costly = [], [*found], _costly(space, costs)
    for given, point in zip(space.start, space.start_points(), strict=True):
        if not {name for name in costly if space.is_active(name, point)} <= point.keys():
            continue  # the sampler proposes the rest
        one = _tried(space, point, costs)
        tried.append(one)
        if one.cost and (broken := [c for c in space.constraints if c.violation(one.cost) > 0]):
            is_baseline = given == "baseline"
            what = "the baseline" if is_baseline else f"the start point {values_in_words(point)}"
            lost = ", so there is nothing to compare with" * is_baseline
            has = ", ".join(f"{getattr(one.cost, c.quantity):,} {c.quantity}" for c in broken)
            notes.append(
                f"{what} has {has} and breaks {' and '.join(map(str, broken))}: it is "
                f"not trained{lost}"
            )
    if not any(is_allowed(space, one) for one in tried) and not any(
        is_allowed(space, one) for one in sampled_networks(space, costs)
    ):
        is_limit = any(one.comparison == "<=" for one in space.constraints)
        text = (
            f"no network that was tried meets {' and '.join(map(str, space.constraints))} on "
            f"{dataset}; relax the constraints{', or give a smaller size' * is_limit}"
        )
        if _are_counted(space) and not isinstance(space.sampler, Grid):
            raise InputError(text)
        notes.append(text)  # few are built, and a grid has each: a search may find one
    return notes


def is_allowed(space: SearchSpace, one: TriedNetwork) -> bool:
    """Return whether a network can be built, and meets the space's constraints."""
    return one.cost is not None and meets(space, one.cost)


def meets(space: SearchSpace, cost: Cost) -> bool:
    """Return whether a network of such a cost meets the space's constraints."""
    return all(constraint.violation(cost) <= 0 for constraint in space.constraints)


def code_of(
    config: TrialConfig, path: Path | None, further: Sequence[str] = ()
) -> tuple[NetworkCode | None, str]:
    """Find the code of a config's network: a run's copy of it, or the files themselves.

    Args:
        config: config with the network.
        path: file of the config, which may be one of a run's `configs`; None if there is none.
        further: files and folders that the network's own file needs, beside it.

    Returns:
        The code, None for a network in no file; and a warning, empty if there is nothing to warn
        of.

    Raises:
        InputError: if there is no such file, or it is not the code that the config was trained
            with.
    """
    if not config.network.is_own_file:
        if further:
            raise InputError(f"--code has no effect: {config.architecture} is in no file")
        return None, ""
    run = whole(path).parent.parent if path is not None else None
    if run is not None and config.code and (run / "code").is_dir():
        folder = RunFolder.open(run)
        info = folder.read_info()
        code = folder.read_code(info)
        if code is not None and code.hash == config.code:
            if further:
                raise InputError("--code has no effect: the run has a copy of the network's code")
            return code, "".join(changed_code(folder.read_space(info), info))
    beside = path.absolute().parent if path is not None else Path.cwd()
    own = package_or_file(beside, Architecture(config.architecture, beside).module)
    files = code_files([config.architecture], [own, *further] if further else (), beside)
    found = NetworkCode.read(beside, files)
    if config.code and found.hash != config.code:
        raise InputError(
            f"the config was made with other code of {config.architecture} (hash {config.code}) "
            f"than that in {beside} (hash {found.hash}); remove code: from the config to use it"
        )
    return found, ""


def changed_code(space: SearchSpace, info: RunInfo) -> list[str]:
    """Return a warning if the networks' files have changed since a run has copied them."""
    if info.code is None:
        return []
    where = f"the code in {info.code.source}"
    source = Path(info.code.source)
    try:
        files = code_files(space.architectures, space.code, source)
        now: NetworkCode | None = NetworkCode.read(source, files)
    except InputError:  # such as files that are no longer there
        where, now = "the notebook's network", code_of_notebook(space.architectures)
    if now is None or now.hash == info.code.hash:
        return []
    return [
        f"{where} has changed since the run was started; the run's own copy is used "
        f"(hash {info.code.hash})"
    ]


def build_corners(
    space: SearchSpace, data_dir: Path | None
) -> tuple[list[TriedNetwork], list[str]]:
    """Build the networks at the corners of a space for its images.

    Args:
        space: checked space.
        data_dir: folder of the data files; None for the default folder.

    Returns:
        The corners, and warnings about those that cannot be built, and about constraints.

    Raises:
        InputError: if no network of an architecture can be built or meets the constraints, or the
            images cannot be used.
    """
    dataset = load_dataset(space.dataset, space.data_split, data_dir, space.image_options)
    data = dataset.trial_data
    with CostCounter(space.network_code(), data.input_shape, len(data.classes)) as costs:
        found = check_networks(space, data.name, costs)
        problems = network_warnings(space, found, costs)
        return found, [*problems, *check_constraints(space, data.name, found, costs)]


def values_in_words(values: Mapping[str, Scalar]) -> str:
    """Return values as text, such as `net.width = 32`."""
    return ", ".join(f"{name} = {value}" for name, value in values.items()) or "the network"


def _costly(space: SearchSpace, costs: CostCounter) -> set[str]:
    """Return the searched parameters that change what a network costs."""
    ends = {
        name: list(dict.fromkeys(parameter.ends()))
        for name, parameter in space.searched.items()
        if name.startswith(NET) or name == "architecture"
    }
    return {name for name in ends if name == "architecture" or _matters(space, name, ends, costs)}


def _matters(
    space: SearchSpace, name: str, ends: Mapping[str, Sequence[Scalar]], costs: CostCounter
) -> bool:
    """Return whether a parameter changes what a network costs, or whether it can be built."""
    others = _activated(space, name, {other: values[0] for other, values in ends.items()})
    seen = set()
    for value in ends[name]:
        corner = _tried(space, {**others, name: value}, costs)
        seen.add((corner.cost, corner.problem))
    return len(seen) > 1


def _activated(space: SearchSpace, name: str, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Change values of other parameters so that a parameter is active."""
    found = dict(values)
    for parent, allowed in space.searched[name].when.items():
        if found.get(parent) not in allowed:
            found[parent] = allowed[0]
        if parent in space.searched:
            found = _activated(space, parent, found)
    return found


def _tried(space: SearchSpace, values: Mapping[str, Scalar], costs: CostCounter) -> TriedNetwork:
    name = str(values.get("architecture", space.architecture))
    try:
        config = space.config(space.only_active(_with_required(space, values)))
        return TriedNetwork(values, name, config, costs.cost(name, config.net))
    except InputError as error:
        return TriedNetwork(values, name, problem=str(error))


def _with_required(space: SearchSpace, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Add a value of each searched argument of the network that has no default of its own."""
    rest = {
        name: parameter.ends()[0]
        for name, parameter in space.searched.items()
        if name.startswith(NET) and name not in values
    }
    required = {
        f"{NET}{name}"
        for one in space.architectures
        for name in space.network(one).signature.required
    }
    return {**{name: value for name, value in rest.items() if name in required}, **values}


def _combinations(
    space: SearchSpace, ends: Mapping[str, Sequence[Scalar]], most: int
) -> Iterator[dict[str, Scalar]]:
    names = list(ends)
    if math.prod(len(values) for values in ends.values()) <= most:
        for values in itertools.product(*ends.values()):
            yield dict(zip(names, values, strict=True))
        return
    seen: list[dict[str, Scalar]] = []
    low = {name: ends[name][0] for name in names}
    high = {name: ends[name][-1] for name in names}
    apart = [
        {**_activated(space, name, base), name: value}
        for base in (low, high)
        for name in names
        for value in ends[name]
    ]
    for found in (low, high, *apart):
        if found not in seen and len(seen) < most:
            seen.append(found)
            yield found
