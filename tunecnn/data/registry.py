"""The data sets that tunecnn knows, and what a recipe may do with each: names and facts only.

Nothing here reads a file or imports torch; `tunecnn.data.loading` loads what is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecnn.errors import InputError, nearest

IMAGEFOLDER = "imagefolder"


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before a byte of it is read.

    Attributes:
        about: one line for `tunecnn data list`.
        flip: whether a mirrored image still shows its class (a mirrored 3 is no 3).
        crop: shift in pixels in the `fast` recipe; 0 for none.
        validation: share of the training images that validate, the report's where it has one.
        report_pixels: how the report fed the pixels: `raw` 0..255 or `unit` 0..1.
        in_report: whether the report has results on it.
        batch: images a step in the `fast` recipe; a small data set, or few epochs, need small
            steps to have enough of them.
    """

    about: str
    flip: bool
    crop: int
    validation: float
    report_pixels: str = "unit"
    in_report: bool = False
    batch: int = 128


FACTS: Mapping[str, DatasetFacts] = {
    "digits": DatasetFacts(
        "1,797 real 8x8 digits that scikit-learn ships: no download", False, 1, 0.2, batch=32
    ),
    "mnist": DatasetFacts(
        "70,000 handwritten 28x28 digits", False, 2, 0.1, in_report=True
    ),
    "fashion-mnist": DatasetFacts("70,000 pictures of clothes, 28x28", True, 2, 0.1),
    "cifar10": DatasetFacts(
        "60,000 colour photographs, 32x32", True, 2, 0.2, report_pixels="raw", in_report=True,
        batch=64,
    ),
    IMAGEFOLDER: DatasetFacts(
        "your own small images: imagefolder:PATH with {train,test}/<class>/*",
        True, 2, 0.2, report_pixels="raw", batch=64,
    ),
}  # fmt: skip


def dataset_facts(name: str) -> DatasetFacts:
    """Look a data set up by name; `imagefolder:PATH` is one name for each path.

    Raises:
        InputError: if there is no such data set, or an imagefolder has no path.
    """
    kind, _, path = name.partition(":")
    if kind == IMAGEFOLDER and not path:
        raise InputError("imagefolder needs the folder of the images: imagefolder:PATH")
    if kind not in FACTS or (path and kind != IMAGEFOLDER):
        allowed = [f"{known}:PATH" if known == IMAGEFOLDER else known for known in FACTS]
        raise InputError(f"unknown data set {name!r}; {nearest(name, allowed)}")
    return FACTS[kind]


def absolute(name: str) -> str:
    """Make the path of an imagefolder absolute; other names stay as they are."""
    kind, _, path = name.partition(":")
    if kind != IMAGEFOLDER:
        return name
    return f"{kind}:{Path(path).expanduser().resolve()}"
