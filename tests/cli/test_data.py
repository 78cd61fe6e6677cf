from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.command import main


@pytest.fixture
def unbalanced(tmp_path):
    """A tree with copies across its parts, a hidden file, and few cats among many dogs."""
    random = np.random.default_rng(0)
    for part, counts in (("train", {"cat": 4, "dog": 40}), ("test", {"cat": 4, "dog": 4})):
        for name, count in counts.items():
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
                image.save(tmp_path / "pets" / part / name / f"{i}.png")
    train, test = tmp_path / "pets" / "train" / "dog", tmp_path / "pets" / "test" / "dog"
    for i in range(2):
        (test / f"{i}.png").write_bytes((train / f"{i}.png").read_bytes())
    (train / ".hidden.png").write_bytes((train / "1.png").read_bytes())
    return tmp_path / "pets"


def test_prepare_accounts_for_files_classes_and_copies(unbalanced, capsys):
    assert main("data", "prepare", f"imagefolder:{unbalanced}") == 0
    out = capsys.readouterr().out
    for part in (
        "2 classes, images of 12x12x3",
        "used 52, left out 1: hidden 1",
        "largest class dog",
        "always answering dog has a validation accuracy of 88.89%",
        "test images are identical to train images",
        "warning: for example, train/dog/",
    ):
        assert part in out.replace("validation images, so", "train images, so")


def test_a_report_is_json_and_a_picture_of_every_class(unbalanced, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ["data", "report", f"imagefolder:{unbalanced}", "--size", "16", "--fit", "pad"]
    assert main(*words, "--out", str(sheet), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"]["test"] == [4, 4]
    assert report["input_shape"] == [3, 16, 16]
    assert report["used"] == 52
    assert (
        sum(count for pair, count in report["identical"].items() if pair.startswith("test in"))
        == 2
    )
    assert report["majority"]["validation"] == pytest.approx(8 / 9)
    assert report["different"]["test"] == 8
    with Image.open(sheet) as picture:
        assert picture.width > 400


def test_clean_removes_the_cache_and_nothing_else(unbalanced, tmp_path, capsys):
    name = f"imagefolder:{unbalanced}"
    before = sorted(unbalanced.rglob("*"))
    main("data", "prepare", name)
    capsys.readouterr()
    assert main("data", "clean", name) == 0
    assert capsys.readouterr().out == f"removed {tmp_path / 'pets.tunecnn-cache'}\n"
    assert sorted(unbalanced.rglob("*")) == before
    assert main("data", "clean", name) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert main("data", "clean", "digits") == 2
    assert "digits has no decoded copies" in capsys.readouterr().err


def test_bad_files_are_left_out_only_when_asked(unbalanced, capsys):
    (unbalanced / "train" / "cat" / "bad.jpg").write_bytes(b"no image")
    name = f"imagefolder:{unbalanced}"
    assert main("data", "prepare", name) == 2
    assert "1 file of 53 cannot be used" in capsys.readouterr().err
    assert main("data", "prepare", name, "--skip-bad") == 0
    assert "cannot be read: train/cat/bad.jpg" in capsys.readouterr().out


def test_the_list_has_every_kind_of_own_data(capsys):
    assert main("data", "list") == 0
    out = capsys.readouterr().out
    for name in (
        "digits",
        "stl10",
        "imagefolder:PATH",
        "huggingface:PATH",
        "idx:PATH",
        "PATH.npz",
        "FILE.py:FUNCTION",
    ):
        assert name in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--fit", "pad"], "fit 'pad' has no effect without size"),
        (["digits", "--skip-bad"], "skip_bad is for own images, not for 'digits'"),
        (["mine.npz", "--groups", "folder"], "groups is for imagefolder:PATH"),
        (["imagefolder:.", "--background", "puce-ish"], "background 'puce-ish' is no colour"),
        (["digits", "--size", "0"], "'--size': it must be greater than or equal to 1"),
    ],
)
def test_an_option_that_cannot_apply_is_refused(words, message, capsys):
    assert main("data", "prepare", *words) == 2
    assert message in capsys.readouterr().err


def test_a_report_from_within_the_images_does_not_become_one_of_them(
    tmp_path, monkeypatch, capsys
):
    random = np.random.default_rng(0)
    (tmp_path / "pets").mkdir()
    for i in range(16):
        image = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        image.save(tmp_path / "pets" / f"{('cat', 'dog')[i % 2]}.{i}.png")
    monkeypatch.chdir(tmp_path / "pets")
    for _ in range(2):
        assert main("data", "report", "imagefolder:.") == 0
        assert f"sheet: {tmp_path / 'pets-sheet.png'}" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main("data", "report", "imagefolder:pets/") == 0
    assert "sheet: pets-sheet.png" in capsys.readouterr().out
