from __future__ import annotations

import hashlib
import pickle
import tarfile

import numpy as np
import pytest

from tunecnn.data.loading import read_arrays
from tunecnn.data.sources import cifar10
from tunecnn.errors import InputError

TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
LABELS = [0, 1, 1, 0]


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """The folder `cifar-10-batches-py` with few images, taken for the published ones."""
    random = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = {
        name: random.integers(0, 256, (4, 3072), dtype=np.uint8) for name in [*TRAIN, "test_batch"]
    }
    for name, values in pixels.items():
        (folder / name).write_bytes(pickle.dumps({"data": values, "labels": LABELS}))
    meta = {"label_names": [f"class {i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    for file in folder.iterdir():
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        monkeypatch.setitem(cifar10.MEMBERS, file.name, md5)
    return pixels


def check(arrays, batches) -> None:
    assert arrays.train.pixels.shape == (20, 32, 32, 3)
    red_green_blue = batches["data_batch_2"][1].reshape(3, 32, 32)
    assert np.array_equal(arrays.train.pixels[5], red_green_blue.transpose(1, 2, 0))
    assert arrays.test.labels.tolist() == LABELS


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("cifar-10-python.tar.gz", "w:gz"),
        ("cifar-10-python.tar.gz", "w:xz"),
        ("cifar-10-python.tar", "w"),
    ],
)
def test_an_archive_is_read_whatever_its_compression(name, mode, batches, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    (tmp_path / "other").mkdir()
    with tarfile.open(tmp_path / "other" / name, mode) as tar:
        tar.add(folder, folder.name)
    check(read_arrays("cifar10", tmp_path / "other", download=False), batches)


def test_the_unpacked_files_are_read(batches, tmp_path):
    check(read_arrays("cifar10", tmp_path, download=False), batches)
    check(read_arrays("cifar10", tmp_path / "cifar-10-batches-py", download=False), batches)


def test_the_binary_form_is_read_and_said(batches, tmp_path):
    folder = tmp_path / "bin" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, pixels in batches.items():
        labels = np.array(LABELS, np.uint8)[:, None]
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, pixels]).tobytes())
    arrays = read_arrays("cifar10", tmp_path / "bin", download=False)
    check(arrays, batches)
    assert arrays.notes == (cifar10.BINARY_NOTE,)
    (folder / "test_batch.bin").write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="5,000 bytes, which are not whole images"):
        read_arrays("cifar10", tmp_path / "bin", download=False)


def test_a_pickle_that_is_not_the_published_one_is_never_loaded(batches, tmp_path):
    victim = tmp_path / "cifar-10-batches-py" / "test_batch"

    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").write_text, ("x",))

    victim.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="test_batch that is not the published one"):
        read_arrays("cifar10", tmp_path, download=False)
    assert not (tmp_path / "exploded").exists()


def test_a_missing_batch_and_half_an_archive_are_named(batches, tmp_path):
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(InputError, match="has no data_batch_3"):
        read_arrays("cifar10", tmp_path, download=False)
    (tmp_path / "half").mkdir()
    archive = tmp_path / "half" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    archive.write_bytes(archive.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"tar\.gz .*\n?.*Nothing was changed"):
        read_arrays("cifar10", tmp_path / "half", download=False)
    assert archive.exists()
