"""Values that Python code gives, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tunecnn.data.folder.pixels import BadImageError, pixels_of
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError, text_of


def plain_array(value: Any) -> Any:
    """Return a value as an array: tensors of any device, and names or numbers of pandas.

    Raises:
        Exception: whatever the value raises when it is made an array.
    """
    if hasattr(value, "detach"):  # a tensor of torch
        value = value.detach().cpu()
    array = np.asarray(value)
    if array.dtype.kind == "U" and isinstance(value, list | tuple):
        # NumPy would make a word of whatever stands among words, such as `nan` of a missing one.
        for index, one in enumerate(np.asarray(value, dtype=object).ravel()):
            one = one.item() if isinstance(one, np.ndarray) and not one.ndim else one
            if not isinstance(one, str):
                raise ValueError(f"item {index} is {one!r}, and others are words")
    if array.dtype.kind in "OT":
        items = array.ravel().tolist()
        if items and all(isinstance(one, str) for one in items):
            return np.array(items, str).reshape(array.shape)
        if items and all(isinstance(one, int) for one in items):
            return np.array(items, np.int64).reshape(array.shape)
    return array


def array_given(value: Any, where: str, options: ImageOptions) -> Any:
    """Return a value as an array; of Pillow's images, their pixels.

    Args:
        value: an array, a tensor, a list, or a column of pandas.
        where: name of the value, for messages.
        options: how images are read.

    Raises:
        InputError: if it is no array.
    """
    is_column = hasattr(value, "dtype") and value.dtype == np.dtype(object) and value.ndim == 1
    if is_column or (isinstance(value, Sequence) and not isinstance(value, str | bytes)):
        items = list(value)
        if any(isinstance(one, Image.Image) for one in items):
            given = (pixels_given(one, f"{where}[{i}]", options) for i, one in enumerate(items))
            return stacked(list(given), where)
    try:
        array = plain_array(value)
    except Exception as error:
        raise InputError(f"{where} is no array: {text_of(error)}") from error
    items = array.tolist() if array.ndim == 1 and array.dtype == np.dtype(object) else []
    if items and all(getattr(one, "ndim", 0) > 1 for one in items):  # as in a column of pandas
        return stacked(
            [pixels_given(one, f"{where}[{i}]", options) for i, one in enumerate(items)], where
        )
    return array


def pixels_given(image: Any, where: str, options: ImageOptions) -> Any:
    """Return an image as an array (height, width[, channels]); torch's has the channels first.

    Pillow's images are taken as a viewer shows them, as files are; with a scale, in its unit.
    """
    if (
        isinstance(image, Image.Image)
        and image.mode.startswith(("I", "F"))
        and options.scale is None
    ):
        return np.asarray(image)[..., None]  # the values of all images tell what white may be
    if isinstance(image, Image.Image):
        try:
            pixels = pixels_of(image, options)[0]
        except BadImageError as error:
            raise InputError(f"{where}: {error}") from error
        if options.scale is None:
            return pixels
        return pixels.astype(np.float32) * np.float32(options.scale / 255)
    try:
        array = plain_array(image)
    except Exception as error:
        raise InputError(f"the image of {where} is no array: {text_of(error)}") from error
    is_torchs = hasattr(image, "detach") and array.ndim == 3 and array.shape[0] in (1, 3)
    return np.moveaxis(array, 0, -1) if is_torchs else array


def stacked(images: Sequence[Any], where: str) -> Any:
    """Return the images as one array; grey ones become RGB if others are."""
    channels = max((image.shape[2] for image in images if image.ndim == 3), default=1)
    if channels == 3:
        images = [
            np.broadcast_to(image.reshape(*image.shape[:2], 1), (*image.shape[:2], 3))
            if image.ndim == 2 or image.shape[2:] == (1,)
            else image
            for image in images
        ]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise InputError(
            f"{where}: the images have {len(shapes)} different shapes, such as "
            f"{' and '.join(map(str, sorted(shapes)[:2]))}; resize them to one (of Pillow's "
            "images, `size` in the space does it)"
        )
    return np.stack(images)
