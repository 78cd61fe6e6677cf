"""Ten minutes of run folders with well-formed nonsense in them: `make fuzz`."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted import six_endings
from tunecnn import load_run
from tunecnn.errors import TunecnnError
from tunecnn.files import sha256
from tunecnn.study.journal import from_line, to_line
from tunecnn.summary.run_types import RUN_TYPES
from tunecnn.workflows.repair import repair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NONSENSE: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**9, 10**30, 0.5, 1e308, -1e-320, float("nan"), float("inf"),
    "", "x", "0", "COMPLETE", "../../x", "a\nb", "<script>", "\x1b[31m", "\ud800", "é" * 3000, [], {},
    [[[[[[[[[[]]]]]]]]]], {"a": {"a": {"a": 1}}}, [0] * 2000, {str(i): i for i in range(2000)},
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place in nested mappings and sequences: the container, and the key."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def spoil(values: dict[str, Any], numbers: random.Random) -> None:
    """Replace, remove, repeat or exchange values in a few places."""
    for _ in range(numbers.choice([1, 1, 1, 2, 4])):
        if not (there := places(values)):
            return
        (one, key), (other, name) = numbers.choice(there), numbers.choice(there)
        match numbers.randrange(5):
            case 0 | 1:
                one[key] = deepcopy(numbers.choice(NONSENSE))
            case 2:
                del one[key]
            case 3:
                one[key] = deepcopy(other[name])
            case _ if isinstance(one, dict):
                one[f"{key}{numbers.choice('x. 1')}"] = deepcopy(one[key])
            case _:
                one.append(deepcopy(one[key]))


def spoil_info(folder: Path, numbers: random.Random) -> None:
    """Change `run.json`, with a right checksum."""
    values = json.loads((folder / "run.json").read_text())
    del values["checksum"]
    spoil(values, numbers)
    write_info(folder, values)


def write_info(folder: Path, values: dict[str, Any]) -> None:
    right = sha256(json.dumps(values, sort_keys=True))
    (folder / "run.json").write_text(json.dumps({"checksum": right, **values}))


def spoil_journal(folder: Path, numbers: random.Random) -> None:
    """Change a few lines of the journal, each with a right checksum."""
    path = folder / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    for _ in range(numbers.choice([1, 1, 3])):
        at = numbers.randrange(len(lines))
        line = from_line(lines[at])
        if line is None:
            continue
        spoil(line.log, numbers)
        number = numbers.choice([line.number] * 9 + [0, 10**9])
        lines[at] = to_line(number, line.log, has_more=line.has_more, at=line.time)
    path.write_bytes(b"".join(lines))


def spoil_seal(folder: Path, numbers: random.Random) -> None:
    """Change the seal, with a right checksum."""
    line = from_line((folder / "study.seal").read_bytes())
    assert line is not None
    spoil(line.log, numbers)
    number = numbers.choice([line.number, 0, 1, -1, 10**9])
    (folder / "study.seal").write_bytes(to_line(number, line.log))


def spoil_space(folder: Path, numbers: random.Random) -> None:
    """Change the space, with its right hash in `run.json`."""
    text = (folder / "space.yaml").read_text().splitlines(keepends=True)
    at = numbers.randrange(len(text))
    other = numbers.choice(text)
    text[at] = numbers.choice(["", other, text[at].replace(":", ": 1 #"), text[at] * 2, "? [\n"])
    (folder / "space.yaml").write_text("".join(text))
    values = json.loads((folder / "run.json").read_text())
    del values["checksum"]
    values["space_sha256"] = sha256("".join(text))
    write_info(folder, values)


SPOILERS: list[Callable[[Path, random.Random], None]] = [
    spoil_info,
    spoil_info,
    spoil_journal,
    spoil_journal,
    spoil_seal,
    spoil_space,
]


def read_all(folder: Path) -> None:
    """Read what a notebook and a summary read of a run."""
    run = load_run(folder)
    run._repr_html_()
    for frame in (run.trials, run.epochs, run.evaluations, run.configurations):
        frame.to_dict("records")
    RUN_TYPES[run.job.type].summarize(run)


def refusal(folder: Path) -> str:
    """Return the message with which a run is refused; empty if it is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read_all(folder)
        except TunecnnError as error:
            return str(error)
    return ""


def test_a_run_with_nonsense_in_it_is_read_or_refused_with_a_message_and_soon(tmp_path):
    whole = six_endings(tmp_path / "whole")
    read_all(whole)  # imports take more than two seconds
    deadline = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "600"))
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    count = refused = repaired = 0
    slowest = 0.0
    while time.monotonic() < deadline:
        numbers = random.Random(seed + count)
        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        spoiler = numbers.choice(SPOILERS)
        spoiler(folder, numbers)
        where = f"FUZZ_SEED={seed + count}, {spoiler.__name__}"
        began = time.monotonic()
        try:
            message = refusal(folder)
            slowest = max(slowest, time.monotonic() - began)
            if "`tunecnn repair" in message:
                assert repair(folder).old is not None
                assert "study.journal" not in refusal(folder)
                repaired += 1
        except BaseException as error:
            error.add_note(where)
            raise
        assert "\n" not in message, where
        assert slowest < 2.0, where
        refused += bool(message)
        shutil.rmtree(folder)
        count += 1
    print(f"{count} runs, {refused} refused, {repaired} repaired, the slowest in {slowest:.2f} s")
    assert refused > count / 10
