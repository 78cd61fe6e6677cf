"""What several tests need: data, a scripted run, and the one Ray cluster that all share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.scripted import SPACE, six_endings
from tunecnn.data.images import Dataset, Images, TrialData
from tunecnn.data.loading import load_dataset
from tunecnn.models.counting import CostCounter
from tunecnn.space.space import SearchSpace
from tunecnn.study.study import Study

BLANK = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
for _name in ("RAY_ADDRESS", "TUNECNN_DATA"):  # of whoever runs the suite
    os.environ.pop(_name, None)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch to one thread: as many processes test at once as there are cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def blank_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of a summary blank, except in the tests of the summary itself.

    A small search spends most of its time on them.
    """
    if request.path.parent.name != "summary":
        monkeypatch.setattr("tunecnn.summary.render.encode", lambda figure, form: BLANK)
        monkeypatch.setattr("tunecnn.summary.page.charts_of", lambda run: [])


@pytest.fixture(autouse=True)
def random_numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test draw the same numbers, whichever tests of its module ran before."""
    if hasattr(request.module, "RANDOM"):
        monkeypatch.setattr(request.module, "RANDOM", np.random.default_rng(0))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


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


@pytest.fixture
def open_study(tmp_path: Path) -> Callable[..., Study]:
    """Open (again and again) a study of images of 8x8x1 in ten classes."""

    def open_one(space: str | SearchSpace = SPACE) -> Study:
        if isinstance(space, str):
            space = SearchSpace.from_text(space)
        return Study(tmp_path, space, CostCounter(None, (1, 8, 8), 10))

    return open_one


@pytest.fixture
def scripted_run(tmp_path: Path) -> Path:
    """The folder of a run whose six trials ended in six ways, without any training."""
    return six_endings(tmp_path / "scripted")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local cluster for all Ray tests; four GPUs are there in name only."""
    import os

    import ray

    from tunecnn.engines.cluster import QUIET

    # Not at nice 15: the other test process would starve the workers.
    os.environ.update({**QUIET, "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"})
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: one that begins last would keep one core waiting."""
    longest = ("test_search.py", "test_ray.py", "test_confirmation.py", "test_building.py",
               "test_notebooks.py", "test_own_networks.py", "test_tracking.py", "test_python.py",
               "test_models.py", "test_cli.py")  # fmt: skip
    rank = {name: place for place, name in enumerate(longest)}
    items.sort(key=lambda item: rank.get(item.path.name, len(longest)))
