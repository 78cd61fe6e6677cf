"""Download, check and reading of the files of MNIST, Fashion-MNIST, KMNIST and CIFAR-10.

The file names, checksums and URLs are those of torchvision. They are repeated here because
importing torchvision takes seconds, which a search with existing files need not spend. People have
these data sets in other forms too: unpacked, packed again, renamed, in another folder. Such files
are found and known by their content. Nothing is ever removed or written over, and a read-only
folder is enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock

from tunecnn.data.images import Arrays, Images, Pixels
from tunecnn.data.sources.cifar10 import BadCifarError, read_cifar10
from tunecnn.data.sources.idx import BadIdxError, read_idx
from tunecnn.errors import InputError
from tunecnn.files import check_regular

_OTHER_FORM = (
    "{} was unpacked or packed again, and only the checksums of its published files are known; so "
    "these images may not be the published ones"
)


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        path: path below the data folder, as torchvision has it.
        md5: MD5 of the file.
        urls: where it can be downloaded.
        content_md5: MD5 of its uncompressed content, if that is published too.
        also: other paths below the data folder at which people have it, in another form.
    """

    path: str
    md5: str
    urls: tuple[str, ...]
    content_md5: str | None = None
    also: tuple[str, ...] = ()

    def places(self, data_dir: Path) -> Iterator[Path]:
        """Yield the existing files or folders that may be this file, the likeliest first."""
        for path in (self.path, *self.also):
            if (data_dir / path).exists():
                yield data_dir / path


@dataclass(frozen=True)
class Download:
    """A published data set: its files, and the function that reads them from a data folder."""

    title: str
    files: tuple[RemoteFile, ...]
    read: Callable[[Download, Path], Arrays]


def missing_files(name: str, data_dir: Path) -> list[Path]:
    """Return the files of a published data set that are missing below `data_dir`.

    Existing files are not checked.
    """
    return [
        data_dir / file.path for file in DOWNLOADS[name].files if not any(file.places(data_dir))
    ]


def read_published(name: str, data_dir: Path, *, download: bool = True) -> Arrays:
    """Read a published data set.

    Args:
        name: name of the data set: `mnist`, `fashion-mnist`, `kmnist` or `cifar10`.
        data_dir: folder with the layout of torchvision's `root`, or with the files themselves.
        download: whether to download missing files.

    Raises:
        InputError: if a file is missing and cannot be downloaded, or is not the published one.
    """
    source = DOWNLOADS[name]
    if download:
        fetch_published(name, data_dir)
    elif missing := missing_files(name, data_dir):
        raise InputError(_not_here(name, data_dir, missing, "downloading was not requested"))
    return source.read(source, data_dir)


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
                if not any(file.places(data_dir)):  # another process may have fetched it meanwhile
                    _fetch(file, target)
    except OSError as error:
        missing = missing_files(name, data_dir)
        raise InputError(_not_here(name, data_dir, missing, str(error))) from error


def _fetch(file: RemoteFile, target: Path) -> None:
    """Download a file into a new folder beside it, and move it only if its MD5 is right."""
    from torchvision.datasets.utils import download_url

    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as folder:
        for url in file.urls:
            try:
                download_url(url, folder, filename=target.name, md5=file.md5)
            except (OSError, RuntimeError) as error:  # URLError is an OSError
                failures.append(f"{url}: {error}")
                with contextlib.suppress(OSError):
                    Path(folder, target.name).unlink(missing_ok=True)
            else:
                Path(folder, target.name).replace(target)
                return
    raise OSError("; ".join(failures))


