"""Loading of a data set by name, split into training, validation and test images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs

from tunecnn.data.duplicates import content_ids, united
from tunecnn.data.images import Arrays, Dataset, Images, Labels, TrialData
from tunecnn.data.options import ImageOptions
from tunecnn.data.registry import (
    FUNCTION,
    HUGGINGFACE,
    IDX,
    IMAGEFOLDER,
    NPZ,
    is_own,
    kind_and_path,
)
from tunecnn.data.splits import Split, stratified
from tunecnn.data.survey import make_sheet
from tunecnn.errors import InputError
from tunecnn.files import expanded
from tunecnn.words import listed

_OF_TRIALS = ("train", "validation")
_TEST_SHARE = 0.2
_TEST_SEED = 0


def default_data_dir() -> Path:
    """Return the default data folder: `TUNECNN_DATA`, or else a folder in the user's cache."""
    named = os.environ.get("TUNECNN_DATA")
    return expanded(named) if named else Path(platformdirs.user_cache_dir("tunecnn")) / "data"


def load_dataset(
    name: str | Path,
    split: Split | None = None,
    data_dir: str | Path | None = None,
    options: ImageOptions | None = None,
    *,
    more_splits: Sequence[Split] = (),
) -> Dataset:
    """Load a data set, and split its training images into training and validation images.

    A data set without test images gives a fifth of its training images; one with validation images
    of its own keeps them. No group of images and no two identical images are divided between
    parts that are split here.

    Args:
        name: name of the data set; `tunecnn data list` shows them.
        split: rule of the split; None for a stratified split with a fifth for validation.
        data_dir: folder of the downloaded files; None for `default_data_dir`.
        options: how the images are read; None for the defaults.
        more_splits: rules of further splits, which differ in the seed.

    Raises:
        InputError: if the data set is unknown, missing, damaged or too small for the split.
    """
    if split is not None and not isinstance(split, Split):
        raise InputError(f"split must be a tunecnn.Split, such as Split(seed=1), not {split!r}")
    if options is not None and not isinstance(options, ImageOptions):
        raise InputError(
            f"options must be those of a config, config.image_options, not {options!r}"
        )
    if not isinstance(name, str | Path):
        raise InputError(
            f"a data set is given by its name, not as {type(name).__name__}; tunecnn.search takes "
            "arrays"
        )
    name = str(name)
    arrays = read_arrays(name, data_dir, options)
    ids = content_ids([images.pixels for images in arrays.parts.values()])
    split = split or Split()
    positions, notes = _positions(arrays, split, name, ids[: len(arrays.train)])
    parts = {part: _images_at(arrays, where) for part, where in positions.items()}
    splits = {split.seed: _trial_data(name, arrays, parts)}
    digest = hashlib.sha256(_split_bytes(positions))
    for further in more_splits:
        where, _ = _positions(arrays, further, name, ids[: len(arrays.train)])
        train_and_validation = {part: _images_at(arrays, where[part]) for part in _OF_TRIALS}
        splits[further.seed] = _trial_data(name, arrays, train_and_validation)
        digest.update(_split_bytes(where))
    return Dataset(
        splits=splits,
        test=parts["test"],
        fingerprint=arrays.fingerprint(),
        split_fingerprint=digest.hexdigest()[:16],
        sheet=make_sheet(arrays, parts, positions, ids, notes),
        fixed_split=_fixed_split(arrays, split),
    )


def _trial_data(name: str, arrays: Arrays, parts: Mapping[str, Images]) -> TrialData:
    return TrialData.measure(name, arrays.classes, *(parts[part] for part in _OF_TRIALS))


def _split_bytes(positions: Mapping[str, Labels]) -> bytes:
    """Return what identifies a split in its fingerprint."""
    return b"|".join(positions[part].tobytes() for part in _OF_TRIALS)


def _fixed_split(arrays: Arrays, split: Split) -> str:
    """Return why another seed gives no other validation images; empty if it does."""
    if arrays.validation is not None:
        return "the data set has validation images of its own, so there is no other split of it"
    if split.method != "stratified":
        return f"split: {split.method} is one split of the data, without a seed"
    return ""


