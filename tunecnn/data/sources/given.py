"""Images that Python code gives: arrays, or a data set that indexes to (image, label).

They are stored as a `.npz` file named by its content, so that a run of them can be resumed and
confirmed like any other.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.data.options import ImageOptions
from tunecnn.data.sources.arrays import from_mapping
from tunecnn.errors import InputError
from tunecnn.files import write_atomically

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
    values = _as_mapping(data)
    from_mapping(values, "data", options)  # so that a mistake is told before anything is stored
    stream = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in values.items()}
    np.savez(stream, **arrays)
    content = stream.getvalue()
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return str(path.absolute())


def _as_mapping(data: Any) -> Mapping[str, Any]:
    if isinstance(data, tuple | list) and len(data) == 2 and hasattr(data[0], "__array__"):
        return {"train_images": data[0], "train_labels": data[1]}
    if isinstance(data, Mapping):
        values: dict[str, Any] = {}
        for name, value in data.items():
            if hasattr(value, "__getitem__") and not hasattr(value, "__array__") and (
                name in ("train", "val", "validation", "valid", "test")
            ):  # fmt: skip
                values |= _indexed(value, name)
            else:
                values[name] = value
        return values
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return _indexed(data, "train")
    raise InputError(f"data is {_FORMS}, not {type(data).__name__}")


def _indexed(data: Any, part: str) -> dict[str, Any]:
    """Return the arrays of a data set that indexes to (image, label)."""
    images, labels = [], []
    for index in range(len(data)):
        try:
            image, label = data[index]
        except (TypeError, ValueError) as error:
            raise InputError(
                f"data: {part}[{index}] is not a pair (image, label): {error}"
            ) from error
        images.append(_pixels(image))
        labels.append(label.item() if hasattr(label, "item") else label)
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise InputError(
            f"data: the images of {part} have {len(shapes)} different shapes, such as "
            f"{' and '.join(map(str, sorted(shapes)[:2]))}; resize them to one"
        )
    if not images:
        raise InputError(f"data: {part} has no images")
    values: dict[str, Any] = {f"{part}_images": np.stack(images), f"{part}_labels": labels}
    classes = getattr(data, "classes", None)
    if part == "train" and isinstance(classes, list | tuple):
        values["classes"] = [str(name) for name in classes]
    return values


def _pixels(image: Any) -> Any:
    """Return an image as an array (height, width[, channels]); torch's has the channels first."""
    if hasattr(image, "detach"):
        array = image.detach().cpu().numpy()
        return np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    return np.asarray(image)
