"""The data sets that tunecnn knows, and what a recipe may do with each.

Nothing here reads a file or imports torch; `tunecnn.data.loading` loads what is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecnn.errors import InputError, nearest

IMAGEFOLDER = "imagefolder"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before a byte of it is read.

    Attributes:
        about: one line for `tunecnn data list`.
        flip: whether a mirrored image still shows its class (a mirrored 3 is no 3).
        crop: shift in pixels in the `fast` recipe; 0 for none.
        validation: share of the training images that validate, as published where it was.
        published_pixels: how the published runs fed the pixels: `raw` 0..255 or `unit` 0..1.
        is_published: whether the class report has results on it.
        batch: images a step in the `fast` recipe; a small data set, or few epochs, need small
            steps to have enough of them.
    """

    about: str
    flip: bool
    crop: int
    validation: float
    published_pixels: str = "unit"
    is_published: bool = False
    batch: int = 128


DATASETS: Mapping[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "1,797 real 8x8 digits that scikit-learn ships: no download", False, 1, 0.2, batch=32
    ),
    "mnist": DatasetInfo(
        "70,000 handwritten 28x28 digits", False, 2, 0.1, is_published=True
    ),
    "fashion-mnist": DatasetInfo("70,000 pictures of clothes, 28x28", True, 2, 0.1),
    "cifar10": DatasetInfo(
        "60,000 colour photographs, 32x32", True, 2, 0.2, published_pixels="raw",
        is_published=True, batch=64,
    ),
    IMAGEFOLDER: DatasetInfo(
        "your own small images: imagefolder:PATH with {train,test}/<class>/*",
        True, 2, 0.2, published_pixels="raw", batch=64,
    ),
}  # fmt: skip


def dataset_info(name: str) -> DatasetInfo:
    """Look a data set up by name; `imagefolder:PATH` is one name for each path.

    Raises:
        InputError: if there is no such data set, or an imagefolder has no path.
    """
    prefix, _, path = name.partition(":")
    if prefix == IMAGEFOLDER and not path:
        raise InputError("imagefolder needs the folder of the images: imagefolder:PATH")
    if prefix not in DATASETS or (path and prefix != IMAGEFOLDER):
        allowed = [f"{known}:PATH" if known == IMAGEFOLDER else known for known in DATASETS]
        raise InputError(f"unknown data set {name!r}; {nearest(name, allowed)}")
    return DATASETS[prefix]


def absolute(name: str) -> str:
    """Make the path of an imagefolder absolute; other names stay as they are."""
    prefix, _, path = name.partition(":")
    if prefix != IMAGEFOLDER or not path:
        return name
    return f"{prefix}:{Path(path).expanduser().resolve()}"
