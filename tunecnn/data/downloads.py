"""Download, check and reading of the published files of MNIST, Fashion-MNIST and CIFAR-10.

The file names, checksums and URLs are those of torchvision. They are repeated here because
importing torchvision takes seconds, which a search with existing files need not spend. A file is
accepted only if its MD5, or that of its uncompressed content (users may recompress files), is the
published one. Files are read directly from their archives, so a read-only folder is enough.
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

from tunecnn.data.images import Arrays, Images, Pixels
from tunecnn.errors import InputError


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its path below the data folder, its MD5 and its URLs.

    `content_md5` is the MD5 of the uncompressed content, if it is published too.
    """

    path: str
    md5: str
    urls: tuple[str, ...]
    content_md5: str | None = None


@dataclass(frozen=True)
class Download:
    """A published data set: its files, and the function that reads them."""

    files: tuple[RemoteFile, ...]
    read: Callable[[Sequence[Path]], Arrays]


def missing_files(name: str, data_dir: Path) -> list[Path]:
    """Return the files of a published data set that are missing below `data_dir`.

    Existing files are not checked.
    """
    return [data_dir / file.path for file in DOWNLOADS[name].files
            if not (data_dir / file.path).is_file()]  # fmt: skip


def read_published(name: str, data_dir: Path, *, download: bool = True) -> Arrays:
    """Read a published data set.

    Args:
        name: name of the data set: `mnist`, `fashion-mnist` or `cifar10`.
        data_dir: folder with the layout of torchvision's `root`.
        download: whether to download missing files.

    Raises:
        InputError: if a file is missing and cannot be downloaded, or is not the published one.
    """
    source = DOWNLOADS[name]
    if download:
        fetch_published(name, data_dir)
    elif missing := missing_files(name, data_dir):
        raise InputError(_not_here(name, data_dir, missing, "downloading was not requested"))
    for file in source.files:
        _check(file, data_dir / file.path)
    return source.read([data_dir / file.path for file in source.files])


def fetch_published(name: str, data_dir: Path) -> None:
    """Download the missing files of a published data set, under a lock, with progress on stderr.

    Raises:
        InputError: if a file cannot be downloaded.
    """
    if not missing_files(name, data_dir):
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / ".tunecnn-download.lock"):
            for file in DOWNLOADS[name].files:
                target = data_dir / file.path
                if not target.is_file():  # another process may have fetched it meanwhile
                    _fetch(file, target)
    except OSError as error:
        missing = missing_files(name, data_dir)
        raise InputError(_not_here(name, data_dir, missing, str(error))) from error


def _fetch(file: RemoteFile, target: Path) -> None:
    """Download a file under a temporary name, and rename it only if its MD5 is right."""
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
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found == file.md5 or (file.content_md5 and _content_md5(path) == file.content_md5):
        return
    raise InputError(
        f"{path} is corrupt or only half downloaded: its MD5 is {found}, the published "
        f"file's is {file.md5}. Remove it and run again to download it again."
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
        f"Use --data-dir FOLDER (or TUNECNN_DATA) if you have these files, or "
        f"--dataset digits, which needs no download."
    )


def _read_idx_files(paths: Sequence[Path], classes: tuple[str, ...]) -> Arrays:
    """Read four IDX files: training images and labels, test images and labels."""
    train, train_labels, test, test_labels = (_read_idx(path) for path in paths)
    return Arrays(
        Images(train[..., None], train_labels.astype(np.int64)),
        Images(test[..., None], test_labels.astype(np.int64)),
        classes,
    )


def _read_idx(path: Path) -> Pixels:
    """Read a gzipped IDX file of bytes: magic bytes 0 0 8 ndim, big-endian sizes, values."""
    with gzip.open(path) as stream:
        data = stream.read()
    ndim = data[3]
    sizes = np.frombuffer(data, ">u4", count=ndim, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(sizes.astype(int))


def _read_cifar10(paths: Sequence[Path]) -> Arrays:
    """Read the batches of CIFAR-10: pickles, but from an archive with the published checksum."""
    with tarfile.open(paths[0]) as tar:

        def load(name: str) -> Any:
            member = tar.extractfile(f"cifar-10-batches-py/{name}")
            assert member is not None
            return pickle.load(member, encoding="latin1")

        train = [load(f"data_batch_{number}") for number in range(1, 6)]
        test = [load("test_batch")]
        classes = tuple(load("batches.meta")["label_names"])
    return Arrays(_cifar_part(train), _cifar_part(test), classes)


def _cifar_part(batches: Sequence[Any]) -> Images:
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches]).astype(np.int64)
    return Images(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels)


def _idx_files(
    folder: str, mirrors: Sequence[str], checksums: Sequence[tuple[str, str | None]]
) -> tuple[RemoteFile, ...]:
    names = [
        f"{part}-{content}-ubyte.gz"
        for part in ("train", "t10k")
        for content in ("images-idx3", "labels-idx1")
    ]
    return tuple(
        RemoteFile(
            f"{folder}/raw/{name}", md5, tuple(mirror + name for mirror in mirrors), content
        )
        for name, (md5, content) in zip(names, checksums, strict=True)
    )


DOWNLOADS: dict[str, Download] = {
    "mnist": Download(
        _idx_files(
            "MNIST",
            [
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ],
            [
                ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
                ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
                ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
                ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
            ],
        ),
        lambda paths: _read_idx_files(paths, tuple("0123456789")),
    ),
    "fashion-mnist": Download(
        _idx_files(
            "FashionMNIST",
            ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
            [
                ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", None),
                ("25c81989df183df01b3e8a0aad5dffbe", None),
                ("bef4ecab320f06d8554ea6380940ec79", None),
                ("bb300cfdad3c16e7a12a480ee83cd310", None),
            ],
        ),
        lambda paths: _read_idx_files(
            paths,
            (
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
        ),  # fmt: skip
    ),
    "cifar10": Download(
        (
            RemoteFile(
                "cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            ),
        ),
        _read_cifar10,
    ),
}