def _positions(
    arrays: Arrays, split: Split, name: str, ids: Labels
) -> tuple[dict[str, Labels], list[str]]:
    """Decide which images train, validate and test.

    Args:
        arrays: data set as it was found.
        split: rule of the split.
        name: name of the data set.
        ids: number of each training image, equal for identical images.

    Returns:
        The positions of the images of each part in the data set's own training, validation and
        test images, one after the other; and sentences about what was inferred.
    """
    labels, classes = arrays.train.labels, arrays.classes
    notes = list(arrays.notes)
    splits = (not len(arrays.test)) + (arrays.validation is None)
    alike = [
        label for label in np.unique(labels) if len(np.unique(ids[labels == label])) <= splits
    ]
    if alike and splits:
        ids = np.where(np.isin(labels, alike), ids.max() + 1 + np.arange(len(ids)), ids)
        names = listed(classes[label] for label in alike)
        notes.append(f"there are not enough different images of {names}, so copies are divided")
    if arrays.groups is not None and len(np.unique(arrays.groups)) == len(labels):
        raise InputError(
            f"{name}: no two training images have the same group, so groups do nothing; correct "
            "them, or leave them out"
        )
    groups = ids if arrays.groups is None else united(arrays.groups, ids)
    if arrays.groups is not None and splits < 2:
        own = [
            what
            for what, is_own in (
                ("validation", arrays.validation is not None),
                ("test", len(arrays.test) > 0),
            )
            if is_own
        ]
        notes.append(
            f"groups are kept together only where images are split here: the data set's own "
            f"{' and '.join(own)} images stay where they are, and may share groups with others"
        )
    validation_start = len(labels)
    test_start = validation_start + len(arrays.validation or ())
    rest = np.arange(len(labels))
    test = np.arange(test_start, test_start + len(arrays.test))
    if not len(test):
        rest, test = stratified(labels, _TEST_SHARE, _TEST_SEED, "test", groups, classes)
        why = _odd_share(len(test) / len(labels), _TEST_SHARE, arrays, ids)
        notes.append(
            f"there are no labelled test images, so {len(test):,} of the {len(labels):,} training "
            f"images test ({why or 'a fifth'}, by a fixed seed)"
        )
    if arrays.validation is not None:
        train = rest[split.subset(labels[rest], np.arange(len(rest)))]
        return {
            "train": train,
            "validation": np.arange(validation_start, test_start),
            "test": test,
        }, notes
    train, validation = split.indices(labels[rest], name, groups[rest], classes)
    why = _odd_share(len(validation) / len(rest), split.validation, arrays, ids)
    if split.method == "stratified" and why:
        notes.append(f"{len(validation):,} images validate ({why})")
    return {"train": rest[train], "validation": rest[validation], "test": test}, notes


def _odd_share(share: float, wanted: float, arrays: Arrays, ids: Labels) -> str:
    """Say why a part has another share of the images than was wanted; empty if it has about it."""
    if 0.75 * wanted <= share <= 1.25 * wanted:
        return ""
    why = "each class gives at least one"
    if len(np.unique(ids)) < len(ids):
        why = "identical images stay together"
    if arrays.groups is not None:
        why = "groups stay together"
    return f"{share:.1%} in the place of {wanted:.1%}, since {why}"


def _images_at(arrays: Arrays, positions: Labels) -> Images:
    """Return copies of the images at some positions, which lie in one of the parts."""
    start = 0
    for images in arrays.parts.values():
        if len(positions) and start <= positions[0] < start + len(images):
            return images.take(positions - start)
        start += len(images)
    return arrays.test


