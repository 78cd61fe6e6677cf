from __future__ import annotations

import pytest
import torch
from torch import nn

from tunecnn import load_dataset, make_config, train
from tunecnn.errors import InputError
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.weights import MeanWeights, initialize


class Tied(nn.Module):
    """Two layers with one weight, and a count that is no floating-point number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(2)


def copies(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


def test_the_mean_is_exponential_and_forgets_the_first_weights():
    network = nn.Linear(1, 1, bias=False)
    mean = MeanWeights(network, 0.5)
    expected, values = network.weight.item(), [3.0, -1.0, 4.0, 1.0]
    for step, value in enumerate(values, start=1):
        network.weight.data.fill_(value)
        mean.update()
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * value
    with mean.in_use():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == values[-1]


def test_weights_that_layers_share_and_counts_come_back_after_use():
    network = Tied()
    mean = MeanWeights(network, 0.9)
    for _ in range(3):
        network.norm(torch.rand(4, 2))
        network.first.weight.data.add_(1)
        mean.update()
    before = copies(network)
    with mean.in_use():
        assert not torch.equal(network.first.weight, before[0])
        assert network.second.weight is network.first.weight
        assert network.norm.num_batches_tracked == 3
    for one, other in zip(copies(network), before, strict=True):
        assert torch.equal(one, other)


def test_a_mean_goes_on_from_its_state():
    torch.manual_seed(0)
    steps = torch.rand(6, 2, 2)
    network = nn.Linear(2, 2, bias=False)
    whole, first, second = (MeanWeights(network, 0.8) for _ in range(3))
    for number, step in enumerate(steps):
        network.weight.data.copy_(step)
        whole.update()
        (first if number < 3 else second).update()
        if number == 2:
            second.load_state_dict(first.state_dict())
    with whole.in_use():
        expected = network.weight.clone()
    with second.in_use():
        assert torch.equal(network.weight, expected)


def convolution(*sizes: int, **options: int) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(*sizes, 3, padding=1, **options)


def test_he_has_the_variance_that_keeps_the_size_of_activations():
    layer = convolution(64, 128)
    initialize(layer, "he")
    assert layer.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.05)


def test_orthogonal_rows_have_one_length_and_no_angle_in_common():
    layer = convolution(16, 32)
    initialize(layer, "orthogonal")
    matrix = layer.weight.detach().flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 8), (8, 3)])
def test_dirac_repeats_inputs_and_leaves_the_other_outputs(inputs, outputs):
    layer = convolution(inputs, outputs)
    before = layer.weight.detach().clone()
    initialize(layer, "dirac")
    repeated = min(inputs, outputs)
    images = torch.rand(1, inputs, 5, 5)
    found = layer(images) - layer.bias[:, None, None]
    torch.testing.assert_close(found[:, :repeated], images[:, :repeated])
    assert torch.equal(layer.weight[repeated:], before[repeated:])


@pytest.mark.parametrize("groups", [2, 4])
def test_dirac_repeats_the_inputs_of_each_group(groups):
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False)
    initialize(layer, "dirac")
    images = torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(layer(images), images)


@pytest.mark.parametrize("how", ["own", "he", "orthogonal", "dirac"])
@pytest.mark.parametrize("groups", [1, 2])
def test_initial_weights_do_not_depend_on_the_memory_layout(how, groups):
    """Networks are trained in `channels_last`, in which torch makes no orthogonal weights."""
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layer = convolution(8, 16, groups=groups).to(memory_format=layout)
        initialize(layer, how)
        assert layer.weight.is_contiguous(memory_format=layout)
        found.append(layer.weight)
    assert torch.equal(*found)


@pytest.mark.parametrize("initialization", ["he", "orthogonal", "dirac"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_is_trained_from_each_initialization(initialization, precision):
    config = make_config(
        "fast",
        "proposed",
        "digits",
        epochs=4,
        train_images=200,
        precision=precision,
        initialization=initialization,
        **{"net.width": 0.25},
    )
    first, *_, last = train(config, load_dataset("digits", config.data_split).trial_data)
    assert last.train_loss < 0.95 * first.train_loss


def test_the_networks_own_weights_stay():
    layer = convolution(4, 4, groups=4)
    before = layer.weight.detach().clone()
    initialize(layer, "own")
    assert torch.equal(layer.weight, before)


def test_orthogonal_is_so_within_each_group():
    layer = convolution(8, 12, groups=4)
    initialize(layer, "orthogonal")
    for matrix in layer.weight.detach().flatten(1).chunk(4):
        torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(3), rtol=0, atol=1e-5)


def test_frozen_weights_stay():
    layer = convolution(4, 4).requires_grad_(False)
    before = layer.weight.clone()
    initialize(layer, "he")
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.LazyConv2d(4, 3), "has no weights before its first images"),
        (
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
            "computes its weights from othe",
        ),
    ],
    ids=["lazy", "parametrized"],
)
def test_a_convolution_without_weights_of_its_own_is_named(layer, why):
    with pytest.raises(InputError, match=f"the convolution 1 {why}"):
        initialize(nn.Sequential(nn.ReLU(), layer), "he")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("initialization", "hee", "unknown initialization 'hee'; did you mean 'he'"),
        ("averaging", 1, "averaging must be below 1, not 1"),
        ("cutout", -0.1, "cutout must be"),
        ("cutmix", 1.5, "cutmix must be"),
        ("alternate_flip", "yes", "alternate_flip must be true or false, not 'yes'"),
    ],
)
def test_a_wrong_value_is_named(setting, value, message):
    with pytest.raises(InputError) as raised:
        TrialConfig(**{setting: value})
    assert message in str(raised.value)
