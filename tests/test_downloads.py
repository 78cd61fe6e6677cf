from __future__ import annotations

import functools
import gzip
import hashlib
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from tunecnn.downloads import missing_files, read_published
from tunecnn.errors import InputError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


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
    """Four files in MNIST's format, and torchvision's checksums changed to theirs."""
    random = np.random.default_rng(0)
    folder = tmp_path / "served" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for part, count in (("train", 30), ("t10k", 10)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", images[:, 0, 0] % 10)):
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(idx(array)))
            resources.append((name, hashlib.md5((folder / name).read_bytes()).hexdigest()))
    monkeypatch.setattr(tv.MNIST, "resources", resources)
    monkeypatch.setattr(tv.MNIST, "mirrors", [f"{server}/MNIST/raw/"])
    return tmp_path / "served"


def test_files_in_torchvisions_layout_are_read_in_order(small_mnist):
    arrays = read_published("mnist", small_mnist, download=False)
    assert arrays.train_pixels.shape == (30, 28, 28, 1)
    assert np.array_equal(arrays.test_labels, arrays.test_pixels[:, 0, 0, 0] % 10)
    assert arrays.classes == tuple("0123456789")


def test_missing_files_are_fetched_once_and_whole(small_mnist, tmp_path):
    target = tmp_path / "fetched"
    assert len(missing_files("mnist", target)) == 4
    fetched = read_published("mnist", target)
    assert not missing_files("mnist", target)
    assert not list(target.rglob("*.partial"))
    assert fetched.content_hash() == read_published("mnist", small_mnist).content_hash()


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


def test_a_file_compressed_again_is_known_by_its_content(small_mnist, monkeypatch):
    from tunecnn import downloads

    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    known = {md5: hashlib.md5(content).hexdigest() for name, md5 in tv.MNIST.resources
             if name == path.name}  # fmt: skip
    monkeypatch.setattr(downloads, "_CONTENT_MD5", known)
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=1))
    assert len(read_published("mnist", small_mnist).train_labels) == 30


def test_no_network_and_no_files_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tv.CIFAR10, "url", "http://127.0.0.1:9/nowhere.tar.gz")
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
    monkeypatch.setattr(tv.CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    arrays = read_published("cifar10", tmp_path)
    assert arrays.train_pixels.shape == (20, 32, 32, 3)
    red_green_blue = batches["data_batch_2"][1].reshape(3, 32, 32)
    assert np.array_equal(arrays.train_pixels[5], red_green_blue.transpose(1, 2, 0))
    assert arrays.classes == ("cat", "dog")