def read_arrays(
    name: str,
    data_dir: str | Path | None = None,
    options: ImageOptions | None = None,
    *,
    download: bool = True,
) -> Arrays:
    """Read a whole data set by name, in its original order and without a split.

    Raises:
        InputError: if it is unknown, missing or damaged.
    """
    kind, path = kind_and_path(name)
    options = options or ImageOptions()
    folder = _folder(data_dir)
    if kind == IMAGEFOLDER:
        from tunecnn.data.folder.reader import read_imagefolder

        return read_imagefolder(Path(path), options, folder)
    if kind == HUGGINGFACE:
        from tunecnn.data.sources.huggingface import read_huggingface

        return read_huggingface(Path(path), options)
    return _resized(_read_whole(kind, path, options, folder, download=download), options)


def _read_whole(
    kind: str, path: str, options: ImageOptions, folder: Path, *, download: bool
) -> Arrays:
    """Read a data set whose images all have one size already, in that size."""
    if kind == IDX:
        from tunecnn.data.sources.idx import read_idx_folder

        return read_idx_folder(Path(path), options)
    if kind == NPZ:
        from tunecnn.data.sources.arrays import read_npz

        return read_npz(expanded(path), options)
    if kind == FUNCTION:
        from tunecnn.data.sources.arrays import read_function

        return read_function(path, options)
    if kind in _READERS:
        return _READERS[kind]()
    from tunecnn.data.downloads import DOWNLOADS, read_published

    if kind in DOWNLOADS:
        return read_published(kind, folder, download=download)
    from tunecnn.data.sources.torchvision_sets import read_torchvision

    return read_torchvision(kind, folder, download=download)


def _resized(arrays: Arrays, options: ImageOptions) -> Arrays:
    """Return a data set with all images in the size of the options."""
    if options.size is None:
        return arrays
    from tunecnn.data.folder.pixels import resized

    def scaled(images: Images) -> Images:
        return Images(resized(images.pixels, options), images.labels)

    own = arrays.validation
    return replace(
        arrays,
        train=scaled(arrays.train),
        test=scaled(arrays.test),
        validation=None if own is None else scaled(own),
    )


def fetch(name: str, data_dir: str | Path | None = None) -> None:
    """Download the missing files of a data set.

    Raises:
        InputError: if it is unknown, or if its files are missing and cannot be downloaded.
    """
    if is_own(name) or name in _READERS:
        return
    from tunecnn.data.downloads import DOWNLOADS, fetch_published

    if name in DOWNLOADS:
        fetch_published(name, _folder(data_dir))
    else:
        read_arrays(name, data_dir)


def clean(name: str, data_dir: str | Path | None = None) -> list[Path]:
    """Remove the decoded copies of own images; return the folders that were removed.

    Raises:
        InputError: if the data set is not made of own images, or a folder cannot be removed.
    """
    kind, path = kind_and_path(name)
    if kind != IMAGEFOLDER:
        raise InputError(
            f"{name} has no decoded copies; only image folders have (imagefolder:PATH)"
        )
    from tunecnn.data.folder.cache import clean as clean_cache

    return clean_cache(Path(path), _folder(data_dir))


def is_here(name: str, data_dir: str | Path | None = None) -> bool:
    """Return whether a data set needs no download: its files are there, or it has none."""
    if name in _READERS:
        return True
    from tunecnn.data.downloads import DOWNLOADS, missing_files

    if name in DOWNLOADS:
        return not missing_files(name, _folder(data_dir))
    from tunecnn.data.sources.torchvision_sets import is_there

    return is_there(name, _folder(data_dir))


def _folder(data_dir: str | Path | None) -> Path:
    return expanded(data_dir if data_dir is not None else default_data_dir())


def _read_digits() -> Arrays:
    """Read scikit-learn's digits, scaled from 0..16 to 0..255, with a fixed fifth for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    rest, test = stratified(labels, _TEST_SHARE, _TEST_SEED, "test")
    classes = tuple(str(name) for name in bunch.target_names)
    images = Images(pixels, labels)
    return Arrays(images.take(rest), images.take(test), classes)


_READERS: Mapping[str, Callable[[], Arrays]] = {"digits": _read_digits}
"""Readers of the data sets that need no download, by name."""
