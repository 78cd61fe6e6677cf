"""What builds of a network share, and what a check must not change."""

from __future__ import annotations

import pytest
import torch

from tests.support.networks import config, model_of, random_data
from tunecnn.data.images import TrialData
from tunecnn.errors import InputError
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
from tunecnn.trial.training import Training, computes_in_bf16

STATES = """
import torch
from torch import nn

BODY = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).requires_grad_(False)
MEAN = torch.tensor(0.1)

class Shares(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body, self.head = BODY, nn.Linear(4, classes)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

class Constant(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("mean", MEAN)
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return self.head((x - self.mean).flatten(1))

class Strided(nn.Sequential):
    def __init__(self, classes, stride: int = 2):
        super().__init__(nn.Conv2d(1, 4, 3, 8), nn.Conv2d(4, 4, 3, stride, 1), nn.Flatten(),
                         nn.Linear(4, classes))

class Follows(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = nn.Linear(64, classes)
        self.teacher = nn.Linear(64, classes).requires_grad_(False)
    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.teacher.weight.lerp_(self.net.weight, 0.5)
        return self.net(x.flatten(1)) + self.teacher(x.flatten(1))
"""
STATES_CODE = NetworkCode({"nets.py": STATES.encode()})


@pytest.fixture
def data() -> TrialData:
    return random_data()


def test_what_all_builds_share_may_not_change_in_training(data):
    with importable(STATES_CODE):
        assert list(Training(config(STATES_CODE, "Constant"), data))
        with pytest.raises(
            InputError, match="the same body.1.running_mean at each call, which cha"
        ):
            Training(config(STATES_CODE, "Shares"), data)


def test_columns_of_a_kernel_that_see_padding_only_are_not_trained_in_bf16(data):
    if not computes_in_bf16(torch.device("cpu")):
        pytest.skip("this processor does not compute in bfloat16")
    with importable(STATES_CODE):
        assert list(Training(config(STATES_CODE, "Strided", epochs=1), data))
        assert list(
            Training(
                config(STATES_CODE, "Strided", epochs=1, precision="bf16", **{"net.stride": 1}),
                data,
            )
        )
        with pytest.raises(InputError, match="a part of 1 sees padding only, .* precision: fp32"):
            Training(config(STATES_CODE, "Strided", precision="bf16"), data)


def test_a_check_leaves_weights_that_follow_others_as_they_are(data, tmp_path):
    with importable(STATES_CODE):
        training = Training(config(STATES_CODE, "Follows"), data)
        *_, last = training
        model = model_of(training, tmp_path / "model.safetensors")
        right = (
            model(torch.from_numpy(data.validation.pixels)).argmax(1).numpy()
            == data.validation.labels
        )
        assert right.mean() == pytest.approx(last.val_accuracy)


def test_weights_that_are_not_finite_are_a_trial_that_has_diverged(data):
    with importable(STATES_CODE):
        training = Training(config(STATES_CODE, "Constant"), data)
        assert not training.run_epoch().diverged
        with torch.no_grad():
            training.model.head.bias[0] = float("inf")
        assert training.run_epoch().diverged


EVALUATED = """
import torch
from torch import nn
from torch.nn.functional import dropout

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
        self.register_buffer("seen", torch.zeros(64))
    def forward(self, x):
        x = x.flatten(1)
        return LINE
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("self.head((x - x.mean(0)) / x.std(0))", "Net gives an image other logits alone than"),
        (
            "self.head(x - self.seen.lerp_(x.detach().mean(0), 0.5))",
            "Net gives the same images other logits in evaluation the second time",
        ),
        (
            "self.head(x).softmax(1) if self.training else self.head(x)",
            "probabilities, not logits",
        ),
        ("torch.fft.fft(self.head(x))", "Net returned complex64; logits are real numbers"),
        ("(self.head(x) > 0).long()", "Net returned int64; logits are real numbers"),
    ],
)
def test_a_network_whose_accuracy_would_be_that_of_something_else_is_refused(line, message, data):
    code = NetworkCode({"nets.py": EVALUATED.replace("LINE", line).encode()})
    with importable(code), pytest.raises(InputError, match=message):
        list(Training(config(code, "Net"), data))


def test_random_numbers_in_evaluation_are_those_of_one_seed(data):
    code = NetworkCode({"nets.py": EVALUATED.replace("LINE", "self.head(dropout(x))").encode()})
    with importable(code):
        list(Training(config(code, "Net"), data))
