from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from tests.support.networks import config as config_of
from tests.support.networks import random_data
from tests.support.searching import begin
from tests.support.trained import assert_is_of
from tunecnn import load_dataset, load_model, load_run, make_config
from tunecnn.data.splits import Split
from tunecnn.errors import InputError, RunError
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
from tunecnn.trial.checkpoint import tensors_and_metadata, with_metadata
from tunecnn.trial.trained import pack_model, unpack_model
from tunecnn.trial.training import Training


def config(**changes):
    return make_config("fast", "model1", "digits", **{"epochs": 2, "net.width": 0.25, **changes})


@pytest.mark.parametrize("pixels", ["raw", "unit", "standardized"])
def test_a_loaded_model_gives_the_outputs_of_its_training(pixels, tiny, tmp_path):
    training = Training(config(pixels=pixels), tiny)
    list(training)
    (tmp_path / "m.safetensors").write_bytes(pack_model(training))
    model = load_model(tmp_path / "m.safetensors")
    logits = model.logits(tiny.validation.pixels)
    assert_is_of(training, logits)
    with torch.inference_mode():
        assert torch.equal(model(torch.from_numpy(tiny.validation.pixels)), logits)
    probabilities = model.probabilities(tiny.validation.pixels)
    assert np.allclose(probabilities, logits.softmax(1).numpy())
    assert model.classes == tiny.classes
    assert model.probabilities(tiny.validation.pixels[:0]).shape == (0, 10)


def test_a_runs_model_has_its_recorded_accuracy_to_the_last_image(tmp_path):
    run = load_run(begin(tmp_path).folder)
    data = load_dataset("digits", Split(train_images=200)).trial_data.validation
    for trial in run.trials["trial"]:
        predicted = run.load_model(trial).probabilities(data.pixels).argmax(1)
        assert (predicted == data.labels).mean() == run.trials.loc[trial, "val_accuracy"]
    best = run.load_model()
    assert run.best is not None
    first = run.load_model(int(run.best["trial"]))
    assert np.array_equal(best.probabilities(data.pixels), first.probabilities(data.pixels))


def test_what_a_run_does_not_keep_is_said(tmp_path):
    run = load_run(begin(tmp_path).folder)
    with pytest.raises(InputError, match="has no trial 7; it has 3"):
        run.load_model(7)
    for file in (run.path / "weights").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="has no trial whose weights are kept"):
        load_run(run.path).load_model()


def test_images_of_another_shape_or_type_are_refused(tiny):
    training = Training(config(epochs=1), tiny)
    training.run_epoch()
    model = unpack_model(pack_model(training), "m")
    for wrong in (np.zeros((2, 9, 8, 1), np.uint8), np.zeros((2, 8, 8, 1), np.float32)):
        with pytest.raises(InputError, match=r"takes bytes of the shape \(n, 8, 8, 1\)"):
            model.probabilities(wrong)


