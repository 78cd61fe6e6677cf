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


def test_no_group_is_divided():
    labels = np.arange(200) % 2
    groups = np.arange(200) // 2 // 5
    rest, part = stratified(labels, 0.2, 3, "validation", groups)
    assert not set(groups[rest]) & set(groups[part])
    assert 0.1 < len(part) / 200 < 0.3


def test_a_class_in_one_group_cannot_be_on_both_sides():
    labels, groups = np.array([0] * 10 + [1] * 10), np.array([0] * 10 + [*range(1, 11)])
    with pytest.raises(InputError, match=r"cat.*needs two or more|only one image of cat"):
        stratified(labels, 0.2, 0, "validation", groups, ("cat", "dog"))


def test_the_split_of_a_seed_stays_that_of_a_seed():
    labels = np.arange(40) % 4
    _, validation = Split(seed=5).indices(labels, "mine")
    assert validation.tolist() == Split(seed=5).indices(labels, "mine")[1].tolist()
    assert validation.tolist() != Split(seed=6).indices(labels, "mine")[1].tolist()
