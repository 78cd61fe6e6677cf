"""The published networks as plain data: widths, dropouts, layer shapes, parameter counts.

Nothing here imports torch, so a search of these networks can count the parameters of a
configuration, or reject it, before any training process exists; `tunecnn.models.published` builds
modules from the designs.

Source of the three designs: M. R. Roman Salgado, "Tarea 8: Propuesta y entrenamiento de red
neuronal" (UACh) and its notebooks. All convolutions are 3x3, stride 1, same padding, ReLU; all
pools are 2x2, stride 2, without padding (7 -> 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunecnn.errors import InputError, nearest

InputShape = tuple[int, int, int]
"""Channels, height, width."""

_WIDEST = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        params: number of trainable parameters.
        macs: multiply-accumulates of one forward pass of one image.
        activations: number of values that its layers return for one image.
        layers: hash of its layers and their settings, as torch prints them; empty if it was not
            built. It is no cost, and not compared.
        random_operations: names of its operations in evaluation that draw random numbers. They
            are no cost either.
    """

    params: int
    macs: int
    activations: int
    layers: str = field(default="", compare=False)
    random_operations: Sequence[str] = field(default=(), compare=False)


def _check_width(name: str, value: int | float) -> None:
    if isinstance(value, bool) or not 1 <= value <= _WIDEST or value % 1:
        raise InputError(f"{name} must be a whole number of 1 to {_WIDEST:,}, not {value!r}")


