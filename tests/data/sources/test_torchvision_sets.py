from __future__ import annotations

import bz2

import numpy as np
import pytest

from tests.support.idx import write
from tunecnn.data.loading import is_here, read_arrays
from tunecnn.data.sources.torchvision_sets import SETS
from tunecnn.errors import InputError


def test_emnists_letters_stand_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (26, 28, 28), dtype=np.uint8)
    raw = tmp_path / "EMNIST" / "raw"
    for part in ("train", "test"):
        write(raw, f"emnist-letters-{part}-images-idx3-ubyte", pixels.transpose(0, 2, 1).copy())
        write(raw, f"emnist-letters-{part}-labels-idx1-ubyte", np.arange(1, 27, dtype=np.uint8))
    assert is_here("emnist-letters", tmp_path)
    arrays = read_arrays("emnist-letters", tmp_path, download=False)
    assert np.array_equal(arrays.train.pixels[..., 0], pixels)
    assert arrays.train.labels.tolist() == list(range(26))
    assert arrays.classes == tuple("abcdefghijklmnopqrstuvwxyz")


def test_usps_is_read_through_torchvision(tmp_path):
    row = " ".join(f"{i}:{i / 128 - 1:.4f}" for i in range(1, 257))
    lines = "".join(f"{label} {row}\n" for label in range(1, 11)).encode()
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / name).write_bytes(bz2.compress(lines))
    arrays = read_arrays("usps", tmp_path, download=False)
    assert arrays.train.pixels.shape == (10, 16, 16, 1)
    assert arrays.train.labels.tolist() == list(range(10))


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_is_not_here_says_where_it_was_looked_for(name, tmp_path):
    assert not is_here(name, tmp_path)
    with pytest.raises(InputError, match=f"'{name}' could not be read or fetched") as caught:
        read_arrays(name, tmp_path, download=False)
    assert str(tmp_path) in str(caught.value)
    assert "--data-dir" in str(caught.value)
