"""A model taken home: evaluated, exported, listed and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import main
from tests.support.scripted import ScriptedRun
from tests.support.searching import TEXT, Silent, begin, listening_to
from tests.support.trees import picture, save
from tunecnn import load_model, load_run, make_config
from tunecnn.run.folder import RunFolder
from tunecnn.trial.checkpoint import tensors_and_metadata, with_metadata
from tunecnn.trial.trained import pack_model
from tunecnn.trial.training import Training
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.confirmation_space import candidates_of, confirmation_space, job_of
from tunecnn.workflows.found_model import find_model
from tunecnn.workflows.options import RunOptions


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory):
    folder = begin(tmp_path_factory.mktemp("models"), TEXT).folder
    confirm(folder, 1, 2, {}, RunOptions(local=True), listening_to(Silent()))
    return folder


@pytest.fixture
def run(confirmed, tmp_path_factory):
    """A confirmed search, of which each test has a copy: what it records is its own."""
    return Path(shutil.copytree(confirmed, tmp_path_factory.mktemp("runs") / confirmed.name))


def test_an_evaluation_gives_the_recorded_accuracy_and_is_recorded_once(run, capsys, tmp_path):
    (inner,) = load_run(run).confirmations
    tested = inner.evaluations.iloc[0]
    weights = inner.path / "weights" / f"trial-{tested['trial']:05d}.safetensors"
    assert main("evaluate", str(weights), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == tested["accuracy"]
    assert found["loss"] == pytest.approx(tested["loss"], rel=1e-5)
    assert (found["recorded"], len(load_run(inner.path).evaluations)) == (
        inner.name,
        len(inner.evaluations),
    )
    for _ in range(2):
        assert main("evaluate", str(run)) == 0
        best = load_run(run).best["trial"]
        words = f"recorded in quick: its test images have been used for trial {best}\n"
        assert words in capsys.readouterr().out
    assert load_run(run).evaluations["trial"].tolist() == [best]
    alone = tmp_path / "alone.safetensors"
    shutil.copy(weights, alone)
    assert main("evaluate", str(alone), "--json") == 0
    assert json.loads(capsys.readouterr().out)["recorded"] == ""


def test_the_cross_entropy_of_a_network_that_is_very_sure_has_no_bound(run, capsys, tmp_path):
    """Beyond a probability of 1e-38, a logarithm of probabilities has no digits left."""
    content = load_run(run).weights_of(0).read_bytes()
    weights, metadata = tensors_and_metadata(content)
    sure = {
        name: tensor * (1e4 if tensor.shape[0] == 10 else 1) for name, tensor in weights.items()
    }
    file = tmp_path / "sure.safetensors"
    file.write_bytes(with_metadata(sure, metadata))
    losses = []
    for path in (load_run(run).weights_of(0), file):
        assert main("evaluate", str(path), "--json") == 0
        losses.append(json.loads(capsys.readouterr().out)["loss"])
    assert losses[0] < 3 < 100 < losses[1] < float("inf")


def test_other_weights_are_not_taken_for_those_of_the_best_without_a_word(run, tmp_path, capsys):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    best, second = load_run(copy).ranked["trial"].head(2)
    weights = copy / "weights" / f"trial-{best:05d}.safetensors"
    weights.unlink()
    assert main("evaluate", str(copy)) == 0
    shown = capsys.readouterr()
    assert (
        f"does not have the weights of trial {best}, its best one; those of trial {second} are "
        in shown.err
    )
    assert f"have been used for trial {second}" in shown.out
    weights.symlink_to(tmp_path / "nowhere")
    assert main("evaluate", str(copy)) == 1
    assert f"{weights.name} cannot be read: it is a symbolic link" in capsys.readouterr().err


def test_images_of_other_classes_are_refused(run, capsys, tmp_path):
    np.savez(
        tmp_path / "x.npz",
        train_images=np.zeros((40, 8, 8), np.uint8),
        train_labels=np.arange(40) % 2,
    )
    assert main("evaluate", str(run), "--dataset", str(tmp_path / "x.npz")) == 2
    said = capsys.readouterr().err
    assert "has other classes than the model: without 2, 3, 4, 5, 6 and 3 more, which the" in said


ALONE = """
import sys, numpy as np
pixels = np.load(sys.argv[2])
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    logits = session.run(None, {"images": pixels})[0]
else:
    import torch
    logits = torch.export.load(sys.argv[1]).module()(torch.from_numpy(pixels)).detach().numpy()
