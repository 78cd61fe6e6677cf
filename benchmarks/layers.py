"""Where a training step of the proposed network spends its time, operation by operation.

    python -m benchmarks.layers [STEPS]

One thread, random images of 32x32x3, batches of 128. Each of torch's operations is timed with a
clock, forward and backward together, since torch's profiler makes large arrays several times
dearer than they are. The speed is a share of that of a matrix product, which takes turns with it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from timeit import timeit
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.results import keep
from benchmarks.step import BATCH, IMAGES, SIZE, product, tunecnn

NETWORK = "proposed"


class Clock(TorchDispatchMode):
    """Adds up the seconds and the floating point operations of what torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.flops: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and time it."""
        began = time.perf_counter()
        out = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - began
        kind = func.overloadpacket
        name = _part(kind.__name__, args)
        self.seconds[name] += seconds
        if kind in flop_registry:
            self.flops[name] += flop_registry[kind](*args, **(kwargs or {}), out_val=out)
        return out


def _part(operation: str, args: Any) -> str:
    """Name the part of the step that an operation belongs to."""
    if operation.startswith("convolution"):
        weight = args[2] if operation.endswith("backward") else args[1]
        return f"convolution of {weight.shape[1]} to {weight.shape[0]}"
    if operation in ("mm", "addmm"):
        return "dense layers"
    if operation in ("relu_", "threshold_backward"):
        return "ReLU"
    if operation.startswith("max_pool2d"):
        return "pools"
    if operation in ("random_", "lt", "mul", "as_strided", "mul_"):
        return "dropout"
    return "all else"


def main(steps: int = 60) -> None:
    epoch, multiply = tunecnn(NETWORK), product(NETWORK)
    epoch()
    clock = Clock()
    whole, products = [], []
    rounds = -(-steps * BATCH // IMAGES)
    for _ in range(rounds):
        whole.append(timeit(epoch, number=1))
        with clock:
            epoch()
        products.append(timeit(multiply, number=1))
    peak = 2 * SIZE**3 / statistics.median(products)
    timed = sum(clock.seconds.values())
    rows = [
        {
            "part": part,
            "share of the step": f"{spent / timed:.1%}",
            "of the product's speed": f"{flops / spent / peak:.0%}" if flops else "",
        }
        for part, spent in clock.seconds.most_common()
        for flops in [clock.flops[part]]
    ]
    keep(
        "layers",
        rows,
        network=NETWORK,
        threads=1,
        rounds=rounds,
        step_ms=round(1e3 * statistics.median(whole) * BATCH / IMAGES, 1),
        timed_ms=round(1e3 * timed / rounds * BATCH / IMAGES, 1),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
