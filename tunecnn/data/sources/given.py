"""Images that Python code gives: arrays, or a data set that indexes to (image, label).

They are stored as a `.npz` file named by its content, so that a run of them can be resumed and
confirmed like any other.
"""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tunecnn.data.options import ImageOptions
from tunecnn.data.parts import divides_rows, part_of
from tunecnn.data.sources.arrays import arrays_given, from_mapping
from tunecnn.data.sources.huggingface import image_and_label, label_column
from tunecnn.data.sources.values import pixels_given, stacked
from tunecnn.errors import InputError, text_of
from tunecnn.files import sha256, write_atomically
from tunecnn.words import listed

_READ_TWICE = 4  # first images of a data set
_FORMS = (
    "a name, two arrays (images, labels), a mapping such as {'train_images': ..., 'train_labels': "
    "..., 'test_images': ...}, or a data set that indexes to (image, label)"
)


def store_given(data: Any, folder: Path, options: ImageOptions) -> str:
    """Store images, and return their name as a data set.

    Args:
        data: two arrays, a mapping of arrays, a data set that indexes to (image, label), or a
            mapping of `train`, `val` and `test` to such data sets.
        folder: folder in which the file is stored.
        options: how images are read.

    Raises:
        InputError: if the images cannot be used.
    """
    values = _as_mapping(data, options)
    from_mapping(values, "data", options)  # so that a mistake is told before anything is stored
    content = _npz(values)
    path = folder / f"{sha256(content)[:16]}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return str(path.absolute())


def _npz(values: Mapping[str, Any]) -> bytes:
    """Return the content of a `.npz` file; NumPy's own function takes no array called `file`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in values.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return stream.getvalue()


def _as_mapping(data: Any, options: ImageOptions) -> Mapping[str, Any]:
    """Return the arrays by name."""
    found: dict[str, Any]
    if _is_pair(data):
        found = _of_pair(data, "train", options)
    elif isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_pair, data)):
        # As Keras's `load_data` returns them.
        found = {**_of_pair(data[0], "train", options), **_of_pair(data[1], "test", options)}
    elif isinstance(data, tuple | list) and len(data) == 3 and all(map(_is_pair, data)):
        raise InputError(
            "data has three pairs (images, labels), and their order is not clear; write "
            "{'train': (images, labels), 'val': ..., 'test': ...}"
        )
    elif isinstance(data, Mapping) and _has_both_columns(data):  # `dataset[:]` of Hugging Face
        names = image_and_label(data, "data has the columns")
        _check_undivided(
            {name: value for name, value in data.items() if name not in names}, "data"
        )
        found = _of_pair([data[name] for name in names], "train", options)
    elif isinstance(data, Mapping):
        found, known, origins = {}, dict[str, Any](), dict[str, str]()
        for name, value in data.items():
            part, more = part_of(str(name)), dict[str, Any]()
            if part is not None and _is_pair(value):
                more = _of_pair(value, part, options)
            elif (
                part
                and hasattr(value, "__getitem__")
                and (hasattr(value, "columns") or not hasattr(value, "__array__"))
            ):
                more = _indexed(value, part, options)
                known[part] = value
                if "classes" in data:  # which come before those that it knows
                    more.pop("classes", None)
            elif value is not None:
                more = {name: value}
            if twice := [key for key in more if key in found]:
                raise InputError(
                    f"data: {origins[twice[0]]!r} and {name!r} are the same part; join them, or "
                    "leave one out"
                )
            found |= more
            origins |= dict.fromkeys(more, str(name))
        _unite_classes(found, known)
    elif (
        isinstance(data, tuple | list)
        and len(data) == 4
        and all(hasattr(one, "__array__") for one in data)
    ):
        raise InputError(
            "data has four arrays, and their order is not clear; write "
            "{'train': (images, labels), 'test': (images, labels)}"
        )
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        found = _indexed(data, "train", options)
    else:
        raise InputError(f"data is {_FORMS}, not {type(data).__name__}")
    return arrays_given(found, "data", options)


def _has_both_columns(data: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is of columns, one of images and one of labels, not of parts."""
    return label_column(data) is not None and not any(part_of(str(one)) for one in data)


