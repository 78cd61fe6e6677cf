"""The known data sets, with the properties that recipes use.

Nothing here reads a file or imports torch; `tunecnn.data.loading` loads the data sets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tunecnn.errors import InputError, nearest
from tunecnn.files import expanded

IMAGEFOLDER, HUGGINGFACE, IDX, NPZ, FUNCTION = (
    "imagefolder",
    "huggingface",
    "idx",
    "npz",
    "function",
)


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
        has_published_results: whether published results exist for it.
        batch: batch size in the `fast` recipe; with a small data set or few epochs, it must be
            small to give enough steps.
    """

    about: str
    flip: bool = False
    crop: float = 0.0
    validation: float = 0.2
    published_pixels: str = "unit"
    has_published_results: bool = False
    batch: int = 128


_DIGITS = DatasetInfo("", crop=0.07, validation=0.1)  # like MNIST: 28x28, not to be mirrored
_OWN = DatasetInfo("", published_pixels="raw", batch=64)  # nothing is known, so nothing is assumed

NAMED: Mapping[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "1,797 real 8x8 digits that scikit-learn ships: no download", crop=0.125, batch=32
    ),
    "mnist": replace(_DIGITS, about="70,000 handwritten 28x28 digits", has_published_results=True),
    "fashion-mnist": replace(_DIGITS, about="70,000 pictures of clothes, 28x28", flip=True),
    "kmnist": replace(_DIGITS, about="70,000 Japanese characters of 10 kinds, 28x28"),
    "emnist-balanced": replace(_DIGITS, about="131,600 letters and digits of 47 kinds, 28x28"),
    "emnist-letters": replace(_DIGITS, about="145,600 letters of 26 kinds, 28x28"),
    "qmnist": replace(_DIGITS, about="120,000 digits: MNIST with its whole test set, 28x28"),
    "usps": replace(_DIGITS, about="9,298 digits from envelopes, 16x16"),
    "svhn": DatasetInfo(
        "99,289 house numbers, 32x32 in colour", crop=0.0625, validation=0.1, batch=64
    ),
    "cifar10": DatasetInfo(
        "60,000 colour photographs, 32x32",
        flip=True,
        crop=0.0625,
        published_pixels="raw",
        has_published_results=True,
        batch=64,
    ),
    "cifar100": DatasetInfo(
        "60,000 colour photographs of 100 kinds, 32x32", flip=True, crop=0.0625, batch=64
    ),
    "stl10": DatasetInfo("13,000 colour photographs, 96x96", flip=True, crop=0.0625, batch=64),
}
"""Data sets that have a name."""
OWN: Mapping[str, tuple[str, DatasetInfo]] = {
    kind: (form, replace(_OWN, about=about))
    for kind, form, about in (
        (IMAGEFOLDER, "imagefolder:PATH", "a folder or archive with a folder per class"),
        (HUGGINGFACE, "huggingface:PATH", "a folder of Parquet files, or of save_to_disk"),
        (IDX, "idx:PATH", "a folder with four files in MNIST's format"),
        (NPZ, "PATH.npz", "NumPy arrays: train_images, train_labels, ..."),
        (FUNCTION, "FILE.py:FUNCTION", "a function that returns such arrays"),
    )
}
"""Kinds of the user's own data: how they are written, and their properties."""


def kind_and_path(name: str) -> tuple[str, str]:
    """Return the kind of a user's own data and its path; for a named data set, the name and "".

    Raises:
        InputError: if there is no such data set, or its path is missing.
    """
    prefix, _, path = name.partition(":")
    if prefix in (IMAGEFOLDER, HUGGINGFACE, IDX):
        if not path:
            raise InputError(f"{prefix} needs the path of the images: {prefix}:PATH")
        return prefix, path
    if name in NAMED:
        return name, ""
    if name.lower().endswith(".npz"):
        return NPZ, name
    file, _, function = name.rpartition(":")
    if file.endswith(".py"):
        if not function.isidentifier():
            raise InputError(f"{name!r} needs the name of a function: {file}:FUNCTION")
        return FUNCTION, name
    if name.endswith(".py"):
        raise InputError(f"{name!r} needs the name of a function: {name}:FUNCTION")
    if name and os.path.exists(expanded(name)):  # noqa: PTH110, which is False for what is no path
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
        advice = {
            ".parquet": f"for the files of Hugging Face, write {HUGGINGFACE}:{name}",
            ".npy": f"one array is not enough: save images and labels in a {NPZ} file, with "
                    "numpy.savez(FILE, images=..., labels=...)",
        } | dict.fromkeys(
            (".csv", ".tsv", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt", ".pth", ".rar",
             ".7z"),
            f"a file with the suffix {suffix} is not read: write a function that returns its "
            "images and labels as arrays, and FILE.py:FUNCTION",
        )  # fmt: skip
        otherwise = f"for images in folders or an archive, write {IMAGEFOLDER}:{name}"
        raise InputError(
            f"{name!r} is a path, and no data set has that name; {advice.get(suffix, otherwise)}"
        )
    forms = [form for form, _ in OWN.values()]
    raise InputError(f"unknown data set {name!r}; {nearest(name, [*NAMED, *forms])}")


def is_own(name: str) -> bool:
    """Return whether a data set is the user's own, and not one of those that have a name."""
    return kind_and_path(name)[0] in OWN


def dataset_info(name: str) -> DatasetInfo:
    """Return the properties of a data set by name, such as `mnist` or `imagefolder:PATH`.

    Raises:
        InputError: if there is no such data set, or its path is missing.
    """
    kind, _ = kind_and_path(name)
    return OWN[kind][1] if kind in OWN else NAMED[kind]


def absolute(name: str) -> str:
    """Return a name with the path of own images made absolute; other names are unchanged."""
    try:
        kind, path = kind_and_path(name)
    except InputError:
        return name  # its own message comes later
    if kind not in OWN:
        return name
    if kind == FUNCTION:
        file, _, function = path.rpartition(":")
        return f"{expanded(file).resolve()}:{function}"
    place = os.path.abspath(expanded(path))  # noqa: PTH100  a link keeps its suffix
    return place if kind == NPZ else f"{kind}:{place}"
