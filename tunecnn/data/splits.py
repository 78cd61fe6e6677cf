"""Splits of the training images of a data set into training and validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tunecnn.data.images import Labels
from tunecnn.errors import InputError


@dataclass(frozen=True)
class Split:
    """A rule that selects the validation images.

    Attributes:
        method: `stratified`, or `published` (as in the published notebooks).
        seed: seed of a stratified split.
        validation: share of the images used for validation, in a stratified split.
        train_images: number of training images to use (a stratified subset); None for all.
    """

    method: str = "stratified"
    seed: int = 0
    validation: float = 0.2
    train_images: int | None = None

    def indices(self, labels: Labels, dataset: str) -> tuple[Labels, Labels]:
        """Split the training images of a data set.

        Args:
            labels: class of each training image, in the original order, shape (n,).
            dataset: name of the data set.

        Returns:
            Disjoint indices of the training and the validation images, both sorted in a
            stratified split.

        Raises:
            InputError: if there are too few images, or no split was published for the data set.
        """
        if self.method == "published":
            train, validation = _published_split(labels, dataset)
        else:
            train, validation = stratified(labels, self.validation, self.seed, "validation")
        wanted = self.train_images
        if wanted is None or wanted == len(train):
            return train, validation
        if wanted > len(train):
            raise InputError(
                f"train_images is {wanted}, but {dataset} has only {len(train)} training images "
                f"besides the {len(validation)} that validate"
            )
        _, selected = stratified(labels[train], wanted, self.seed, "train_images")
        return train[selected], validation


def stratified(labels: Labels, size: float, seed: int, name: str) -> tuple[Labels, Labels]:
    """Split off a share (or a number) of the images, stratified by class.

    Returns:
        Sorted indices of the remaining images and of those split off.

    Raises:
        InputError: if a class cannot be on both sides; the message contains `name`.
    """
    from sklearn.model_selection import train_test_split

    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise InputError(
            f"{name} = {size} cannot be split off {len(labels)} images of "
            f"{len(np.unique(labels))} classes with every class on both sides: {error}"
        ) from error
    return np.sort(rest), np.sort(part)


def _published_split(labels: Labels, dataset: str) -> tuple[Labels, Labels]:
    """Split as in the published notebooks, which needs the data set's original order."""
    if dataset == "mnist":
        order = np.arange(len(labels))
        return order[6000:], order[:6000]
    if dataset == "cifar10":
        order = np.random.RandomState(42).permutation(len(labels))
        return order[10000:], order[:10000]
    raise InputError(
        f"split: published is defined for mnist and cifar10 only, not for {dataset!r}; "
        "use split: stratified"
    )