assert "tunecnn" not in sys.modules
np.save(sys.argv[3], logits)
"""


@pytest.mark.parametrize(
    ("format_", "suffix"),
    [pytest.param("torch-export", "pt2", marks=pytest.mark.slow), ("onnx", "onnx")],
)
def test_an_exported_model_runs_without_tunecnn_and_gives_the_same(
    format_, suffix, run, digits, capsys, tmp_path
):
    out = tmp_path / f"model.{suffix}"
    assert main("export", str(run), "--format", format_, "--out", str(out)) == 0
    pixels = digits.test.pixels[:37]
    np.save(tmp_path / "pixels.npy", pixels)
    words = [str(out), str(tmp_path / "pixels.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *words], check=True, timeout=200)
    logits = np.load(tmp_path / "logits.npy")
    powers = np.exp(logits - logits.max(1, keepdims=True))
    expected = load_run(run).load_model().in_float32().probabilities(pixels)
    assert np.abs(powers / powers.sum(1, keepdims=True) - expected).max() < 1e-5
    card = (tmp_path / f"model.{suffix}.md").read_text()
    for part in (
        "(n, 8, 8, 1)",
        "classes, by index: 0, 1, 2",
        "digits, fingerprint",
        "Limits",
        "mean test accuracy",
        "net.width:",
        "confirmed: its configuration",
    ):
        assert part in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("format_", [pytest.param("torch-export", marks=pytest.mark.slow), "onnx"])
def test_an_exported_model_has_the_views_of_its_training(format_, tiny, capsys, tmp_path):
    training = Training(make_config("fast", "model1", "digits", epochs=1, views="shifted"), tiny)
    training.run_epoch()
    (tmp_path / "m.safetensors").write_bytes(pack_model(training))
    out = tmp_path / ("m.onnx" if format_ == "onnx" else "m.pt2")
    words = ["export", str(tmp_path / "m.safetensors"), "--format", format_, "--out", str(out)]
    assert main(*words) == 0  # which compares it with the model
    assert "the mean of the logits over 6" in out.with_name(f"{out.name}.md").read_text()
    pixels = tiny.validation.pixels
    np.save(tmp_path / "pixels.npy", pixels)
    files = [str(out), str(tmp_path / "pixels.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *files], check=True, timeout=200)
    model = load_model(tmp_path / "m.safetensors").in_float32()
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(logits, model.logits(pixels).numpy(), atol=1e-4)
    assert np.abs(logits - model.with_views("one").logits(pixels).numpy()).max() > 1e-2


def test_a_failed_export_leaves_the_file_that_was_there(run, capsys, tmp_path, monkeypatch):
    out = tmp_path / "model.onnx"
    out.write_bytes(b"of earlier")
    monkeypatch.setattr("tunecnn.workflows.export.TOLERANCE", -1.0)
    assert main("export", str(run), "--format", "onnx", "--out", str(out)) == 1
    assert "gives other probabilities" in capsys.readouterr().err
    assert out.read_bytes() == b"of earlier"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ImportError("No module named 'onnxscript'"),
         "onnx needs packages: pip install onnx onnxscript onnxruntime (No module named"),
        (ModuleNotFoundError("No module named 'helper'", name="helper"),
         "the network cannot be exported to onnx: No module named 'helper'"),
        (ValueError("no such operator\nand more"),
         "the network cannot be exported to onnx: ValueError: no such operator\n"),
        (ValueError("Violated (images)!\n  - images was inferred to be a constant (3)."),
         "ValueError: Violated (images)!; it fixes the number of images, as len(x) does: write x."),
        (OSError(28, "No space left on device"), "cannot be written: No space left on device"),
    ],
)  # fmt: skip
def test_why_a_network_cannot_be_exported_is_said(
    raised, message, run, capsys, tmp_path, monkeypatch
):
    def fails(*_, **__):
        raise raised

    monkeypatch.setattr("torch.onnx.export", fails)
    assert main("export", str(run), "--format", "onnx", "--out", str(tmp_path / "x.onnx")) > 0
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_or_format_is_refused(run, capsys, tmp_path):
    assert main("export", str(run), "--out", str(tmp_path / "x.zip")) == 2
    assert "a file of torch-export is named .pt2, not x.zip" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main("export", str(run), "--out", str(tmp_path / "file" / "x.pt2")) == 2
    assert "x.pt2: cannot be written: File exists" in capsys.readouterr().err
    content = next((run / "weights").glob("*.safetensors")).read_bytes()
    for wrong, code, message in (
        (b"no model", 2, "is neither weights that tunecnn wrote nor the folder of a run"),
        (b"", 2, "is neither weights that tunecnn wrote nor the folder of a run"),
        (content[:-1], 1, "is no model of tunecnn, or damaged"),
    ):
        (tmp_path / "bad.safetensors").write_bytes(wrong)
        assert main("export", str(tmp_path / "bad.safetensors")) == code
        assert message in capsys.readouterr().err


def test_runs_are_listed_newest_first_and_damaged_ones_named(run, capsys, tmp_path):
    shutil.copytree(run, tmp_path / "whole")
    shutil.copytree(run, tmp_path / "damaged")
    (tmp_path / "damaged" / "run.json").write_text("{")
    assert main("runs", "--runs-dir", str(tmp_path), "--json") == 0
    whole, damaged = map(json.loads, capsys.readouterr().out.splitlines())
    assert (whole["state"], whole["trials"], whole["type"]) == ("done", "3 of 3", "search")
    assert "cannot be read" in damaged["problem"]
    assert main("runs", "--runs-dir", str(tmp_path / "none")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_run_below_a_folder_is_listed_and_none_is_made_in_another(run, capsys, tmp_path):
    shutil.copytree(run, tmp_path / "mine" / "first")
    assert main("runs", "--runs-dir", str(tmp_path), "--json") == 0
    listed = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert listed == [str(tmp_path / "mine" / "first")]
    where = ["--runs-dir", str(tmp_path), "--name", "mine/first/second"]
    assert main("search", "--space", "smoke", *where) == 2
    assert "first is a run; a run cannot be made inside another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("a.xyz", "give a file that ends in .svg, .png, .pdf"),
        ("pipe.svg", "it is not a regular file"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_first(file, message, run, capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe.svg")
    assert main("compare", str(run), str(run), "--figure", str(tmp_path / file)) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert not out


def test_searches_are_compared_and_other_runs_refused(run, capsys, tmp_path):
    other = begin(tmp_path, TEXT.replace("epochs: 2", "epochs: 1")).folder
    picture = tmp_path / "picture.png"
    assert main("compare", str(run), str(other), "--figure", str(picture), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"].keys() == {"epochs"}
    assert [line["seeds"] for line in found["runs"]] == [2, 0]
    assert "the runs train for different numbers of epochs" in found["warnings"]
    assert picture.stat().st_size > 5_000
    assert main("compare", str(run), str(other)) == 0
    assert "epochs" in capsys.readouterr().out
    (inner,) = (run / "confirmations").iterdir()
    for words, message in (
        ([str(run), str(inner)], "is a confirmation, but a search is needed"),
        ([str(run)], "give at least two runs"),
        ([str(run), str(run)], "is given twice"),
    ):
        assert main("compare", *words) == 2
        assert message in capsys.readouterr().err


TALKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, input_shape):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    def forward(self, images):
        print("a word of the network")
        if not self.training and len(images) == 360:
            raise AssertionError("too many at once")
        return self.layers(images)
"""


