"""Searches of people's own images: what their summaries say about them."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pandas as pd
import pytest

from tests.support.searching import Silent, begin, carry_on, listening_to
from tunecnn import load_run
from tunecnn.analysis.search import summarize_search
from tunecnn.errors import InputError, RunError
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare
from tunecnn.workflows.search import search

SPACE = """
name: mine
dataset: {dataset}
architecture: model1
epochs: {epochs}
trials: 2
parameters:
  net.width: {{choice: [0.1, 0.2]}}
{more}
sampler: grid
"""
RANDOM = np.random.default_rng(0)


def searched(tmp_path, arrays, epochs=3, more=""):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    folder = begin(
        tmp_path, SPACE.format(dataset=json.dumps(str(path)), epochs=epochs, more=more)
    ).folder
    return load_run(folder)


def stripes(labels: np.ndarray) -> np.ndarray:
    """Images of 12x12 that are bright on the left or on the right."""
    pixels = RANDOM.integers(0, 60, (len(labels), 12, 12), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[:, slice(0, 6) if label == 0 else slice(6, 12)] += 150
    return pixels


def test_paths_that_are_not_utf8_are_trained_confirmed_and_shown_escaped(tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    labels = np.arange(80) % 2
    run = searched(place, {"images": stripes(labels), "labels": labels}, epochs=1)
    assert "udce9" in (run.path / "summary.md").read_text(encoding="utf-8")
    assert run.trials["dataset"].str.contains(r"caf\udce9", regex=False).all()
    frame = pd.read_parquet(io.BytesIO((run.path / "trials.parquet").read_bytes()))
    assert frame["dataset"].tolist() == run.trials["dataset"].tolist()
    confirmed = confirm(run.path, 1, 2, {}, RunOptions(local=True), listening_to(Silent()))
    assert "udce9" in (confirmed.folder / "summary.html").read_text(encoding="utf-8")


def test_noise_with_copies_is_no_result(tmp_path):
    noise = RANDOM.integers(0, 256, (60, 12, 12), dtype=np.uint8)
    arrays = {"images": np.repeat(noise, 6, axis=0), "labels": np.repeat(np.arange(60) % 2, 6)}
    run = searched(tmp_path, arrays)
    summary = summarize_search(run)
    assert "Nothing shows that it has learned anything" in summary.verdict
    different = run.info.dataset.different("validation")
    assert different < 20
    assert f"({different} different ones)" in summary.verdict
    assert summary.best is not None
    low, high = summary.best.interval
    assert high - low > 0.3
    text = (run.path / "summary.md").read_text()
    assert "identical to another validation image" in text.partition("## Trials")[0]


def test_an_unbalanced_set_has_the_majority_and_the_balanced_accuracy_in_its_answer(tmp_path):
    labels = (np.arange(200) < 12).astype(int)
    arrays = {"images": RANDOM.integers(0, 256, (200, 12, 12), dtype=np.uint8), "labels": labels}
    verdict = summarize_search(searched(tmp_path, arrays)).verdict
    assert "balanced accuracy is" in verdict
    assert "Always answering '0', the largest class, would reach 93.75%" in verdict
    assert "(balanced: 50.00%)" in verdict
    assert "Nothing shows that it has learned anything" in verdict


def test_what_is_learned_is_not_called_luck_and_has_its_classes_and_picture(tmp_path):
    labels = np.arange(200) % 2
    run = searched(tmp_path, {"images": stripes(labels), "labels": labels}, epochs=5)
    summary = summarize_search(run)
    assert summary.best is not None
    assert summary.best.val_accuracy > 0.95
    assert "Nothing shows" not in summary.verdict
    assert [line.images for line in summary.recalls] == [16, 16]
    assert (run.path / "figures" / "confusion.svg").is_file()


def test_own_images_are_not_augmented_unless_the_space_asks(tmp_path):
    labels = np.arange(100) % 2
    arrays = {"images": stripes(labels), "labels": labels}
    run = searched(tmp_path, arrays, epochs=1)
    assert "- augmentation: none" in (run.path / "summary.md").read_text()
    (tmp_path / "other").mkdir()
    run = searched(tmp_path / "other", arrays, epochs=1, more="  flip: true\n  crop: 0.1")
    assert "- augmentation: mirrored at random, shifted" in (run.path / "summary.md").read_text()


def test_the_balanced_accuracy_can_be_the_objective_and_classes_be_weighted(tmp_path):
    labels = (np.arange(300) < 30).astype(int)
    arrays = {"images": stripes(labels), "labels": labels}
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    text = SPACE.format(dataset=path, epochs=4, more="  class_weights: balanced")
    text += "objectives: [val_balanced_accuracy]\n"
    run = load_run(begin(tmp_path, text).folder)
    best = run.best
    assert best is not None
    assert best["val_balanced_accuracy"] == run.trials["val_balanced_accuracy"].max()
    assert best["val_balanced_accuracy"] > 0.9


def test_images_that_cannot_be_read_are_refused_without_a_start_of_ray(tmp_path, monkeypatch):
    monkeypatch.setattr("tunecnn.engines.cluster.connected", lambda *_: pytest.fail("Ray started"))
    monkeypatch.setattr(
        "tunecnn.workflows.resources._QUICK_SECONDS", 60.0
    )  # on a busy machine, too
    for name in (f"imagefolder:{tmp_path}/none", f"idx:{tmp_path}/none", f"{tmp_path}/none.npz"):
        prepared = prepare("smoke", {"dataset": name})
        with pytest.raises(
            InputError, match="none.*: there is nothing; where images of a run have moved"
        ):
            search(prepared, RunOptions(runs_dir=tmp_path), listening_to(Silent()))


def test_damaged_predictions_are_named(tmp_path):
    labels = np.arange(100) % 2
    run = searched(tmp_path, {"images": stripes(labels), "labels": labels}, epochs=1)
    (file, *_) = sorted((run.path / "validation").iterdir())
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(RunError, match=file.name):
        _ = load_run(run.path).validation


def test_a_run_is_not_resumed_on_images_that_have_changed(tmp_path):
    labels = np.arange(100) % 2
    run = searched(tmp_path, {"images": stripes(labels), "labels": labels}, epochs=1)
    np.savez(tmp_path / "mine.npz", images=stripes(labels), labels=labels)
    with pytest.raises(InputError, match="its trials would not be comparable"):
        carry_on(run.path)


def test_a_confirmation_reads_the_images_as_the_search_did(tmp_path):
    labels = np.arange(80) % 2
    np.savez(tmp_path / "mine.npz", images=stripes(labels), labels=labels)
    text = SPACE.format(dataset=tmp_path / "mine.npz", epochs=1, more="")
    text += "size: 16\nfit: pad\nbackground: black\n"
    run = load_run(begin(tmp_path, text).folder)
    result = confirm(run.path, 1, 1, {}, RunOptions(local=True), listening_to(Silent()))
    inner = load_run(result.folder)
    assert inner.space.image_options == run.space.image_options
    assert inner.info.dataset.input_shape == (1, 16, 16)
    assert inner.info.dataset.fingerprint == run.info.dataset.fingerprint
