from __future__ import annotations

import re
import zipfile
from collections import namedtuple

import numpy as np
import psutil
import pytest

from tunecnn.data.loading import load_dataset, read_arrays
from tunecnn.data.options import ImageOptions
from tunecnn.data.registry import absolute
from tunecnn.data.sources.arrays import read_npz
from tunecnn.errors import InputError

RANDOM = np.random.default_rng(0)


def images(count: int, *shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def npz(path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),  # Keras
        ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
    ],
)
def test_keras_and_medmnist_files_are_read(names, tmp_path):
    train, test = images(30, 9, 7), images(10, 9, 7)
    labels, test_labels = np.arange(30)[:, None] % 3, np.arange(10)[:, None] % 3
    path = npz(
        tmp_path / "a.npz", **dict(zip(names, (train, labels, test, test_labels), strict=True))
    )
    arrays = read_arrays(path)
    assert np.array_equal(arrays.train.pixels[..., 0], train)
    assert np.array_equal(arrays.test.pixels[..., 0], test)
    assert arrays.train.labels.tolist() == labels[:, 0].tolist()
    assert arrays.classes == ("0", "1", "2")


def test_one_array_of_images_is_divided_by_seed(tmp_path):
    path = npz(tmp_path / "a.npz", images=images(50, 8, 8, 3), labels=np.arange(50) % 2)
    data = load_dataset(path)
    parts = data.trial_data.train, data.trial_data.validation, data.test
    assert [len(part) for part in parts] == [32, 8, 10]
    assert any("a fifth, by a fixed seed" in note for note in data.sheet.notes)


def test_names_groups_and_validation_images_are_used(tmp_path):
    groups = np.repeat(["p1", "p2", "p3", "p4", "p5"], 8)
    path = npz(
        tmp_path / "a.npz",
        train_images=images(40, 8, 8),
        train_labels=np.arange(40) % 2,
        val_images=images(4, 8, 8),
        val_labels=np.array([0, 1, 0, 1]),
        classes=np.array(["cat", "dog"]),
        groups=groups,
        extra=np.zeros(3),
    )
    arrays = read_arrays(path)
    assert arrays.classes == ("cat", "dog")
    assert arrays.groups is not None
    assert len(np.unique(arrays.groups)) == 5
    data = load_dataset(path)
    assert len(data.trial_data.validation) == 4
    tested = {pixels.tobytes() for pixels in data.test.pixels}
    for group in np.unique(groups):
        inside = [pixels.tobytes() in tested for pixels in arrays.train.pixels[groups == group]]
        assert all(inside) or not any(inside)
    assert "not used: extra" in arrays.notes


@pytest.mark.parametrize("with_classes", [True, False])
def test_names_in_bytes_are_the_same_names(with_classes, tmp_path):
    names = np.array(["Käse", "cat"] * 20)
    encoded = np.char.encode(names, "utf-8")
    classes = {"classes": np.unique(encoded)} if with_classes else {}
    path = npz(tmp_path / "a.npz", images=images(40, 8, 8), labels=encoded, **classes)
    assert set(read_arrays(path).classes) == {"Käse", "cat"}


def test_names_that_are_not_utf8_are_refused(tmp_path):
    path = npz(tmp_path / "a.npz", images=images(40, 8, 8), labels=np.array([b"a", b"\xff"] * 20))
    with pytest.raises(InputError, match="labels has a name that is not UTF-8"):
        read_arrays(path)


def test_a_link_to_a_file_of_another_name_is_read(tmp_path):
    npz(tmp_path / "a.npz", images=images(40, 8, 8), labels=np.arange(40) % 2)
    (tmp_path / "a.npz").rename(tmp_path / "blob")  # as the caches of DVC and Hugging Face are
    (tmp_path / "link.npz").symlink_to(tmp_path / "blob")
    assert absolute(str(tmp_path / "link.npz")) == str(tmp_path / "link.npz")
    assert len(read_arrays(absolute(str(tmp_path / "link.npz"))).train) == 40


def test_channels_before_rows_are_turned_and_said(tmp_path):
    pixels = images(10, 3, 8, 6)
    arrays = read_arrays(npz(tmp_path / "a.npz", x=pixels, y=np.arange(10) % 2))
    assert np.array_equal(arrays.train.pixels, pixels.transpose(0, 2, 3, 1))
    assert any("channels before its rows" in note for note in arrays.notes)


