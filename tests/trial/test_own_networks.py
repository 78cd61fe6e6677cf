"""Networks that are not ours, trained: normalization, tied weights, depthwise convolutions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.networks import config, random_data
from tests.support.trained import assert_is_of
from tunecnn.data.images import TrialData
from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
from tunecnn.models.measuring import measure
from tunecnn.trial.batches import to_device
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.messages import Outcome
from tunecnn.trial.optimizers import MuonWithAdamW, make_optimizer
from tunecnn.trial.runner import RunningTrial
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


@pytest.fixture
def data() -> TrialData:
    return random_data()


def test_a_last_batch_of_one_image_joins_the_one_before_it(data):
    with importable(CODE):
        training = Training(config(CODE, "Normed"), data)
        training.run_epoch()
        assert int(training.model.norm.num_batches_tracked) == 4
        other = Training(config(CODE, "Tied"), data)  # which normalizes nothing
        assert len(other._batcher.order()) == 5


def test_a_checkpoint_holds_buffers_and_tied_weights(data):
    for name in ("Normed", "Tied"):
        with importable(CODE):
            whole = Training(config(CODE, name), data)
            list(whole)
            begun = Training(config(CODE, name), data)
            begun.run_epoch()
            resumed = Training(config(CODE, name), data)
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
            training = Training(config(CODE, name), data)
            list(training)
            path.write_bytes(pack_model(training))
        with pytest.warns(UserWarning, match=r"comes with the code of its network.*nets.py"):
            model = load_model(path)
        assert_is_of(training, model.logits(data.validation.pixels))
    assert model.network.second.weight.shape == (64, 64)


FAILURES = [
    (
        "Spoiled",
        Outcome.ERROR,
        "Spoiled returns nan or infinity before any training (net.width=4)",
    ),
    ("Greedy", Outcome.OUT_OF_MEMORY, "DefaultCPUAllocator"),
    ("Late", Outcome.ERROR, "1x8x8 in training: KeyError (nets.py:35): 'no such layer'"),
    ("Leaver", Outcome.ERROR, "1x8x8 in training: a call of sys.exit (nets.py:41): 3"),
]


@pytest.mark.parametrize(("name", "outcome", "reason"), FAILURES)
def test_a_network_that_fails_ends_its_trial_with_values_and_line(name, outcome, reason, data):
    with importable(CODE):
        run = RunningTrial(
            config(CODE, name, **{"net.width": 4}),
            to_device(data, torch.device("cpu")),
            None,
            30.0,
        )
        end = run.advance(0.0).end
    assert end is not None
    assert end.outcome is outcome
    assert reason in end.reason


def test_muon_gets_the_convolutions_without_groups_and_adamw_all_else():
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1, bias=False),
        nn.Linear(4, 3),
    )
    optimizer = make_optimizer(TrialConfig(optimizer="muon"), network)
    assert isinstance(optimizer, MuonWithAdamW)
    muon, *others = optimizer.param_groups
    assert [
        weight is one.weight
        for weight, one in zip(muon["params"], (network[0], network[4]), strict=True)
    ] == [True, True]
    assert sum(len(group["params"]) for group in others) == 9
    alone = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False))
    optimizer = make_optimizer(TrialConfig(optimizer="muon"), alone)
    alone(torch.ones(1, 1, 3, 3)).sum().backward()
    optimizer.step()


def test_the_code_is_unpacked_once_and_removed_with_the_process(tmp_path):
    script = f"""
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
for _ in range(2):
    with importable(NetworkCode({{"nets.py": {TEXT.encode()!r}}})):
        import nets
        print(nets.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    first, second = done.stdout.split()
    assert first == second
    assert first.startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())