def _texts(classes: Any) -> list[str]:
    """Return names of classes as text; empty if they are not known."""
    listed = classes.tolist() if hasattr(classes, "tolist") else classes
    if not isinstance(listed, list | tuple):
        return []
    texts = (str(tuple(one) if isinstance(one, list) else one) for one in listed)
    return [unicodedata.normalize("NFC", text) for text in texts]


def _unite_classes(found: dict[str, Any], sets: Mapping[str, Any]) -> None:
    """Number the labels of all parts as those of train, whose data sets may number them otherwise.

    Args:
        found: images and labels of the parts.
        sets: data set of each part that is one.

    Raises:
        InputError: if a part has classes that train lacks, or renumbers other ones.
    """
    for part in sets:
        train, names = (_texts(_class_names(sets.get(one))) for one in ("train", part))
        if not train or not names or names == train:
            continue
        for one in ("train", part):
            if _renumbers(sets[one], found[f"{one}_labels"]):
                raise InputError(
                    f"data: the data sets of train and {part} have other classes, and that of "
                    f"{one} numbers them by its target_transform, so which are the same is not "
                    "known; leave it out, or give arrays"
                )
        folded = [[name.casefold() for name in some] for some in (train, names)]
        if not set(names) <= set(train) and all(len(set(one)) == len(one) for one in folded):
            train, names = folded  # folders may be written in another case
        numbers = {
            number: train.index(name) if name in train else None
            for number, name in enumerate(names)
        }
        labels = [_as_number(label) for label in found[f"{part}_labels"]]
        used = {label for label in labels if type(label) is int}
        if unknown := used - numbers.keys():
            raise InputError(
                f"data: {part} has the label {min(unknown)}, and {len(names)} classes, whose "
                "labels are counted from 0"
            )
        if missing := [str(names[one]) for one in used if numbers[one] is None]:
            raise InputError(
                f"data: {part} has classes that train lacks: {listed(missing)}; leave them "
                "out, or give train the same"
            )
        # Other labels, such as names, are checked with those of train.
        found[f"{part}_labels"] = [
            numbers.get(label, label) if type(label) is int else label for label in labels
        ]


def _as_number(label: Any) -> Any:
    """Return a label that is a whole number as such, also of a float; other ones as they are."""
    return int(label) if isinstance(label, bool | float) and label == label // 1 else label


def _renumbers(data: Any, labels: Sequence[Any]) -> bool:
    """Return whether the `target_transform` of a data set gives its classes other numbers."""
    indices: Sequence[int] = range(len(labels))
    while type(data).__name__ == "Subset" and hasattr(data, "dataset"):  # of torch
        data, indices = data.dataset, [data.indices[index] for index in indices]
    if getattr(data, "target_transform", None) is None:
        return False
    targets = getattr(data, "targets", None)
    if targets is None:
        return True
    return any(
        _as_number(label) != int(targets[index])
        for label, index in zip(labels, indices, strict=True)
    )


def _is_pair(data: Any) -> bool:
    """Return whether it is (images, labels), and not a data set of two pairs (image, label)."""
    if not (isinstance(data, tuple | list) and len(data) == 2):
        return False
    images, labels = data
    if hasattr(images, "__array__"):
        return not _is_scalar(labels)
    return (
        _is_sequence(images)
        and hasattr(labels, "__len__")
        and len(images) == len(labels) > 0
        and all(map(_is_image, images))
        and not any(map(_is_image, labels))
    )


def _is_sequence(value: Any) -> bool:
    """Return whether a value is a list, or as one, such as a column of Hugging Face's."""
    is_like = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    return is_like and not isinstance(value, str | bytes | Mapping | Image.Image)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float | str) or getattr(value, "ndim", 1) == 0


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image) or getattr(value, "ndim", 0) >= 2


def _of_pair(pair: Any, part: str, options: ImageOptions) -> dict[str, Any]:
    images, labels = pair
    if not hasattr(images, "__array__"):
        images = stacked(
            [pixels_given(one, f"data: {part}[{i}]", options) for i, one in enumerate(images)],
            f"data: {part}",
        )
    if labels is None:
        raise InputError(f"data: {part} has images without labels; leave them out, or give labels")
    labels = labels if hasattr(labels, "__array__") else list(labels)
    return {f"{part}_images": images, f"{part}_labels": labels}


