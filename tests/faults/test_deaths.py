"""A death at every durable operation of each job that writes a run: `make faults`.

The job is a child of this process, which has imported everything and computed nothing, and ends
without a word before its n-th fsync, rename or removal. Then the same job is done again, to its
end. DEATHS=N tries N operations of each job, spread evenly, instead of all.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.command import main
from tests.support.searching import TEXT
from tunecnn import load_run
from tunecnn.study.records import TrialRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_DEAD = 77
SEARCH = ["search", "--space", "space.yaml", "--resume-or-start", "run", "--local", "--json",
          "--checkpoint-seconds", "0"]  # fmt: skip
EXTEND = ["search", "--resume", "runs/run", "--local", "--json"]
MORE = ["--trials", "+2"]
CONFIRM = ["confirm", "runs/run", "--top", "1", "--seeds", "2", "--local", "--json"]
REPRODUCE = ["reproduce", "--dataset", "digits", "--against", "none", "--models", "model1", "--seeds",
             "2", "--epochs", "2", "--resume-or-start", "run", "--local", "--json"]  # fmt: skip


@dataclass
class Job:
    """A command, what is there before it, and how it goes on after a death.

    Attributes:
        words: the command.
        before: commands that make what it works on.
        damage: changes what they have made.
        again: the command after a death; None for the same.
        runs: folders of the runs whose trials it may end.
    """

    words: list[str]
    before: list[list[str]] = field(default_factory=list)
    damage: Callable[[Path], None] = lambda folder: None
    again: Callable[[Path], list[str]] | None = None
    runs: tuple[str, ...] = ("runs/run",)


def cut(folder: Path) -> None:
    """Remove the end of a journal, in the middle of a line."""
    journal = folder / "runs" / "run" / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-700])


def extend_again(folder: Path) -> list[str]:
    """Add the trials unless they have been added, and carry on."""
    added = load_run(folder / "runs" / "run").space.trials > 3
    return EXTEND if added else [*EXTEND, *MORE]


INSIDE = ("runs/run", "runs/run/confirmations/top1-seeds2")
JOBS = {
    "search": Job(SEARCH),
    "extend": Job([*EXTEND, *MORE], [SEARCH], again=extend_again),
    "confirm": Job(CONFIRM, [SEARCH], runs=INSIDE),
    "reproduce": Job(REPRODUCE),
    "repair": Job(["repair", "runs/run"], [SEARCH], cut),
    "summarize": Job(["summarize", "runs/run", "--figures", "png"], [SEARCH]),
}


def child(folder: Path, words: list[str], last: float, said: Path) -> int:
    """Run a command in a child that ends before its durable operation `last`.

    Returns:
        Its exit code; 77 if it has died. The number of its operations is in `operations`.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        os.chdir(folder)
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: PTH123, SIM115  not pytest's
        sys.stderr = open(2, "w", closefd=False)  # noqa: PTH123, SIM115
        counter = itertools.count(1)

        def mortal(function: Callable) -> Callable:
            def call(*args, **kwargs):
                if next(counter) >= last:
                    sys.stdout.flush()
                    os._exit(_DEAD)
                return function(*args, **kwargs)

            return call

        for name in ("fsync", "replace", "rename", "unlink", "truncate", "ftruncate"):
            setattr(os, name, mortal(getattr(os, name)))
        code = main(*words)
        sys.stdout.flush()
        sys.stderr.flush()
        (folder / "operations").write_text(str(next(counter) - 1))
    finally:
        os._exit(code)


def done(folder: Path, words: list[str], said: Path) -> int:
    """Run a command to its end; return the number of its durable operations."""
    assert child(folder, words, float("inf"), said) == 0, said.read_text()
    return int((folder / "operations").read_text())


def ended(folder: Path, job: Job) -> dict[tuple[str, int], TrialRecord]:
    """Return the trials that have ended, by run and number."""
    found = {}
    for run in job.runs:
        if (folder / run / "run.json").is_file():
            for record in load_run(folder / run).records:
                if record.outcome.has_ended:
                    found[run, record.number] = record
    return found


def figures(records: dict[tuple[str, int], TrialRecord]) -> dict[tuple[str, int], tuple]:
    return {
        key: (record.state, dict(record.values), record.weights, record.predictions)
        for key, record in records.items()
    }


def reported(said: Path) -> set[int]:
    """Return the numbers of the trials whose end was said."""
    found = set()
    for line in said.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            event = json.loads(line)
            if event.get("event") == "trial":
                found.add(event["trial"])
    return found


@pytest.mark.parametrize("name", JOBS)
def test_a_death_at_any_operation_loses_no_trial_and_trains_none_twice(name, tmp_path):
    job, said = JOBS[name], tmp_path / "said"
    before = tmp_path / "before"
    before.mkdir()
    (before / "space.yaml").write_text(TEXT)
    for words in job.before:
        done(before, words, said)
    job.damage(before)
    whole = tmp_path / "whole"
    shutil.copytree(before, whole)
    count = done(whole, job.words, said)
    expected = ended(whole, job)
    assert count > 3
    tries = min(count, int(os.environ.get("DEATHS", count)))
    operations = sorted({round(1 + i * (count - 1) / max(1, tries - 1)) for i in range(tries)})
    for last in operations:
        folder = tmp_path / "mortal"
        shutil.copytree(before, folder)
        where = f"{name}, operation {last} of {count}"
        assert child(folder, job.words, last, said) == _DEAD, f"{where}: {said.read_text()}"
        run = job.runs[-1]
        survived = {} if name == "repair" else ended(folder, job)
        there = {number for owner, number in survived if owner == run}
        assert reported(said) <= there, where
        again = job.again(folder) if job.again else job.words
        done(folder, again, said)
        final = ended(folder, job)
        assert figures(final) == figures(expected), where
        for key, record in survived.items():
            assert final[key] == record, f"{where}: trial {key} was trained again"
        assert not reported(said) & there, where
        if name != "repair":
            for path in job.runs:
                assert (folder / path / "summary.md").is_file(), where
                assert (folder / path / "trials.parquet").is_file(), where
        shutil.rmtree(folder)
    print(f"{name}: {len(operations)} deaths at {count} operations, {len(expected)} trials")