@pytest.mark.parametrize("train", ["train", "training", "TRAIN"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev"])
def test_parts_have_the_names_that_they_may_have_in_a_folder(train, validation, tmp_path):
    labels = np.arange(10) % 2
    names = (train, validation, "eval")
    arrays = {f"{name}_images": images(10, 8, 8) for name in names}
    arrays |= {f"{name}_labels": labels for name in names}
    read = read_arrays(npz(tmp_path / "a.npz", **arrays))
    assert [*read.parts] == ["train", "validation", "test"]
    assert not any("not used" in note for note in read.notes)


def test_half_floats_may_have_a_scale_that_they_cannot_hold(tmp_path):
    values = np.array([0, 16384, 65504], np.float16).reshape(3, 1, 1) * np.ones((1, 4, 4))
    path = npz(tmp_path / "a.npz", x=values.astype(np.float16), y=np.array([0, 1, 0]))
    pixels = read_arrays(path, options=ImageOptions(scale=131072)).train.pixels
    assert pixels[:, 0, 0, 0].tolist() == [0, 32, 127]


def test_floats_are_scaled_as_the_user_says(tmp_path):
    pixels = RANDOM.random((10, 8, 8))
    path = npz(tmp_path / "a.npz", x=pixels, y=np.arange(10) % 2)
    with pytest.raises(InputError, match=r"say which value is white: scale: 1.0"):
        read_arrays(path)
    with pytest.raises(InputError, match="and black is 0: add the same"):
        read_arrays(
            npz(tmp_path / "b.npz", x=pixels * 0 - 0.5, y=np.arange(10) % 2),
            options=ImageOptions(scale=1.0),
        )
    with pytest.raises(InputError, match=r"so with scale: 65535 all images would be black"):
        read_arrays(path, options=ImageOptions(scale=65535))
    arrays = read_arrays(path, options=ImageOptions(scale=0.5))
    assert any(
        re.search(r"\d\d\.\d\d% of the values of x are above scale", note) for note in arrays.notes
    )
    for type_ in (np.uint8, np.bool_, np.int64):
        masks = npz(tmp_path / "c.npz", x=(pixels > 0.5).astype(type_), y=np.arange(10) % 2)
        if type_ is np.uint8:  # bytes are taken as they are, and that is said
            assert any(
                "almost black; in arrays, scale: 1.0" in n for n in read_arrays(masks).notes
            )
        else:
            with pytest.raises(InputError, match=r"from 0 to 1 of .* is white: scale: 1.0"):
                read_arrays(masks)
        found = read_arrays(masks, options=ImageOptions(scale=1.0)).train.pixels
        assert set(np.unique(found)) == {0, 255}
    arrays = read_arrays(path, options=ImageOptions(scale=1.0))
    assert np.array_equal(arrays.train.pixels[..., 0], np.rint(pixels * 255))


def test_all_parts_take_the_size_that_is_asked_for(tmp_path):
    labels = np.arange(10) % 2
    path = npz(
        tmp_path / "a.npz",
        x_train=images(10, 8, 8),
        y_train=labels,
        x_val=images(10, 8, 8),
        y_val=labels,
        x_test=images(10, 8, 8),
        y_test=labels,
    )
    arrays = read_arrays(path, options=ImageOptions(size=4))
    assert {part.pixels.shape for part in arrays.parts.values()} == {(10, 4, 4, 1)}


def test_a_set_without_test_images_takes_a_size_too(tmp_path):
    path = npz(tmp_path / "a.npz", x=images(20, 8, 8, 3), y=np.arange(20) % 2)
    data = load_dataset(path, options=ImageOptions(size=4))
    assert data.test.pixels.shape == (4, 4, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, r"has a; expected train_images \(n, height, width"),
        ({"x": images(4, 8, 8), "y": np.arange(3)}, "y has 3 values for 4 images"),
        ({"x": images(4, 8, 8), "y": np.linspace(0, 1, 4)}, "one whole number or name per image"),
        ({"x": images(4, 8, 8), "y": np.zeros(4, int)}, "has 1 class; at least 2 are needed"),
        ({"x": images(4, 8, 8, 5), "y": np.arange(4)}, "has 5 channels"),
        ({"x": images(4, 64), "y": np.arange(4)}, r"has the shape \(4, 64\)"),
        (
            {"x": images(4, 8, 8), "y": np.arange(4) % 2, "x_test": images(4, 9, 9),
             "y_test": np.arange(4) % 2},
            "differ in shape: train 8x8x1, test 9x9x1",
        ),
        (
            {"x": images(4, 8, 8), "y": np.arange(4) % 2, "x_test": images(2, 8, 8),
             "y_test": np.array([0, 7])},
            "no training image has the label 7",
        ),
        (
            {"x": images(4, 8, 8), "y": np.arange(4) % 2, "classes": np.array(["cat"])},
            "labels from 0 to 1 and 1 class",
        ),
        (
            {"x": images(4, 8, 8), "y": np.array(["cat", "dog"] * 2), "classes": np.array(["cat"])},
            "the label 'dog' is not in classes",
        ),
        (
            {"x": images(4, 8, 8), "y": np.arange(4), "classes": np.array(["a", "b"])},
            "labels from 0 to 3 and 2 classes",
        ),
        ({"x": np.full((4, 8, 8), np.nan), "y": np.arange(4) % 2}, "that are not numbers"),
        (
            {"x": np.linspace(-1, 1, 256).reshape(4, 8, 8), "y": np.arange(4) % 2},
            r"x has values from -1 to 1, and black is 0: add the same number to",
        ),
        (
            {"x": images(4, 8, 8), "y": np.arange(4), "classes": np.array(list("abba"))},
            "classes has 'a' twice",
        ),
        ({"x": images(4, 8, 8).astype(object), "y": np.arange(4)}, "an array of Python objects, .* save it with"),
        ({"x": images(4, 0, 8), "y": np.arange(4) % 2}, "its images have no pixels"),
        (
            {"x": images(4, 8, 8), "y": np.arange(4) % 2, "classes": np.array("ab")},
            r"classes has the shape \(\); one name per class",
        ),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_used_are_refused(arrays, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_arrays(npz(tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"no archive"])
def test_a_file_that_is_no_npz_is_named(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz cannot be read as \.npz"):
        read_arrays(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_named_whatever_its_compression(compression, tmp_path):
    np.savez(tmp_path / "whole.npz", x=images(400, 8, 8), y=np.arange(400) % 2)
    with (
        zipfile.ZipFile(tmp_path / "whole.npz") as whole,
        zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[60:160] = b"\xff" * 100
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz cannot be read as \.npz"):
        read_arrays(str(tmp_path / "a.npz"))


FUNCTIONS = """
import numpy as np
from beside import COUNT

def pair():
    return np.zeros((COUNT, 8, 8), np.uint8), np.arange(COUNT) % 2

def fails():
    raise KeyError("oops")

def ends():
    raise SystemExit(3)

def number():
    return 3

class Odd(BaseException):
    def __str__(self):
        raise ValueError

def odd():
    raise Odd

def ragged():
    return {"train_images": [[1], [2, 3]], "train_labels": [0, 1]}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("COUNT = 12\n")
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return tmp_path / "mine.py"


def test_a_function_gives_images_and_its_code_is_recorded(file):
    arrays = read_arrays(f"{file}:pair")
    assert len(arrays.train) == 12
    assert "the images are made by pair of code" in arrays.notes[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "mine.py:fails failed: KeyError: 'oops'"),
        ("ends", "mine.py:ends failed: SystemExit: 3"),
        ("number", "mine.py:number returned int; expected train_images"),
        ("odd", "mine.py:odd failed: Odd"),
        ("ragged", "mine.py:ragged: train_images is no array: setting an array element"),
        ("nothing", "mine.py has no function 'nothing'"),
        ("COUNT", "mine.py has no function 'COUNT'"),
    ],
)
def test_a_function_that_gives_no_images_is_refused(function, message, file):
    with pytest.raises(InputError, match=message):
        read_arrays(f"{file}:{function}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_arrays(f"{tmp_path}/none.py:load")


def claimed(path, shape: str, values: bytes = b"\0" * 64) -> None:
    """Write a `.npz` file whose array claims a shape in its header."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", npy)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(16777216, 16777216)", "claims 281,474,976,710,656 bytes of values and holds 64"),
        ("(2, 2)", "claims 4 bytes of values and holds 64"),
        ("(-1, 64)", "claims -64 bytes of values"),
        ("'x'", "cannot be read as .npz"),
    ],
)
def test_an_array_that_claims_another_size_is_refused_before_memory_is_taken(
    shape, words, tmp_path
):
    claimed(tmp_path / "a.npz", shape)
    with pytest.raises(InputError, match=re.escape(words)):
        read_npz(tmp_path / "a.npz", ImageOptions())


def test_arrays_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(
        tmp_path / "a.npz",
        train_images=np.zeros((1000, 64, 64, 3), np.uint8),
        train_labels=np.arange(1000) % 2,
    )
    free = namedtuple("Free", "available")(5_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(InputError, match="only 5 MB of memory are free"):
        read_npz(tmp_path / "a.npz", ImageOptions())


@pytest.mark.parametrize("scale", [255.0, 200.0, 128.0])
def test_a_scale_that_makes_all_images_almost_black_is_refused(scale, tmp_path):
    shares = np.linspace(0, 1, 12 * 64).reshape(12, 8, 8)
    path = npz(tmp_path / "a.npz", x=shares, y=np.arange(12) % 2)
    with pytest.raises(
        InputError, match="values up to 1, so with scale: .* black or almost black"
    ):
        read_arrays(path, options=ImageOptions(scale=scale))
    assert read_arrays(path, options=ImageOptions(scale=1.0)).train.pixels.max() == 255


def test_labels_that_are_whole_numbers_are_taken_and_one_hot_labels_are_named(tmp_path):
    labels = np.arange(12) % 2
    path = npz(tmp_path / "a.npz", x=images(12, 8, 8), y=labels.astype(np.float32))
    assert read_arrays(path).train.labels.tolist() == labels.tolist()
    infinite = np.where(labels, np.inf, 0.0)
    with pytest.raises(InputError, match="one whole number or name per image is needed"):
        read_arrays(npz(tmp_path / "c.npz", x=images(12, 8, 8), y=infinite))
    path = npz(tmp_path / "b.npz", x=images(12, 8, 8), y=np.eye(2)[labels])
    with pytest.raises(
        InputError, match=r"the shape \(12, 2\) .* \(of one-hot labels, their argmax"
    ):
        read_arrays(path)


def test_a_function_may_give_pictures_and_lie_below_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(
        "from PIL import Image\n"
        "def load():\n"
        "    red, blue = (Image.new('RGB', (4, 4), one).convert('P') for one in ('red', 'blue'))\n"
        "    return {'train_images': [red, blue] * 6, 'train_labels': [0, 1] * 6, 'by': 'me'}\n"
    )
    arrays = read_arrays("~/mine.py:load")
    assert arrays.train.pixels[:2, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert "not used: by" in arrays.notes


_IMAGES_OF_BYTES = np.random.default_rng(3).integers(0, 256, (20, 8, 8)).astype(np.uint8)
_LABELS_OF_TWO = np.arange(20) % 2


def test_a_scale_that_makes_one_part_white_is_refused(tmp_path):
    pixels = _IMAGES_OF_BYTES
    path = npz(
        tmp_path / "a.npz",
        x_train=pixels,
        y_train=_LABELS_OF_TWO,
        y_test=_LABELS_OF_TWO,
        x_test=(pixels / 255).astype(np.float32),
    )
    with pytest.raises(
        InputError, match=r"x_train has values up to 25\d, so with scale: 1 nearly"
    ):
        read_arrays(path, options=ImageOptions(scale=1.0))


def test_several_labels_of_an_image_have_no_argmax(tmp_path):
    for labels, hint in (
        (np.eye(2)[_LABELS_OF_TWO], "of one-hot labels, their argmax"),
        (np.ones((20, 2)), "some images have several labels, or none"),
    ):
        path = npz(tmp_path / "a.npz", x=_IMAGES_OF_BYTES, y=labels)
        with pytest.raises(InputError, match=hint):
            read_arrays(path)


def test_labels_that_are_nan_are_counted(tmp_path):
    labels = np.where(np.arange(20) < 3, np.nan, _LABELS_OF_TWO)
    path = npz(tmp_path / "a.npz", x=_IMAGES_OF_BYTES, y=labels)
    with pytest.raises(InputError, match="y has 3 labels that are NaN; leave these images out"):
        read_arrays(path)
