"""Eight equal trials, from the start of the process to the best result.

    python -m benchmarks.throughput [--data-dir DIR] [--epochs N] [--rounds N] [--keras PYTHON]
                                    [--beside WAY ...]

The proposed network on 10,000 training and 2,000 validation images of MNIST, batches of 64, AdamW,
dropouts and learning rate searched, no trial stopped early: tunecnn beside Ray Tune, Optuna's
`n_jobs=2`, KerasTuner (where PYTHON has tensorflow-cpu and keras-tuner[bayesian]) and the ceiling,
two tuned loops without a search. All compute in float32; where the processor has instructions for
bfloat16, tunecnn searches once more with them, as its `fast` recipe would. They take turns;
`--beside loops` leaves the other ways out. Images a second are training images over the time from
the start of the process to its end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import Workload
from benchmarks.results import Watched, keep, middle
from benchmarks.searching import (
    EQUAL,
    IN_BF16,
    in_turn,
    run_contender,
    run_tunecnn,
    save_images,
    space_text,
)
from tunecnn.trial.training import computes_in_bf16

TRAIN, VALIDATION, TRIALS = 10_000, 2_000 / 60_000, 8
NAMES = {
    "bf16": "tunecnn, bf16",
    "tune": "Ray Tune",
    "optuna": "Optuna, n_jobs=2",
    "keras": "KerasTuner",
    "loops": "two tuned loops, no search",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras", metavar="PYTHON")
    parser.add_argument("--beside", nargs="+", choices=NAMES, default=list(NAMES))
    asked = parser.parse_args()

    def ours(settings: dict[str, Any], _: int) -> Watched:
        text = space_text(work, "mnist", TRAIN, VALIDATION, settings)
        return run_tunecnn(text, asked.data_dir)[0]

    def other(way: str, _: int) -> Watched:
        return run_contender(work, way, asked.keras)

    possible = {"keras": asked.keras, "bf16": computes_in_bf16(torch.device("cpu"))}
    others = [way for way in asked.beside if possible.get(way, True)]
    if "keras" in others:  # better now than after minutes
        subprocess.run([asked.keras, "-c", "import keras_tuner, scipy, tensorflow"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images.npz")
        save_images(images, "mnist", asked.data_dir, TRAIN, VALIDATION)
        work = Workload(str(images), TRIALS, asked.epochs)
        ways = {
            way: partial(ours, IN_BF16) if way == "bf16" else partial(other, way) for way in others
        }
        seen = in_turn({"tunecnn": partial(ours, EQUAL), **ways}, asked.rounds)
    images_in_all = TRIALS * asked.epochs * TRAIN
    rows = [
        {
            "way": NAMES.get(way, way),
            "seconds": middle([one.seconds for one in runs]),
            "images/s": round(statistics.median(images_in_all / one.seconds for one in runs)),
            "times tunecnn": middle(
                [
                    one.seconds / ours.seconds
                    for one, ours in zip(runs, seen["tunecnn"], strict=True)
                ]
            ),
            "peak MB": round(max(one.peak_mb for one in runs)),
        }
        for way, runs in seen.items()
    ]
    keep(f"throughput_{asked.epochs}", rows, rounds=asked.rounds, images=images_in_all)


if __name__ == "__main__":
    main()
