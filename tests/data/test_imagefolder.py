from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from tunecnn.data.imagefolder import read_imagefolder
from tunecnn.data.loading import load_dataset
from tunecnn.data.splits import Split
from tunecnn.errors import InputError


def test_a_tree_is_read_by_class_in_sorted_order(image_tree):
    root = image_tree()
    arrays = read_imagefolder(root)
    assert arrays.classes == ("cat", "dog")
    assert arrays.train_pixels.shape == (12, 8, 8, 3)
    assert arrays.train_labels.tolist() == [0] * 6 + [1] * 6
    with Image.open(root / "train" / "dog" / "0.png") as image:
        assert np.array_equal(arrays.train_pixels[6], np.asarray(image))


def test_hidden_folders_are_no_classes(image_tree):
    root = image_tree()
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert read_imagefolder(root).classes == ("cat", "dog")


def test_a_tree_becomes_a_data_set_like_any_other(image_tree):
    root = image_tree()
    data = load_dataset(f"imagefolder:{root}", Split(validation=0.5)).trial_data
    assert (len(data.train), len(data.validation), data.input_shape) == (6, 6, (3, 8, 8))


def test_the_cache_is_used_until_the_tree_changes(image_tree):
    root = image_tree()
    before = read_imagefolder(root)
    cache = root.with_name("tree.tunecnn-cache")
    index = (cache / "index.json").stat().st_mtime_ns
    assert read_imagefolder(root).fingerprint() == before.fingerprint()
    assert (cache / "index.json").stat().st_mtime_ns == index

    changed = root / "train" / "cat" / "0.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(changed)
    assert read_imagefolder(root).train_pixels[0].max() == 0
    (root / "test" / "dog" / "5.png").unlink()
    assert len(read_imagefolder(root).test_labels) == 11


def test_a_damaged_cache_is_made_anew(image_tree):
    root = image_tree()
    before = read_imagefolder(root).fingerprint()
    pixels = root.with_name("tree.tunecnn-cache") / "train_pixels.npy"
    data = bytearray(pixels.read_bytes())
    data[-1] ^= 1
    pixels.write_bytes(data)
    assert read_imagefolder(root).fingerprint() == before


def test_grey_images_stay_grey_unless_one_is_not(image_tree):
    root = image_tree()
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            image.convert("L").save(path)
    assert read_imagefolder(root).train_pixels.shape == (12, 8, 8, 1)
    Image.new("RGB", (8, 8)).save(root / "train" / "cat" / "0.png")
    assert read_imagefolder(root).train_pixels.shape == (12, 8, 8, 3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_place_sends_the_cache_elsewhere(image_tree, tmp_path):
    root = image_tree()
    root.parent.chmod(0o500)
    try:
        read_imagefolder(root, cache_dir=tmp_path)
    finally:
        root.parent.chmod(0o700)
    assert list(tmp_path.rglob("index.json"))


def _remove(path):
    for inner in sorted(path.rglob("*"), reverse=True):
        inner.rmdir() if inner.is_dir() else inner.unlink()
    path.rmdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: _remove(r / "test"), "has no folder 'test'"),
        (lambda r: _remove(r / "train" / "dog"), "has 1 class folders, and at least 2 are needed"),
        (lambda r: _remove(r / "test" / "dog"), "no image in .*dog"),
        (lambda r: (r / "test" / "emu").mkdir(), "classes that train lacks: emu"),
        (lambda r: (r / "train" / "cat" / "9.jpg").write_bytes(b"x"), "cannot decode .*9.jpg"),
        (
            lambda r: Image.new("I;16", (8, 8)).save(r / "train" / "dog" / "3.png"),
            "3.png: I;16 pixels have more than 8 bits",
        ),
        (
            lambda r: Image.new("RGB", (9, 8)).save(r / "train" / "dog" / "3.png"),
            "3.png is 9x8 pixels and .*cat.0.png 8x8",
        ),
    ],
)
def test_a_tree_that_cannot_be_used_is_refused_by_name(spoil, message, image_tree):
    root = image_tree()
    spoil(root)
    with pytest.raises(InputError, match=message):
        read_imagefolder(root)


def test_no_folder_at_all_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere is not a folder"):
        read_imagefolder(tmp_path / "nowhere")
