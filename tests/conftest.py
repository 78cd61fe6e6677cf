"""What several tests need: data, a scripted run, and the one Ray cluster that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tunecnn.config import TrialConfig
from tunecnn.datasets import load_dataset
from tunecnn.images import Dataset, Images, TrialData
from tunecnn.metrics import EpochMetrics, Outcome
from tunecnn.run_folder import RunFolder
from tunecnn.space import SearchSpace
from tunecnn.study import Study

SPACE = """
name: scripted
goal: Does the summary say what happened?
dataset: digits
epochs: 4
trials: 6
parameters:
  dropout.dense: {float: [0.0, 0.5], step: 0.1}
  width: {choice: [0.5, 1.0]}
  batch_size: 32
start: [report]
sampler: random
pruner: {halving: {min_epochs: 1, factor: 2}}
"""

INFO = {
    "schema": 1,
    "space": "scripted",
    "overrides": {},
    "data_dir": None,
    "dataset": {
        "name": "digits",
        "content": "c0ffee",
        "division": "d1v1de",
        "train": 1149,
        "validation": 288,
        "test": 360,
        "input_shape": [1, 8, 8],
        "classes": [str(digit) for digit in range(10)],
    },
    "processor": "abacus",
    "job": {"kind": "search"},
    "test_looks": [],
    "sessions": [
        {
            "command": "tunecnn search --space scripted.yaml",
            "started": "2026-01-01T10:00:00+00:00",
            "ended": "2026-01-01T10:02:05+00:00",
            "ending": "done",
            "where": {
                "engine": "ray",
                "nodes": [{"name": "desk", "cpus": 2, "gpus": 0}],
                "threads": 1,
                "cpus_per_trial": 1,
                "gpus_per_trial": 0,
                "slots": 2,
            },
            "versions": {"python": "3.11", "tunecnn": "0.1.0"},
        }
    ],
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch to one thread: as many processes test at once as there are cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset(TrialConfig(dataset="digits"))


@pytest.fixture(scope="session")
def tiny(digits: Dataset) -> TrialData:
    """A hundred and twenty digits: an epoch takes milliseconds."""
    data = digits.trial_data
    return TrialData.measure(
        data.name,
        data.classes,
        Images(data.train.pixels[:96], data.train.labels[:96]),
        Images(data.validation.pixels[:24], data.validation.labels[:24]),
    )


def metrics(epoch: int, val_accuracy: float, loss: float = 0.5) -> EpochMetrics:
    return EpochMetrics(epoch, loss, 0.5, 1.0 - val_accuracy, val_accuracy, 1.5)


@pytest.fixture
def open_study(tmp_path: Path) -> Callable[..., Study]:
    """Open (again and again) a study of images of 8x8x1 in ten classes."""

    def open_one(space: str | SearchSpace = SPACE) -> Study:
        if isinstance(space, str):
            space = SearchSpace.from_text(space)
        return Study(tmp_path, space, (1, 8, 8), 10)

    return open_one


@pytest.fixture
def scripted_run(tmp_path: Path) -> Path:
    """The folder of a run whose six trials ended in six ways, without any training."""
    folder = RunFolder.create(tmp_path / "scripted", SPACE, INFO)
    study = Study(folder.path, folder.read_space(), (1, 8, 8), 10)
    accuracies = {0: 0.90, 1: 0.95, 3: 0.96}
    for number in range(6):
        trial = study.next_trial()
        assert trial is not None
        study.place(number, "desk", "cpu")
        if number in accuracies:
            for epoch in range(1, 5):
                assert not study.report(number, metrics(epoch, accuracies[number] - 0.1 / epoch))
            study.finish(number, Outcome("complete", kept_epoch=4))
        elif number == 2:
            assert study.report(number, metrics(1, 0.1))
        elif number == 4:
            study.report(number, metrics(1, 0.97))
            study.report(number, metrics(2, 0.1, loss=float("nan")))
            study.finish(number, Outcome("diverged", reason="the loss of epoch 2 is not finite"))
        else:
            study.finish(number, Outcome("error", reason="ValueError in x.py:1: bad | worse"))
    return folder.path


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local cluster for all Ray tests; four GPUs are there in name only."""
    import os

    import ray

    from tunecnn.cluster import QUIET

    os.environ.update({**QUIET, "RAY_AUTH_MODE": "disabled"})
    ray.init("local", num_cpus=4, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def image_tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a small `{train,test}/<class>/*` tree of random images."""
    from PIL import Image

    def make(size: int = 8, classes: tuple[str, ...] = ("cat", "dog"), count: int = 6) -> Path:
        random = np.random.default_rng(0)
        root = tmp_path_factory.mktemp("images") / "tree"
        for part in ("train", "test"):
            for name in classes:
                folder = root / part / name
                folder.mkdir(parents=True)
                for i in range(count):
                    pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")
        return root

    return make


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