def test_a_file_that_is_no_model_or_damaged_or_of_another_version_is_named(tiny, tmp_path):
    training = Training(config(epochs=1), tiny)
    training.run_epoch()
    content = pack_model(training)
    path = tmp_path / "m.safetensors"
    for damaged in (b"", b"text", content[:-100], save(load(content))):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"m\.safetensors is no model of tunecnn, or damaged"):
            load_model(path)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tunecnn"])
    for change, message in (
        ({"input_shape": [1, 8]}, r"m\.safetensors is damaged: input_shape\.2: Field required"),
        ({"classes": 5}, r"is damaged: classes: Input should be"),
        ({"mean": [1.0, 2.0]}, "mean and deviation have one value per channel"),
        ({"deviation": [0.0]}, r"is damaged: deviation\.0: Input should be greater than 0"),
        ({"config": {"architecture": "model1", "nothing": 1}}, "its config: unknown setting"),
        ({"classes": list(metadata["classes"][1:])}, "has other weights than its network"),
        ({"code": {"../a.py": ""}}, "is not a name of a file of code"),
    ):
        path.write_bytes(
            save(load(content), metadata={"tunecnn": json.dumps({**metadata, **change})})
        )
        with (
            pytest.raises(RunError, match=message),
            warnings.catch_warnings(action="ignore"),
        ):
            load_model(path)
    broken = {name: weight * float("nan") for name, weight in load(content).items()}
    path.write_bytes(save(broken, metadata={"tunecnn": json.dumps(metadata)}))
    with pytest.raises(RunError, match="has weights that are not numbers"):
        load_model(path)
    later = {**metadata, "schema": 99, "tunecnn": "9.9"}
    path.write_bytes(save(load(content), metadata={"tunecnn": json.dumps(later)}))
    with pytest.raises(RunError, match="was written by tunecnn 9.9 with schema 99"):
        load_model(path)
    with pytest.raises(RunError, match="cannot be read: No such file"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize("name", ["os:system", "os:getcwd", "subprocess:run"])
def test_a_file_cannot_make_us_call_any_function(name, tiny, tmp_path):
    """A file of weights may come from anywhere; a network of an installed package is warned of."""
    training = Training(config(epochs=1), tiny)
    training.run_epoch()
    content = pack_model(training)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tunecnn"])
    mark = tmp_path / "called"
    metadata["config"] = {
        "architecture": name,
        "dataset": "digits",
        "epochs": 1,
        "net.command": f"touch {mark}",
    }
    content = save(load(content), metadata={"tunecnn": json.dumps(metadata)})
    with (
        pytest.raises(InputError, match=f"m names {name} as its network, which is no class"),
        pytest.warns(UserWarning, match=f"m needs {name}, which is run now"),
    ):
        unpack_model(content, "m")
    assert not mark.exists()


def test_probabilities_are_those_of_use_while_the_model_is_trained_further(tiny):
    """They were computed as in training, and changed the model."""
    training = Training(config(), tiny)
    next(iter(training))
    model = unpack_model(pack_model(training), "m")
    model.network = nn.Sequential(model.network, nn.BatchNorm1d(10), nn.Dropout(0.5)).eval()
    expected = model.probabilities(tiny.validation.pixels)
    model.train()
    model.network[-1].eval()  # frozen, as people do it
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert np.array_equal(model.probabilities(tiny.validation.pixels), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.network[-1].training) == (True, False)


@pytest.mark.parametrize("form", [torch.from_numpy, list, np.ndarray.tolist])
def test_a_model_takes_images_in_the_forms_in_which_people_have_them(form, tiny):
    training = Training(config(), tiny)
    next(iter(training))
    model = unpack_model(pack_model(training), "m")
    pixels = tiny.validation.pixels[:4]
    if form is np.ndarray.tolist:
        with pytest.raises(InputError, match="takes bytes of the shape"):
            model.probabilities(form(pixels))
    else:
        assert np.array_equal(model.probabilities(form(pixels)), model.probabilities(pixels))


READS = """
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
        self.order = [int(one) for one in open(os.environ["ORDER"]).read().split()]
        self.is_random, self.factor = "RANDOM" in os.environ, float(os.environ.get("FACTOR", 1))
    def forward(self, x):
        x = x.flatten(1)[:, self.order]
        return self.factor * self.head(nn.functional.dropout(x, 0.5, training=self.is_random))
"""


@pytest.fixture
def reading_model(tmp_path, monkeypatch):
    """The bytes of a model whose network reads a file, and that file."""

    def made() -> tuple[bytes, Path]:
        file = tmp_path / "order.txt"
        monkeypatch.setenv("ORDER", str(file))
        code = NetworkCode({"nets.py": READS.encode()})
        file.write_text(" ".join(map(str, range(64))))
        with importable(code):
            training = Training(config_of(code, "Net"), random_data())
            list(training)
            return pack_model(training), file

    return made


def test_a_model_that_gives_no_numbers_where_it_is_loaded_is_refused(reading_model, monkeypatch):
    content, _ = reading_model()
    monkeypatch.setenv("FACTOR", "nan")
    refused = pytest.raises(RunError, match="m: its network gives other logits here than when it")
    with pytest.warns(UserWarning, match="comes with the code"), refused:
        unpack_model(content, "m")


@pytest.mark.parametrize("rows", [[], [[0.0, 0.0, 0.0]], [[0.0], [0.0]]])
def test_damaged_logits_are_said_to_be(rows, reading_model):
    content, _ = reading_model()
    weights, metadata = tensors_and_metadata(content)
    damaged = with_metadata(weights, {**metadata, "logits": rows})
    with pytest.raises(RunError, match="m is damaged: .*logits are those of two images"):
        unpack_model(damaged, "m")


@pytest.mark.parametrize("is_random", [False, True])
def test_a_model_that_depends_on_more_than_its_weights_is_refused(
    is_random, reading_model, monkeypatch
):
    """As on the order of a set; what draws random numbers has others on another device."""
    if is_random:
        monkeypatch.setenv("RANDOM", "1")
    content, file = reading_model()
    with pytest.warns(UserWarning, match="comes with the code"):
        unpack_model(content, "m")
    file.write_text(" ".join(map(str, reversed(range(64)))))
    refused = pytest.raises(RunError, match="m: its network gives other logits here than when it")
    with (
        pytest.warns(UserWarning, match="comes with the code"),
        contextlib.nullcontext() if is_random else refused,
    ):
        unpack_model(content, "m")
