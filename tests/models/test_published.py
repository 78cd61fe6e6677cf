from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tunecnn.errors import InputError
from tunecnn.models.building import build_model
from tunecnn.models.designs import DESIGNS, count
from tunecnn.models.published import ConvNet, Dropout, Model1, Model2, Proposed

SHAPES = [(3, 32, 32), (1, 28, 28), (1, 8, 8)]


def textbook(model: ConvNet, images: torch.Tensor) -> torch.Tensor:
    """The same weights in the order of the textbooks: ReLU after each convolution, then the pool."""
    values = images
    for block in model.blocks:
        for conv in block.convs:
            values = F.relu(F.conv2d(values, conv.weight, conv.bias, padding=1))
        values = F.max_pool2d(values, 2)
    flat = values.permute(0, 2, 3, 1).reshape(len(images), -1)
    return F.linear(
        F.relu(F.linear(flat, model.hidden.weight, model.hidden.bias)),
        model.output.weight,
        model.output.bias,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("architecture", DESIGNS)
def test_outputs_and_gradients_equal_the_textbook_order(architecture, shape):
    torch.manual_seed(0)
    model = build_model(architecture, shape).double().eval()
    images = torch.randn(5, *shape, dtype=torch.float64)
    labels = torch.arange(5)
    results = []
    for forward in (model, lambda x: textbook(model, x)):
        model.zero_grad()
        logits = forward(images)
        F.cross_entropy(logits, labels).backward()
        results.append([logits, *(p.grad.clone() for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("architecture", DESIGNS)
def test_the_module_has_as_many_parameters_as_were_counted(architecture, shape):
    model = build_model(architecture, shape, width=0.5, dense_units=64)
    cost = count(architecture, shape, 10, width=0.5, dense_units=64)
    assert sum(p.numel() for p in model.parameters()) == cost.params


def test_outputs_are_logits_of_any_number_of_classes():
    model = build_model("proposed", (2, 9, 17), 7, width_conv1=None)  # as its block
    logits = model.eval()(torch.randn(4, 2, 9, 17))
    assert logits.shape == (4, 7)
    assert logits.min() < 0


def test_weights_start_as_keras_starts_them():
    torch.manual_seed(0)
    model = build_model("model1", (3, 32, 32))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            receptive = module.weight[0, 0].numel() if module.weight.dim() == 4 else 1
            fan_in, fan_out = (n * receptive for n in module.weight.shape[1::-1])
            limit = (6 / (fan_in + fan_out)) ** 0.5
            assert limit * 0.95 < module.weight.abs().max() <= limit
            assert module.bias.abs().max() == 0


def test_three_names_share_one_builder():
    shape = (1, 8, 8)
    for name, kind in (("model1", Model1), ("model2", Model2), ("proposed", Proposed)):
        assert isinstance(build_model(name, shape), kind)
        assert issubclass(kind, ConvNet)


def test_dropouts_stand_where_the_baseline_has_them():
    rates = [
        m.p for m in build_model("proposed", (1, 8, 8)).modules() if isinstance(m, nn.Dropout)
    ]
    assert sorted(rates) == [0.25, 0.25, 0.5, 0.5]
    model = build_model("model2", (1, 8, 8), dropout_block1=0.1)
    assert model.blocks[0].dropout.p == 0.1
    assert model.blocks[1].dropout.p == 0.3


@pytest.mark.parametrize("rate", [1e-6, 0.05, 0.3, 0.7, 0.99999])
@pytest.mark.parametrize("shape", [(20, 16, 9, 7), (301, 101)])
def test_dropout_keeps_its_share_scaled_in_values_and_gradients(rate, shape):
    torch.manual_seed(0)
    values = torch.ones(shape)
    if len(shape) == 4:
        values = values.to(memory_format=torch.channels_last)
    values.requires_grad_()
    dropped = Dropout(rate)(values)
    dropped.sum().backward()
    kept = dropped != 0
    count = values.numel()
    assert abs(kept.sum() - (1 - rate) * count) <= 4 * (rate * (1 - rate) * count) ** 0.5 + 1
    torch.testing.assert_close(
        dropped, kept / (1 - rate), rtol=1e-4 if rate < 0.9 else 0.6, atol=0
    )
    torch.testing.assert_close(values.grad, dropped.detach(), rtol=0, atol=0)
    assert dropped.stride() == values.stride()


def test_dropout_draws_each_value_on_its_own():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(40_000, 8)) != 0).double()
    together = torch.corrcoef(kept.T) - torch.eye(8)
    assert together.abs().max() < 0.02  # 4 standard errors; four neighbours share their bits


def test_dropout_changes_nothing_outside_training_or_at_rate_zero():
    values = torch.ones(4, 4)
    assert Dropout(0.5).eval()(values) is values
    torch.testing.assert_close(Dropout(0.0)(values), values)


@pytest.mark.parametrize(
    ("architecture", "shape", "params", "message"),
    [
        ("proposed", (1, 4, 4), {}, "too small"),
        ("nonsense", (1, 8, 8), {}, "unknown architecture 'nonsense'"),
        (
            "model1",
            (1, 8, 8),
            {"dropout_block3": 0.1},
            "Model1 .* has no argument 'dropout_block3'",
        ),
        ("model1", (1, 8, 8), {"depth": 3}, "Model1 .* has no argument 'depth'"),
        ("model1", (0, 8, 8), {}, "is empty"),
    ],
)
def test_what_cannot_be_built_is_refused(architecture, shape, params, message):
    with pytest.raises(InputError, match=message):
        build_model(architecture, shape, **params)
