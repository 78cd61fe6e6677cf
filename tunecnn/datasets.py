"""Load a data set by name, checked and divided into training, validation and test images."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import platformdirs

from tunecnn.catalogue import IMAGEFOLDER, dataset_facts
from tunecnn.config import TrialConfig
from tunecnn.errors import InputError
from tunecnn.images import Arrays, Dataset, Images, Labels, TrialData

_DIGITS_TEST_SHARE = 0.2
_DIGITS_TEST_SEED = 0


def default_data_dir() -> Path:
    """Return where data live when nobody says: `TUNECNN_DATA`, else the platform's cache."""
    named = os.environ.get("TUNECNN_DATA")
    return Path(named) if named else Path(platformdirs.user_cache_dir("tunecnn")) / "data"


def load_dataset(
    config: TrialConfig, data_dir: str | Path | None = None, *, download: bool = True
) -> Dataset:
    """Load the data set of a config and divide it as the config says.

    Args:
        config: names the data set and fixes its split.
        data_dir: folder of the downloaded files; None for `default_data_dir`.
        download: fetch missing files.

    Raises:
        InputError: if the data are not there, not intact, or too few for the split.
    """
    arrays = read_arrays(config.dataset, data_dir, download=download)
    train, validation = split_indices(arrays.train_labels, config)
    parts = Images(arrays.train_pixels, arrays.train_labels)
    return Dataset(
        trial_data=TrialData.measure(
            name=config.dataset,
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
    """Read a whole data set by name, in its original order and undivided.

    Raises:
        InputError: if it is unknown, not there, or not intact.
    """
    dataset_facts(name)
    folder = _folder(data_dir)
    kind, _, path = name.partition(":")
    if kind == IMAGEFOLDER:
        from tunecnn.imagefolder import read_imagefolder

        return read_imagefolder(Path(path), cache_dir=folder)
    if name == "digits":
        return _read_digits()
    from tunecnn.downloads import read_published

    return read_published(name, folder, download=download)


def fetch(name: str, data_dir: str | Path | None = None) -> None:
    """See to it that a data set's files are there, which takes no time if they are.

    Raises:
        InputError: if it is unknown, or its files are not there and cannot be fetched.
    """
    dataset_facts(name)
    kind, _, path = name.partition(":")
    if kind == IMAGEFOLDER:
        from tunecnn.imagefolder import check_is_folder

        check_is_folder(Path(path))
    elif name != "digits":
        from tunecnn.downloads import fetch_published

        fetch_published(name, _folder(data_dir))


def _folder(data_dir: str | Path | None) -> Path:
    return (Path(data_dir) if data_dir is not None else default_data_dir()).expanduser()


def split_indices(labels: Labels, config: TrialConfig) -> tuple[Labels, Labels]:
    """Divide training images into those that train and those that validate.

    Args:
        labels: class of each training image, in the original order, shape (n,).
        config: `split`, `split_seed`, `validation` and `train_images` decide.

    Returns:
        Disjoint indices of the training and of the validation images.

    Raises:
        InputError: if there are too few images, or the report has no split for the data set.
    """
    if config.split == "report":
        train, validation = _report_split(labels, config.dataset)
    else:
        train, validation = _stratified(labels, config.validation, config.split_seed, "validation")
    if config.train_images is not None:
        if config.train_images > len(train):
            raise InputError(
                f"train_images is {config.train_images}, but {config.dataset} has only "
                f"{len(train)} training images besides the {len(validation)} that validate"
            )
        if config.train_images < len(train):
            _, chosen = _stratified(
                labels[train], config.train_images, config.split_seed, "train_images"
            )
            train = train[chosen]
    return train, validation


def _stratified(labels: Labels, size: float, seed: int, name: str) -> tuple[Labels, Labels]:
    """Split off a share (or a number) of the images, each class in proportion; both sorted."""
    from sklearn.model_selection import train_test_split

    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise InputError(
            f"{name} = {size} cannot be split off {len(labels)} images of "
            f"{len(np.unique(labels))} classes with every class on both sides: {error}"
        ) from error
    return np.sort(rest), np.sort(part)


def _report_split(labels: Labels, dataset: str) -> tuple[Labels, Labels]:
    """Split as the report's notebooks do; it needs the data set's original order."""
    if dataset == "mnist":
        order = np.arange(len(labels))
        return order[6000:], order[:6000]
    if dataset == "cifar10":
        order = np.random.RandomState(42).permutation(len(labels))
        return order[10000:], order[:10000]
    raise InputError(
        f"split: report is defined for mnist and cifar10 only, not for {dataset!r}; "
        "use split: stratified"
    )


def _take(images: Images, indices: Labels) -> Images:
    return Images(images.pixels[indices], images.labels[indices])


def _read_digits() -> Arrays:
    """Read scikit-learn's digits, 0..16 stretched to 0..255; a fixed fifth of them tests."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    rest, test = _stratified(labels, _DIGITS_TEST_SHARE, _DIGITS_TEST_SEED, "test")
    classes = tuple(str(name) for name in bunch.target_names)
    return Arrays(pixels[rest], labels[rest], pixels[test], labels[test], classes)
