"""The published protocol held against Keras itself, on its torch backend.

The published runs used Keras 3; the recipe `published` must do the same arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tunecnn.models.building import build_model
from tunecnn.models.designs import DESIGNS, layers
from tunecnn.models.published import ConvNet
from tunecnn.trial.optimizers import make_optimizer
from tunecnn.trial.recipes import make_config
from tunecnn.trial.training import EarlyStopping

SHAPES = [(3, 32, 32), (1, 28, 28), (1, 8, 8)]
TOLERANCE = 1e-5


@cache
def keras() -> Any:
    """Import Keras: not with this file, since it takes seconds and each process collects all."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def keras_model(architecture: str, shape: tuple[int, int, int], dropout: bool) -> Any:
    """Build a Keras model from the published list of layers, as the notebooks write it."""
    design = DESIGNS[architecture]
    channels, height, width = shape
    stack = [keras().layers.Input((height, width, channels))]
    for block in design.blocks:
        for filters in block.widths:
            stack.append(keras().layers.Conv2D(filters, 3, padding="same", activation="relu"))
        stack.append(keras().layers.MaxPooling2D(2))
        if dropout and block.dropout:
            stack.append(keras().layers.Dropout(block.dropout))
    stack.append(keras().layers.Flatten())
    stack.append(keras().layers.Dense(design.dense_units, activation="relu"))
    if dropout and design.dense_dropout:
        stack.append(keras().layers.Dropout(design.dense_dropout))
    stack.append(keras().layers.Dense(10, activation="softmax"))
    return keras().Sequential(stack)


@pytest.fixture
def float64() -> Iterator[None]:
    for dtype in ("float64", "float32"):
        keras().config.set_floatx(dtype)
        keras().config.set_dtype_policy(dtype)
        if dtype == "float64":
            yield


def weighted_layers(model: ConvNet) -> list[torch.nn.Module]:
    convs = [conv for block in model.blocks for conv in block.convs]
    return [*convs, model.hidden, model.output]


def from_keras(theirs: Any, ours: ConvNet) -> None:
    """Carry a Keras model's weights over: only the order of the axes differs."""
    with torch.no_grad():
        carried = [layer for layer in theirs.layers if layer.weights]
        for layer, module in zip(carried, weighted_layers(ours), strict=True):
            kernel, bias = (torch.from_numpy(np.array(w)) for w in layer.get_weights())
            axes = (3, 2, 0, 1) if kernel.dim() == 4 else (1, 0)
            module.weight.copy_(kernel.permute(axes))
            module.bias.copy_(bias)


def largest_difference(theirs: Any, ours: ConvNet) -> float:
    differences = []
    carried = [layer for layer in theirs.layers if layer.weights]
    for layer, module in zip(carried, weighted_layers(ours), strict=True):
        kernel, bias = layer.get_weights()
        axes = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
        weight = module.weight.detach().permute(axes).numpy()
        differences += [
            np.abs(weight - kernel).max(),
            np.abs(module.bias.detach().numpy() - bias).max(),
        ]
    return float(max(differences))


def images(shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    pixels = random.random((count, shape[1], shape[2], shape[0]), dtype=np.float32)
    return pixels, random.integers(0, 10, count)


def pair(architecture: str, shape: tuple[int, int, int]) -> tuple[Any, ConvNet]:
    keras().utils.set_random_seed(0)
    theirs = keras_model(architecture, shape, dropout=False)
    none = {f"dropout_block{i}": 0.0 for i in range(1, len(DESIGNS[architecture].blocks) + 1)}
    ours = build_model(architecture, shape, dropout_dense=0.0, **none)
    from_keras(theirs, ours)
    return theirs, ours


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("architecture", DESIGNS)
def test_the_same_weights_give_the_same_outputs(architecture, shape):
    theirs, ours = pair(architecture, shape)
    pixels, _ = images(shape, 16)
    with torch.no_grad():
        logits = ours.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    expected = keras().ops.convert_to_numpy(theirs(pixels))
    assert np.abs(logits.softmax(1).numpy() - expected).max() < TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("architecture", DESIGNS)
def test_five_steps_from_the_same_weights_give_the_same_weights(architecture, shape, float64):
    # In float64: what is left is a difference of rules. In fp32 an activation that rounding puts
    # on the other side of 0 moves single weights by more than the tolerance.
    theirs, ours = pair(architecture, shape)
    ours = ours.double()
    from_keras(theirs, ours)
    config = make_config("published", architecture, "mnist")
    optimizer = make_optimizer(config, ours)
    theirs.compile(
        optimizer=keras().optimizers.RMSprop(learning_rate=1e-4),
        loss="categorical_crossentropy",
    )
    before = [weight.clone() for weight in ours.state_dict().values()]
    pixels, labels = images(shape, 5 * 8)
    pixels = pixels.astype(np.float64)
    for start in range(0, len(labels), 8):
        part = slice(start, start + 8)
        theirs.train_on_batch(pixels[part], np.eye(10)[labels[part]])
        logits = ours.train()(torch.from_numpy(pixels[part]).permute(0, 3, 1, 2))
        optimizer.zero_grad()
        cross_entropy(logits, torch.from_numpy(labels[part])).backward()
        optimizer.step()
    moved = max(
        (a - b).abs().max().item() for a, b in zip(before, ours.state_dict().values(), strict=True)
    )
    assert moved > 1e-4
    assert largest_difference(theirs, ours) < TOLERANCE


def test_parameters_are_counted_as_keras_counts_them():
    for architecture in DESIGNS:
        for shape in SHAPES:
            plan = layers(DESIGNS[architecture], shape, 10)
            counted = keras_model(architecture, shape, dropout=True).count_params()
            assert counted == sum(layer.params for layer in plan)


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize(
    "losses",
    [
        [3.0, 2.0, 1.0, 2.0, 3.0, 4.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [2.0, 3.0, 1.0, 1.5, 1.2, 1.1],
        [float("nan"), 2.0, float("nan"), 1.0, float("nan"), float("nan")],
        [float("nan"), float("nan"), float("nan"), float("nan"), float("nan"), 1.0],
        [5.0, 4.0, 4.0, 4.0, 3.0, 3.0],
    ],
)
def test_early_stopping_ends_where_keras_ends_with_the_same_weights(losses, patience):
    model = keras().Sequential([keras().layers.Input((1,)), keras().layers.Dense(1)])
    callback = keras().callbacks.EarlyStopping(
        monitor="val_loss", mode="min", patience=patience, restore_best_weights=True
    )
    callback.set_model(model)
    model.compile(loss="mse")
    model.stop_training = False
    callback.on_train_begin()
    stopping, kept, ended = EarlyStopping(patience), None, None
    for epoch, loss in enumerate(losses, start=1):
        model.set_weights([np.full((1, 1), float(epoch)), np.zeros(1)])
        callback.on_epoch_end(epoch - 1, {"val_loss": loss})
        is_best, stop = stopping.update(loss)
        kept = epoch if is_best else kept
        ended = epoch
        assert stop == model.stop_training
        if stop:
            break
    callback.on_train_end()
    assert model.get_weights()[0].item() == kept, f"after {ended} epochs"
