"""Real searches of small networks on digits, in this process."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from tunecnn.process import usable_cores
from tunecnn.run.info import Job
from tunecnn.run.listener import Listener
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare
from tunecnn.workflows.search import resume, search
from tunecnn.workflows.session import RunResult

TEXT = """
name: quick
dataset: digits
architecture: model1
epochs: 2
trials: 3
parameters:
  net.width: {choice: [0.1, 0.2]}
  train_images: 200
start: [{net.width: 0.2}]
sampler: random
"""


class Silent(Listener):
    """A listener that remembers, and can raise at the n-th epoch."""

    def __init__(self, raise_at: int | None = None) -> None:
        self.epochs = 0
        self.raise_at = raise_at
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def on_note(self, text):
        self.notes.append(text)

    def on_warning(self, text):
        self.warnings.append(text)

    def on_epoch(self, number, metrics):
        self.epochs += 1
        if self.epochs == self.raise_at:
            raise KeyboardInterrupt


def listening_to(listener: Silent):
    return lambda study, folder: nullcontext(listener)


def begin(
    tmp_path: Path,
    text: str = TEXT,
    listener: Silent | None = None,
    threads: int = 1,
    checkpoint_seconds: float = 30.0,
    job: Job | None = None,
    resume_or_start: str | None = None,
    name: str | None = "quick",
    **changes,
) -> RunResult:
    if threads > usable_cores():
        pytest.skip(f"needs {threads} cores")
    options = RunOptions(
        runs_dir=tmp_path,
        name=name,
        local=True,
        cpus_per_trial=threads,
        checkpoint_seconds=checkpoint_seconds,
        resume_or_start=resume_or_start,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "space.yaml")
        path.write_text(text, encoding="utf-8")
        prepared = prepare(str(path), changes)
    return search(prepared, options, listening_to(listener or Silent()), job)


def carry_on(
    folder: Path, listener: Silent | None = None, *, allow_changes: bool = False, **more
) -> RunResult:
    options = RunOptions(local=True, allow_changes=allow_changes)
    return resume(folder, options, listening_to(listener or Silent()), **more)
