"""What waits for a GPU: step, CUDA graphs or compile, packing, stacking, memory.

    python -m benchmarks.gpu [--dry-run]

- *step*: images a second of the three networks, in float32, bfloat16, bfloat16 with each step
  replayed as a CUDA graph, and bfloat16 compiled;
- *parts*: microseconds of Muon's orthogonalization of all convolutions of the proposed network,
  one by one and together, and of a batch from bytes to bfloat16, in several passes and in one;
- *transfers*: how often a training waits for the device in an epoch (it should be once each for
  training and validation, whatever the number of steps);
- *packing*: 1 to 16 trials on the device at once, each in its own process as Ray would start
  them, against one alone;
- *stacking*: 1 to 16 trials in one process, their weights stacked and trained as one network by
  `torch.func.vmap`, against one alone; a textbook loop with SGD, since it is not part of tunecnn;
- *memory*: what a trial leaves behind when its worker turns to the next.

`--dry-run` does all of it on the CPU with a few images, to show that it runs; it keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.results import keep, table
from benchmarks.step import BATCH, textbook_model
from tunecnn import make_config
from tunecnn.data.images import Images, TrialData
from tunecnn.trial.batches import DeviceData, Scaling, to_device
from tunecnn.trial.optimizers import newton_schulz, newton_schulz_together
from tunecnn.trial.training import Training

NETWORKS = ("model1", "model2", "proposed")
MODES: dict[str, dict[str, Any]] = {
    "float32": {"precision": "fp32"},
    "bfloat16": {"precision": "bf16"},
    "bfloat16, CUDA graph": {"precision": "bf16", "cuda_graph": True},
    "bfloat16, compiled": {"precision": "bf16", "compile": True},
}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    device: str
    images: int
    rounds: int
    packed: tuple[int, ...]


FULL = Size("cuda", 40_000, 3, (1, 2, 4, 8, 16))
DRY = Size("cpu", 128, 1, (1, 2))


def device_data(size: Size) -> DeviceData:
    """Return random images of 32x32x3 on the device."""
    random = np.random.default_rng(0)

    def images(count: int) -> Images:
        pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return Images(pixels, random.integers(0, 10, count))

    data = TrialData.measure(
        "random", tuple("0123456789"), images(size.images), images(size.images // 4)
    )
    return to_device(data, torch.device(size.device))


def training(network: str, data: DeviceData, **settings: Any) -> Training:
    config = make_config("fast", network, "cifar10", epochs=10_000, batch_size=BATCH, **settings)
    return Training(config, data)


def speeds(one: Training, size: Size) -> list[float]:
    """Return images a second of some epochs, validation and all, after one to warm up."""
    one.run_epoch()
    seconds = [one.run_epoch().seconds for _ in range(size.rounds)]
    return [size.images / spent for spent in seconds]


def steps(size: Size) -> list[dict[str, Any]]:
    data = device_data(size)
    rows = []
    for network in NETWORKS:
        found = {
            mode: statistics.median(speeds(training(network, data, **settings), size))
            for mode, settings in MODES.items()
        }
        for mode, speed in found.items():
            rows.append(
                {
                    "network": network,
                    "mode": mode,
                    "images/s": round(speed),
                    "times float32": round(speed / found["float32"], 2),
                }
            )
    return rows


def parts(size: Size) -> list[dict[str, Any]]:
    """Time what a step does beside the network, in the form before and in the present one."""
    data = device_data(size)
    network = training("proposed", data).model
    matrices = [
        module.weight.detach().flatten(1).bfloat16()
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    config = make_config("fast", "proposed", "cifar10")
    scaling = Scaling(config, data.source.mean, data.source.deviation).to(data.device)
    pixels = data.train.pixels[:BATCH]

    def scaled(in_bf16: bool) -> Tensor:
        scaling.in_bf16 = in_bf16
        values: Tensor = scaling(pixels)
        return values.bfloat16()

    ways: dict[tuple[str, str], Callable[[], object]] = {
        ("orthogonalization", "one by one"): lambda: [newton_schulz(one) for one in matrices],
        ("orthogonalization", "together"): lambda: newton_schulz_together(matrices),
        ("bytes to bfloat16", "several passes"): lambda: scaled(False),
        ("bytes to bfloat16", "one pass"): lambda: scaled(True),
    }
    return [
        {
            "part": part,
            "way": way,
            "microseconds": round(1e6 * seconds_of(do, data.device, 7 * size.rounds)),
        }
        for (part, way), do in ways.items()
    ]


def seconds_of(do: Callable[[], object], device: torch.device, count: int) -> float:
    """Return the median seconds of a call, with what it launched."""
    spent = []
    for _ in range(count):
        began = time.perf_counter()
        do()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def stacked(size: Size) -> list[dict[str, Any]]:
    """Train trials of one shape as one network, whose weights have one more dimension."""
    data = device_data(size)
    rows: list[dict[str, Any]] = []
    for count in size.packed:
        epoch = stacked_epoch(data, count)
        epoch()
        images = count * (size.images // BATCH) * BATCH
        total = images / seconds_of(epoch, data.device, size.rounds)
        alone = rows[0]["images/s together"] if rows else total
        rows.append(
            {
                "trials in one network": count,
                "images/s together": round(total),
                "times one": round(total / alone, 2),
            }
        )
    return rows


def stacked_epoch(data: DeviceData, count: int) -> Callable[[], None]:
    """Return what trains so many textbook networks for an epoch, by SGD in bfloat16."""
    network = textbook_model("proposed").to(data.device)
    weights = {
        name: weight.detach().repeat(count, *[1] * weight.dim())
        for name, weight in network.named_parameters()
    }

    def loss_of(weights: dict[str, Tensor], values: Tensor, labels: Tensor) -> Tensor:
        on_gpu = data.device.type == "cuda"  # most processors only emulate bfloat16
        with torch.autocast(data.device.type, dtype=torch.bfloat16, enabled=on_gpu):
            logits = torch.func.functional_call(network, weights, (values,))
        return cross_entropy(logits.float(), labels)

    gradients_of = torch.func.vmap(torch.func.grad(loss_of), randomness="different")

    def epoch() -> None:
        images = len(data.train)
        for _ in range(images // BATCH):
            indices = torch.randint(images, (count, BATCH), device=data.device)
            pixels = data.train.pixels[indices].permute(0, 1, 4, 2, 3)
            gradients = gradients_of(weights, pixels.float() / 255, data.train.labels[indices])
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.sub_(gradients[name], alpha=0.01)

    return epoch


def waits(size: Size) -> list[dict[str, Any]]:
    """Count the copies from device to host in one epoch, by torch's profiler."""
    one = training("proposed", device_data(size))
    one.run_epoch()
    with torch.profiler.profile() as profile:
        one.run_epoch()
    names = ("aten::_local_scalar_dense", "aten::item", "cudaStreamSynchronize", "Memcpy DtoH")
    return [
        {
            "what waits": name,
            "times an epoch": sum(
                event.count for event in profile.key_averages() if event.key.startswith(name)
            ),
        }
        for name in names
    ]


