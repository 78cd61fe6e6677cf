from __future__ import annotations

import gzip
import tracemalloc
from collections import namedtuple

import numpy as np
import psutil
import pytest

from tests.support.idx import idx, write
from tunecnn.data.loading import read_arrays
from tunecnn.data.sources.idx import BadIdxError, read_idx
from tunecnn.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 6), dtype=np.uint8)
LABELS = (np.arange(20) % 4).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("emnist-byclass-train-images-idx3-ubyte", "emnist-byclass-train-labels-idx1-ubyte"),
    ],
)
def test_files_are_known_by_content_and_part(images, labels, tmp_path):
    write(tmp_path / "raw", images, PIXELS)
    write(tmp_path / "raw", f"{images}.gz", PIXELS, packed=True)
    write(tmp_path / "raw", labels, LABELS)
    write(tmp_path / "raw", images.replace("train", "t10k"), PIXELS[:8])
    write(tmp_path / "raw", f"{labels.replace('train', 't10k')}.gz", LABELS[:8], packed=True)
    arrays = read_arrays(f"idx:{tmp_path}")
    assert np.array_equal(arrays.train.pixels[..., 0], PIXELS)
    assert arrays.train.labels.tolist() == LABELS.tolist()
    assert len(arrays.test) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-10], "is incomplete: it has 710 of the 720 values"),
        (lambda content: content + b"xx", "bytes follow its last value, number"),
        (lambda content: gzip.compress(content)[:-30], "is incomplete: its compressed data ends"),
        (lambda _: b"<html>error</html>", "is no IDX file of bytes: it begins with b'<html>"),
        (lambda _: b"", "is no IDX file of bytes: it is empty"),
    ],
)
def test_a_damaged_file_is_named(change, message, tmp_path):
    write(tmp_path, "train-labels-idx1-ubyte", LABELS)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(change(idx(PIXELS)))
    with pytest.raises(InputError, match=message):
        read_arrays(f"idx:{tmp_path}")


def test_files_that_do_not_pair_are_named(tmp_path):
    with pytest.raises(InputError, match="where images of a run have moved, put a link"):
        read_arrays(f"idx:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="has no training images"):
        read_arrays(f"idx:{tmp_path}")
    write(tmp_path, "train-images-idx3-ubyte", PIXELS)
    with pytest.raises(InputError, match="one file of train labels is needed, not 0"):
        read_arrays(f"idx:{tmp_path}")
    write(tmp_path, "train-labels-idx1-ubyte", LABELS[:5])
    with pytest.raises(InputError, match="has 5 values for 20 images"):
        read_arrays(f"idx:{tmp_path}")
    write(tmp_path, "letters-train-labels-idx1-ubyte", LABELS)
    with pytest.raises(InputError, match="not 2 .*move one data set to a folder of its own"):
        read_arrays(f"idx:{tmp_path}")


def zeros(count: int):
    """A gzip file of so many zero bytes after a header, made without taking them."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(
        b"\0\0\x08\x03" + (count // 1_000_000).to_bytes(4, "big") + (1000).to_bytes(4, "big") * 2
    )
    block = bytes(1_000_000)
    for _ in range(count // len(block)):
        yield packer.compress(block)
    yield packer.flush()


def test_a_small_file_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"".join(zeros(200_000_000)))
    assert path.stat().st_size < 1_000_000
    free = namedtuple("Free", "available")(10_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    tracemalloc.start()
    with pytest.raises(
        InputError, match="holds 200 MB unpacked, and only 10 MB of memory are free"
    ):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_bytes_after_the_last_value_are_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    head = b"\0\0\x08\x01" + (10).to_bytes(4, "big")
    path.write_bytes(gzip.compress(head + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(BadIdxError, match="bytes follow its last value"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
