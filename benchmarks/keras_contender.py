"""The same search with KerasTuner and TensorFlow: see `benchmarks.contenders`.

    python benchmarks/keras_contender.py WORKLOAD.json

It needs tensorflow and keras-tuner, which tunecnn does not; so it is a script of its own, for
another environment, and uses no other module. The loop is Keras's own `fit`, the model the
report's, and the tuner the one that KerasTuner's guide begins with after random search.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import keras_tuner  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import numpy as np  # noqa: E402


def search(work: dict[str, Any]) -> None:
    arrays = np.load(work["data"])

    def part(name: str) -> tuple[Any, Any]:
        return arrays[name].astype("float32") / 255, arrays[f"{name}_labels"]

    def build(hp: Any) -> Any:
        layer = keras.layers
        rates = [
            hp.Float(name, 0.0, high)
            for name, high in (("block1", 0.5), ("block2", 0.5), ("block3", 0.7), ("dense", 0.7))
        ]

        def conv(width: int) -> Any:
            return layer.Conv2D(width, 3, padding="same", activation="relu")

        model = keras.Sequential([
            layer.Input(arrays["train"].shape[1:]),
            conv(32), conv(32), layer.MaxPooling2D(), layer.Dropout(rates[0]),
            conv(64), conv(64), layer.MaxPooling2D(), layer.Dropout(rates[1]),
            conv(128), layer.MaxPooling2D(), layer.Dropout(rates[2]),
            layer.Flatten(), layer.Dense(512, activation="relu"), layer.Dropout(rates[3]),
            layer.Dense(10, activation="softmax"),
        ])  # fmt: skip
        rate = hp.Float("learning_rate", 5e-4, 2e-3, sampling="log")
        model.compile(
            keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    class Listener(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
        """Prints what each trial came to."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, logs: Any = None) -> None:
            seconds = time.perf_counter() - self.began
            print(
                json.dumps({"event": "trial", "value": logs["val_accuracy"], "seconds": seconds}),
                flush=True,
            )

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.BayesianOptimization(
            build,
            objective="val_accuracy",
            max_trials=work["trials"],
            seed=work["seed"],
            directory=folder,
        )
        tuner.search(
            *part("train"),
            validation_data=part("validation"),
            epochs=work["epochs"],
            batch_size=work["batch_size"],
            callbacks=[Listener()],
            verbose=0,
        )


if __name__ == "__main__":
    search(json.loads(Path(sys.argv[1]).read_text()))
