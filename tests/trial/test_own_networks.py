"""Networks that are not ours, trained: normalization, tied weights, depthwise convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tunecnn.data.images import Images, TrialData
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
from tunecnn.trial.batches import to_device
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.messages import Outcome
from tunecnn.trial.optimizers import MuonWithAdamW, make_optimizer
from tunecnn.trial.runner import TrialRun
from tunecnn.trial.trained import load_model, pack_model
from tunecnn.trial.training import Training

TEXT = """
import torch
from torch import nn

class Normed(nn.Module):
    def __init__(self, in_channels, num_classes, width: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, num_classes)
    def forward(self, x):
        return self.head(self.norm(self.conv(x).mean((2, 3))))

class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return self.head(self.second(self.first(x.flatten(1)).relu()))

class Spoiled(Normed):
    def forward(self, x):
        return super().forward(x) * float("nan")

class Greedy(Normed):
    def __init__(self, in_channels, num_classes, width: int = 4):
        super().__init__(in_channels, num_classes)
        torch.empty(10**15)

class Late(Normed):
    def forward(self, x):
        if self.training:
            raise KeyError("no such layer")
        return super().forward(x)

class Leaver(Normed):
    def forward(self, x):
        if self.training:
            raise SystemExit(3)
        return super().forward(x)
"""
CODE = NetworkCode({"nets.py": TEXT.encode()})


def config(name: str, **changes) -> TrialConfig:
    return TrialConfig.from_dict(
        {"architecture": f"nets.py:{name}", "code": CODE.hash, "epochs": 2, "batch_size": 5,
         "optimizer": "adamw", "learning_rate": 1e-2, **changes}
    )  # fmt: skip


def images(count: int) -> Images:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
    return Images(pixels, random.integers(0, 3, count))


@pytest.fixture
def data() -> TrialData:
    """Twenty-one images: in batches of five, the last one holds a single image."""
    return TrialData.measure("random", ("a", "b", "c"), images(21), images(6))


def test_a_last_batch_of_one_image_joins_the_one_before_it(data):
    with importable(CODE):
        training = Training(config("Normed"), data)
        training.run_epoch()
        assert int(training.model.norm.num_batches_tracked) == 4
        other = Training(config("Tied"), data)  # which normalizes nothing
        assert len(other._batcher.order()) == 5


def test_a_checkpoint_holds_buffers_and_tied_weights(data):
    for name in ("Normed", "Tied"):
        with importable(CODE):
            whole = Training(config(name), data)
            list(whole)
            begun = Training(config(name), data)
            begun.run_epoch()
            resumed = Training(config(name), data)
            resumed.restore(begun.checkpoint())
            list(resumed)
        for ours, theirs in zip(
            resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_a_model_file_holds_its_code_and_needs_nothing_else(data, tmp_path):
    for name in ("Normed", "Tied"):
        path = tmp_path / f"{name}.safetensors"
        with importable(CODE):
            training = Training(config(name), data)
            list(training)
            path.write_bytes(pack_model(training))
        with pytest.warns(UserWarning, match=r"comes with the code of its network.*nets.py"):
            model = load_model(path)
        found = model.probabilities(data.validation.pixels).argmax(1)
        assert (found == training.predict(data.validation).argmax(1).numpy()).all()
    assert model.network.second.weight.shape == (64, 64)


FAILURES = [
    (
        "Spoiled",
        Outcome.ERROR,
        "Spoiled returns nan or infinity before any training (net.width=4)",
    ),
    ("Greedy", Outcome.OUT_OF_MEMORY, "DefaultCPUAllocator"),
    ("Late", Outcome.ERROR, "KeyError in nets.py:35: 'no such layer'"),
    ("Leaver", Outcome.ERROR, "SystemExit in nets.py:41: 3"),
]


@pytest.mark.parametrize(("name", "outcome", "reason"), FAILURES)
def test_a_network_that_fails_ends_its_trial_with_values_and_line(name, outcome, reason, data):
    with importable(CODE):
        run = TrialRun(config(name, **{"net.width": 4}), to_device(data, torch.device("cpu")),
                       None, 30.0)  # fmt: skip
        end = run.advance(0.0).end
    assert end is not None
    assert end.outcome is outcome
    assert reason in end.reason


def test_muon_gets_the_convolutions_without_groups_and_adamw_all_else():
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2),
        nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1, bias=False), nn.Linear(4, 3),
    )  # fmt: skip
    optimizer = make_optimizer(TrialConfig(optimizer="muon"), network)
    assert isinstance(optimizer, MuonWithAdamW)
    muon, *others = optimizer.param_groups
    assert [weight is one.weight for weight, one in
            zip(muon["params"], (network[0], network[4]), strict=True)] == [True, True]  # fmt: skip
    assert sum(len(group["params"]) for group in others) == 9
    alone = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False))
    optimizer = make_optimizer(TrialConfig(optimizer="muon"), alone)
    alone(torch.ones(1, 1, 3, 3)).sum().backward()
    optimizer.step()


def test_the_code_is_unpacked_for_as_long_as_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with importable(CODE):
        assert (next(Path(tmp_path).iterdir()) / "nets.py").read_text() == TEXT
    assert not list(tmp_path.iterdir())
