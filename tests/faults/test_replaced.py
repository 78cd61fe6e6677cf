"""Each file of a run replaced by something else, then the run used in every way: `make faults`.

Either the replaced file is refused by name, or the run is as it was: no trial that had ended is
lost or changed, and nothing outside the run is written. REPLACED=N tries N of the files of a run,
spread evenly, instead of all.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.command import main
from tests.support.networks import NETS
from tests.support.searching import Silent, listening_to
from tunecnn import load_run
from tunecnn.errors import TunecnnError
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.search import search

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SPACE = """
name: small
dataset: digits
architecture: nets.py:Small
recipe: fast
epochs: 3
trials: 3
seed: {seed}
parameters:
  net.width: {{int: [2, 8]}}
  train_images: 200
sampler: random
"""
DERIVED = ("summary.", "trials.parquet", "epochs.parquet", "figures/", "configs/")


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    """Folders of a run and of another one: `done`, with a confirmation, and `half`, interrupted."""
    folders = {}
    for name, seed in (("run", 0), ("other", 1)):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        (folder / "nets.py").write_text(
            NETS.replace("norm: bool = True", f"norm: bool = {not seed}")
        )
        prepared = prepare_text(SPACE.format(seed=seed), "space", folder)
        for state, listener in (("done", Silent()), ("half", Silent(raise_at=5))):
            options = RunOptions(runs_dir=folder, name=state, local=True, checkpoint_seconds=0.0)
            search(prepared, options, listening_to(listener))
        assert main("confirm", str(folder / "done"), *CONFIRM) == 0
    return folders


CONFIRM = ["--top", "1", "--seeds", "2", "--local"]
USES: dict[str, Callable[[str], list[str]]] = {
    "summarize": lambda run: ["summarize", run],
    "resume": lambda run: ["search", "--resume", run, "--local"],
    "confirm": lambda run: ["confirm", run, *CONFIRM],
    "evaluate": lambda run: ["evaluate", run],
    "predict": lambda run: ["predict", run, "image.png"],
    "watch": lambda run: ["watch", run, "--once"],
}


def copy_of_another(path: Path, other: Path, outside: Path) -> None:
    shutil.copy(other, path)


def copy_of_a_neighbour(path: Path, other: Path, outside: Path) -> None:
    near = [one for one in path.parent.iterdir() if one.suffix == path.suffix and one != path]
    if near:
        shutil.copy(min(near), path)


def link_to_another(path: Path, other: Path, outside: Path) -> None:
    shutil.copy(other, outside / "file")
    link_to_nothing(path, other, outside)


def link_to_the_same(path: Path, other: Path, outside: Path) -> None:
    shutil.copy(path, outside / "file")
    link_to_nothing(path, other, outside)


def link_to_nothing(path: Path, other: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "file")


def folder(path: Path, other: Path, outside: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, other: Path, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def nothing(path: Path, other: Path, outside: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path, other: Path, outside: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(300))


def json(path: Path, other: Path, outside: Path) -> None:
    path.write_bytes(b'{"a": [1, null]}\n')


REPLACEMENTS = [copy_of_another, copy_of_a_neighbour, link_to_another, link_to_the_same,
                link_to_nothing, folder, pipe, nothing, noise, json]  # fmt: skip


def ended(run: Path) -> list[dict[str, Any]] | None:
    """Return the trials of a run that have ended; None if it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trials = load_run(run).trials
        except TunecnnError:
            return None
    return trials[trials["ended"].notna()].drop(columns="run").to_dict("records")


def answer(name: str, capsys) -> str:
    assert main(*USES[name]("run")) == 0
    return capsys.readouterr().out


def sample(files: list[Path]) -> list[Path]:
    count = int(os.environ.get("REPLACED", len(files)))
    return files[:: max(1, len(files) // count)]


@pytest.mark.parametrize("state", ["done", "half"])
@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda one: one.__name__)
def test_a_replaced_file_is_refused_by_name_or_harms_nothing(
    replace, state, originals, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("image.png")
    original = originals["run"] / state
    before = ended(original)
    assert before
    shutil.copytree(original, tmp_path / "run")
    # An interrupted search may find a better trial when it goes on.
    same = ("evaluate", "predict") if state == "done" else ()
    answers = {name: answer(name, capsys) for name in same}
    shutil.rmtree(tmp_path / "run")
    files = [one.relative_to(original) for one in sorted(original.rglob("*")) if one.is_file()]
    count = 0
    for file in sample(files):
        other = originals["other"] / state / file
        run, outside = tmp_path / "run", tmp_path / "outside"
        shutil.copytree(original, run)
        outside.mkdir()
        replace(run / file, other if other.exists() else original / file, outside)
        there = {one.name: one.read_bytes() for one in outside.iterdir()}
        for name in ["summarize"] if str(file).startswith(DERIVED) else USES:
            code = main(*USES[name]("run"))
            out, said = capsys.readouterr()
            where = f"{file}, {name}: {said}"
            assert code in (0, 1, 2), where
            assert "Traceback" not in said, where
            assert code == 0 or file.name in said or file.parent.name in said, where
            # Without the best trial's weights another model may be taken, with a warning.
            is_other = "does not have the weights of trial" in said
            assert code or is_other or out == answers.get(name, out), where
            after = ended(run)
            assert after is None or all(one in after for one in before), where
            assert {one.name: one.read_bytes() for one in outside.iterdir()} == there, where
            count += 1
        for one in (run, outside):
            shutil.rmtree(one)
    print(f"{count} uses of {len(files)} files")
