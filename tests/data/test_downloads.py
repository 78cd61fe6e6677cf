from __future__ import annotations

import functools
import gzip
import hashlib
import importlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.idx import idx
from tunecnn.data.downloads import DOWNLOADS, RemoteFile, missing_files, read_published
from tunecnn.data.sources.cifar10 import MEMBERS
from tunecnn.errors import InputError


@pytest.fixture(scope="module")
def torchvision_sets() -> ModuleType:
    """torchvision's data sets; imported by its tests alone, since the import takes two seconds."""
    return importlib.import_module("torchvision.datasets")


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
        quick = {"poll_interval": 0.02}  # by default it takes half a second to stop
        threading.Thread(target=httpd.serve_forever, kwargs=quick, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> Path:
    """Four files in MNIST's format, taken for the published ones."""
    random = np.random.default_rng(0)
    folder = tmp_path / "served" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    known = {file.path: file for file in DOWNLOADS["mnist"].files}
    files = []
    for part, count in (("train", 30), ("t10k", 10)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", images[:, 0, 0] % 10)):
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(idx(array)))
            path = f"MNIST/raw/{name}"
            md5 = hashlib.md5((folder / name).read_bytes()).hexdigest()
            content = hashlib.md5(idx(array)).hexdigest()
            urls = (f"{server}/{path}",)
            files.append(replace(known[path], md5=md5, urls=urls, content_md5=content))
    instead_of(monkeypatch, "mnist", *files)
    return tmp_path / "served"


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_what_is_published_is_what_torchvision_knows(name, theirs, torchvision_sets):
    theirs = getattr(torchvision_sets, theirs)
    folder = f"{theirs.__name__}/raw"
    assert [(file.path, file.md5, file.urls) for file in DOWNLOADS[name].files] == [
        (f"{folder}/{file}", md5, tuple(mirror + file for mirror in theirs.mirrors))
        for file, md5 in theirs.resources
    ]


@pytest.mark.parametrize(
    ("name", "theirs"), [("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_the_classes_are_torchvisions(name, theirs, small_mnist, monkeypatch, torchvision_sets):
    instead_of(monkeypatch, name, *DOWNLOADS["mnist"].files)
    assert read_published(name, small_mnist).classes == tuple(
        getattr(torchvision_sets, theirs).classes
    )


def test_cifar10_is_the_archive_that_torchvision_knows(torchvision_sets):
    (archive,) = DOWNLOADS["cifar10"].files
    theirs = torchvision_sets.CIFAR10
    assert (archive.path, archive.md5, archive.urls) == (
        theirs.filename,
        theirs.tgz_md5,
        (theirs.url,),
    )


def test_cifar10s_files_are_those_that_torchvision_knows(torchvision_sets):
    theirs = torchvision_sets.CIFAR10
    meta = theirs.meta
    files = [*theirs.train_list, *theirs.test_list, (meta["filename"], meta["md5"])]
    assert dict(MEMBERS) == dict(map(tuple, files))


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
    assert not list(target.rglob(".partial-*"))
    assert fetched.fingerprint() == read_published("mnist", small_mnist).fingerprint()


def test_a_download_with_another_checksum_is_not_kept(small_mnist, tmp_path):
    served = small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    served.write_bytes(b"an error page")
    target = tmp_path / "fetched"
    with pytest.raises(InputError, match="could not be fetched"):
        read_published("mnist", target)
    assert [path.name for path in missing_files("mnist", target)] == [served.name]
    assert not list(target.rglob(".partial-*"))


@pytest.mark.parametrize("damage", ["half", "flipped", "empty"])
def test_a_damaged_file_is_named_and_never_trained_on(damage, small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"half": data[: len(data) // 2], "flipped": data, "empty": b""}[damage])
    before = path.read_bytes()
    message = {"half": "is incomplete", "flipped": "cannot be unpacked", "empty": "is empty"}
    with pytest.raises(InputError, match=f"ubyte.gz .*{message[damage]}") as caught:
        read_published("mnist", small_mnist)
    assert "Nothing was changed" in str(caught.value)
    assert "emove" not in str(caught.value).replace("moved", "")
    assert path.read_bytes() == before


def test_a_file_compressed_again_is_known_by_its_content(small_mnist):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=1))
    assert len(read_published("mnist", small_mnist).train.labels) == 30


@pytest.mark.parametrize("place", ["MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize("dotted", [False, True])
def test_unpacked_and_renamed_files_are_found(place, dotted, small_mnist, tmp_path):
    folder = tmp_path / "unpacked" / place
    folder.mkdir(parents=True)
    for file in small_mnist.rglob("*.gz"):
        name = file.name.removesuffix(".gz")
        name = name.replace("-idx", ".idx") if dotted else name
        (folder / name).write_bytes(gzip.decompress(file.read_bytes()))
    assert not missing_files("mnist", tmp_path / "unpacked")
    found = read_published("mnist", tmp_path / "unpacked", download=False)
    assert found.fingerprint() == read_published("mnist", small_mnist).fingerprint()
    assert found.notes == ()


def test_a_whole_file_is_used_beside_half_of_it(small_mnist):
    packed = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = packed.read_bytes()
    packed.with_suffix("").write_bytes(gzip.decompress(content))
    packed.write_bytes(content[:100])
    assert len(read_published("mnist", small_mnist, download=False).train) == 30


def test_another_data_sets_files_are_named_for_what_they_are(small_mnist, monkeypatch):
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = idx(np.zeros((30, 28, 28), np.uint8))
    path.write_bytes(gzip.compress(content, mtime=0))
    with pytest.raises(InputError) as caught:
        read_published("mnist", small_mnist)
    for part in ("is whole (30 images of 28x28), but not MNIST's", f"idx:{path.parent}"):
        assert part in str(caught.value)
    first, *others = DOWNLOADS["kmnist"].files
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    instead_of(monkeypatch, "kmnist", replace(first, md5=md5), *others)
    with pytest.raises(InputError, match="is a file of KMNIST, not of MNIST: --dataset kmnist"):
        read_published("mnist", small_mnist)


def test_files_whose_content_has_no_published_checksum_are_used_and_it_is_said(
    small_mnist, monkeypatch
):
    files = [replace(file, content_md5=None) for file in DOWNLOADS["mnist"].files]
    instead_of(monkeypatch, "mnist", *files)
    for file in small_mnist.rglob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.rename(file.with_name(f"{file.name}.aside"))
    (note,) = read_published("mnist", small_mnist, download=False).notes
    assert "MNIST was unpacked or packed again" in note


def test_no_network_and_no_files_is_one_clear_error(tmp_path, monkeypatch):
    (archive,) = DOWNLOADS["cifar10"].files
    nowhere = replace(archive, urls=("http://127.0.0.1:9/nowhere.tar.gz",))
    instead_of(monkeypatch, "cifar10", nowhere)
    with pytest.raises(InputError) as caught:
        read_published("cifar10", tmp_path)
    message = str(caught.value)
    for part in (
        "'cifar10' is not here",
        str(tmp_path / "cifar-10-python.tar.gz"),
        "--data-dir",
        "--dataset digits",
    ):
        assert part in message
