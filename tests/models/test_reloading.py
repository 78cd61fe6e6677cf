"""Networks whose weights may not be all that they are: whether they can be kept and loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.networks import config, model_of, random_data
from tests.support.trained import assert_is_of
from tunecnn.data.images import Images, TrialData
from tunecnn.errors import InputError
from tunecnn.models.building import importable
from tunecnn.models.code import NetworkCode
from tunecnn.trial.batches import to_device
from tunecnn.trial.messages import Outcome
from tunecnn.trial.runner import RunningTrial
from tunecnn.trial.training import Training, computes_in_bf16

ODD = """
import functools
import threading
import torch
from torch import nn
from torch.nn import functional as F

class Flat(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return self.head(x.flatten(1))

class Caches(Flat):  # as LeViT does
    def __init__(self, classes):
        super().__init__(classes)
        self.bias = nn.Parameter(torch.zeros(classes))
        self.cache = None
    def train(self, mode=True):
        self.cache = None
        return super().train(mode)
    def forward(self, x):
        if self.training:
            return super().forward(x) + self.bias
        if self.cache is None:
            self.cache = self.bias.detach().clone() + self.head.weight.detach().sum() * 10
        return super().forward(x) + self.cache - self.head.weight.sum() * 10

class Forgets(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(64), persistent=False)
    def forward(self, x):
        if self.training:
            self.mean.mul_(0.5).add_(x.detach().flatten(1).mean(0), alpha=0.5)
        return self.head(x.flatten(1) - self.mean)

class Counter(Flat):
    steps = 0
    def forward(self, x):
        self.steps += self.training
        return super().forward(x) * (1 + self.steps)

class Seeds(Flat):
    def __init__(self, classes):
        torch.manual_seed(42)
        super().__init__(classes)

class Softmaxes(Flat):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Squeezes(Flat):
    def forward(self, x):
        return super().forward(x).squeeze()

class Frozen(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.mask = nn.Parameter(torch.full((8, 8), -float("inf")).triu(1), requires_grad=False)
        self.index = nn.Parameter(torch.arange(64), requires_grad=False)
    def forward(self, x):
        return super().forward((x[:, 0] @ (self.mask == 0).float()).flatten(1)[:, self.index])

class NeedsTwo(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("variance", torch.ones(64))
    def forward(self, x):
        x = F.batch_norm(x.flatten(1), self.mean, self.variance, training=self.training)
        return self.head(x)

class Strict(Flat):
    def forward(self, x):
        assert x.is_contiguous()
        if self.training:
            x = x.view(-1, 1, 8, 8)
        return super().forward(x)

class Puts(Flat):
    def forward(self, x):
        out = torch.zeros(len(x), 64)
        out[:, torch.arange(64)] = self.inner(x.flatten(1))
        return super().forward(out)
    def __init__(self, classes):
        super().__init__(classes)
        self.inner = nn.Linear(64, 64)

class Doubles(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("phase", torch.zeros(3, dtype=torch.complex128))

class Sparse(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("graph", torch.eye(3).to_sparse())

class Shares(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("same", torch.ones(1, 3).expand(4, 3))

class Registers(Flat):
    library = torch.library.Library("tunecnn_test_registers", "DEF")

class Drops(Flat):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5))

@functools.lru_cache
def cached(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

class Shared(Flat):
    BODY = nn.Linear(64, 64)
    def __init__(self, classes):
        super().__init__(classes)
        self.body = self.BODY
    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())

class Centred(Flat):
    def forward(self, x):
        return super().forward(x - x.mean(0))

class Barely(Flat):
    def forward(self, x):
        x = super().forward(x) / 1000
        return x - x.mean(0)

class Unkept(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)
    def forward(self, x):
        return super().forward(self.norm(x))

class Freezes(Flat):
    def train(self, mode=True):
        super().train(mode)  # and returns nothing

class Late(Flat):
    def forward(self, x):
        import helper
        from helper import twice
        return twice(super().forward(x))

class Contrasts(Flat):  # of which the images of a try have the same
    def forward(self, x):
        return super().forward(x / ((x[..., 1:] - x[..., :-1]).abs().max() + 1e-6))

class InPlace(Flat):
    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(0.5))

class Threaded(Flat):
    def forward(self, x):
        found = []
        one = threading.Thread(target=lambda: found.append(super(Threaded, self).forward(x)))
        one.start()
        one.join()
        return found[0]

class Slopes(Flat):  # the gradient of an energy by the image, as energy-based networks
    def __init__(self, classes):
        super().__init__(classes)
        self.energy = nn.Conv2d(1, 4, 3, padding=1)
    def forward(self, x):
        with torch.enable_grad():
            given = x.detach().clone().requires_grad_()
            energy = nn.functional.softplus(self.energy(given)).sum()
            slope, = torch.autograd.grad(energy, given, create_graph=self.training)
        return super().forward(x + slope)

class LazyView(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.head = nn.LazyConv2d(4, 3), nn.LazyLinear(classes)
    def forward(self, x):
        x = self.conv(x)
        return self.head(x.view(x.size(0), -1))

class Skips(Flat):
    def __init__(self, classes):
        super().__init__(classes)
        self.sometimes, self.calls = nn.Linear(64, 64), 0
    def forward(self, x):
        x = x.flatten(1)
        if self.training and torch.rand(()) < 0.5:
            x = x + self.sometimes(x)
        return self.head(x)
"""
ODD_CODE = NetworkCode(
    {"nets.py": ODD.encode(), "helper.py": b"def twice(x):\n    return 2 * x\n"}
)


@pytest.fixture
def data() -> TrialData:
    return random_data()


@pytest.mark.parametrize(
    "name",
    [
        "Caches",
        "Frozen",
        "NeedsTwo",
        "Strict",
        "Registers",
        "Drops",
        "Freezes",
        "Late",
        "LazyView",
        "InPlace",
        "Threaded",
        "Slopes",
    ],
)
def test_odd_networks_give_after_loading_what_they_gave_in_training(name, data, tmp_path):
    size = len(data.train) - 1  # so that a batch of one image is left
    with importable(ODD_CODE):
        training = Training(config(ODD_CODE, name, epochs=2, batch_size=size, averaging=0.5), data)
        list(training)
        model = model_of(training, tmp_path / "model.safetensors")
    found = model.logits(data.validation.pixels)
    if name != "Drops":  # which draws numbers in use as well, others after each epoch
        assert_is_of(training, found)
    assert torch.equal(model.logits(data.validation.pixels), found)
    assert model.probabilities(data.validation.pixels).shape == (6, 3)


def test_what_a_network_imports_while_it_runs_is_the_copy_in_its_file(data, tmp_path, monkeypatch):
    with importable(ODD_CODE):
        training = Training(config(ODD_CODE, "Late"), data)
        list(training)
        model = model_of(training, tmp_path / "model.safetensors")
    (tmp_path / "helper.py").write_text("def twice(x):\n    return -x\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert_is_of(training, model.logits(data.validation.pixels))


def test_images_of_one_class_at_the_front_do_not_hide_what_is_computed_over_all_of_them():
    """They are alike, as the dark ones of a folder are, and lie class by class."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 12)
    pixels = random.integers(0, 1 + np.where(labels, 60, 254)[:, None, None, None], (24, 8, 8, 1))
    both = Images(pixels.astype(np.uint8), labels)
    alike = TrialData.measure("lights", ("day", "night"), both, both)
    with importable(ODD_CODE), pytest.raises(InputError, match="other logits alone than among"):
        list(Training(config(ODD_CODE, "Contrasts"), alike))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "Forgets",
            "gives other results once its weights are loaded again: it uses what its stat",
        ),
        (
            "Counter",
            "gives other results once its weights are loaded again: it uses what its stat",
        ),
        (
            "Seeds",
            "Seeds sets the seed of torch while it is built, so trials with other seeds would",
        ),
        ("Softmaxes", "Softmaxes returns probabilities, not logits: leave its softmax out"),
        ("Squeezes", "Squeezes returned the shape (3,) for 1 image of 1x8x8"),
        ("Doubles", "keeps 'phase', of the type torch.complex128, which a file of weights cannot"),
        ("Sparse", "keeps 'graph', a sparse tensor, which a file of weights cannot hold"),
        ("Shares", "keeps 'same', whose values share memory, as expand() returns them; add .cl"),
        ("cached", "cached has the same weights at each call, so trials would go on from each"),
        ("Shared", "Shared has the same weights at each call, so trials would go on from each"),
        ("Centred", "Centred gives an image other logits alone than among others, so its accu"),
        ("Barely", "Barely gives an image other logits alone than among others, so its accur"),
        ("Unkept", "Unkept gives an image other logits alone than among others, so its accur"),
    ],
)
def test_what_could_not_be_kept_ends_its_trial_after_the_first_epoch(name, reason, data):
    with importable(ODD_CODE):
        run = RunningTrial(
            config(ODD_CODE, name, epochs=3), to_device(data, torch.device("cpu")), None, 0.0
        )
        update = run.advance(60.0)
    assert update.end is not None
    assert update.end.outcome is Outcome.ERROR
    assert reason in update.end.reason
    assert len(update.epochs) <= 1


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_layer_may_be_without_a_gradient_in_the_first_steps_of_sgd(momentum, data):
    with importable(ODD_CODE):
        one = config(ODD_CODE, "Skips", epochs=3, batch_size=8, optimizer="sgd", momentum=momentum)
        assert len(list(Training(one, data))) == 3


def test_lazy_weights_of_a_view_are_made_for_images_with_colours(data):
    parts = [
        Images(np.repeat(part.pixels, 3, axis=3), part.labels)
        for part in (data.train, data.validation)
    ]
    colours = TrialData.measure("random", data.classes, *parts)
    with importable(ODD_CODE):
        assert list(Training(config(ODD_CODE, "LazyView", epochs=1), colours))


def test_a_network_that_fails_in_bf16_alone_says_so(data):
    if not computes_in_bf16(torch.device("cpu")):
        pytest.skip("this processor does not compute in bfloat16")
    with importable(ODD_CODE):
        assert list(Training(config(ODD_CODE, "Puts", epochs=1), data))
        with pytest.raises(
            InputError, match=r"Puts cannot be trained in bf16: .* precision: fp32"
        ):
            Training(config(ODD_CODE, "Puts", precision="bf16"), data)
