"""Loading of a data set by name, split into training, validation and test images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import platformdirs

from tunecnn.data.images import Arrays, Dataset, Images, Labels, TrialData
from tunecnn.data.registry import IMAGEFOLDER, dataset_info
from tunecnn.data.splits import Split, stratified

_DIGITS_TEST_SHARE = 0.2
_DIGITS_TEST_SEED = 0


def default_data_dir() -> Path:
    """Return the default data folder: `TUNECNN_DATA`, or else a folder in the user's cache."""
    named = os.environ.get("TUNECNN_DATA")
    return Path(named) if named else Path(platformdirs.user_cache_dir("tunecnn")) / "data"


def load_dataset(
    name: str,
    split: Split | None = None,
    data_dir: str | Path | None = None,
    *,
    download: bool = True,
) -> Dataset:
    """Load a data set, and split its training images into training and validation images.

    Args:
        name: name of the data set; `tunecnn data list` shows them.
        split: rule of the split; None for a stratified split with a fifth for validation.
        data_dir: folder of the downloaded files; None for `default_data_dir`.
        download: whether to download missing files.

    Raises:
        InputError: if the data set is unknown, missing, damaged or too small for the split.
    """
    arrays = read_arrays(name, data_dir, download=download)
    train, validation = (split or Split()).indices(arrays.train_labels, name)
    parts = Images(arrays.train_pixels, arrays.train_labels)
    return Dataset(
        trial_data=TrialData.measure(
            name=name,
            classes=arrays.classes,
            train=_take(parts, train),
            validation=_take(parts, validation),
        ),
        test=Images(arrays.test_pixels, arrays.test_labels),
        fingerprint=arrays.fingerprint(),
        split_fingerprint=hashlib.sha256(
            train.tobytes() + b"|" + validation.tobytes()
        ).hexdigest()[:16],
    )


def read_arrays(name: str, data_dir: str | Path | None = None, *, download: bool = True) -> Arrays:
    """Read a whole data set by name, in its original order and without a validation split.

    Raises:
        InputError: if it is unknown, missing or damaged.
    """
    dataset_info(name)
    folder = _folder(data_dir)
    prefix, _, path = name.partition(":")
    if prefix == IMAGEFOLDER:
        from tunecnn.data.imagefolder import read_imagefolder

        return read_imagefolder(Path(path), cache_dir=folder)
    if name in _READERS:
        return _READERS[name]()
    from tunecnn.data.downloads import read_published

    return read_published(name, folder, download=download)


def fetch(name: str, data_dir: str | Path | None = None) -> None:
    """Download the missing files of a data set.

    Raises:
        InputError: if it is unknown, or if its files are missing and cannot be downloaded.
    """
    dataset_info(name)
    prefix, _, path = name.partition(":")
    if prefix == IMAGEFOLDER:
        from tunecnn.data.imagefolder import check_is_folder

        check_is_folder(Path(path))
    elif name not in _READERS:
        from tunecnn.data.downloads import fetch_published

        fetch_published(name, _folder(data_dir))


def is_here(name: str, data_dir: str | Path | None = None) -> bool:
    """Return whether a data set needs no download: its files are there, or it has none."""
    if name in _READERS:
        return True
    from tunecnn.data.downloads import missing_files

    return not missing_files(name, _folder(data_dir))


def _folder(data_dir: str | Path | None) -> Path:
    return (Path(data_dir) if data_dir is not None else default_data_dir()).expanduser()


def _take(images: Images, indices: Labels) -> Images:
    return Images(images.pixels[indices], images.labels[indices])


def _read_digits() -> Arrays:
    """Read scikit-learn's digits, scaled from 0..16 to 0..255, with a fixed fifth for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    rest, test = stratified(labels, _DIGITS_TEST_SHARE, _DIGITS_TEST_SEED, "test")
    classes = tuple(str(name) for name in bunch.target_names)
    return Arrays(pixels[rest], labels[rest], pixels[test], labels[test], classes)


_READERS: Mapping[str, Callable[[], Arrays]] = {"digits": _read_digits}
"""Readers of the data sets that need no download, by name."""
