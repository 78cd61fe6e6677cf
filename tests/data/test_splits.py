from __future__ import annotations

import numpy as np
import pytest

from tunecnn.data.splits import Split, stratified
from tunecnn.errors import InputError


@pytest.mark.parametrize("counts", [[2, 2, 2, 2], [2, 50], [3, 3, 3, 3, 3, 3, 3], [400, 2, 2]])
def test_every_class_is_on_both_sides_however_small(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    rest, part = stratified(labels, 0.1, 0, "validation")
    assert set(labels[rest]) == set(labels[part]) == set(range(len(counts)))
    assert sorted([*rest, *part]) == list(range(len(labels)))


def test_a_class_with_one_image_is_named():
    labels = np.array([0, 0, 0, 1, 2, 2])
    with pytest.raises(InputError, match="there is only one image of dog"):
        stratified(labels, 0.2, 0, "validation", classes=("cat", "dog", "emu"))


def test_of_many_classes_with_one_image_five_are_named_and_the_rest_counted():
    labels = np.array([0, 0, *range(1, 8)])
    with pytest.raises(
        InputError,
        match="only one image of class 1, class 2, class 3, class 4, class 5 and 2 more",
    ):
        stratified(labels, 0.2, 0, "validation")


def test_no_group_is_divided():
    labels = np.arange(200) % 2
    groups = np.arange(200) // 2 // 5
    rest, part = stratified(labels, 0.2, 3, "validation", groups)
    assert not set(groups[rest]) & set(groups[part])
    assert 0.1 < len(part) / 200 < 0.3


def test_a_class_in_one_group_cannot_be_on_both_sides():
    labels, groups = np.array([0] * 10 + [1] * 10), np.array([0] * 10 + [*range(1, 11)])
    with pytest.raises(InputError, match="all images of cat are in one group"):
        stratified(labels, 0.2, 0, "validation", groups, ("cat", "dog"))


def dealt(*classes_of_groups):
    """Labels and groups of images, in the order of the classes, as they are read."""
    images = [
        (label, group) for group, classes in enumerate(classes_of_groups) for label in classes
    ]
    labels, groups = np.array(sorted(images)).T
    return labels, groups


@pytest.mark.parametrize(
    "groups",
    [
        [[0, 1]] * 19 + [[1, 1]],  # the first image of nearly all groups is of class 0
        [[0, 1]] * 30,
        [[0, 1, 0, 1]] * 28 + [[0, 1, 2]] * 2,
        [[0, 1]] * 5 + [[0, 1, 2, 3], [0, 1, 2], [1, 3]],
    ],
)
def test_groups_with_several_classes_are_split_by_every_seed(groups):
    labels, group = dealt(*groups)
    for seed in range(40):
        rest, part = stratified(labels, 0.2, seed, "validation", group)
        assert set(labels[rest]) == set(labels[part]) == set(labels.tolist())
        assert not set(group[rest]) & set(group[part])
        assert part.tolist() == stratified(labels, 0.2, seed, "validation", group)[1].tolist()
        assert 0.1 < len(set(group[part])) / len(groups) < 0.4


def test_groups_that_cannot_be_split_are_refused_for_the_right_reason():
    for groups, message in (
        ([[0, 0, 0, 0], *[[1], [2]] * 6], "all images of cat are in one group, or copies"),
        ([[0, 1], [1, 2], [0, 2]], "too few groups with cat that have no other class"),
    ):
        labels, group = dealt(*groups)
        with pytest.raises(InputError, match=message):
            stratified(labels, 0.2, 0, "validation", group, ("cat", "dog", "emu"))


def test_the_split_of_a_seed_stays_that_of_a_seed():
    labels = np.arange(40) % 4
    _, validation = Split(seed=5).indices(labels, "mine")
    # A change of this would make the trials of every run that is resumed incomparable.
    assert validation.tolist() == [1, 6, 7, 12, 18, 24, 37, 39]
    assert validation.tolist() != Split(seed=6).indices(labels, "mine")[1].tolist()


@pytest.mark.parametrize(
    ("counts", "groups"), [([100, 100], None), ([2, 30], None), ([100, 100], np.arange(200) // 4)]
)
def test_every_seed_that_a_config_may_have_makes_a_split(counts, groups):
    """NumPy's generator takes smaller ones only."""
    labels = np.repeat(np.arange(2), counts)
    splits = {
        tuple(stratified(labels, 0.2, seed, "validation", groups)[1])
        for seed in (0, 5, 2**32 + 5, 2**63 - 1)
    }
    assert len(splits) > 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": 0.5}, "the method of a split is 'stratified' or 'published', not 0.5"),
        ({"seed": -1}, "the seed of a split is a whole number, not -1"),
        ({"validation": 200}, "validation is a share of the images, between 0 and 1, not 200"),
        ({"validation": 0}, "between 0 and 1, not 0"),
        ({"train_images": 0.5}, "train_images is a number of images, or None for all, not 0.5"),
        ({"train_images": 0}, "or None for all, not 0"),
    ],
)
def test_a_split_has_values_that_mean_something(given, message):
    with pytest.raises(InputError, match=message):
        Split(**given)
    given = Split(seed=np.int8(3), train_images=np.uint8(5), validation=np.float32(0.5))
    assert given == Split(seed=3, train_images=5, validation=0.5)
    assert [type(value) for value in vars(given).values()] == [str, int, float, int]