_PLAIN = (str, int, np.bool_, np.integer)


def _check_undivided(columns: Mapping[Any, Any], where: str) -> None:
    """Check that no column says which rows train and which test, as all would train.

    Raises:
        InputError: if one does.
    """
    for name, values in columns.items():
        if not _is_sequence(values) or getattr(values, "ndim", 1) != 1:
            continue
        words = {str(value) for value in values if isinstance(value, _PLAIN)}
        if name != label_column(columns) and divides_rows(str(name), words):
            few = listed(sorted(words))
            raise InputError(
                f"{where} has the column {name}, which divides its rows ({few}): give "
                "{'train': ..., 'val': ..., 'test': ...} with the rows of each, or leave it out"
            )


def _indexed(data: Any, part: str, options: ImageOptions) -> dict[str, Any]:
    """Return the arrays of a data set that indexes to (image, label), or to a row with both."""
    images, labels = [], []
    others: dict[str, list[Any]] = {}
    if hasattr(data, "iloc"):  # a data frame
        data = data.to_dict("records")
    for index in range(len(data)):
        where = f"{part}[{index}]"
        try:
            item = data[index]
        except Exception as error:
            text = f"{type(error).__name__}: {text_of(error)}"
            raise InputError(f"data: {where} cannot be read: {text}") from error
        try:
            image, label = _of_row(item, where) if isinstance(item, Mapping) else item
            for name, value in item.items() if isinstance(item, Mapping) else ():
                if isinstance(value, _PLAIN):
                    others.setdefault(str(name), []).append(value)
        except (TypeError, ValueError) as error:
            hint = ""
            if isinstance(item, list) and item and isinstance(item[0], str | Path):
                hint = "; names of files are not read here: give their folder, imagefolder:FOLDER"
            elif isinstance(data, tuple | list) and len(data) < 4 and hasattr(item, "__len__"):
                hint = "; of several data sets, write {'train': ..., 'val': ..., 'test': ...}"
            raise InputError(
                f"data: {where} is not a pair (image, label): {error}{hint}"
            ) from error
        images.append(pixels_given(image, f"data: {where}", options))
        labels.append(_label(label, where))
        if index < _READ_TWICE:
            again = data[index]
            twin = _of_row(again, where)[0] if isinstance(again, Mapping) else again[0]
            pixels = np.asarray(pixels_given(twin, f"data: {where}", options))
            has_nan = pixels.dtype.kind == "f"  # which is refused later, for another reason
            if not np.array_equal(images[-1], pixels, equal_nan=has_nan):
                raise InputError(
                    f"data: {where} is another image each time it is read, as random transforms "
                    "make it: leave them out, since images are stored once; augmentation is a "
                    "setting of the space, such as crop, flip or cutout"
                )
    if not images:
        raise InputError(f"data: {part} has no images")
    _check_undivided(others, "data" if part == "train" else f"data: {part}")
    values: dict[str, Any] = {
        f"{part}_images": stacked(images, f"data: {part}"),
        f"{part}_labels": labels,
    }
    classes = None if _renumbers(data, labels) else _class_names(data)
    if part == "train" and isinstance(classes, list | tuple):
        values["classes"] = [str(name) for name in classes]
    return values


def _of_row(row: Mapping[str, Any], where: str) -> tuple[Any, Any]:
    """Return the image and the label of a row of a Hugging Face data set."""
    image, label = image_and_label(row, f"data: {where} has")
    return row[image], row[label]


def _class_names(data: Any) -> Any:
    """Return the class names that a data set of torchvision or Hugging Face knows."""
    while type(data).__name__ == "Subset" and hasattr(data, "dataset"):  # of torch
        data = data.dataset
    if (classes := getattr(data, "classes", None)) is not None:
        return classes
    features = getattr(data, "features", None)
    if not isinstance(features, Mapping):
        return None
    name = label_column(features)
    return getattr(features[name], "names", None) if name else None


def _label(label: Any, where: str) -> Any:
    try:
        return label.item() if hasattr(label, "item") else label
    except (ValueError, RuntimeError):
        raise InputError(
            f"data: the label of {where} has the shape {tuple(label.shape)}; one whole number or "
            "name per image is needed (of a one-hot label, its "
            "argmax)"
        ) from None
