"""Load a folder of image files, beside torchvision's `ImageFolder` with a `DataLoader`.

    python -m benchmarks.image_folders [ROUNDS]

60,000 files of 32x32 (random PNGs), and 3,000 JPEGs of 224x224. "First load" is `load_dataset`
without a cache: it decodes, counts, looks for copies and divides; "second load" finds the cache.
"one pass" reads each image once through a `DataLoader`, with two workers or none, whichever is
faster, as each epoch of a plain loop does. Imports are not counted. Memory is what the process and
its children take at most beyond what they had before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.results import keep, middle

SETS = {"60,000 of 32x32": (60_000, 32, "png"), "3,000 of 224x224": (3_000, 224, "jpg")}
WAYS = ("first load", "second load", "one pass, 2 workers", "one pass, no workers")
_CLASSES = 10


def make(root: Path, count: int, size: int, suffix: str) -> None:
    """Write images of smooth noise: a sixth of them for testing, ten classes."""
    random = np.random.default_rng(0)
    for i in range(count):
        part = "test" if i % 6 == 0 else "train"
        folder = root / part / f"class{i // 6 % _CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{i:05}.{suffix}")


def child(way: str, root: str) -> None:
    """Load once, and print the seconds, the processor seconds and the memory that it took."""
    work = _ours(root) if "load" in way else _theirs(root, 2 if "2" in way else 0)
    ended = threading.Event()
    before, peak = _family_mb(), [0.0]

    def sample() -> None:
        while not ended.wait(0.1):
            peak[0] = max(peak[0], _family_mb())

    sampler = threading.Thread(target=sample)
    sampler.start()
    began, cpu = time.perf_counter(), _family_cpu()
    pixels = work()
    seconds, used = time.perf_counter() - began, _family_cpu() - cpu
    ended.set()
    sampler.join()
    print(json.dumps({"seconds": seconds, "cpu": used, "mb": peak[0] - before, "pixels": pixels}))


def _ours(root: str):  # type: ignore[no-untyped-def]
    from sklearn import model_selection  # noqa: F401 - imported by a load

    from tunecnn.data.loading import load_dataset

    def load() -> float:
        dataset = load_dataset(f"imagefolder:{root}")
        data = dataset.trial_data
        parts = (data.train, data.validation, dataset.test)
        return sum(part.pixels.nbytes for part in parts) / 1e6

    return load


def _theirs(root: str, workers: int):  # type: ignore[no-untyped-def]
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    def one_pass() -> float:
        count = 0.0
        for part in ("train", "test"):
            loader = DataLoader(
                ImageFolder(f"{root}/{part}", ToTensor()), 128, num_workers=workers
            )
            for images, _ in loader:
                count += images.numel() / 1e6
        return count

    return one_pass


def _family_cpu() -> float:
    """Return the processor seconds of the process and its children, those that ended included."""
    total = sum(os.times()[:4])
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def _family_mb() -> float:
    parent = psutil.Process()
    total = 0.0
    for process in [parent, *parent.children(recursive=True)]:
        with contextlib.suppress(OSError, psutil.Error):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1e3
    return total


def main(rounds: int = 3) -> None:
    rows = []
    for name, (count, size, suffix) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "images"
            make(root, count, size, suffix)
            seen: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                shutil.rmtree(Path(folder) / "images.tunecnn-cache", ignore_errors=True)
                for way in WAYS:
                    command = [sys.executable, "-m", "benchmarks.image_folders", way, str(root)]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    seen[way].append(json.loads(done.stdout.splitlines()[-1]))
            both = zip(seen.pop(WAYS[2]), seen.pop(WAYS[3]), strict=True)
            passes = [min(two, key=lambda one: one["seconds"]) for two in both]
            for way, ran in {**seen, "one pass": passes}.items():
                ratios = [
                    one["seconds"] / other["seconds"]
                    for one, other in zip(ran, passes, strict=True)
                ]
                rows.append(
                    {
                        "images": name,
                        "way": way,
                        "s": middle([one["seconds"] for one in ran]),
                        "times one pass": round(statistics.median(ratios), 3),
                        "processor s": middle([one["cpu"] for one in ran]),
                        "memory, MB": round(statistics.median(one["mb"] for one in ran)),
                        "over the pixels": round(
                            statistics.median(one["mb"] / one["pixels"] for one in ran), 2
                        ),
                    }
                )
    keep("image_folders", rows, rounds=rounds)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        child(*sys.argv[1:])
    else:
        main(*map(int, sys.argv[1:]))
