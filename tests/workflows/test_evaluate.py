from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

import tunecnn
from tests.support.scripted import run_info
from tests.support.searching import TEXT, Silent, begin, carry_on
from tests.support.trees import picture, save, tree
from tunecnn import InputError, RunError, load_dataset, load_run
from tunecnn.analysis.intervals import wilson_interval
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import ReproductionJob, SearchJob
from tunecnn.workflows.evaluate import evaluate_trials
from tunecnn.workflows.reproduction_space import reproduction_space


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    text = reproduction_space("digits", None, ["model1"], seeds=2, epochs=3)
    folder = tmp_path_factory.mktemp("runs")
    return load_run(begin(folder, text, job=ReproductionJob(against=None)).folder)


def test_a_reproduction_tests_every_trial_once(reproduced):
    assert reproduced.evaluations["trial"].tolist() == [0, 1]
    assert (reproduced.evaluations["images"] == 360).all()
    assert len(reproduced.predictions) == 720
    right = reproduced.predictions.eval("label == predicted").groupby(
        reproduced.predictions["trial"]
    )
    assert right.mean().tolist() == pytest.approx(reproduced.evaluations["accuracy"].tolist())


def test_a_second_look_is_not_taken(reproduced):
    folder = RunFolder.open(reproduced.path)
    before = folder.info_file.read_bytes()
    evaluate_trials(folder, reproduced.complete, load_dataset("digits"))
    assert folder.info_file.read_bytes() == before


def test_trials_are_tested_where_they_were_trained_or_it_is_said(
    reproduced, tmp_path, monkeypatch
):
    """Without a GPU if they were trained without one, though there is one."""
    shutil.copytree(reproduced.path, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    folder.write_info(folder.read_info().with_changes(evaluations=()))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    elsewhere = [dataclasses.replace(one, precision="bf16") for one in reproduced.complete]
    with pytest.warns(UserWarning, match="trained in bf16 on .*, and are tested in fp32 here"):
        evaluate_trials(folder, elsewhere, load_dataset("digits"))
    again = load_run(folder.path).evaluations
    assert again["accuracy"].tolist() == reproduced.evaluations["accuracy"].tolist()


def test_all_weights_of_a_reproduction_are_kept(tmp_path):
    text = reproduction_space("digits", None, ["model1"], seeds=5, epochs=1)
    result = begin(tmp_path, text, job=ReproductionJob(against=None))
    assert len(list((result.folder / "weights").iterdir())) == 5


def test_a_search_takes_no_look(tmp_path):
    run = load_run(begin(tmp_path).folder)
    assert run.evaluations.empty
    assert run.predictions.empty
    assert run.job == SearchJob()


def test_an_interrupted_reproduction_is_tested_when_it_has_ended(tmp_path):
    text = reproduction_space("digits", None, ["model1"], seeds=2, epochs=2)
    result = begin(tmp_path, text, Silent(raise_at=3), job=ReproductionJob(against=None))
    assert result.ending == "interrupted"
    assert load_run(result.folder).evaluations.empty
    assert carry_on(result.folder).ending == "done"
    assert len(load_run(result.folder).evaluations) == 2


def test_lost_weights_are_named(reproduced, tmp_path):
    text = reproduction_space("digits", None, ["model1"], seeds=1, epochs=1)
    folder = RunFolder.create(tmp_path / "r", text, run_info(text))
    with pytest.raises(RunError, match=r"the weights .*trial-00000.safetensors cannot be read"):
        evaluate_trials(folder, reproduced.complete, load_dataset("digits"))


def test_the_interval_of_an_evaluation_counts_copies_once(tmp_path):
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, (80, 8, 8), np.uint8), np.arange(80) % 2
    copies = np.repeat(np.arange(60, 80), 5)
    data = {
        "train_images": images[:60],
        "train_labels": labels[:60],
        "test_images": images[copies],
        "test_labels": labels[copies],
    }
    space = {"epochs": 1, "trials": 1, "architecture": "model1", "parameters": {"net.width": 0.1}}
    run = tunecnn.search(
        space, data=data, local=True, runs_dir=tmp_path, name="copies", data_dir=tmp_path / "data"
    )
    found = tunecnn.evaluate(run.path)
    assert found.images == 100
    assert found.interval == wilson_interval(found.accuracy, 20)


