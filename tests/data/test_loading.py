from __future__ import annotations

import re

import numpy as np
import pytest

from tunecnn.data.loading import default_data_dir, load_dataset
from tunecnn.data.splits import Split
from tunecnn.errors import InputError


def test_digits_are_all_1797_divided_without_overlap(digits):
    data = digits.trial_data
    assert len(data.train) + len(data.validation) + len(digits.test) == 1797
    assert data.input_shape == (1, 8, 8)
    assert data.train.pixels.dtype == np.uint8
    assert data.train.pixels.max() == 255
    rows = [
        images.pixels.reshape(len(images), -1)
        for images in (data.train, data.validation, digits.test)
    ]
    assert len(np.unique(np.concatenate(rows), axis=0)) == len(np.concatenate(rows))


def test_trials_get_no_test_images(digits):
    assert not any("test" in name for name in vars(digits.trial_data))


def test_a_split_is_seeded_disjoint_stratified_and_recorded(digits):
    labels = np.repeat(np.arange(5), 20)
    train, validation = Split(validation=0.2).indices(labels, "digits")
    assert sorted([*train, *validation]) == list(range(100))
    assert np.bincount(labels[validation]).tolist() == [4] * 5
    again = Split(validation=0.2).indices(labels, "digits")
    other = Split(seed=1).indices(labels, "digits")
    assert np.array_equal(train, again[0])
    assert not np.array_equal(train, other[0])
    same = load_dataset("digits")
    assert (same.fingerprint, same.split_fingerprint) == (
        digits.fingerprint,
        digits.split_fingerprint,
    )
    assert load_dataset("digits", Split(seed=1)).split_fingerprint != digits.split_fingerprint
    assert load_dataset("digits", Split(seed=1)).fingerprint == digits.fingerprint


def test_the_published_splits_are_those_of_the_notebooks():
    labels = np.zeros(50_000, np.int64)
    train, validation = Split("published").indices(labels, "cifar10")
    order = np.random.RandomState(42).permutation(50_000)
    assert np.array_equal(validation, order[:10_000])
    assert np.array_equal(train, order[10_000:])
    train, validation = Split("published").indices(np.zeros(60_000, np.int64), "mnist")
    assert np.array_equal(validation, np.arange(6_000))
    assert len(train) == 54_000


def test_the_baseline_has_no_split_of_other_data():
    with pytest.raises(InputError, match="defined for mnist and cifar10 only, not for 'digits'"):
        Split("published").indices(np.zeros(100, np.int64), "digits")


def test_training_on_fewer_images_keeps_the_validation_images(digits):
    fewer = load_dataset("digits", Split(train_images=500))
    assert len(fewer.trial_data.train) == 500
    assert np.array_equal(fewer.trial_data.validation.pixels, digits.trial_data.validation.pixels)
    assert np.bincount(fewer.trial_data.train.labels).min() >= 45


def test_several_splits_have_the_same_test_images_and_other_validation_images(digits):
    both = load_dataset("digits", more_splits=[Split(seed=7)])
    assert list(both.splits) == [0, 7]
    assert np.array_equal(both.trial_data.train.pixels, digits.trial_data.train.pixels)
    assert np.array_equal(both.test.pixels, digits.test.pixels)
    alone = load_dataset("digits", Split(seed=7)).trial_data
    assert np.array_equal(both.splits[7].validation.pixels, alone.validation.pixels)
    assert both.splits[7].mean == alone.mean != digits.trial_data.mean
    assert len({both.split_fingerprint, digits.split_fingerprint}) == 2
    assert not both.fixed_split


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_images": 5000}, "train_images is 5000, but there are only 1149 training images"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        load_dataset("digits", Split(**settings))


def test_data_live_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNECNN_DATA", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("TUNECNN_DATA")
    assert default_data_dir().name == "data"


@pytest.mark.parametrize(("groups", "reason"), [(True, "groups stay"), (False, "identical im")])
def test_the_share_of_a_part_is_told_with_its_reason(groups, reason, tmp_path):
    """One half of the images is one group, or copies of one image."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 4, 4), dtype=np.uint8)
    labels = np.arange(80) % 2
    arrays = {"train_images": pixels, "train_labels": labels}
    if groups:
        arrays["groups"] = np.where(np.arange(80) < 36, 0, np.arange(80) // 4)
    else:
        pixels[:36:2], pixels[1:36:2] = pixels[0], pixels[1]
    np.savez(tmp_path / "a.npz", **arrays)
    notes = load_dataset(str(tmp_path / "a.npz")).sheet.notes
    text = " ".join(notes)
    assert f"in the place of 20.0%, since {reason}" in text or "a fifth, by a fixed" in text
    shares = re.findall(r"(\d+\.\d)% in the place of 20.0%", text)
    assert shares, text
    assert all(not 15 <= float(share) <= 25 for share in shares)