def _check_dropout(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise InputError(
            f"{name} must lie in [0, 1), not {value!r}: it is the share of values set to zero"
        )


@dataclass(frozen=True)
class Block:
    """Convolutions with the given output widths, then a 2x2 pool and a dropout."""

    widths: tuple[int, ...]
    dropout: float = 0.0


@dataclass(frozen=True)
class Design:
    """A whole network: blocks, one hidden dense layer, and the output layer.

    Raises:
        InputError: if a width is below 1 or a dropout outside [0, 1).
    """

    blocks: tuple[Block, ...]
    dense_units: int = 512
    dense_dropout: float = 0.0

    def __post_init__(self) -> None:
        conv = 0
        for number, block in enumerate(self.blocks, start=1):
            for width in block.widths:
                conv += 1
                _check_width(f"width of convolution {conv}", width)
            _check_dropout(f"dropout_block{number}", block.dropout)
        _check_width("dense_units", self.dense_units)
        _check_dropout("dropout_dense", self.dense_dropout)


DESIGNS: Mapping[str, Design] = {
    "model1": Design(blocks=(Block((32,)), Block((64,)))),
    "model2": Design(blocks=(Block((32,), 0.3), Block((64,), 0.3)), dense_dropout=0.3),
    "proposed": Design(
        blocks=(Block((32, 32), 0.25), Block((64, 64), 0.25), Block((128,), 0.5)),
        dense_dropout=0.5,
    ),
}
"""The published networks by name; `proposed` is the published Model 3."""


def unknown_architecture(name: str) -> str:
    """Return what is said of a name that no published network has."""
    return f"unknown architecture {name!r}; {nearest(name, DESIGNS)}"


def make_design(
    architecture: str,
    *,
    width: float = 1.0,
    dense_units: int | None = None,
    dropout_dense: float | None = None,
    **given: int | float | None,
) -> Design:
    """Make a design of a published network; None keeps the published value.

    Args:
        architecture: name of the network: `model1`, `model2` or `proposed`.
        width: multiplies the width of every convolution.
        dense_units: units of the hidden dense layer.
        dropout_dense: dropout after the hidden dense layer.
        **given: `width_block1`, `dropout_block1`, ... for each block, and `width_conv1`, ... for
            each convolution, which has precedence over its block.

    Raises:
        InputError: for an unknown network, a width below 1 or a dropout outside [0, 1).
    """
    if architecture not in DESIGNS:
        raise InputError(unknown_architecture(architecture))
    base = DESIGNS[architecture]
    if not 0 < width <= _WIDEST:
        raise InputError(
            f"width must be above 0 and at most {_WIDEST:,}, not {width!r}: it multiplies "
            "every convolution"
        )
    blocks = []
    conv = 0
    for number, block in enumerate(base.blocks, start=1):
        widths = []
        for default in block.widths:
            conv += 1
            wide = _first(given, f"width_conv{conv}", f"width_block{number}", default=default)
            _check_width(f"width of convolution {conv}", wide)
            widths.append(_scaled(wide, width, conv))
        dropout = _first(given, f"dropout_block{number}", default=block.dropout)
        blocks.append(Block(tuple(widths), float(dropout)))
    return Design(
        blocks=tuple(blocks),
        dense_units=base.dense_units if dense_units is None else dense_units,
        dense_dropout=base.dense_dropout if dropout_dense is None else float(dropout_dense),
    )


@dataclass(frozen=True)
class Layer:
    """One layer of a network on a given input.

    Attributes:
        type: type of the layer; the ReLU is part of `conv` and of the hidden `dense`.
        output: shape of the output for one image: (C, H, W), or (units,) after the flatten.
        params: number of trainable parameters.
        macs: number of multiply-accumulates of one forward pass of one image.
    """

    type: Literal["conv", "pool", "dropout", "flatten", "dense"]
    output: tuple[int, ...]
    params: int = 0
    macs: int = 0


def layers(design: Design, input_shape: InputShape, classes: int) -> list[Layer]:
    """Return the layers of a design for an input of shape (C, H, W).

    Raises:
        InputError: if the input is empty or too small for the pools, or for fewer than 2 classes.
    """
    channels, height, width = input_shape
    if min(input_shape) < 1:
        raise InputError(f"an input of shape {input_shape} is empty: every size must be 1 or more")
    if classes < 2:
        raise InputError(f"a classifier needs at least 2 classes, not {classes}")
    found: list[Layer] = []
    for number, block in enumerate(design.blocks, start=1):
        for out in block.widths:
            weights = 9 * channels * out
            macs = weights * height * width
            found.append(Layer("conv", (out, height, width), weights + out, macs))
            channels = out
        if height < 2 or width < 2:
            raise InputError(
                f"an input of {input_shape[1]}x{input_shape[2]} is too small: it reaches pool "
                f"{number} as {height}x{width}, and a 2x2 pool needs 2x2; this network needs at "
                f"least {2 ** len(design.blocks)}x{2 ** len(design.blocks)}"
            )
        height, width = height // 2, width // 2
        found.append(Layer("pool", (channels, height, width)))
        found.append(Layer("dropout", (channels, height, width)))
    features = channels * height * width
    found.append(Layer("flatten", (features,)))
    units = design.dense_units
    found.append(Layer("dense", (units,), features * units + units, features * units))
    found.append(Layer("dropout", (units,)))
    found.append(Layer("dense", (classes,), units * classes + classes, units * classes))
    return found


def count(architecture: str, input_shape: InputShape, classes: int, **given: Any) -> Cost:
    """Count what a published network costs, without building it; arguments of `make_design`.

    Raises:
        InputError: as `make_design` and `layers`.
    """
    plan = layers(make_design(architecture, **given), input_shape, classes)
    return Cost(
        params=sum(layer.params for layer in plan),
        macs=sum(layer.macs for layer in plan),
        activations=sum(math.prod(layer.output) for layer in plan),
    )


def _first(given: Mapping[str, int | float | None], *names: str, default: float) -> int | float:
    """Return the first value that is given."""
    return next((value for name in names if (value := given.get(name)) is not None), default)


def _scaled(width: int | float, scale: float, conv: int) -> int:
    scaled = math.floor(width * scale + 0.5)
    if scaled < 1:
        raise InputError(
            f"width {scale!r} leaves convolution {conv} with {width} x {scale!r}, which rounds to "
            f"{scaled}; every convolution needs at least 1 channel"
        )
    return scaled