def test_a_model_is_not_tested_on_images_of_its_training(tmp_path):
    """The fifth that tests is drawn anew after a change, and had been trained on in part."""
    folder = tree(tmp_path / "t", ["cat", "dog"], count=10)
    space = {
        "epochs": 1,
        "trials": 1,
        "architecture": "model1",
        "size": 8,
        "dataset": f"imagefolder:{folder}",
        "parameters": {"net.width": 0.1},
    }
    run = tunecnn.search(space, local=True, runs_dir=tmp_path, name="run")
    assert tunecnn.evaluate(run.path).images == 4
    tree(folder, ["cat/more"], count=5)
    with pytest.raises(InputError, match=r"are not those of the run any more, .* --dataset"):
        tunecnn.evaluate(run.path)


def test_other_images_need_no_groups_and_may_be_grey(tmp_path):
    folder = tree(tmp_path / "t", ["cat", "dog"], count=10)
    rows = [f"{path.name},{i // 2}" for i, path in enumerate(sorted(folder.rglob("*.png")))]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]))
    space = {
        "epochs": 1,
        "trials": 1,
        "architecture": "model1",
        "size": 8,
        "groups": str(tmp_path / "groups.csv"),
        "dataset": f"imagefolder:{folder}",
        "parameters": {"net.width": 0.1},
    }
    run = tunecnn.search(space, local=True, runs_dir=tmp_path, name="run")
    for i, kind in enumerate(("cat", "dog") * 5):
        save(tmp_path / "grey" / kind / f"{i}.png", picture(i, channels=1))
    found = tunecnn.evaluate(run.path, f"imagefolder:{tmp_path / 'grey'}")
    assert found.images == 2
    assert any("2 of the 10 training images test" in note for note in found.notes)


def test_what_a_network_does_while_it_is_tested_ends_no_run_without_a_word(
    tmp_path, monkeypatch, capsys
):
    """Its prints are no results, and its exceptions no traceback."""
    from tunecnn.trial.trained import TrainedModel

    def fails(*_):
        print("a word of the network")
        raise AssertionError("no image is like this one")

    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def net(classes, input_shape) -> nn.Module:\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))\n"
    )
    text = TEXT.replace("architecture: model1", "architecture: nets.py:net")
    text = text.replace(
        "  net.width: {choice: [0.1, 0.2]}\n", "  learning_rate: {choice: [0.1]}\n"
    )
    text = text.replace("start: [{net.width: 0.2}]\n", "")
    (tmp_path / "space.yaml").write_text(text)
    run = tunecnn.search(tmp_path / "space.yaml", local=True, runs_dir=tmp_path, name="run")
    folder = RunFolder.open(run.path)
    monkeypatch.setattr(TrainedModel, "logits", fails)
    capsys.readouterr()
    with pytest.raises(
        RunError, match=r"trial \d cannot be tested: AssertionError: no image is l"
    ):
        evaluate_trials(folder, run.complete, load_dataset("digits"))
    shown = capsys.readouterr()
    assert "a word of the network" in shown.err
    assert "a word of the network" not in shown.out


def test_a_search_in_a_notebook_leaves_the_settings_of_torch_as_they_were(tmp_path, digits):
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(before + 2)
    torch.set_float32_matmul_precision("medium")
    try:
        begin(tmp_path)
        config = tunecnn.make_config("fast", "model1", "digits", epochs=1)
        assert len(list(tunecnn.train(config, digits))) == 1
        assert torch.get_num_threads() == before + 2
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(precision)


def test_a_clock_that_is_set_during_a_session_does_not_change_its_duration(tmp_path, monkeypatch):
    times = iter([datetime(1970, 1, 1, tzinfo=UTC)])
    monkeypatch.setattr(
        "tunecnn.workflows.session.now", lambda: next(times, datetime(2026, 1, 1, tzinfo=UTC))
    )
    info = load_run(begin(tmp_path).folder).info
    assert info.last_session.started.year == info.last_session.ended.year == 1970
    assert info.wall_seconds < 600
