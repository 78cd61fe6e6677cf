"""The published training in Keras itself, on the images and the split that tunecnn trains on.

    KERAS_BACKEND=jax python -m benchmarks.keras_training imagefolder:cifar10-jpeg

It answers one question: when tunecnn's result differs from the published one, do the images differ
or the training? The network, the optimizer, early stopping and `fit` are Keras's own; only the
arrays come from tunecnn. Each epoch is printed as one line of JSON.

From the outputs of a softmax layer, JAX and torch compute a loss that is clipped at 16.1, whose
gradient is zero there. With `--logits` the loss is computed from the logits, as TensorFlow does it
of itself, and is not clipped.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import keras  # type: ignore[import-not-found,import-untyped,unused-ignore]
import numpy as np

from tunecnn.data.images import Images
from tunecnn.data.loading import load_dataset
from tunecnn.data.registry import dataset_info
from tunecnn.data.splits import Split
from tunecnn.models.designs import DESIGNS


def network(architecture: str, shape: tuple[int, ...], classes: int, logits: bool) -> Any:
    """Build a published network as the notebooks write it, with Keras's own initialization."""
    design, layer = DESIGNS[architecture], keras.layers
    stack = [layer.Input(shape)]
    for block in design.blocks:
        stack += [
            layer.Conv2D(width, 3, padding="same", activation="relu") for width in block.widths
        ]
        stack.append(layer.MaxPooling2D(2))
        if block.dropout:
            stack.append(layer.Dropout(block.dropout))
    stack += [layer.Flatten(), layer.Dense(design.dense_units, activation="relu")]
    if design.dense_dropout:
        stack.append(layer.Dropout(design.dense_dropout))
    stack.append(layer.Dense(classes, activation=None if logits else "softmax"))
    return keras.Sequential(stack)


class Lines(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Prints the metrics of each epoch."""

    def __init__(self, **names: Any) -> None:
        super().__init__()
        self._names, self._start = names, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Print one line."""
        seconds = round(time.perf_counter() - self._start, 2)
        self._start = time.perf_counter()
        print(
            json.dumps({**self._names, "epoch": epoch + 1, **logs, "seconds": seconds}), flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--against", default="cifar10", help="published data set")
    parser.add_argument("--model", default="proposed", choices=tuple(DESIGNS))
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir")
    parser.add_argument("--logits", action="store_true", help="compute the loss from logits")
    given = parser.parse_args()
    published = dataset_info(given.against)
    data = load_dataset(
        given.dataset, Split(validation=published.validation), data_dir=given.data_dir
    )
    scale = {"raw": 1.0, "unit": 255.0}[published.published_pixels]
    # Keras on torch turns the axes around each convolution, unless the channels come first.
    channels_first = keras.config.backend() == "torch"
    if channels_first:
        keras.config.set_image_data_format("channels_first")

    def arrays(images: Images) -> tuple[Any, Any]:
        labels = keras.utils.to_categorical(images.labels, len(data.trial_data.classes))
        pixels = images.pixels.astype(np.float32) / np.float32(scale)
        return (pixels.transpose(0, 3, 1, 2).copy() if channels_first else pixels), labels

    keras.utils.set_random_seed(given.seed)
    channels, *size = data.trial_data.input_shape
    shape = (channels, *size) if channels_first else (*size, channels)
    model = network(given.model, shape, len(data.trial_data.classes), given.logits)
    loss = keras.losses.CategoricalCrossentropy(from_logits=given.logits)
    model.compile(keras.optimizers.RMSprop(1e-4), loss, metrics=["accuracy"])
    names = {"backend": keras.config.backend(), "model": given.model, "seed": given.seed}
    names["logits"] = given.logits
    callbacks = [Lines(**names)]
    if given.model == "proposed":
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", mode="min", patience=10, restore_best_weights=True
            )
        )
    model.fit(
        *arrays(data.trial_data.train),
        validation_data=arrays(data.trial_data.validation),
        epochs=given.epochs,
        batch_size=128,
        callbacks=callbacks,
        verbose=0,
    )
    loss, accuracy = model.evaluate(*arrays(data.test), batch_size=500, verbose=0)
    print(json.dumps({**names, "test_loss": loss, "test_accuracy": accuracy}))


if __name__ == "__main__":
    main()
