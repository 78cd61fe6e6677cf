"""The published experiments as search spaces: a grid over its networks and some seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunecnn.analysis.published import EXPERIMENTS
from tunecnn.data.registry import IMAGEFOLDER, dataset_info
from tunecnn.documents import to_yaml
from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import DESIGNS, InputShape

_SEEDS = 3
NOTHING = "none"
"""What is given as `against` to train by the published protocol without its figures."""


def published_for(dataset: str, against: str | None) -> str | None:
    """Return the data set whose published results a reproduction is compared with.

    Args:
        dataset: on which it trains.
        against: as the user says; None for the data set itself, `NOTHING` for no comparison.

    Raises:
        InputError: if nothing was published on it.
    """
    info = dataset_info(dataset)
    if against == NOTHING:
        return None
    if against is None:
        if info.is_published:
            return dataset
        ways = f"add --against {NOTHING} to train its networks by its protocol anyway"
        if dataset.startswith(IMAGEFOLDER):
            known = " or ".join(f"--against {name}" for name in EXPERIMENTS)
            ways += f", or {known} if these are that data set's images"
        raise InputError(
            f"no results were published on {dataset}, so there is nothing to compare with; {ways}"
        )
    if against in EXPERIMENTS and against != dataset and not dataset.startswith(IMAGEFOLDER):
        raise InputError(
            f"--against {against}: {dataset} has other images; only the same images in files of "
            f"your own ({IMAGEFOLDER}:PATH) can be compared with it"
        )
    if against not in EXPERIMENTS:
        allowed = nearest(against, [*EXPERIMENTS, NOTHING])
        raise InputError(f"no results were published on {against!r}; {allowed}")
    return against


def check_images(against: str, input_shape: InputShape, classes: int) -> None:
    """Refuse images that cannot be those of the data set with published results.

    Raises:
        InputError: if they are of another size, or in another number of classes.
    """
    theirs = EXPERIMENTS[against]
    _, height, width = input_shape
    if (height, width) != theirs.image or classes != theirs.classes:
        raise InputError(
            f"the images are {height}x{width} in {classes} classes, but those of {theirs.title} "
            f"are {theirs.image[0]}x{theirs.image[1]} in {theirs.classes}: they are not the same"
        )


def reproduction_space(
    dataset: str,
    against: str | None,
    models: Sequence[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
) -> str:
    """Write the space of a reproduction: every model with every seed, by the published recipe.

    Args:
        dataset: on which it trains.
        against: data set whose published results it is compared with, if any.
        models: architectures, all if None; the name `model3` is understood.
        seeds: how many, counted from 0; None for three.
        epochs: of each trial; None for those that were published.

    Raises:
        InputError: if a model is unknown or given twice, or a number is below 1.
    """
    names = []
    for given in models if models is not None else DESIGNS:
        name = {"model3": "proposed"}.get(given, given)
        if name not in DESIGNS:
            raise InputError(f"unknown model {given!r}; {nearest(given, [*DESIGNS, 'model3'])}")
        if name in names:
            raise InputError(f"the model {given} is given twice")
        names.append(name)
    seeds = _SEEDS if seeds is None else seeds
    if seeds < 1:
        raise InputError(f"--seeds must be 1 or more, not {seeds}")
    if epochs is None:
        if against is None:
            raise InputError("without published results to compare with, give --epochs")
        epochs = EXPERIMENTS[against].epochs
    if epochs < 1:
        raise InputError(f"--epochs must be 1 or more, not {epochs}")
    parameters: dict[str, Any] = {
        "seed": {"choice": list(range(seeds))},
        "architecture": {"choice": names},
    }
    if against is not None and dataset != against:  # the same images in other files
        info = dataset_info(against)
        parameters |= {"pixels": info.published_pixels, "validation": info.validation}
    return to_yaml(
        {
            "name": "reproduce",
            "goal": _goal(dataset, against, seeds),
            "dataset": dataset,
            "recipe": "published",
            "epochs": epochs,
            "trials": len(names) * seeds,
            "parameters": parameters,
            "sampler": "grid",
            "pruner": "none",
        }
    )


def _goal(dataset: str, against: str | None, seeds: int) -> str:
    how = f"{seeds} seed{'' if seeds == 1 else 's'} of each network"
    if against is None:
        return f"What do the published networks reach on {dataset}, by its protocol, with {how}?"
    title = EXPERIMENTS[against].title
    return f"Do the published results on {title} come out again, by its protocol, with {how}?"
