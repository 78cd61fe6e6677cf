"""The published files of MNIST, Fashion-MNIST and CIFAR-10: found, checked, fetched and read.

The file names, checksums and addresses are torchvision's. A file is trusted only when its MD5, or
that of what it holds (people compress files again), is the published one; it is read straight
from its archive, so a read-only folder is enough.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from tunecnn.errors import InputError
from tunecnn.images import Arrays, Labels, Pixels

# MD5 of the uncompressed files, by the MD5 of the archives that torchvision knows.
_CONTENT_MD5 = {
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": "6bbc9ace898e44ae57da46a324031adb",
    "d53e105ee54ea40749a09fcbcd1e9432": "a25bea736e30d166cdddb491f175f624",
    "9fb629c4189551a2d022fa330f9573f3": "2646ac647ad5339dbf082846283269ea",
    "ec29112dd5afa0611ce80d1b7f02629c": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class RemoteFile:
    """A published file: where it lies below the data folder, its MD5, where it is served.

    `content_md5` is the MD5 of the uncompressed content, where that is published too.
    """

    path: str
    md5: str
    urls: tuple[str, ...]
    content_md5: str | None = None


@dataclass(frozen=True)
class Published:
    """A published data set: its files, and how to read them once they are checked."""

    files: tuple[RemoteFile, ...]
    read: Callable[[Path], Arrays]


def published(name: str) -> Published:
    """Return the files and the reader of `mnist`, `fashion-mnist` or `cifar10`."""
    from torchvision import datasets

    if name == "cifar10":
        return _cifar10(datasets.CIFAR10)
    return _idx(datasets.MNIST if name == "mnist" else datasets.FashionMNIST)


def missing_files(name: str, data_dir: Path) -> list[Path]:
    """Return the files of a published data set that are not below `data_dir`, unchecked."""
    return [data_dir / file.path for file in published(name).files
            if not (data_dir / file.path).is_file()]  # fmt: skip


def read_published(name: str, data_dir: Path, *, download: bool = True) -> Arrays:
    """Read a published data set, fetching what is missing.

    Args:
        name: `mnist`, `fashion-mnist` or `cifar10`.
        data_dir: folder in the layout that torchvision uses as `root`.
        download: fetch missing files (under a lock, with progress on stderr).

    Raises:
        InputError: if a file is missing and cannot be fetched, or is not the published one.
    """
    source = published(name)
    missing = missing_files(name, data_dir)
    if missing and download:
        _fetch_all(name, source.files, data_dir)
    elif missing:
        raise InputError(_not_here(name, data_dir, missing, "downloading was not asked for"))
    for file in source.files:
        _check(file, data_dir / file.path)
    return source.read(data_dir)


def _fetch_all(name: str, files: Sequence[RemoteFile], data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / ".tunecnn-download.lock"):
            for file in files:
                target = data_dir / file.path
                if not target.is_file():  # another process may have fetched it meanwhile
                    _fetch(file, target)
    except OSError as error:
        missing = missing_files(name, data_dir)
        raise InputError(_not_here(name, data_dir, missing, str(error))) from error


def _fetch(file: RemoteFile, target: Path) -> None:
    """Download one file to a temporary name and give it its own only when its MD5 is right."""
    from torchvision.datasets.utils import download_url

    partial = target.with_name(target.name + ".partial")
    failures = []
    for url in file.urls:
        try:
            download_url(url, str(target.parent), filename=partial.name, md5=file.md5)
        except (OSError, RuntimeError) as error:  # URLError is an OSError
            failures.append(f"{url}: {error}")
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        else:
            partial.replace(target)
            return
    raise OSError("; ".join(failures))


def _check(file: RemoteFile, path: Path) -> None:
    from torchvision.datasets.utils import calculate_md5

    found = calculate_md5(path)
    if found == file.md5 or (file.content_md5 and _content_md5(path) == file.content_md5):
        return
    raise InputError(
        f"{path} is corrupt or only half downloaded: its MD5 is {found}, the published "
        f"file's is {file.md5}. Remove it and run again to fetch it anew."
    )


def _content_md5(path: Path) -> str | None:
    try:
        with gzip.open(path) as stream:
            return hashlib.md5(stream.read(), usedforsecurity=False).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None


def _not_here(name: str, data_dir: Path, missing: Sequence[Path], why: str) -> str:
    files = "\n".join(f"  {path}" for path in missing)
    return (
        f"the data set {name!r} is not here and could not be fetched ({why}).\n"
        f"Looked in {data_dir} for:\n{files}\n"
        f"Ways out: --data-dir FOLDER (or TUNECNN_DATA) if you have these files, or "
        f"--dataset digits, which needs no download."
    )


def _idx(dataset: Any) -> Published:
    """Describe one of torchvision's data sets in MNIST's IDX format."""
    folder = f"{dataset.__name__}/raw"
    files = tuple(
        RemoteFile(
            f"{folder}/{name}",
            md5,
            tuple(f"{mirror}{name}" for mirror in dataset.mirrors),
            _CONTENT_MD5.get(md5),
        )
        for name, md5 in dataset.resources
    )

    def read(data_dir: Path) -> Arrays:
        train, train_labels, test, test_labels = (_read_idx(data_dir / f.path) for f in files)
        return Arrays(
            train[..., None],
            train_labels.astype(np.int64),
            test[..., None],
            test_labels.astype(np.int64),
            tuple(name.split(" - ")[0] for name in dataset.classes),
        )

    return Published(files, read)


def _read_idx(path: Path) -> Pixels:
    """Read a gzipped IDX file of bytes: magic 0 0 8 ndim, the sizes big-endian, the values."""
    with gzip.open(path) as stream:
        data = stream.read()
    ndim = data[3]
    sizes = np.frombuffer(data, ">u4", count=ndim, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(sizes.astype(int))


def _cifar10(dataset: Any) -> Published:
    archive = RemoteFile(dataset.filename, dataset.tgz_md5, (dataset.url,))

    def read(data_dir: Path) -> Arrays:
        # Pickles, but of an archive whose checksum is the published one.
        with tarfile.open(data_dir / archive.path) as tar:

            def load(name: str) -> Any:
                member = tar.extractfile(f"{dataset.base_folder}/{name}")
                assert member is not None
                return pickle.load(member, encoding="latin1")

            train = [load(name) for name, _ in dataset.train_list]
            test = [load(name) for name, _ in dataset.test_list]
            classes = tuple(load(dataset.meta["filename"])[dataset.meta["key"]])
        return Arrays(*_cifar_part(train), *_cifar_part(test), classes)

    return Published((archive,), read)


def _cifar_part(batches: Sequence[Any]) -> tuple[Pixels, Labels]:
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches]).astype(np.int64)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels
