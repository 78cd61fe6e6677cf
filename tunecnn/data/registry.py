"""The known data sets, with the properties that recipes use.

Nothing here reads a file or imports torch; `tunecnn.data.loading` loads the data sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecnn.errors import InputError, nearest

IMAGEFOLDER = "imagefolder"


@dataclass(frozen=True)
class DatasetInfo:
    """Properties of a data set that are known before it is read.

    Attributes:
        about: description for `tunecnn data list`, in one line.
        flip: whether a mirrored image keeps its class (a mirrored 3 is not a 3).
        crop: maximum shift in the `fast` recipe, as a share of the image; 0 for none.
        validation: share of the training images used for validation; the published one if there
            is one.
        published_pixels: pixel scaling of the published runs: `raw` 0..255 or `unit` 0..1.
        is_published: whether published results exist for it.
        batch: batch size in the `fast` recipe; with a small data set or few epochs, it must be
            small to give enough steps.
    """

    about: str
    flip: bool
    crop: float
    validation: float
    published_pixels: str = "unit"
    is_published: bool = False
    batch: int = 128


DATASETS: Mapping[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "1,797 real 8x8 digits that scikit-learn ships: no download", False, 0.125, 0.2, batch=32
    ),
    "mnist": DatasetInfo(
        "70,000 handwritten 28x28 digits", False, 0.07, 0.1, is_published=True
    ),
    "fashion-mnist": DatasetInfo("70,000 pictures of clothes, 28x28", True, 0.07, 0.1),
    "cifar10": DatasetInfo(
        "60,000 colour photographs, 32x32", True, 0.0625, 0.2, published_pixels="raw",
        is_published=True, batch=64,
    ),
    IMAGEFOLDER: DatasetInfo(
        "your own images: imagefolder:PATH, a folder or archive with a folder per class",
        False, 0, 0.2, published_pixels="raw", batch=64,
    ),
}  # fmt: skip


def dataset_info(name: str) -> DatasetInfo:
    """Return the properties of a data set by name, such as `mnist` or `imagefolder:PATH`.

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
    """Return a name with the path of an imagefolder made absolute; other names are unchanged."""
    prefix, _, path = name.partition(":")
    if prefix != IMAGEFOLDER or not path:
        return name
    return f"{prefix}:{Path(path).expanduser().resolve()}"
