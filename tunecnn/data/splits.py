"""Splits of the training images of a data set into training and validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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

    def indices(
        self,
        labels: Labels,
        dataset: str,
        groups: Labels | None = None,
        classes: Sequence[str] | None = None,
    ) -> tuple[Labels, Labels]:
        """Split the training images of a data set.

        Args:
            labels: class of each training image, in the original order, shape (n,).
            dataset: name of the data set.
            groups: group of each image, shape (n,); a stratified split divides no group.
            classes: class names, for messages.

        Returns:
            Disjoint indices of the training and the validation images, both sorted in a
            stratified split.

        Raises:
            InputError: if there are too few images, or no split was published for the data set.
        """
        if self.method == "published":
            train, validation = _published_split(labels, dataset)
        else:
            train, validation = stratified(
                labels, self.validation, self.seed, "validation", groups, classes
            )
        return self.subset(
            labels, train, f"besides the {len(validation)} that validate"
        ), validation

    def subset(self, labels: Labels, train: Labels, beside: str = "") -> Labels:
        """Return the indices of the `train_images` training images to use.

        Args:
            labels: class of each image, shape (n,).
            train: indices of all training images.
            beside: other images of the data set, for the message.

        Raises:
            InputError: if there are too few images.
        """
        wanted = self.train_images
        if wanted is None or wanted == len(train):
            return train
        if wanted > len(train):
            text = f"train_images is {wanted}, but there are only {len(train)} training images"
            raise InputError(f"{text} {beside}".rstrip())
        _, selected = stratified(labels[train], wanted, self.seed, "train_images")
        return train[selected]


def stratified(
    labels: Labels,
    size: float,
    seed: int,
    name: str,
    groups: Labels | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[Labels, Labels]:
    """Split off a share (or a number) of the images, stratified by class.

    With groups, the share is that of the groups. Every class is on both sides, so a small class
    may give more than its share.

    Returns:
        Sorted indices of the remaining images and of those split off.

    Raises:
        InputError: if a class cannot be on both sides; the message contains `name`.
    """
    if groups is None:
        return _stratified(labels, size, seed, name, classes)
    _, first, unit = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) == len(labels):
        return _stratified(labels, size, seed, name, classes)
    _, selected = _stratified(labels[first], size, seed, name, classes)
    is_off = np.isin(unit, selected)
    for label in np.unique(labels):
        if len(set(is_off[labels == label])) == 1:
            raise InputError(
                f"{name} = {size}: all images of {_named(label, classes)} are in groups (or "
                "copies of one image) that lie on one side of the split; it needs two or more"
            )
    return np.flatnonzero(~is_off), np.flatnonzero(is_off)


def _stratified(
    labels: Labels, size: float, seed: int, name: str, classes: Sequence[str] | None
) -> tuple[Labels, Labels]:
    counts = np.bincount(labels)[np.unique(labels)]
    if size < 1 and counts.min() > 1 and _is_too_small(len(labels), size, len(counts)):
        return _one_of_each_at_least(labels, size, seed)
    failed = (
        f"{name} = {size} cannot be split off {len(labels)} images of {len(counts)} classes with "
        "every class on both sides"
    )
    if alone := _alone(labels, classes):
        raise InputError(f"{failed}: there is only one image of {alone}")

    from sklearn.model_selection import train_test_split  # takes more than a second

    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise InputError(f"{failed}: {error}") from error
    if len(np.unique(labels[part])) < len(counts) and size < 1:
        return _one_of_each_at_least(labels, size, seed)
    return np.sort(rest), np.sort(part)


def _is_too_small(count: int, share: float, classes: int) -> bool:
    """Return whether either side of a split would have fewer images than there are classes."""
    return min(math.ceil(count * share), math.floor(count * (1 - share))) < classes


def _alone(labels: Labels, classes: Sequence[str] | None) -> str:
    """Return which classes have a single image, for a message."""
    alone = [_named(label, classes) for label in np.flatnonzero(np.bincount(labels) == 1)]
    return ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")


def _named(label: Any, classes: Sequence[str] | None) -> str:
    return classes[label] if classes else f"class {label}"


def _one_of_each_at_least(labels: Labels, share: float, seed: int) -> tuple[Labels, Labels]:
    """Split off a share of each class, rounded, but leave at least one image on both sides."""
    random = np.random.RandomState(seed)
    is_off = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        is_off[members[:count]] = True
    return np.flatnonzero(~is_off), np.flatnonzero(is_off)


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
