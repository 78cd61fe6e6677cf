from __future__ import annotations

import functools
import gzip
import hashlib
import pickle
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from tunecnn.data.downloads import DOWNLOADS, RemoteFile, missing_files, read_published
from tunecnn.errors import InputError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def instead_of(monkeypatch: pytest.MonkeyPatch, name: str, *files: RemoteFile) -> None:
    monkeypatch.setitem(DOWNLOADS, name, replace(DOWNLOADS[name], files=files))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An HTTP server on this machine for the files below `served`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> Path:
    """Four files in MNIST's format, taken for the published ones."""
    random = np.random.default_rng(0)
    folder = tmp_path / "served" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    files = []
    for part, count in (("train", 30), ("t10k", 10)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", images[:, 0, 0] % 10)):
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(idx(array)))
            path = f"MNIST/raw/{name}"
            md5 = hashlib.md5((folder / name).read_bytes()).hexdigest()
            content = hashlib.md5(idx(array)).hexdigest()
            files.append(RemoteFile(path, md5, (f"{server}/{path}",), content))
    instead_of(monkeypatch, "mnist", *files)
    return tmp_path / "served"


@pytest.mark.parametrize(
    ("name", "theirs"), [("mnist", tv.MNIST), ("fashion-mnist", tv.FashionMNIST)]
)
def test_what_is_published_is_what_torchvision_knows(name, theirs):
    folder = f"{theirs.__name__}/raw"
    assert [(file.path, file.md5, file.urls) for file in DOWNLOADS[name].files] == [
        (f"{folder}/{file}", md5, tuple(mirror + file for mirror in theirs.mirrors))
        for file, md5 in theirs.resources
    ]


def test_fashion_mnists_classes_are_torchvisions(small_mnist, monkeypatch):
    instead_of(monkeypatch, "fashion-mnist", *DOWNLOADS["mnist"].files)
    assert read_published("fashion-mnist", small_mnist).classes == tuple(tv.FashionMNIST.classes)


def test_cifar10_is_the_archive_that_torchvision_knows():
    (archive,) = DOWNLOADS["cifar10"].files
    theirs = tv.CIFAR10
    assert (archive.path, archive.md5, archive.urls) == (
        theirs.filename, theirs.tgz_md5, (theirs.url,)
    )  # fmt: skip


def test_files_in_torchvisions_layout_are_read_in_order(small_mnist):
    arrays = read_published("mnist", small_mnist, download=False)
    assert arrays.train.pixels.shape == (30, 28, 28, 1)
    assert np.array_equal(arrays.test.labels, arrays.test.pixels[:, 0, 0, 0] % 10)
    assert arrays.classes == tuple("0123456789")


def test_missing_files_are_fetched_once_and_whole(small_mnist, tmp_path):
    target = tmp_path / "fetched"
    assert len(missing_files("mnist", target)) == 4
    fetched = read_published("mnist", target)
    assert not missing_files("mnist", target)
    assert not list(target.rglob("*.partial"))
    assert fetched.fingerprint() == read_published("mnist", small_mnist).fingerprint()


def test_a_download_with_another_checksum_is_not_kept(small_mnist, tmp_path):
    served = small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    served.write_bytes(b"an error page")
    target = tmp_path / "fetched"
    with pytest.raises(InputError, match="could not be fetched"):
        read_published("mnist", target)
    assert [path.name for path in missing_files("mnist", target)] == [served.name]


@pytest.mark.parametrize("damage", ["half", "flipped", "empty"])
def test_a_damaged_file_is_named_and_never_trained_on(damage, small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"half": data[: len(data) // 2], "flipped": data, "empty": b""}[damage])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz is corrupt or only half"):
        read_published("mnist", small_mnist)


def test_a_file_compressed_again_is_known_by_its_content(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=1))
    assert len(read_published("mnist", small_mnist).train.labels) == 30


def test_no_network_and_no_files_is_one_clear_error(tmp_path, monkeypatch):
    (archive,) = DOWNLOADS["cifar10"].files
    nowhere = replace(archive, urls=("http://127.0.0.1:9/nowhere.tar.gz",))
    instead_of(monkeypatch, "cifar10", nowhere)
    with pytest.raises(InputError) as caught:
        read_published("cifar10", tmp_path)
    message = str(caught.value)
    for part in ("'cifar10' is not here", str(tmp_path / "cifar-10-python.tar.gz"),
                 "--data-dir", "--dataset digits"):  # fmt: skip
        assert part in message


def test_cifar10_is_read_from_its_archive(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    batches = {name: random.integers(0, 256, (4, 3072), dtype=np.uint8)
               for name, _ in [*tv.CIFAR10.train_list, *tv.CIFAR10.test_list]}  # fmt: skip
    folder = tmp_path / tv.CIFAR10.base_folder
    folder.mkdir()
    for name, pixels in batches.items():
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 1, 0]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    archive = tmp_path / tv.CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, tv.CIFAR10.base_folder)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    instead_of(monkeypatch, "cifar10", RemoteFile(archive.name, md5, ()))
    arrays = read_published("cifar10", tmp_path)
    assert arrays.train.pixels.shape == (20, 32, 32, 3)
    red_green_blue = batches["data_batch_2"][1].reshape(3, 32, 32)
    assert np.array_equal(arrays.train.pixels[5], red_green_blue.transpose(1, 2, 0))
    assert arrays.classes == ("cat", "dog")