BROUGHT = """
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(42)  # as many files begin
random.seed(0)
np.random.seed(0)
torch.set_float32_matmul_precision("medium")

class LeNet(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3)
        self.second = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8 * 4 * 4, classes)
    def forward(self, x):
        return self.head(self.second(self.conv(x).relu()).view(-1, 8 * 4 * 4))

class Repeats(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 36, classes)
    def forward(self, x):
        return self.head(self.conv(x.repeat(1, 3, 1, 1)).view(len(x), -1))

class Deep(nn.Module):
    def __init__(self, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, classes)
    def forward(self, x):
        return self.head(self.conv(x[:, None]).mean((2, 3, 4)))

class Attends(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))
        self.register_buffer("best", torch.tensor(torch.inf))
        self.into = nn.Linear(8, 8)
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = self.into(x[:, 0])
        weights = (x @ x.mT + self.mask).softmax(-1)
        return self.head((weights @ x).flatten(1))

class Fourier(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.waves = torch.randn(64, 32)
        self.order = np.random.permutation(64)
        random.shuffle(rest := list(range(64)))
        self.register_buffer("rest", torch.tensor(rest), persistent=False)
        self.head = nn.Linear(32, classes)
    def forward(self, x):
        return self.head(torch.cos(x.flatten(1)[:, self.order][:, self.rest] @ self.waves))

class Noisy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = F.dropout(x.flatten(1), 0.3)  # in evaluation too
        return self.head(x * random.choice([0.9, 1.1]) + np.random.normal() / 10)

class Running(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("mean", torch.zeros(64))
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.head(x - self.mean)

class Counts(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head, self.scale = nn.Linear(64, classes), Scale()
    def count(self):
        return 3
    def forward(self, x):
        return self.head(x.flatten(1)) * self.scale()

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.zeros(()))
    def forward(self):
        return self.log.exp()

class Complex(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, classes, dtype=torch.cfloat) / 8)
    def forward(self, x):
        return (x.flatten(1).to(torch.cfloat) @ self.weight).abs()

class Heads(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = self.head(x.flatten(1))
        return (x, x) if self.training else x

class Stateful(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def get_extra_state(self):
        return {"steps": 3}
    def set_extra_state(self, state):
        pass
    def forward(self, x):
        return self.head(x.flatten(1))

class Normed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = nn.utils.weight_norm(nn.Linear(64, 8))  # which torch cannot copy
        self.norm, self.head = nn.BatchNorm1d(8), nn.Linear(8, classes)
    def forward(self, x):
        return self.head(self.norm(self.first(x.flatten(1))))

class Expanded(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("mask", torch.ones(1, 64).expand(4, 64), persistent=False)
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return self.head(x.flatten(1) * self.mask[0])

class FromFirstBatch(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("ready", torch.tensor(False))
        self.shift = nn.Parameter(torch.zeros(64))
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = x.flatten(1)
        if not self.ready:
            self.ready.fill_(True)
            self.shift.data = -x.mean(0)
        return self.head(x + self.shift)

class Remembers(FromFirstBatch):
    def __init__(self, classes):
        super().__init__(classes)
        self.known = False
    def forward(self, x):
        if self.training and not self.known:
            self.known = True
            self.ready.fill_(False)
        return super().forward(x)

class Scheduled(LeNet):  # as with DropBlock's schedule by steps
    def __init__(self, in_channels, classes):
        super().__init__(in_channels, classes)
        self.steps = 0
    def forward(self, x):
        if self.training:
            x = torch.dropout(x, max(0.0, 0.5 - 0.1 * self.steps), True)
            self.steps += 1
        return super().forward(x)

class OwnNoise(LeNet):
    def __init__(self, in_channels, classes):
        super().__init__(in_channels, classes)
        self.noise = np.random.default_rng(0)
    def forward(self, x):
        if self.training:
            x = x * float(self.noise.uniform(0.5, 1.0))
        return super().forward(x)

class OwnDraws(LeNet):
    def __init__(self, in_channels, classes):
        super().__init__(in_channels, classes)
        draws = np.random.default_rng().normal(size=tuple(self.conv.weight.shape))
        self.conv.weight.data = torch.from_numpy(draws).float()

class Hooked(LeNet):  # its hook is a closure over the network itself
    def __init__(self, in_channels, classes):
        super().__init__(in_channels, classes)
        self.seen = {}
        self.conv.register_forward_hook(self.keep("conv"))
    def keep(self, name):
        def hook(module, given, returned):
            self.seen[name] = returned
        return hook
    def forward(self, x):
        return super().forward(x) + 0 * self.seen["conv"].mean()

class FromImages(nn.Module):  # its first images make its layers
    def __init__(self, classes):
        super().__init__()
        self.classes, self.head = classes, None
        self.register_buffer("same", torch.eye(3).to_sparse(), persistent=False)
    def forward(self, x):
        x = x.flatten(1)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], self.classes)
            self.register_buffer("grid", torch.ones(x.shape[1]))
        return self.head(x * self.grid)

class OnGpu(Heads):
    def forward(self, x):
        if self.training:
            raise RuntimeError("Found no NVIDIA driver on your system.")
        return self.head(x.flatten(1))
"""
BROUGHT_CODE = NetworkCode({"nets.py": BROUGHT.encode()})


