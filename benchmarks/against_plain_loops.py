"""tunecnn against hand-written PyTorch loops of the same network, on the CPU.

    python benchmarks/against_plain_loops.py step      one process, images a second
    python benchmarks/against_plain_loops.py search    8 equal trials, start-up included

The loop is what a good engineer would write for this one network: channels_last, ReLU in place and
after the pool, scaled float images in memory, a fused optimizer, glibc told to keep freed memory.
It trains and validates on as many images as tunecnn does. Ratios are taken within a run, in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tunecnn import make_config
from tunecnn.images import Images, TrialData
from tunecnn.training import Training

Shape = tuple[int, int, int]

ROUNDS = 7
STEP_IMAGES = 1280
TRIALS, EPOCHS, TRAIN, VALIDATION = 8, 2, 8_000, 1_000

SPACE = f"""
name: equal
dataset: {{dataset}}
architecture: proposed
epochs: {EPOCHS}
trials: {TRIALS}
parameters:
  train_images: {TRAIN}
  validation: {{validation}}
  dropout.block1: {{{{float: [0.0, 0.5]}}}}
  learning_rate: {{{{float: [5e-4, 2e-3], log: true}}}}
  crop: 0
  flip: false
sampler: random
"""


def plain_network(channels: int, features: int) -> nn.Module:
    relu = nn.ReLU(inplace=True)
    network = nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), relu,
        nn.Conv2d(32, 32, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(0.25),
        nn.Conv2d(32, 64, 3, padding=1), relu,
        nn.Conv2d(64, 64, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(0.25),
        nn.Conv2d(64, 128, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(features, 512), relu, nn.Dropout(0.5), nn.Linear(512, 10),
    )  # fmt: skip
    return network.to(memory_format=torch.channels_last)


class PlainLoop:
    """The hand-written training."""

    def __init__(self, shape: Shape, train: int, validation: int) -> None:
        channels, size, _ = shape
        self.model = plain_network(channels, 128 * (size // 8) ** 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.train = self._images(train, shape)
        self.validation = self._images(validation, shape)

    def _images(self, count: int, shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randn(count, *shape).contiguous(memory_format=torch.channels_last)
        return images, torch.randint(0, 10, (count,))

    def epoch(self) -> None:
        """Train and validate once on all images."""
        images, labels = self.train
        self.model.train()
        for chosen in torch.randperm(len(labels)).split(128):
            loss = cross_entropy(self.model(images[chosen]), labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.model.eval()
        with torch.inference_mode():
            for part in self.validation[0].split(500):
                self.model(part)


def random_data(shape: Shape, train: int, validation: int) -> TrialData:
    random = np.random.default_rng(0)
    channels, height, width = shape

    def images(count: int) -> Images:
        pixels = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
        return Images(pixels, random.integers(0, 10, count))

    return TrialData.measure("random", tuple("0123456789"), images(train), images(validation))


def step() -> None:
    """Compare one process with one process, in turn."""
    for threads in (1, 2):
        for shape in ((3, 32, 32), (1, 28, 28)):
            torch.set_num_threads(threads)
            config = make_config("fast", "proposed", "cifar10", epochs=10_000, precision="fp32",
                                 crop=4, flip=shape[0] == 3)  # fmt: skip
            ours = Training(config, random_data(shape, STEP_IMAGES, 10))
            plain = PlainLoop(shape, STEP_IMAGES, 10)
            ratios, speeds = [], []
            for round_ in range(ROUNDS + 1):
                seconds = []
                for epoch in (ours.run_epoch, plain.epoch):
                    began = time.perf_counter()
                    epoch()
                    seconds.append(time.perf_counter() - began)
                if round_:  # the first one warms up
                    ratios.append(seconds[1] / seconds[0])
                    speeds.append(STEP_IMAGES / seconds[0])
            print(json.dumps({
                "threads": threads, "input": shape, "rounds": ROUNDS,
                "tunecnn_images_per_s": round(statistics.median(speeds)),
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
            }), flush=True)  # fmt: skip


def loop() -> None:
    """Train as many images as half of a search's trials; print the seconds of it."""
    torch.set_num_threads(1)
    plain = PlainLoop((1, 28, 28), TRAIN, VALIDATION)
    plain.epoch()
    began = time.perf_counter()
    epochs = TRIALS * EPOCHS // 2
    for _ in range(epochs):
        plain.epoch()
    print(time.perf_counter() - began)


def search(data_dir: str) -> None:
    """Compare a whole search, from process start to its end, with two loops side by side."""
    keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder, "equal.yaml")
        space.write_text(SPACE.format(dataset="mnist", validation=VALIDATION / 60_000))
        for round_ in range(2):
            pair = [
                subprocess.Popen([sys.executable, __file__, "loop"], stdout=subprocess.PIPE,
                                 text=True, env={**os.environ, **keep})
                for _ in range(2)
            ]  # fmt: skip
            loops = max(float(process.communicate()[0]) for process in pair)
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "tunecnn", "search", "--space", str(space), "--data-dir",
                 data_dir, "--runs-dir", folder, "--name", f"r{round_}", "--quiet"], check=True,
            )  # fmt: skip
            whole = time.perf_counter() - began
            print(json.dumps({
                "round": round_, "loops_s": round(loops, 1), "search_s": round(whole, 1),
                "trial_s": round(2 * loops / TRIALS, 1), "share": round(loops / whole, 3),
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        search(*sys.argv[2:] or ["data"])
    else:
        {"step": step, "loop": loop}[sys.argv[1]]()