def _md5(path: Path) -> str:
    check_regular(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _not_here(name: str, data_dir: Path, missing: Sequence[Path], why: str) -> str:
    files = "\n".join(f"  {path}" for path in missing)
    return (
        f"the data set {name!r} is not here and could not be fetched ({why}).\n"
        f"Looked in {data_dir} for:\n{files}\n"
        f"Use --data-dir FOLDER (or TUNECNN_DATA) if you have these files, or "
        f"--dataset digits, which needs no download."
    )


def _read_idx_files(source: Download, data_dir: Path, classes: tuple[str, ...]) -> Arrays:
    """Read four IDX files: training images and labels, test images and labels."""
    found = [_idx_file(source, file, data_dir) for file in source.files]
    train, train_labels, test, test_labels = (values for values, _ in found)
    is_verified = all(verified for _, verified in found)
    return Arrays(
        Images(train[..., None], train_labels.astype(np.int64)),
        Images(test[..., None], test_labels.astype(np.int64)),
        classes,
        notes=() if is_verified else (_OTHER_FORM.format(source.title),),
    )


def _idx_file(source: Download, file: RemoteFile, data_dir: Path) -> tuple[Pixels, bool]:
    """Return the values at the first place with the published content, and if that is certain."""
    problems = []
    for path in file.places(data_dir):
        try:
            values, content = read_idx(path)
        except BadIdxError as error:
            problems.append(f"{path} {error}")
            continue
        md5 = _md5(path)
        if md5 == file.md5:
            return values, True
        content_md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if content_md5 == file.content_md5:
            return values, True
        owner = _owner(content_md5, md5)
        if owner is None and file.content_md5 is None and values.ndim in (1, 3):
            return values, False
        problems.append(f"{path} {_others_file(source, owner, values, path.parent)}")
    raise InputError("\n".join([*problems, _MOVE]))


_MOVE = (
    "Nothing was changed. To get the published file, move this one elsewhere (or name another "
    "folder with --data-dir) and run again: missing files are downloaded."
)


def _owner(content_md5: str, md5: str) -> str | None:
    """Return the name of the published data set that a file is of."""
    for name, source in DOWNLOADS.items():
        if any(md5 == file.md5 or content_md5 == file.content_md5 for file in source.files):
            return name
    return None


def _others_file(source: Download, owner: str | None, values: Pixels, folder: Path) -> str:
    if owner is not None:
        return f"is a file of {DOWNLOADS[owner].title}, not of {source.title}: --dataset {owner}"
    what = f"{len(values):,} " + (
        "labels" if values.ndim == 1 else f"images of {'x'.join(map(str, values.shape[1:]))}"
    )
    return (
        f"is whole ({what}), but not {source.title}'s: KMNIST, EMNIST, QMNIST and others have the "
        f"same file names. To use these files as they are: --dataset idx:{folder}"
    )


def _read_cifar10(source: Download, data_dir: Path) -> Arrays:
    problems = []
    for path in source.files[0].places(data_dir):
        try:
            arrays, note = read_cifar10(path.parent if path.stem == "data_batch_1" else path)
        except BadCifarError as error:
            problems.append(f"{path} {error}")
        else:
            return replace(arrays, notes=(note,) if note else ())
    raise InputError("\n".join([*problems, _MOVE]))


def _idx_files(
    folder: str, mirrors: Sequence[str], checksums: Sequence[tuple[str, str | None]]
) -> tuple[RemoteFile, ...]:
    files = []
    for part, content, (md5, content_md5) in zip(
        ("train", "train", "t10k", "t10k"),
        ("images-idx3", "labels-idx1") * 2,
        checksums,
        strict=True,
    ):
        name = f"{part}-{content}-ubyte"
        forms = [
            form for one in (name, name.replace("-idx", ".idx")) for form in (f"{one}.gz", one)
        ]
        first, *others = (
            f"{place}{form}" for place in (f"{folder}/raw/", f"{folder}/", "") for form in forms
        )
        urls = tuple(f"{mirror}{name}.gz" for mirror in mirrors)
        files.append(RemoteFile(first, md5, urls, content_md5, tuple(others)))
    return tuple(files)


DOWNLOADS: dict[str, Download] = {
    "mnist": Download(
        "MNIST",
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
        partial(_read_idx_files, classes=tuple("0123456789")),
    ),
    "fashion-mnist": Download(
        "Fashion-MNIST",
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
        partial(
            _read_idx_files,
            classes=(
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
        ),
    ),
    "kmnist": Download(
        "KMNIST",
        _idx_files(
            "KMNIST",
            ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
            [
                ("bdb82020997e1d708af4cf47b453dcf7", None),
                ("e144d726b3acfaa3e44228e80efcd344", None),
                ("5c965bf0a639b31b8f53240b1b52f4d7", None),
                ("7320c461ea6c1c855c0b718fb2a4b134", None),
            ],
        ),
        partial(
            _read_idx_files,
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        ),
    ),
    "cifar10": Download(
        "CIFAR-10",
        (
            RemoteFile(
                "cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                also=(
                    "cifar-10-python.tar",
                    "cifar-10-batches-py",
                    "data_batch_1",
                    "cifar-10-binary.tar.gz",
                    "cifar-10-batches-bin",
                    "data_batch_1.bin",
                ),
            ),
        ),
        _read_cifar10,
    ),
}
"""Published data sets by name."""
