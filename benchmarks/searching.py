"""Run one search in each of the ways that are compared, and watch it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import PARAMETERS, Workload
from benchmarks.results import Watched, never, watch
from tunecnn import load_run
from tunecnn.data.loading import load_dataset
from tunecnn.data.splits import Split

EQUAL = {
    "optimizer": "adamw",
    "schedule": "constant",
    "weight_decay": 0.01,
    "label_smoothing": 0.0,
    "crop": 0,
    "flip": False,
    "precision": "fp32",
}
"""The fast recipe without all that a textbook loop does not have."""
IN_BF16 = {**EQUAL, "precision": "bf16"}
"""The same in the numbers that the recipe would take on a processor that computes with them."""


def save_images(
    path: Path, dataset: str, data_dir: Path | None, train: int, validation: float
) -> None:
    """Write the images that a search of tunecnn trains and validates on, for the others."""
    split = Split(train_images=train, validation=validation)
    data = load_dataset(dataset, split, data_dir).trial_data
    np.savez(
        path,
        train=data.train.pixels,
        train_labels=data.train.labels,
        validation=data.validation.pixels,
        validation_labels=data.validation.labels,
    )


def space_text(
    work: Workload, dataset: str, train: int, validation: float, settings: dict[str, Any]
) -> str:
    """Write the space that the contenders search, for tunecnn."""
    searched = {
        (name if name == "learning_rate" else f"dropout.{name}"): (
            f"{{float: [{low}, {high}]" + (", log: true}" if name == "learning_rate" else "}")
        )
        for name, (low, high) in PARAMETERS.items()
    }
    fixed = {"train_images": train, "validation": validation, "batch_size": work.batch_size}
    lines = [f"  {name}: {_plain(value)}" for name, value in {**fixed, **settings}.items()]
    lines += [f"  {name}: {value}" for name, value in searched.items()]
    pruner = "halving" if work.asha else "none"
    return "\n".join(
        [
            f"dataset: {dataset}",
            f"epochs: {work.epochs}",
            f"trials: {work.trials}",
            f"seed: {work.seed}",
            f"pruner: {pruner}",
            "parameters:",
            *lines,
            "",
        ]
    )


def run_tunecnn(text: str, data_dir: Path | None, *words: str) -> tuple[Watched, Any]:
    """Search with tunecnn; return what was seen of the process, and the run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "space.yaml")
        path.write_text(text)
        data = ["--data-dir", str(data_dir)] if data_dir else []
        seen = watch(
            [sys.executable, "-m", "tunecnn", "search", "--space", str(path), "--runs-dir", folder,
             "--name", "run", "--json", *data, *words]
        )  # fmt: skip
        run = load_run(Path(folder, "run"))
        run.trials, run.epochs  # noqa: B018  # read while the folder is there
        return seen, run


def run_contender(
    work: Workload,
    way: str,
    python: str = sys.executable,
    until: Callable[[Any], bool] = never,
) -> Watched:
    """Search in another way until an event or its end; `keras` in another Python's environment."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(work.save(Path(folder, "workload.json")))
        command = [sys.executable, "-m", "benchmarks.contenders", way, file]
        if way == "keras":
            command = [python, str(Path(__file__).with_name("keras_contender.py")), file]
        return watch(command, until)


def in_turn(ways: dict[str, Callable[[int], Watched]], rounds: int) -> dict[str, list[Watched]]:
    """Let each way search once a round; say how long each took."""
    seen: dict[str, list[Watched]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, search in ways.items():
            seen[way].append(search(number))
            print(
                f"round {number}, {way}: {seen[way][-1].seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    return seen


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
