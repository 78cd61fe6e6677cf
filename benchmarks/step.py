"""Images a second of forward, backward and optimizer step: tunecnn beside a textbook loop.

    python -m benchmarks.step [ROUNDS]

Three networks on random images of 32x32x3, batches of 128, one and two threads. Each contender has
a process of its own, since glibc's settings hold for a whole one; they take turns, and the ratios
are those of neighbours in time. The textbook loop has its float images in memory already; tunecnn
takes them as bytes, scales them, and counts loss and hits, as it does in a search. Both compute in
float32; where the processor has instructions for bfloat16, tunecnn takes another turn with them.
The share is of what the machine gets done in a product of two float32 matrices of 2,048 x 2,048,
in turn as well, by the faster of the two libraries that torch has for it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from timeit import repeat
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from benchmarks.contenders import textbook_network
from benchmarks.results import keep, middle
from tunecnn import make_config
from tunecnn.data.images import Images, TrialData
from tunecnn.models.designs import count
from tunecnn.trial.training import Training, computes_in_bf16

SHAPE, CLASSES, IMAGES, BATCH = (3, 32, 32), 10, 1280, 128
SIZE = 2048
NETWORKS = ("model1", "model2", "proposed")
DROPOUTS = {"block1": 0.25, "block2": 0.25, "block3": 0.5, "dense": 0.5}


def textbook_model(name: str) -> nn.Module:
    """Return a network of the report as a tutorial would write it."""
    if name == "proposed":
        network: nn.Module = textbook_network(3, 128 * 16, DROPOUTS)
        return network

    def drop() -> list[nn.Module]:
        return [nn.Dropout(0.3)] if name == "model2" else []

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *drop(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *drop(),
        nn.Flatten(), nn.Linear(64 * 64, 512), nn.ReLU(), *drop(), nn.Linear(512, CLASSES),
    )  # fmt: skip


def textbook(name: str) -> Callable[[], object]:
    model = textbook_model(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images, labels = torch.randn(IMAGES, *SHAPE), torch.randint(0, CLASSES, (IMAGES,))

    def epoch() -> None:
        model.train()
        for chosen in torch.randperm(IMAGES).split(BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            loss.item()

    return epoch


def tunecnn(name: str, precision: str = "fp32") -> Callable[[], object]:
    random = np.random.default_rng(0)

    def images(count: int) -> Images:
        pixels = random.integers(0, 256, (count, *SHAPE[1:], SHAPE[0]), dtype=np.uint8)
        return Images(pixels, random.integers(0, CLASSES, count))

    data = TrialData.measure("random", tuple("0123456789"), images(IMAGES), images(10))
    config = make_config(
        "fast", name, "cifar10", epochs=100_000, optimizer="adamw", batch_size=BATCH, crop=0,
        flip=False, precision=precision, **(dropouts(name)),
    )  # fmt: skip
    return Training(config, data).run_epoch


def dropouts(name: str) -> dict[str, Any]:
    """Return the published dropouts as settings."""
    if name == "proposed":
        return {f"net.dropout_{place}": rate for place, rate in DROPOUTS.items()}
    if name == "model2":
        return dict.fromkeys(
            ("net.dropout_block1", "net.dropout_block2", "net.dropout_dense"), 0.3
        )
    return {}


def product(name: str) -> Callable[[], object]:
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    packed = left.to_mkldnn(), right.to_mkldnn()
    # MKL, which torch takes for plain matrices, leaves AMD's AVX-512 unused; oneDNN, which
    # computes the convolutions, does not.
    ways = [lambda: torch.mm(left, right), lambda: linear(*packed)]
    return min(ways, key=lambda way: min(repeat(way, number=1, repeat=3)))


IN_BF16 = "tunecnn, bf16"
WAYS: dict[str, Callable[[str], Callable[[], object]]] = {
    "tunecnn": tunecnn,
    "textbook": textbook,
    "product": product,
}
if computes_in_bf16(torch.device("cpu")):
    WAYS[IN_BF16] = partial(tunecnn, precision="bf16")


class Contender:
    """A process that runs an epoch when told to, and says how long it took."""

    def __init__(self, way: str, network: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.step", "child", way, network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    def seconds(self) -> float:
        """Run it once."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


def child(way: str, network: str) -> None:
    epoch = WAYS[way](network)
    for _ in sys.stdin:
        began = time.perf_counter()
        epoch()
        print(time.perf_counter() - began, flush=True)


def gflop_an_image(network: str) -> float:
    """Return what a step has to compute: forward, and both gradients but that of the images."""
    first = 9 * SHAPE[0] * 32 * SHAPE[1] * SHAPE[2]
    return (6 * count(network, SHAPE, CLASSES).macs - 2 * first) / 1e9


def measure(network: str, threads: int, rounds: int) -> dict[str, Any]:
    """Let the contenders take turns, and compare them."""
    contenders = {way: Contender(way, network, threads) for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, contender in contenders.items():
            seconds = contender.seconds()
            if number:  # the first one warms up
                times[way].append(seconds)
    for contender in contenders.values():
        contender.end()
    ratios = {
        way: [plain / ours for plain, ours in zip(times["textbook"], times[way], strict=True)]
        for way in times
    }
    peaks = [2 * SIZE**3 / 1e9 / seconds for seconds in times["product"]]
    speeds = [IMAGES / seconds for seconds in times["tunecnn"]]
    shares = [
        gflop_an_image(network) * speed / peak for speed, peak in zip(speeds, peaks, strict=True)
    ]
    return {
        "network": network,
        "threads": threads,
        "tunecnn, images/s": round(statistics.median(speeds)),
        "times textbook": middle(ratios["tunecnn"]),
        "product, GFLOP/s": round(statistics.median(peaks)),
        "share of it": f"{statistics.median(shares):.0%}",
        "in bf16, times textbook": middle(ratios[IN_BF16]) if IN_BF16 in ratios else "-",
    }


def main(rounds: int = 9) -> None:
    rows = [measure(network, threads, rounds) for threads in (1, 2) for network in NETWORKS]
    keep("step", rows, rounds=rounds, workload="random 32x32x3, AdamW, batches of 128")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))
