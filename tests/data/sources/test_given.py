"""Images that Python code gives, in the forms in which people have them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.support.trees import picture, png_of_16_bits
from tunecnn.data.loading import read_arrays
from tunecnn.data.options import ImageOptions
from tunecnn.data.sources.given import store_given
from tunecnn.errors import InputError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 5, 5, 3), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 1, 0]
NAMES = ["cat", "dog", "cat", "dog", "dog", "cat"]


class Rows:
    """Indexes to rows by column, as the data sets of Hugging Face do."""

    def __init__(self, images, labels, names=None, label="label"):
        self.images, self.labels, self.label = images, labels, label
        self.features = {"image": object(), label: type("ClassLabel", (), {"names": names})()}

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"image": self.images[index], self.label: self.labels[index], "id": index}


class Column(Sequence):
    """Is a column as newer data sets of Hugging Face give it: a list but by its type."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


def stored(data, folder, **options):
    options = ImageOptions(**options)
    return read_arrays(store_given(data, folder, options), options=options)


PICTURES = [Image.fromarray(image) for image in IMAGES]
FORMS = {
    "arrays": (IMAGES, LABELS),
    "list of arrays": (list(IMAGES), LABELS),
    "list of pictures": (PICTURES, LABELS),
    "names of pandas": (IMAGES, pd.Series(NAMES)),
    "objects": (IMAGES, pd.Series(NAMES, dtype=object).to_numpy()),
    "numbers as objects": (IMAGES, np.array(LABELS, object)),
    "categories": (IMAGES, pd.Series(NAMES, dtype="category")),
    "tensors": (torch.tensor(IMAGES), torch.tensor(LABELS)),
    "pairs of a part": {"train": (IMAGES, LABELS)},
    "pairs": [(image, label) for image, label in zip(IMAGES, LABELS, strict=True)],
    "pairs of pictures": [[image, label] for image, label in zip(PICTURES, NAMES, strict=True)],
    "pairs of tensors": [
        (torch.tensor(image).permute(2, 0, 1), torch.tensor(label))
        for image, label in zip(IMAGES, LABELS, strict=True)
    ],
    "rows": Rows(PICTURES, LABELS, ["cat", "dog"]),
    "rows of parts": {"train": Rows(PICTURES, LABELS), "test": None},
    "columns": (Column(PICTURES), Column(LABELS)),
    "columns in capitals": {"Image": PICTURES, "Label": LABELS},
    "columns beside values": {"image": IMAGES, "label": LABELS, "classes_count": 2, "doc": None},
    "columns by name": {"image": PICTURES, "label": LABELS, "id": list(range(6))},
    "columns of a frame": (pd.Series(list(IMAGES)), pd.Series(LABELS)),
    "objects of images": (pd.Series(list(IMAGES)).to_numpy(), LABELS),
    "frames of parts": {"train": pd.DataFrame({"image": PICTURES, "label": LABELS})},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_images_and_labels(form, tmp_path):
    arrays = stored(FORMS[form], tmp_path)
    assert np.array_equal(arrays.train.pixels, IMAGES)
    assert arrays.train.labels.tolist() == LABELS
    assert arrays.classes in (("cat", "dog"), ("0", "1"))


def test_two_pairs_are_two_images_and_not_a_pair_of_arrays(tmp_path):
    for pairs in ([(IMAGES[0], 0), (IMAGES[1], 1)], [[PICTURES[0], "a"], [PICTURES[1], "b"]]):
        assert np.array_equal(stored(pairs, tmp_path).train.pixels, IMAGES[:2])


def test_parts_with_pairs_are_kept_apart(tmp_path):
    data = {
        "train": (IMAGES, NAMES),
        "val": (IMAGES[:2], NAMES[:2]),
        "test": (PICTURES[2:], NAMES[2:]),
    }
    arrays = stored(data, tmp_path)
    assert [len(part) for part in arrays.parts.values()] == [6, 2, 4]
    assert np.array_equal(arrays.test.pixels, IMAGES[2:])


def test_no_validation_images_are_as_none_given(tmp_path):
    data = {"train": (IMAGES, LABELS), "val": (IMAGES[:0], [])}
    assert stored(data, tmp_path).validation is None


def test_pictures_are_taken_as_a_viewer_shows_them(tmp_path):
    red = Image.new("RGB", (4, 4), (230, 20, 10))
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    modes = [
        red.quantize(4),
        red,
        red.convert("CMYK"),
        clear,
        Image.new("1", (4, 4), 1),
        Image.new("L", (4, 4), 9),
    ]
    pixels = stored((modes, NAMES), tmp_path).train.pixels
    assert pixels.shape == (6, 4, 4, 3)
    for image in pixels[:3]:
        assert np.abs(image.astype(int) - (230, 20, 10)).max() <= 3
    assert (pixels[3] == 255).all()
    assert (pixels[4] == 255).all()
    assert (pixels[5] == 9).all()


def test_pictures_of_several_sizes_get_the_size_of_the_space(tmp_path):
    pictures = [picture(i, (8 + i, 12)) for i in range(4)]
    with pytest.raises(InputError, match=r"4 different shapes, .* `size` in the space does it"):
        stored((pictures, [0, 1, 0, 1]), tmp_path)
    assert stored((pictures, [0, 1, 0, 1]), tmp_path, size=6).train.pixels.shape == (4, 6, 6, 3)


def test_deep_pictures_need_a_scale(tmp_path):
    deep = [Image.fromarray(np.full((4, 4), 4000 * i, np.uint16)) for i in range(4)]
    with pytest.raises(
        InputError, match=r"values from 0 to 12000 of \w+; say which value is white"
    ):
        stored((deep, [0, 1, 0, 1]), tmp_path)
    pixels = stored((deep, [0, 1, 0, 1]), tmp_path, scale=12000).train.pixels
    assert pixels[:, 0, 0, 0].tolist() == [0, 85, 170, 255]


class Elsewhere:
    """An array on a device, which does not become one of NumPy by itself."""

    ndim, shape = 4, (6, 5, 5, 3)

    def __array__(self, *_, **__):
        raise TypeError("can't convert device type tensor to numpy")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([(image, np.eye(10)[3]) for image in IMAGES],
         r"the label of train\[0\] has the shape \(10,\); .*of a one-hot label, its argmax"),
        (Rows(PICTURES, LABELS, label="caption"), r"train\[0\] has image, caption, id; an image .* needed"),
        ((Elsewhere(), LABELS), "data: train_images is no array: can't convert device type"),
        ((IMAGES, [float("nan"), "cat"] * 3), "train_labels is no array: item 0 is nan, and others are wo"),
        (list(zip(IMAGES, ["cat", 1] * 3, strict=True)), "item 1 is 1, and others are words"),
        (pd.DataFrame({"image": list(IMAGES), "label": ["cat", float("nan")] * 3}), "nan"),
        ((IMAGES, [None, "cat"] * 3), r"train_labels has the shape \(6,\) of object; one whole"),
        ([IMAGES], r"train\[0\] is not a pair"),
        ({"train": (IMAGES, NAMES), "test": (IMAGES, LABELS), "classes": ["cat", "dog"]},
         "some parts have names as labels, and others numbers"),
        ({"train": (IMAGES, LABELS), "test": (IMAGES, [0, 1, 2, 0, 1, 2]), "classes": list("abc")},
         "no training image has the label 2"),
        ([], "data: train has no images"),
        ({"train": (IMAGES, LABELS), "val": (IMAGES, LABELS), "dev": (IMAGES, LABELS)},
         "'val' and 'dev' are the same part"),
        ({"train": (IMAGES, LABELS), "train_images": IMAGES}, "'train' and 'train_images' are the"),
        ({"train": (IMAGES, LABELS), "test": (IMAGES, None)}, "test has images without labels"),
        ((IMAGES, np.array([0, 1] * 3, np.uint64) + 2**63), "numbers beyond 2.53"),
        ((IMAGES, ["cat", "dog", "cat "] * 2), "labels 'cat' and 'cat ', which differ only in"),
        ({"images": IMAGES}, "data has images; expected train_images"),
        (pd.DataFrame({"image": PICTURES, "label": LABELS, "split": ["train", "test"] * 3}),
         r"the column split, which divides its rows \(test, train\): give {'train'"),
        ([{"image": one, "label": i % 2, "is_train": i < 4} for i, one in enumerate(PICTURES)],
         r"the column is_train, which divides its rows"),
        ({"image": PICTURES, "label": LABELS, "partition": [0, 1] * 3}, "partition, which divides"),
        ((np.array(["a.png", "b.png"]), [0, 1]), "words, such as 'a.png', and names of files are no"),
        ((["a.png", "b.png", "c.png"], [0, 1, 0]), "not a pair .* names of files are not read here"),
        ((Rows(PICTURES, LABELS), Rows(PICTURES, LABELS)), "not a pair .* of several data sets, wri"),
        ((IMAGES, [-1, 0, 1] * 2), "2 images have the label -1, which mostly stands for none"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(data, message, tmp_path):
    with pytest.raises(InputError, match=message):
        stored(data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_keras_loads_is_train_and_test(tmp_path):
    arrays = stored(((IMAGES, LABELS), (IMAGES[:2], LABELS[:2])), tmp_path)
    assert [len(part) for part in arrays.parts.values()] == [6, 2]


def test_a_data_frame_is_read_by_its_columns(tmp_path):
    frame = pd.DataFrame({"image": PICTURES, "label": NAMES}, index=range(5, 11))
    assert np.array_equal(stored(frame, tmp_path).train.pixels, IMAGES)


def test_an_item_that_cannot_be_read_is_named(tmp_path):
    class Damaged(Rows):
        def __getitem__(self, index):
            if index == 2:
                raise OSError("image file is truncated")
            return super().__getitem__(index)

    with pytest.raises(InputError, match=r"train\[2\] cannot be read: OSError: image file is tr"):
        stored(Damaged(PICTURES, LABELS), tmp_path)


def test_a_subset_keeps_the_names_of_its_classes_and_images_their_rows(tmp_path):
    whole = torch.utils.data.TensorDataset(torch.tensor(IMAGES), torch.tensor(LABELS))
    whole.classes = ["cat", "dog"]
    arrays = stored(torch.utils.data.Subset(whole, [0, 1, 2, 3]), tmp_path)
    assert arrays.classes == ("cat", "dog")
    assert np.array_equal(arrays.train.pixels, IMAGES[:4])


def test_colours_of_16_bits_keep_their_lower_bytes(tmp_path):
    """Values up to 4,095: Pillow itself would give pixels up to 15."""
    files = [png_of_16_bits(np.full((4, 4, 3), 1365 * i)) for i in range(4)]
    pictures = [Image.open(io.BytesIO(content)) for content in files]
    folder = tmp_path / "given"
    with pytest.raises(InputError, match="it has 16-bit colour pixels, here from 0 to 0; say whi"):
        stored((pictures, [0, 1, 0, 1]), folder)
    pixels = stored((pictures, [0, 1, 0, 1]), folder, scale=4095).train.pixels
    assert pixels[:, 0, 0, 0].tolist() == [0, 85, 170, 255]


def test_pictures_of_8_and_16_bits_share_a_scale(tmp_path):
    mixed = [Image.fromarray(np.full((4, 4), 30000, np.uint16)), Image.new("L", (6, 6), 128)] * 2
    pixels = stored((mixed, [0, 1, 0, 1]), tmp_path, scale=60000, size=4).train.pixels
    assert pixels[:, 0, 0, 0].tolist() == [128, 128, 128, 128]


class Folder(list):
    """Pairs with the names of the classes, as the data sets of torchvision have them."""

    def __init__(self, pairs, classes):
        super().__init__(pairs)
        self.classes = classes


def test_parts_whose_classes_are_numbered_otherwise_keep_their_names(tmp_path):
    train = Folder(zip(IMAGES, [0, 1, 2, 0, 1, 2], strict=True), ["ant", "bee", "cat"])
    test = Folder(zip(IMAGES[:4], [1, 0, 1, 0], strict=True), ["ant", "cat"])
    for data in ({"train": train, "test": test}, {"test": test, "train": train}):
        arrays = stored(data, tmp_path)
        assert [arrays.classes[label] for label in arrays.test.labels] == ["cat", "ant"] * 2
    unused = Folder(test, ["ant", "cat", "unused"])
    assert stored({"train": train, "test": unused}, tmp_path).test.labels.tolist() == [2, 0, 2, 0]
    for wrong in (-1, 2):
        bad = Folder([*test[:3], (IMAGES[3], wrong)], ["cat", "ant"])
        with pytest.raises(InputError, match=f"test has the label {wrong}, and 2 classes"):
            stored({"train": train, "test": bad}, tmp_path)
    for names in (np.array(["ant", "cat"]), ["Ant", "CAT"]):
        assert stored(
            {"train": train, "test": Folder(test, names)}, tmp_path
        ).test.labels.tolist() == [2, 0, 2, 0]
    named = {"train": train, "classes": ["Ameise", "Biene", "Katze"]}
    for data in (named, dict(reversed(named.items()))):
        assert stored(data, tmp_path).classes == ("Ameise", "Biene", "Katze")
    other = Folder(test, ["ant", "dog"])
    with pytest.raises(InputError, match="data: test has classes that train lacks: dog; leave"):
        stored({"train": train, "test": other}, tmp_path)


def test_what_a_target_transform_makes_of_labels_is_not_named_by_the_classes(tmp_path):
    class Transformed(Folder):
        def __init__(self, pairs, classes, transform):
            pairs = list(pairs)
            super().__init__([(image, transform(label)) for image, label in pairs], classes)
            self.targets, self.target_transform = [label for _, label in pairs], transform

    pairs = list(zip(IMAGES, [0, 1, 2, 0, 1, 2], strict=True))
    names = ["ant", "bee", "cat"]
    arrays = stored(Transformed(pairs, names, lambda label: int(label > 0)), tmp_path)
    assert arrays.classes == ("0", "1")
    floats = {
        "train": Transformed(pairs, names, float),
        "test": Transformed([(IMAGES[0], 0), (IMAGES[1], 1)], ["bee", "cat"], float),
    }
    assert stored(floats, tmp_path).test.labels.tolist() == [1, 2]
    floats["test"] = Transformed([(IMAGES[0], 0)], ["bee", "cat"], lambda label: label + 1)
    with pytest.raises(InputError, match="of test numbers them by its target_transform"):
        stored(floats, tmp_path)


def test_a_letter_and_its_capital_are_two_classes(tmp_path):
    assert stored((IMAGES, ["a", "A", "b"] * 2), tmp_path).classes == ("A", "a", "b")


def test_four_arrays_are_not_guessed(tmp_path):
    labels = np.array(LABELS)
    with pytest.raises(InputError, match="four arrays, and their order is not clear; write"):
        stored((IMAGES, labels, IMAGES, labels), tmp_path)


def test_three_pairs_are_not_guessed(tmp_path):
    with pytest.raises(InputError, match="three pairs .* their order is not clear"):
        stored(((IMAGES, LABELS),) * 3, tmp_path)


def test_pictures_in_a_mapping_are_taken_as_a_viewer_shows_them(tmp_path):
    """As palette indices, all pictures of one colour were black."""
    colours = [(255, 0, 0), (0, 0, 255)] * 3
    palette = [
        Image.new("RGB", (4, 4), one).convert("P", palette=Image.Palette.ADAPTIVE)
        for one in colours
    ]
    for pictures in (palette, [one.convert("RGBA") for one in palette], pd.Series(palette)):
        arrays = stored({"train_images": pictures, "train_labels": LABELS}, tmp_path)
        assert arrays.train.pixels[:, 0, 0].tolist() == [list(one) for one in colours]


@pytest.mark.parametrize("name", ["info", "filenames", "file", "allow_pickle", "unsupervised"])
def test_what_is_not_used_may_be_anything_and_is_named(name, tmp_path):
    for value in ({"by": "me"}, [None] * 6, [[1], [2, 3]], IMAGES):
        given = {"train_images": IMAGES, "train_labels": LABELS, name: value}
        assert f"not used: {name}" in stored(given, tmp_path).notes


def test_pictures_in_a_column_and_among_arrays_are_pictures(tmp_path):
    red = Image.new("RGB", (4, 4), (255, 0, 0)).convert("P", palette=Image.Palette.ADAPTIVE)
    for pictures in (Column([red] * 6), [red, np.full((4, 4, 3), 9, np.uint8)] * 3):
        arrays = stored({"train_images": pictures, "train_labels": LABELS}, tmp_path)
        assert arrays.train.pixels[0, 0, 0].tolist() == [255, 0, 0]


def test_an_array_of_one_object_is_named(tmp_path):
    with pytest.raises(InputError, match="data"):
        stored({"train_images": np.array({"a": 1}, object), "train_labels": LABELS}, tmp_path)
