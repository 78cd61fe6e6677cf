"""CIFAR-10 in each form in which it is published: an archive or its files, of Python or binary."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.data.images import Arrays, Images
from tunecnn.errors import reason
from tunecnn.files import check_regular

MEMBERS: Mapping[str, str] = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
"""MD5 of each published file of the Python form (those of torchvision)."""
_TRAIN, _TEST, _META = tuple(MEMBERS)[:5], "test_batch", "batches.meta"
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck")  # fmt: skip
_RECORD = 1 + 3 * 32 * 32
BINARY_NOTE = (
    "the files of CIFAR-10's binary form have no published checksums; their sizes and labels are "
    "right"
)


class BadCifarError(Exception):
    """Files that are not those of CIFAR-10, or not whole."""


def read_cifar10(path: Path) -> tuple[Arrays, str | None]:
    """Read CIFAR-10 from an archive or a folder, in its Python or its binary form.

    A file of the Python form is a pickle, which can run code. So it is loaded only if its checksum
    is the published one.

    Returns:
        The data set, and a note about what could not be verified.

    Raises:
        BadCifarError: if a file is missing, incomplete or not the published one.
    """
    try:
        contents = _in_folder(path) if path.is_dir() else _in_archive(path)
    except EOFError as error:
        raise BadCifarError("is incomplete: its compressed data ends early") from error
    except (OSError, tarfile.TarError, zlib.error) as error:
        raise BadCifarError(f"cannot be read: {reason(error)}") from error
    if any(name.endswith(".bin") for name in contents):
        return _binary(contents), BINARY_NOTE
    return _python(contents), None


def _in_folder(path: Path) -> dict[str, bytes]:
    names = [*MEMBERS, *(f"{name}.bin" for name in (*_TRAIN, _TEST))]
    return {name: (path / name).read_bytes() for name in names if (path / name).is_file()}


def _in_archive(path: Path) -> dict[str, bytes]:
    contents = {}
    check_regular(path)
    with tarfile.open(path) as tar:  # whatever its compression
        for member in tar:
            name = Path(member.name).name
            if member.isfile() and (name.removesuffix(".bin") in MEMBERS):
                stream = tar.extractfile(member)
                assert stream is not None
                contents[name] = stream.read()
    return contents


def _python(contents: Mapping[str, bytes]) -> Arrays:
    def load(name: str) -> Any:
        md5 = hashlib.md5(contents[name], usedforsecurity=False).hexdigest()
        if md5 != MEMBERS[name]:
            raise BadCifarError(
                f"has a {name} that is not the published one: its MD5 is {md5}, not "
                f"{MEMBERS[name]}"
            )
        return pickle.loads(contents[name], encoding="latin1")

    if missing := [name for name in MEMBERS if name not in contents]:
        raise BadCifarError(f"has no {', '.join(missing)}")
    classes = tuple(load(_META)["label_names"])
    return _arrays(
        lambda name: (load(name)["data"], load(name)["labels"]),
        classes,
    )


def _binary(contents: Mapping[str, bytes]) -> Arrays:
    def load(name: str) -> tuple[Any, Any]:
        if f"{name}.bin" not in contents:
            raise BadCifarError(f"has no {name}.bin")
        values = np.frombuffer(contents[f"{name}.bin"], np.uint8)
        if not len(values) or len(values) % _RECORD:
            raise BadCifarError(
                f"has a {name}.bin of {len(values):,} bytes, which are not whole images of "
                f"{_RECORD:,} bytes"
            )
        records = values.reshape(-1, _RECORD)
        if records[:, 0].max() >= len(_CLASSES):
            raise BadCifarError(f"has a {name}.bin with the label {records[:, 0].max()}")
        return records[:, 1:], records[:, 0]

    return _arrays(load, _CLASSES)


def _arrays(load: Callable[[str], tuple[Any, Any]], classes: tuple[str, ...]) -> Arrays:
    train, test = [load(name) for name in _TRAIN], [load(_TEST)]
    return Arrays(_images(train), _images(test), classes)


def _images(batches: Sequence[tuple[Any, Any]]) -> Images:
    pixels = np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in batches]).astype(np.int64)
    return Images(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels)
