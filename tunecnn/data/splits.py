"""Splits of the training images of a data set into training and validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from tunecnn.data.images import Labels
from tunecnn.errors import InputError
from tunecnn.words import listed

_ATTEMPTS = 100
_SEEDS = 2**32  # of NumPy's legacy generator, which scikit-learn uses


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

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: if one is not allowed.
        """
        if self.method not in ("stratified", "published"):
            raise InputError(
                f"the method of a split is 'stratified' or 'published', not {self.method!r}"
            )
        if not _is_whole(self.seed) or self.seed < 0:
            raise InputError(f"the seed of a split is a whole number, not {self.seed!r}")
        if not isinstance(self.validation, Real) or not 0 < self.validation < 1:
            raise InputError(
                f"validation is a share of the images, between 0 and 1, not {self.validation!r}"
            )
        if self.train_images is not None and (
            not _is_whole(self.train_images) or self.train_images < 1
        ):
            raise InputError(
                f"train_images is a number of images, or None for all, not {self.train_images!r}"
            )
        # Those of NumPy overflow, or are refused further on.
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "validation", float(self.validation))
        if self.train_images is not None:
            object.__setattr__(self, "train_images", int(self.train_images))

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

    With groups, the share is that of the groups, which are stratified by the class of their first
    image; if that leaves a class on one side, the groups of the rarest classes are divided first.
    Every class is on both sides, so a small class may give more than its share.

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
    members = {label: np.unique(unit[labels == label]) for label in np.unique(labels)}
    failed = f"{name} = {size} cannot be split off with every class on both sides"
    if alone := [label for label, groups_of in members.items() if len(groups_of) == 1]:
        raise InputError(
            f"{failed}: all images of {_some(alone, classes)} are in one group, or copies of one "
            "image"
        )
    try:
        _, selected = _stratified(labels[first], size, seed, name, classes)
    except InputError:  # the first images of the groups do not stand for all of them
        selected = None
    if selected is None or not _divides(selected, members):
        selected = _rarest_first(labels[first], members, size, seed)
    if selected is None:
        rarest = _named(min(members, key=lambda label: len(members[label])), classes)
        raise InputError(
            f"{failed}: images of one group, or copies of one image, stay together, and there are "
            f"too few groups with {rarest} that have no other class"
        )
    is_off = np.isin(unit, selected)
    return np.flatnonzero(~is_off), np.flatnonzero(is_off)


def _divides(selected: Labels, members: Mapping[int, Labels]) -> bool:
    """Return whether the selected groups have some and not all groups of each class."""
    return all(0 < np.isin(groups, selected).sum() < len(groups) for groups in members.values())


def _rarest_first(
    labels: Labels, members: Mapping[int, Labels], size: float, seed: int
) -> Labels | None:
    """Select groups so that each class has some on both sides, beginning with the rarest class.

    Args:
        labels: class of the first image of each group, shape (groups,).
        members: groups of each class, of which there are two at least.
        size: share (or number) of the groups to select.
        seed: seed of the random order.

    Returns:
        The selected groups, sorted; None if no way was found.
    """
    share = size if size < 1 else size / len(labels)
    for attempt in range(_ATTEMPTS):
        random = np.random.RandomState([seed % _SEEDS, attempt])
        side: dict[int, bool] = {}
        for groups in sorted(members.values(), key=len):
            for is_off in (True, False):
                free = [group for group in groups if group not in side]
                if free and all(side.get(group) is not is_off for group in groups):
                    side[random.choice(free)] = is_off
        for label in np.unique(labels):
            groups = random.permutation(np.flatnonzero(labels == label))
            missing = round(share * len(groups)) - sum(side.get(group, False) for group in groups)
            for group in groups:
                if group not in side:
                    side[group] = missing > 0
                    missing -= 1
        selected = np.array(sorted(group for group, is_off in side.items() if is_off), np.int64)
        if _divides(selected, members):
            return selected
    return None


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
            np.arange(len(labels)), test_size=size, random_state=seed % _SEEDS, stratify=labels
        )
    except ValueError as error:
        raise InputError(f"{failed}: {error}") from error
    if len(np.unique(labels[part])) < len(counts) and size < 1:
        return _one_of_each_at_least(labels, size, seed)
    return np.sort(rest), np.sort(part)


def _is_too_small(count: int, share: float, classes: int) -> bool:
    """Return whether either side of a split would have fewer images than there are classes."""
    return min(math.ceil(count * share), math.floor(count * (1 - share))) < classes


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _alone(labels: Labels, classes: Sequence[str] | None) -> str:
    """Return which classes have a single image, for a message."""
    return _some(np.flatnonzero(np.bincount(labels) == 1), classes)


def _some(labels: Sequence[int] | Labels, classes: Sequence[str] | None) -> str:
    return listed(_named(label, classes) for label in labels)


def _named(label: Any, classes: Sequence[str] | None) -> str:
    return classes[label] if classes else f"class {label}"


def _one_of_each_at_least(labels: Labels, share: float, seed: int) -> tuple[Labels, Labels]:
    """Split off a share of each class, rounded, but leave at least one image on both sides."""
    random = np.random.RandomState(seed % _SEEDS)
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