def trained(name: str, data, **changes) -> Training:
    with importable(BROUGHT_CODE):
        training = Training(config(BROUGHT_CODE, name, **changes), data)
        list(training)
    return training


@pytest.mark.parametrize("name", ["LeNet", "Repeats", "Deep", "Attends", "Fourier", "Noisy", "Running",
                                  "Counts", "Normed", "Complex", "Expanded", "FromFirstBatch", "Hooked",
                                  "FromImages"])  # fmt: skip
def test_networks_as_people_bring_them_train_again_alike_and_are_loaded(name, data, tmp_path):
    settings = {"seed": 3, "averaging": 0.9, "patience": 2, "optimizer": "adamw"}
    with importable(BROUGHT_CODE):
        cost = measure(Architecture(f"nets.py:{name}", Path()), {}, data.input_shape, 3)
        training = Training(config(BROUGHT_CODE, name, **settings), data)
        metrics = list(training)
        content = pack_model(training)
    assert cost.params > 0
    assert not any(one.diverged for one in metrics)
    again = trained(name, data, **settings)
    assert again.kept.val_loss == training.kept.val_loss
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="comes with the code"):
        model = load_model(path)
    if name not in ("Noisy", "Running"):  # these depend on the batches before
        assert_is_of(training, model.logits(data.validation.pixels))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Remembers", "Remembers gives other results in training once its weights are loaded aga"),
        ("Scheduled", "Scheduled gives other results in training once its weights are loaded aga"),
        ("OwnNoise", "a random generator of its own (draw from torch's or NumPy's)"),
        ("OwnDraws", "OwnDraws has another conv.weight each time it is built with one seed"),
    ],
)
def test_what_a_pause_or_a_seed_would_change_is_refused(name, reason, data):
    with importable(BROUGHT_CODE), pytest.raises(InputError, match=re.escape(reason)):
        list(Training(config(BROUGHT_CODE, name, epochs=3), data))


def test_a_network_is_not_trained_on_the_images_that_try_it(data):
    with importable(BROUGHT_CODE):
        training = Training(config(BROUGHT_CODE, "FromFirstBatch"), data)
    assert not training.model.ready
    assert not training.model.shift.any()


def test_a_file_that_seeds_torch_does_not_make_all_seeds_alike(data):
    first = {seed: trained("LeNet", data, seed=seed).kept.val_loss for seed in (1, 2)}
    assert first[1] != first[2]
    assert torch.get_float32_matmul_precision() == "highest"
    with importable(BROUGHT_CODE):
        alone = [Training(config(BROUGHT_CODE, "LeNet", seed=seed), data) for seed in (2, 1)]
        assert not torch.equal(alone[0].model.conv.weight, alone[1].model.conv.weight)
        for training, seed in zip(alone, (2, 1), strict=True):
            list(training)
            assert training.kept.val_loss == first[seed]


@pytest.mark.parametrize("name", ["LeNet", "Repeats"])
def test_muon_trains_convolutions_in_every_memory_layout(name, data):
    with importable(BROUGHT_CODE):
        training = Training(config(BROUGHT_CODE, name, optimizer="muon", weight_decay=0.1), data)
        before = training.model.conv.weight.detach().clone()
        training.run_epoch()
    assert (training.model.conv.weight != before).all()


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("Heads", {}, "Heads returned tuple in training, not a tensor of logits"),
        (
            "Stateful",
            {},
            "keeps '_extra_state', a dict, in its state; a file of weights has tensors",
        ),
        ("OnGpu", {}, "in training: RuntimeError (nets.py:"),
        ("Complex", {"optimizer": "rmsprop"}, "rmsprop is defined for real weights"),
        ("Complex", {"optimizer": "muon"}, "muon is defined for real weights"),
    ],
)
def test_what_cannot_be_trained_ends_its_trial_and_says_why(name, changes, reason, data):
    with importable(BROUGHT_CODE):
        run = RunningTrial(
            config(BROUGHT_CODE, name, **changes), to_device(data, torch.device("cpu")), None, 30.0
        )
        update = run.advance(0.0)
    assert not update.device_error
    assert update.end is not None
    assert update.end.outcome is Outcome.ERROR
    assert reason in update.end.reason
