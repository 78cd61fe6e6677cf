"""The published experiments as search spaces: a grid over the networks and some seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunecnn.analysis.published import EXPERIMENTS
from tunecnn.data.registry import IMAGEFOLDER, dataset_info, is_own
from tunecnn.documents import to_yaml
from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import DESIGNS, InputShape
from tunecnn.words import count_in_words
from tunecnn.workflows.options import check_count, check_seeds

_MOST_EPOCHS = 10**9
_SEEDS = 3
NOTHING = "none"
"""Value of `against` for training with the published protocol without a comparison."""


def published_for(dataset: str, against: str | None) -> str | None:
    """Return the data set whose published results a reproduction is compared with.

    Args:
        dataset: data set to train on.
        against: value given by the user; None for the data set itself, `NOTHING` for no
            comparison.

    Raises:
        InputError: if no results were published on it.
    """
    info = dataset_info(dataset)
    if against == NOTHING:
        return None
    if against is None:
        if info.has_published_results:
            return dataset
        ways = f"add --against {NOTHING} to train the networks without a comparison"
        if is_own(dataset):
            known = " or ".join(f"--against {name}" for name in EXPERIMENTS)
            ways += f", or {known} if these are that data set's images"
        raise InputError(
            f"no results were published on {dataset}, so there is nothing to compare with; {ways}"
        )
    if against in EXPERIMENTS and against != dataset and not is_own(dataset):
        raise InputError(
            f"--against {against}: {dataset} has other images; only an image folder "
            f"({IMAGEFOLDER}:PATH) with the same images can be compared with it"
        )
    if against not in EXPERIMENTS:
        allowed = nearest(against, [*EXPERIMENTS, NOTHING])
        raise InputError(f"no results were published on {against!r}; {allowed}")
    return against


def check_images(against: str, input_shape: InputShape, classes: int) -> None:
    """Check that images can be those of the data set with published results.

    Raises:
        InputError: if their size or number of classes differs.
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
        dataset: data set to train on.
        against: data set whose published results to compare with; None for no comparison.
        models: names of the architectures, or `model3` for `proposed`; None for all.
        seeds: number of seeds, counted from 0; None for three.
        epochs: epochs per trial; None for the published number.

    Raises:
        InputError: if a model is unknown or given twice, or a number is out of its range.
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
    check_seeds(seeds)
    if epochs is None:
        if against is None:
            raise InputError("without published results to compare with, give --epochs")
        epochs = EXPERIMENTS[against].epochs
    check_count("epochs", epochs, _MOST_EPOCHS)
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
            "goal": _goal(dataset, against, seeds, epochs),
            "dataset": dataset,
            "recipe": "published",
            "epochs": epochs,
            "trials": len(names) * seeds,
            "parameters": parameters,
            "sampler": "grid",
            "pruner": "none",
        }
    )


def _goal(dataset: str, against: str | None, seeds: int, epochs: int) -> str:
    how = f"by the published protocol, with {count_in_words(seeds, 'seed')} of each network"
    in_epochs = f"in {count_in_words(epochs, 'epoch')}, {how}"
    if against is None:
        return f"What do the published networks reach on {dataset} {in_epochs}?"
    published = EXPERIMENTS[against]
    how = f", {how}" if epochs == published.epochs else f" {in_epochs}"
    return f"Do the published results on {published.title} come out again{how}?"
