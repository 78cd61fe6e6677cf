from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import tunecnn
from tunecnn.errors import InputError
from tunecnn.models.randomness import random_state_of
from tunecnn.trial.arithmetic import settings_kept
from tunecnn.trial.trained import pack_model, unpack_model
from tunecnn.trial.training import Training

SETTINGS = """
def settings():
    found = {}
    for name, read in {
        "all": lambda: torch.backends.fp32_precision,
        "products": lambda: torch.backends.cuda.matmul.fp32_precision,
        "convolutions": lambda: torch.backends.cudnn.conv.fp32_precision,
        "products on a CPU": lambda: torch.backends.mkldnn.matmul.fp32_precision,
        "old": torch.get_float32_matmul_precision,
        "old products": lambda: torch.backends.cuda.matmul.allow_tf32,
        "old convolutions": lambda: torch.backends.cudnn.allow_tf32,
        "benchmark": lambda: torch.backends.cudnn.benchmark,
    }.items():
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = "contradictory"
    return found

import torch
from tunecnn.trial.arithmetic import settings_kept
LINE
before = settings()
with settings_kept():
    inside = settings()
assert inside["products"] == inside["convolutions"] == inside["products on a CPU"] == "ieee", inside
assert "contradictory" not in inside.values(), inside  # torch would refuse to compute on a GPU
assert not inside["benchmark"], inside
assert settings() == before, (before, settings())
"""


@pytest.mark.parametrize(
    "line",
    [
        "",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.cudnn.benchmark = True",
    ],
)
def test_float32_is_float32_whatever_a_notebook_has_set_and_is_put_back(line):
    """Each in a process of its own: torch remembers which of its two interfaces was used."""
    text = SETTINGS.replace("LINE", line)
    subprocess.run([sys.executable, "-c", text], check=True, timeout=100)


def test_a_training_does_not_mind_the_modes_of_a_notebook(digits):
    config = tunecnn.make_config("fast", "model1", "digits", epochs=1, **{"net.width": 0.1})
    (usual,) = tunecnn.train(config, digits)
    trained = Training(config, digits)
    trained.run_epoch()
    content = pack_model(trained)
    logits = unpack_model(content, "m").logits(digits.test.pixels)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            training = tunecnn.train(config, digits)
            found = next(training)
            assert torch.is_inference_mode_enabled()  # the notebook's own, between epochs
            assert torch.zeros(1).dtype == torch.float64
            assert not list(training)
        model = unpack_model(content, "m")
        assert torch.equal(model.logits(digits.test.pixels), logits)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (found.train_loss, found.val_loss) == (usual.train_loss, usual.val_loss)
    with torch.autocast("cpu"), pytest.raises(InputError, match="leave torch.autocast around"):
        next(tunecnn.train(config, digits))


def test_what_is_seeded_is_put_back_and_no_other_device_is_seeded(monkeypatch):
    """`torch.manual_seed` seeds all GPUs, whose states nothing would restore."""
    seeded = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeded.append)
    monkeypatch.setattr("torch.cuda.manual_seed", seeded.append)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    seeded.clear()
    with random_state_of(7), settings_kept():
        assert not torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3), expected)
    assert seeded == []
