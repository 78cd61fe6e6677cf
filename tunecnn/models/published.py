"""The published networks as PyTorch modules: three classes with one implementation.

They go through the same door as anybody's network: see `tunecnn.models.architecture`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tunecnn.models.designs import Design, InputShape, layers, make_design


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
    """Model 1: two convolutions, no dropout. For the arguments see `make_design`."""

    def __init__(
        self,
        input_shape: InputShape,
        classes: int = 10,
        *,
        width: float = 1.0,
        width_block1: int = 32,
        width_block2: int = 64,
        dropout_block1: float = 0.0,
        dropout_block2: float = 0.0,
        dense_units: int = 512,
        dropout_dense: float = 0.0,
    ) -> None:
        design = make_design(
            "model1",
            width=width,
            width_block1=width_block1,
            width_block2=width_block2,
            dropout_block1=dropout_block1,
            dropout_block2=dropout_block2,
            dense_units=dense_units,
            dropout_dense=dropout_dense,
        )
        super().__init__(design, input_shape, classes)


class Model2(ConvNet):
    """Model 2: Model 1 with dropouts of 0.3. For the arguments see `make_design`."""

    def __init__(
        self,
        input_shape: InputShape,
        classes: int = 10,
        *,
        width: float = 1.0,
        width_block1: int = 32,
        width_block2: int = 64,
        dropout_block1: float = 0.3,
        dropout_block2: float = 0.3,
        dense_units: int = 512,
        dropout_dense: float = 0.3,
    ) -> None:
        design = make_design(
            "model2",
            width=width,
            width_block1=width_block1,
            width_block2=width_block2,
            dropout_block1=dropout_block1,
            dropout_block2=dropout_block2,
            dense_units=dense_units,
            dropout_dense=dropout_dense,
        )
        super().__init__(design, input_shape, classes)


class Proposed(ConvNet):
    """The proposed network, Model 3. For the arguments see `make_design`.

    The width of a convolution that is None is that of its block.
    """

    def __init__(
        self,
        input_shape: InputShape,
        classes: int = 10,
        *,
        width: float = 1.0,
        width_block1: int = 32,
        width_block2: int = 64,
        width_block3: int = 128,
        width_conv1: int | None = None,
        width_conv2: int | None = None,
        width_conv3: int | None = None,
        width_conv4: int | None = None,
        dropout_block1: float = 0.25,
        dropout_block2: float = 0.25,
        dropout_block3: float = 0.5,
        dense_units: int = 512,
        dropout_dense: float = 0.5,
    ) -> None:
        design = make_design(
            "proposed", width=width, width_block1=width_block1, width_block2=width_block2,
            width_block3=width_block3, width_conv1=width_conv1, width_conv2=width_conv2,
            width_conv3=width_conv3, width_conv4=width_conv4, dropout_block1=dropout_block1,
            dropout_block2=dropout_block2, dropout_block3=dropout_block3, dense_units=dense_units,
            dropout_dense=dropout_dense,
        )  # fmt: skip
        super().__init__(design, input_shape, classes)