def test_what_a_network_prints_is_no_result_and_what_it_raises_no_traceback(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(TALKS)
    text = TEXT.replace("architecture: model1", "architecture: nets.py:Net")
    text = text.replace("net.width: {choice: [0.1, 0.2]}", "learning_rate: {choice: [0.1, 0.2]}")
    text = text.replace("start: [{net.width: 0.2}]\n", "").replace("trials: 3", "trials: 1")
    (tmp_path / "space.yaml").write_text(text)
    words = ("--name", "run", "--runs-dir", str(tmp_path), "--local")
    assert main("search", "--space", str(tmp_path / "space.yaml"), *words) == 0
    save(tmp_path / "one.png", picture(channels=1).resize((8, 8)))
    capsys.readouterr()
    assert main("predict", str(tmp_path / "run"), str(tmp_path / "one.png")) == 0
    shown = capsys.readouterr()
    assert "a word of the network" in shown.err
    assert [line.partition(",")[0] for line in shown.out.splitlines()] == [
        "file",
        str(tmp_path / "one.png"),
    ]
    assert main("evaluate", str(tmp_path / "run"), "--json") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "trial-00000.safetensors failed: AssertionError: too many at once" in shown.err


def test_test_images_are_not_used_while_that_cannot_be_recorded(run, capsys, monkeypatch):
    def used(*arguments):
        raise AssertionError("the test images were used")

    monkeypatch.setattr("tunecnn.workflows.evaluate_model.scores", used)
    with RunFolder(run).lock():
        assert main("evaluate", str(run)) == 2
    assert "is being written by" in capsys.readouterr().err


def test_the_model_of_a_confirmed_search_is_the_confirmed_one(run, tmp_path, monkeypatch):
    """It was the search's winner, which new seeds had put behind another trial."""
    search = load_run(run)
    best, other = (int(trial) for trial in search.configurations["trial"].iloc[:2])
    candidates = [one for one in candidates_of(search, 2, {}) if one.name != "the baseline"]
    first = next(one for one in candidates if one.name.startswith(f"trial {other}"))
    second = next(one for one in candidates if one is not first)
    pair = [replace(first, is_baseline=False), replace(second, is_baseline=True)]
    shutil.rmtree(run / "confirmations")
    inner = ScriptedRun(
        run / "confirmations" / "c", confirmation_space(search, pair, 2), job_of(search, pair)
    )
    inner.train_all(lambda trial: 0.9 - 0.1 * (trial.number % 2))
    assert find_model(run).trial == other != best
    monkeypatch.chdir(tmp_path)
    assert main("export", str(run)) == 0
    assert (tmp_path / f"quick-trial-{other:05d}.pt2").is_file()
    search.weights_of(other).unlink()
    lost = rf"weights of trial {other}, which was confirmed; those of trial {best} are taken"
    with pytest.warns(UserWarning, match=f"{lost}.*again, are in {inner.path}"):
        assert find_model(run).trial == best


def grouped(root):
    for folder in range(8):
        for label in ("cat", "dog"):
            for i in range(4):
                save(root / label / f"g{folder}" / f"{i}.png", picture(label == "dog"))
    return root


def test_images_at_another_place_are_divided_as_in_the_run(tmp_path, capsys):
    """Without the groups of the run, images that it had trained on were tested and recorded."""
    root = grouped(tmp_path / "images")
    text = TEXT.replace("digits", f"imagefolder:{root}").replace("train_images: 200", "crop: 0")
    text = text.replace("epochs: 2", "groups: folder\nsize: 28\nepochs: 1")
    folder = begin(tmp_path, text).folder
    assert main("evaluate", str(folder), "--json") == 0
    first = json.loads(capsys.readouterr().out)
    moved = root.rename(tmp_path / "moved")
    assert main("evaluate", str(folder), "--dataset", f"imagefolder:{moved}", "--json") == 0
    second = json.loads(capsys.readouterr().out)
    for name in ("images", "accuracy", "loss", "recorded"):
        assert first[name] == second[name]


def test_a_model_without_its_run_does_not_say_what_it_was_trained_on(run, capsys, tmp_path):
    weights = next((run / "weights").iterdir())
    shutil.copy(weights, tmp_path / "alone.safetensors")
    assert main("evaluate", str(tmp_path / "alone.safetensors")) == 0
    said = capsys.readouterr()
    assert "whether it was trained on some of these images is not known" in said.out + said.err


def test_test_images_with_which_a_model_was_trained_are_said_to_be(tmp_path, capsys):
    root = grouped(tmp_path / "images")
    text = TEXT.replace("digits", f"imagefolder:{root}").replace("train_images: 200", "crop: 0")
    folder = begin(tmp_path, text.replace("epochs: 2", "size: 28\nepochs: 1")).folder
    for part in ("train", "test"):
        shutil.copytree(root, tmp_path / "others" / part)
    save(tmp_path / "others" / "test" / "cat" / "new.png", picture(0))
    words = ("evaluate", str(folder), "--dataset", f"imagefolder:{tmp_path / 'others'}")
    assert main(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (note,) = (one for one in found["notes"] if "training or validation images" in one)
    assert re.match(rf"\d\d of the {found['images']} test images are", note)
    root.rename(tmp_path / "moved")
    assert main(*words) == 0
    said = capsys.readouterr()
    assert "are not there, so whether the model was trained on" in said.out + said.err


FROZEN = """
import torch
from torch import nn

class Frozen(nn.Module):
    def __init__(self, in_channels: int, classes: int):
        super().__init__()
        self.body = nn.Conv2d(in_channels, 4, 3)
        self.head = nn.Linear(144, classes)

    def forward(self, images):
        with torch.no_grad():
            seen = self.body(images).flatten(1)
        return self.head(seen)
"""


def test_a_network_with_a_part_without_gradients_can_be_exported(tmp_path, capsys, monkeypatch):
    (tmp_path / "nets.py").write_text(FROZEN)
    (tmp_path / "space.yaml").write_text(
        "name: frozen\ndataset: digits\narchitecture: nets.py:Frozen\nepochs: 1\ntrials: 1\n"
        "parameters:\n  learning_rate: {choice: [0.001, 0.002]}\nsampler: random\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main("search", "--space", "space.yaml", "--local", "--name", "f", "--quiet") == 0
    assert main("export", "runs/f", "--out", "f.pt2") == 0
    assert (tmp_path / "f.pt2").is_file()
    assert "best of" not in (tmp_path / "f.pt2.md").read_text()
