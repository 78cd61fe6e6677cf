"""The three networks as plain data: widths, dropouts, layer shapes, parameter counts.

Nothing here imports torch, so a search can count the parameters of a configuration, or reject it,
before any training process exists; `tunecnn.models.networks` builds modules from the designs.

Source of the three designs: M. R. Roman Salgado, "Tarea 8: Propuesta y entrenamiento de red
neuronal" (UACh) and its notebooks. All convolutions are 3x3, stride 1, same padding, ReLU; all
pools are 2x2, stride 2, without padding (7 -> 3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunecnn.errors import InputError, nearest

InputShape = tuple[int, int, int]
"""Channels, height, width."""


def _check_width(name: str, value: int | float) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or value < 1 or value % 1:
        raise InputError(f"{name} must be a whole number of 1 or more, not {value!r}")


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
        InputError: if a width is below 1, a dropout is outside [0, 1), or there is no convolution.
    """

    blocks: tuple[Block, ...]
    dense_units: int = 512
    dense_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.blocks:
            raise InputError("a design needs at least one block")
        conv = 0
        for number, block in enumerate(self.blocks, start=1):
            if not block.widths:
                raise InputError(f"block {number} of a design needs at least one convolution")
            for width in block.widths:
                conv += 1
                _check_width(f"width of convolution {conv}", width)
            _check_dropout(f"dropout.block{number}", block.dropout)
        _check_width("dense_units", self.dense_units)
        _check_dropout("dropout.dense", self.dense_dropout)


DESIGNS: Mapping[str, Design] = {
    "model1": Design(blocks=(Block((32,)), Block((64,)))),
    "model2": Design(blocks=(Block((32,), 0.3), Block((64,), 0.3)), dense_dropout=0.3),
    "proposed": Design(
        blocks=(Block((32, 32), 0.25), Block((64, 64), 0.25), Block((128,), 0.5)),
        dense_dropout=0.5,
    ),
}
"""The published networks by name; `proposed` is the published Model 3."""


def design_parameters(architecture: str) -> dict[str, int | float]:
    """Return the free parameters of an architecture with their published values.

    `width` multiplies the width of every convolution; `width.blockN` and `width.convN` set the
    width of all convolutions of a block, or of one convolution. The others are `dropout.blockN`,
    `dropout.dense` and `dense_units`.

    Raises:
        InputError: if there is no such architecture.
    """
    design = _named(architecture)
    parameters: dict[str, int | float] = {"width": 1.0}
    conv = 0
    for number, block in enumerate(design.blocks, start=1):
        parameters[f"width.block{number}"] = block.widths[0]
        parameters[f"dropout.block{number}"] = block.dropout
        for width in block.widths:
            conv += 1
            parameters[f"width.conv{conv}"] = width
    parameters["dense_units"] = design.dense_units
    parameters["dropout.dense"] = design.dense_dropout
    return parameters


def make_design(architecture: str, given: Mapping[str, int | float | bool | str]) -> Design:
    """Make a design of an architecture; parameters that are not given keep the published values.

    Args:
        architecture: name of the architecture: `model1`, `model2` or `proposed`.
        given: values of parameters, with the names of `design_parameters`; the width of a
            convolution has precedence over that of its block, and both are multiplied by `width`.

    Raises:
        InputError: for an unknown name, a value that is not a number, a width below 1 or a dropout
            outside [0, 1).
    """
    base = _named(architecture)
    known = design_parameters(architecture)
    parameters: dict[str, int | float] = {}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"{architecture} has no parameter {name!r}; {nearest(name, known)}")
        if isinstance(value, bool | str):
            raise InputError(f"{name} must be a number, not {value!r}")
        parameters[name] = value
    scale = parameters.get("width", 1.0)
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"width must be above 0, not {scale!r}: it multiplies every convolution")
    blocks = []
    conv = 0
    for number, block in enumerate(base.blocks, start=1):
        widths = []
        for default in block.widths:
            conv += 1
            wide = parameters.get(f"width.block{number}", default)
            wide = parameters.get(f"width.conv{conv}", wide)
            _check_width(f"width of convolution {conv}", wide)
            widths.append(_scaled(wide, scale, conv))
        dropout = float(parameters.get(f"dropout.block{number}", block.dropout))
        blocks.append(Block(tuple(widths), dropout))
    return Design(
        blocks=tuple(blocks),
        dense_units=_whole("dense_units", parameters.get("dense_units", base.dense_units)),
        dense_dropout=float(parameters.get("dropout.dense", base.dense_dropout)),
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


def count_params(design: Design, input_shape: InputShape, classes: int) -> int:
    """Count the trainable parameters of a design for an input of shape (C, H, W)."""
    return sum(layer.params for layer in layers(design, input_shape, classes))


def count_macs(design: Design, input_shape: InputShape, classes: int) -> int:
    """Count the multiply-accumulates of one forward pass of one (C, H, W) image."""
    return sum(layer.macs for layer in layers(design, input_shape, classes))


def _named(architecture: str) -> Design:
    if architecture not in DESIGNS:
        raise InputError(
            f"unknown architecture {architecture!r}; {nearest(architecture, DESIGNS)}"
        )
    return DESIGNS[architecture]


def _scaled(width: int | float, scale: float, conv: int) -> int:
    scaled = math.floor(width * scale + 0.5)
    if scaled < 1:
        raise InputError(
            f"width {scale!r} leaves convolution {conv} with {width} x {scale!r}, which rounds to "
            f"{scaled}; every convolution needs at least 1 channel"
        )
    return scaled


def _whole(name: str, value: int | float) -> int:
    _check_width(name, value)
    return int(value)
