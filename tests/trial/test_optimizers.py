from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tunecnn.trial.config import TrialConfig
from tunecnn.trial.optimizers import (
    KerasRMSprop,
    make_optimizer,
    make_schedule,
    newton_schulz,
    newton_schulz_together,
)


def test_rmsprop_follows_keras_rule_step_by_step():
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = KerasRMSprop([weight], lr=0.1, rho=0.9, epsilon=1e-7)
    expected, mean = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for step in range(5):
        gradient = torch.tensor([1e-6, 0.5 * (step + 1)], dtype=torch.float64)
        weight.grad = gradient.clone()
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient**2
        expected -= 0.1 * gradient / torch.sqrt(mean + 1e-7)
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=0)


def test_epsilon_stands_under_the_root():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.full_like(weight, 1e-6)
    KerasRMSprop([weight], lr=1.0).step()
    assert weight.item() == pytest.approx(-1e-6 / (1e-13 + 1e-7) ** 0.5, rel=1e-9)


def test_weight_decay_is_decoupled():
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.zeros(1)
    KerasRMSprop([weight], lr=0.1, weight_decay=0.5).step()
    assert weight.item() == pytest.approx(0.95)


def test_muon_moves_convolutions_as_matrices_and_all_else_as_adamw_does(monkeypatch):
    # torch makes the update orthogonal in bfloat16, ours does it in float32 on a CPU.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4))
    model.to(memory_format=torch.channels_last)
    config = TrialConfig(optimizer="muon", learning_rate=0.01, weight_decay=0.1)
    alone = copy.deepcopy(model)
    matrix = nn.Parameter(alone[0].weight.detach().permute(0, 2, 3, 1).reshape(8, 27))
    muon = torch.optim.Muon(
        [matrix], lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    others = [alone[0].bias, alone[2].weight, alone[2].bias]
    adamw = torch.optim.AdamW(others, lr=0.01, eps=1e-7, weight_decay=0.1)
    optimizer = make_optimizer(config, model)
    for _ in range(3):
        images = torch.randn(5, 3, 3, 3)
        for network, optimizers in ((model, [optimizer]), (alone, [muon, adamw])):
            network.zero_grad()
            network(images).square().sum().backward()
            if network is alone:
                matrix.grad = alone[0].weight.grad.permute(0, 2, 3, 1).reshape(8, 27)
            for one in optimizers:
                one.step()
        with torch.no_grad():
            alone[0].weight.copy_(matrix.view(8, 3, 3, 3).permute(0, 3, 1, 2))
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    optimizer.zero_grad()
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_others_are_torchs_own(name):
    config = TrialConfig(optimizer=name, learning_rate=0.1, weight_decay=0.1)
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    settings = {"adamw": {"eps": 1e-7}, "sgd": {"momentum": 0.9, "nesterov": config.nesterov}}
    original = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    pair = [
        make_optimizer(config, nn.ParameterList([ours])),
        original([theirs], lr=0.1, weight_decay=0.1, fused=True, **settings[name]),
    ]
    for step in range(3):
        for weight, optimizer in zip((ours, theirs), pair, strict=True):
            weight.grad = torch.tensor([1.0, -1.0, 0.5]) * (step + 1)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert pair[0].state_dict()["state"].keys() == pair[1].state_dict()["state"].keys()


IMPORTS = """
import sys
from torch import nn, ones
from tunecnn.trial.config import CHOICES, TrialConfig
from tunecnn.trial.optimizers import make_optimizer

for name in CHOICES["optimizer"]:
    layer = nn.Conv2d(1, 1, 1)
    optimizer = make_optimizer(TrialConfig(optimizer=name), layer)
    optimizer.zero_grad()
    layer(ones(1, 1, 1, 1)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_no_optimizer_makes_a_worker_import_the_compiler():
    assert subprocess.run([sys.executable, "-c", IMPORTS], timeout=280).returncode == 0


@pytest.mark.parametrize(
    ("schedule", "first", "highest", "low", "high"),
    [
        ("constant", 1.0, 1.0, 1.0, 1.0),
        ("cosine", 1.0, 1.0, 0.0, 0.03),
        ("one_cycle", 0.04, 1.0, 0.0, 0.05),
    ],
)
def test_the_schedule_spans_all_steps(schedule, first, highest, low, high):
    config = TrialConfig(schedule=schedule, optimizer="sgd", learning_rate=1.0)
    optimizer = make_optimizer(config, nn.ParameterList([torch.zeros(1)]))
    scheduler = make_schedule(config, optimizer, steps=20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(first, abs=0.01)
    assert max(rates) == pytest.approx(highest, abs=0.02)
    assert low <= rates[-1] <= high
    steps = np.diff(rates)
    assert {
        "constant": not steps.any(),
        "cosine": (steps < 0).all(),
        "one_cycle": steps[0] > 0 > steps[-1],
    }[schedule]


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0.5), (3, 0.25), (9, 0.1), (19, 0.05), (1, 0.3)]
)
def test_one_cycle_runs_however_few_steps_it_rises(steps, warmup):
    config = TrialConfig(schedule="one_cycle", optimizer="sgd", learning_rate=1.0, warmup=warmup)
    optimizer = make_optimizer(config, nn.ParameterList([torch.zeros(1)]))
    scheduler = make_schedule(config, optimizer, steps)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= 1.0
        optimizer.step()
        scheduler.step()


SHAPES = [(27, 32), (8, 288), (64, 288), (64, 576), (16, 16)]


@pytest.mark.parametrize("limit", [1, 50_000, 2**22])
def test_matrices_are_made_orthogonal_together_as_one_by_one(limit, monkeypatch):
    monkeypatch.setattr("tunecnn.trial.optimizers._STACK", limit)
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in SHAPES]
    together = newton_schulz_together(matrices)
    for matrix, result in zip(matrices, together, strict=True):
        torch.testing.assert_close(result, newton_schulz(matrix[None])[0])
    assert newton_schulz_together([]) == []
