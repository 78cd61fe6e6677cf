"""The published networks as PyTorch modules: three classes with one implementation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import (
    DESIGNS,
    Design,
    InputShape,
    design_parameters,
    layers,
    make_design,
)


class ConvNet(nn.Module):
    """Blocks of 3x3 convolutions and a 2x2 pool, one hidden dense layer, and an output layer.

    The initialization is that of Keras: Glorot uniform weights, zero biases. The ReLU comes after
    the pool and is in place, since it then acts on a quarter of the values; the order changes
    neither outputs nor gradients, since both layers only select values. Activations are in
    `channels_last`, and the flatten uses the order (height, width, channels) of Keras, which
    copies nothing in that layout.

    Args:
        design: design with the widths and the dropouts.
        input_shape: channels, height and width of one image.
        classes: number of classes.

    Shapes: input (n, C, H, W) float; output (n, classes) logits.

    Raises:
        InputError: if the input is too small for the pools.
    """

    def __init__(self, design: Design, input_shape: InputShape, classes: int) -> None:
        super().__init__()
        plan = layers(design, input_shape, classes)
        features = next(layer.output[0] for layer in plan if layer.type == "flatten")
        channels = input_shape[0]
        self.blocks = nn.ModuleList()
        for block in design.blocks:
            convs = nn.ModuleList()
            for width in block.widths:
                convs.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
                channels = width
            self.blocks.append(ConvBlock(convs, block.dropout))
        self.hidden = nn.Linear(features, design.dense_units)
        self.dropout = Dropout(design.dense_dropout)
        self.output = nn.Linear(design.dense_units, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, C, H, W) to logits (n, classes)."""
        values = images.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            values = block(values)
        flat = values.permute(0, 2, 3, 1).flatten(1)
        hidden: Tensor = self.hidden(flat)
        logits: Tensor = self.output(self.dropout(hidden.relu_()))
        return logits


class Dropout(nn.Dropout):
    """Dropout that is four times as fast as `nn.Dropout` on a CPU.

    `nn.Dropout` spends most of its time on random numbers. Here, on a CPU, four values share 64
    random bits, so the rate is rounded to a multiple of 2^-16. The kept values are scaled by the
    rounded rate, so the mean stays exact.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Zero random values and scale the others in training mode; else return all unchanged."""
        kept = round((1 - self.p) * 2**16)
        if not self.training or values.device.type != "cpu" or not 0 < kept < 2**16:
            return super().forward(values)
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        # With the strides of the values, so that nothing is copied in any layout.
        bits = draws.view(torch.int16).as_strided(values.shape, values.stride())
        mask = (bits < kept - 2**15).to(values.dtype)
        return values * mask.mul_(2**16 / kept)


class ConvBlock(nn.Module):
    """Convolutions with ReLU, a 2x2 pool and a dropout: (n, c, h, w) to (n, c', h//2, w//2)."""

    def __init__(self, convs: nn.ModuleList, dropout: float) -> None:
        super().__init__()
        self.convs = convs
        self.pool = nn.MaxPool2d(2)
        self.dropout = Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        """Apply the block; the last convolution's ReLU comes after the pool."""
        for conv in self.convs[:-1]:
            values = conv(values).relu_()
        values = self.pool(self.convs[-1](values)).relu_()
        dropped: Tensor = self.dropout(values)
        return dropped


class Model1(ConvNet):
    """Model 1: two convolutions, no dropout. Keyword arguments are those of `build_model`."""

    def __init__(self, input_shape: InputShape, classes: int = 10, **params: Any) -> None:
        super().__init__(_design("model1", params), input_shape, classes)


class Model2(ConvNet):
    """Model 2: Model 1 with dropouts of 0.3. Keyword arguments are those of `build_model`."""

    def __init__(self, input_shape: InputShape, classes: int = 10, **params: Any) -> None:
        super().__init__(_design("model2", params), input_shape, classes)


class Proposed(ConvNet):
    """The proposed network, Model 3. Keyword arguments are those of `build_model`."""

    def __init__(self, input_shape: InputShape, classes: int = 10, **params: Any) -> None:
        super().__init__(_design("proposed", params), input_shape, classes)


_CLASSES = {"model1": Model1, "model2": Model2, "proposed": Proposed}
assert _CLASSES.keys() == DESIGNS.keys()


def build_model(
    architecture: str, input_shape: InputShape, classes: int = 10, **params: Any
) -> nn.Module:
    """Build one of the published networks, with any of its free parameters changed.

    Args:
        architecture: name of the architecture: `model1`, `model2` or `proposed`.
        input_shape: channels, height and width of one image.
        classes: number of classes.
        **params: parameters `width` (multiplies the width of every convolution), `width_block1`,
            `width_conv1`, `dropout_block1`, `dropout_dense`, `dense_units`, and so on for each
            block and convolution; those that are not given keep the published values.

    Returns:
        A module that maps float images (n, C, H, W) to logits (n, classes).

    Raises:
        InputError: for an unknown architecture or parameter, a width below 1, a dropout outside
            [0, 1), or an input that is too small for the pools.
    """
    if architecture not in _CLASSES:
        raise InputError(
            f"unknown architecture {architecture!r}; {nearest(architecture, _CLASSES)}"
        )
    return _CLASSES[architecture](input_shape, classes, **params)


def _design(architecture: str, params: dict[str, Any]) -> Design:
    names = {name.replace(".", "_"): name for name in design_parameters(architecture)}
    return make_design(
        architecture, {names.get(name, name): value for name, value in params.items()}
    )