def packed(size: Size) -> list[dict[str, Any]]:
    """Train so many at once, each in a process of its own, and add up what they get done."""
    rows: list[dict[str, Any]] = []
    for count in size.packed:
        command = [sys.executable, "-m", "benchmarks.gpu"]
        command += ["--dry-run", "--one"] if size == DRY else ["--one"]
        start = time.time() + 20 if size == FULL else 0.0
        processes = [
            subprocess.Popen(
                [*command, str(start)],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for _ in range(count)
        ]
        told = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
        total = sum(one["speed"] for one in told)
        alone = rows[0]["images/s together"] if rows else total
        rows.append(
            {
                "trials on the device": count,
                "images/s together": round(total),
                "times one": round(total / alone, 2),
                "peak MB each": round(max(one["peak_mb"] for one in told)),
            }
        )
    return rows


def one_of_many(size: Size, start: float) -> None:
    """Train beside others from an agreed moment on, and print how fast."""
    one = training("proposed", device_data(size), precision="bf16")
    one.run_epoch()
    time.sleep(max(0.0, start - time.time()))
    speed = statistics.median(size.images / one.run_epoch().seconds for _ in range(size.rounds))
    peak = torch.cuda.max_memory_allocated() / 1e6 if size.device == "cuda" else 0.0
    print(json.dumps({"speed": speed, "peak_mb": peak}))


def memory(size: Size) -> list[dict[str, Any]]:
    """Look at the device's memory while one trial after the other trains on the same images."""
    data = device_data(size)
    rows = []
    for number, width in enumerate((1.0, 2.0, 0.5, 1.0)):
        one: Training | None = training("proposed", data, **{"net.width": width})
        assert one is not None
        one.run_epoch()
        during = _reserved()
        del one
        if size.device == "cuda":
            torch.cuda.empty_cache()
        rows.append(
            {
                "trial": number,
                "net.width": width,
                "MB while it trains": during,
                "MB after it": _reserved(),
            }
        )
    return rows


def _reserved() -> int:
    return round(torch.cuda.memory_reserved() / 1e6) if torch.cuda.is_available() else 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--one", type=float, metavar="START", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size = DRY if asked.dry_run else FULL
    if size == FULL and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --dry-run shows on the CPU that it runs")
    if asked.one is not None:
        one_of_many(size, asked.one)
        return
    began = time.perf_counter()
    measured = {
        "step": steps,
        "parts": parts,
        "waits": waits,
        "packing": packed,
        "stacking": stacked,
        "memory": memory,
    }
    for name, part in measured.items():
        rows = part(size)
        if size == DRY:
            print(f"\n{name}\n{table(rows)}", flush=True)
        else:
            keep(f"gpu_{name}", rows, device=torch.cuda.get_device_name())
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
