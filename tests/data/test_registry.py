from __future__ import annotations

from pathlib import Path

import pytest

from tunecnn.data.registry import NAMED, absolute, dataset_info, is_own, kind_and_path
from tunecnn.errors import InputError


@pytest.mark.parametrize(
    ("name", "kind", "path"),
    [
        ("imagefolder:my photos", "imagefolder", "my photos"),
        ("huggingface:a:b", "huggingface", "a:b"),
        ("idx:raw", "idx", "raw"),
        ("a/b.NPZ", "npz", "a/b.NPZ"),
        ("a/mine.py:load", "function", "a/mine.py:load"),
    ],
)
def test_own_data_are_known_by_their_form(name, kind, path):
    assert kind_and_path(name) == (kind, path)
    assert is_own(name)
    assert not dataset_info(name).flip


def test_a_folder_in_the_place_of_a_name_is_told_how_it_is_written(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in (str(tmp_path), str(tmp_path / "photos")):
        with pytest.raises(InputError) as caught:
            kind_and_path(name)
        assert str(caught.value).endswith(f"in folders or an archive, write imagefolder:{name}")
    with pytest.raises(InputError, match="unknown data set"):
        kind_and_path("no\0thing")
    for name, advice in (("a.npy", "numpy.savez"), ("a.parquet", "write huggingface:")):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=advice):
            kind_and_path(str(tmp_path / name))


@pytest.mark.parametrize("name", NAMED)
def test_named_data_sets_are_their_own_kind(name):
    assert kind_and_path(name) == (name, "")
    assert not is_own(name)
    assert absolute(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagefolder:", "imagefolder needs the path of the images: imagefolder:PATH"),
        ("imagefolder", "imagefolder needs the path"),
        ("mine.py", r"'mine.py' needs the name of a function: mine.py:FUNCTION"),
        ("mine.py:", "needs the name of a function"),
        ("minst", "unknown data set 'minst'; did you mean 'mnist'"),
        ("mnist:x", "unknown data set"),
    ],
)
def test_a_name_that_is_none_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        dataset_info(name)


@pytest.mark.parametrize("form", ["imagefolder:{}", "{}.npz", "{}.py:load"])
def test_paths_of_own_data_are_made_absolute(form, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert absolute(form.format("x/../y")) == form.format(Path(tmp_path).resolve() / "y")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("pixels.csv", "returns its images and labels as arrays, and FILE.py:FUNCTION"),
        ("images.H5", "suffix .h5 is not read: write a function"),
        ("photos.zip", "write imagefolder:"),
    ],
)
def test_a_path_that_is_no_data_set_has_advice_that_works(name, advice, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=advice):
        kind_and_path(str(tmp_path / name))
