"""Data sets that torchvision downloads, checks and reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.data.images import Arrays, Images
from tunecnn.errors import InputError


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set of torchvision.

    Attributes:
        name: name of its class in `torchvision.datasets`.
        there: files or folders below the data folder, of which each is there after a download.
        train: arguments for the training images.
        test: arguments for the test images.
        is_transposed: whether rows and columns of the stored images are exchanged.
    """

    name: str
    there: tuple[str, ...]
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    is_transposed: bool = False


def _emnist(split: str) -> TorchvisionSet:
    parts = ({"split": split, "train": is_train} for is_train in (True, False))
    return TorchvisionSet("EMNIST", ("EMNIST/raw",), next(parts), next(parts), is_transposed=True)


_BY_FLAG = {"train": True}, {"train": False}
_BY_SPLIT = {"split": "train"}, {"split": "test"}
SETS: Mapping[str, TorchvisionSet] = {
    "emnist-balanced": _emnist("balanced"),
    "emnist-letters": _emnist("letters"),
    "qmnist": TorchvisionSet("QMNIST", ("QMNIST/raw",), {"what": "train"}, {"what": "test"}),
    "usps": TorchvisionSet("USPS", ("usps.bz2", "usps.t.bz2"), *_BY_FLAG),
    "svhn": TorchvisionSet("SVHN", ("train_32x32.mat", "test_32x32.mat"), *_BY_SPLIT),
    "cifar100": TorchvisionSet("CIFAR100", ("cifar-100-python",), *_BY_FLAG),
    "stl10": TorchvisionSet("STL10", ("stl10_binary",), *_BY_SPLIT),
}
"""Data sets by our name."""


def is_there(name: str, data_dir: Path) -> bool:
    """Return whether the files of a data set are there; they are not checked."""
    return all((data_dir / path).exists() for path in SETS[name].there)


def read_torchvision(name: str, data_dir: Path, *, download: bool = True) -> Arrays:
    """Read a data set through torchvision's own reader, which checks the checksums of its files.

    Raises:
        InputError: if files are missing and cannot be downloaded, or are damaged.
    """
    from torchvision import datasets

    one = SETS[name]
    make: Callable[..., Any] = getattr(datasets, one.name)
    try:
        train, test = (
            make(root=str(data_dir), download=download, **part) for part in (one.train, one.test)
        )
    except (OSError, RuntimeError, EOFError, ValueError, ImportError) as error:
        raise InputError(
            f"the data set {name!r} could not be read or fetched through torchvision: {error}\n"
            f"It looks in {data_dir}; use --data-dir FOLDER (or TUNECNN_DATA) if the files are "
            "elsewhere."
        ) from error
    parts = [_images(part, is_transposed=one.is_transposed) for part in (train, test)]
    known = np.unique(parts[0].labels)
    names = list(getattr(train, "classes", []))
    classes = [names[label] if label < len(names) else label for label in known]
    numbered = [
        Images(part.pixels, np.searchsorted(known, part.labels).astype(np.int64)) for part in parts
    ]
    return Arrays(numbered[0], numbered[1], tuple(map(str, classes)))


def _images(part: Any, *, is_transposed: bool) -> Images:
    pixels = np.asarray(part.data)
    labels = np.asarray(part.targets if hasattr(part, "targets") else part.labels)
    if labels.ndim == 2:  # QMNIST has more about each image than its class
        labels = labels[:, 0]
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.shape[1] == 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    if is_transposed:
        pixels = pixels.transpose(0, 2, 1, 3)
    return Images(np.ascontiguousarray(pixels), labels.astype(np.int64))
