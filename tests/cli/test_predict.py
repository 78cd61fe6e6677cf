from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from tests.support.command import main
from tests.support.searching import TEXT, begin
from tunecnn import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    words = ["--dataset", "digits", "--architecture", "model1", "--epochs", "3"]
    assert main("train", *words, "--set", "net.width=0.25", "--out", str(path)) == 0
    return path


@pytest.fixture
def images(digits, tmp_path):
    for i, pixels in enumerate(digits.test.pixels[:5]):
        Image.fromarray(pixels[..., 0]).save(tmp_path / f"{i}.png")
    return tmp_path


def test_files_get_the_classes_that_the_model_gives_their_pixels(model, images, digits, capsys):
    assert main("predict", str(model), str(images), "--top", "2") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2"] * 5
    expected = load_model(model).probabilities(digits.test.pixels[:5])
    assert [int(row["class"]) for row in rows[::2]] == expected.argmax(1).tolist()
    found = [float(row["probability"]) for row in rows[::2]]
    assert np.allclose(found, expected.max(1), atol=1e-6)


def test_json_has_an_object_for_each_file(model, images, capsys):
    Image.open(images / "0.png").convert("RGB").save(images / "grey as rgb.png")
    files = [str(images / "0.png"), str(images / "grey as rgb.png")]
    assert main("predict", str(model), *files, "--json", "--top", "20") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["file"] == files[0]
    assert first["classes"] == second["classes"]
    assert sum(one["probability"] for one in first["classes"]) == pytest.approx(1, abs=1e-4)


def test_a_link_to_nothing_and_a_pipe_are_not_left_out(model, images, capsys):
    (images / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(images / "pipe.png")
    for given in ([str(images)], [str(images / "gone.png"), str(images / "pipe.png")]):
        assert main("predict", str(model), *given) == 2
        err = capsys.readouterr().err
        assert "gone.png: " in err
        assert "pipe.png: " in err


def test_all_files_that_cannot_be_used_are_named_before_any_prediction(model, images, capsys):
    (images / "bad.png").write_bytes(b"no image")
    (images / "notes").write_text("text")
    Image.new("L", (9, 8)).save(images / "wide.png")
    Image.new("RGB", (8, 8), "red").save(images / "red.png")
    assert main("predict", str(model), str(images)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in (
        "3 of 9 files",
        "bad.png",
        "it has 9x8 pixels",
        "red.png: it has colours, and the model takes grey images",
    ):
        assert part in shown.err
    for name in ("bad.png", "wide.png", "red.png"):
        (images / name).unlink()
    assert main("predict", str(model), str(images), "--top", "1") == 0
    shown = capsys.readouterr()
    assert "warning: 1 file is left out: no image by content" in shown.err
    assert len(shown.out.splitlines()) == 6
    assert main("predict", str(model), str(images / "notes")) == 2
    assert "notes: not an image" in capsys.readouterr().err


def test_a_model_or_image_that_is_not_there_is_named(model, tmp_path, capsys):
    assert main("predict", str(tmp_path / "none"), str(tmp_path)) != 0
    assert "none cannot be read" in capsys.readouterr().err
    assert main("predict", str(model), str(tmp_path / "none.png")) == 2
    assert "none.png: No such file or directory" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main("predict", str(model), str(tmp_path / "empty")) == 2
    assert "there are no image files" in capsys.readouterr().err


def deep(path, brightest: int, dtype: str = "uint16"):
    random = np.random.default_rng(0)
    path.mkdir()
    for i in range(6):
        pixels = random.integers(0, brightest + 1, (8, 8)).astype(dtype)
        Image.fromarray(pixels).save(path / f"{i}.tif")
    return str(path)


def test_images_of_another_depth_than_those_of_the_training_are_warned_of(tmp_path, capsys):
    random = np.random.default_rng(0)
    values = {
        "train_images": random.integers(0, 4096, (60, 8, 8)).astype(np.uint16),
        "train_labels": np.arange(60) % 2,
    }
    np.savez(tmp_path / "deep.npz", **values)
    text = TEXT.replace("digits", str(tmp_path / "deep.npz")).replace(
        "train_images: 200", "crop: 0"
    )
    run = begin(tmp_path, text + "scale: 4095\n", epochs=1).folder
    capsys.readouterr()
    for folder, words in (
        (deep(tmp_path / "same", 4095), ""),
        (deep(tmp_path / "brighter", 65535), "6 images with values above 4095, which is white in"),
        (deep(tmp_path / "masks", 1, "uint8"), "all images are almost black: in those of the tr"),
    ):
        assert main("predict", str(run), folder) == 0
        err = capsys.readouterr().err
        assert words in err
        assert bool(err) == bool(words)
