"""Real searches of small networks on digits, in this process."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tunecnn.run_info import Job
from tunecnn.search import SearchOptions, SearchResult, Where, resume, search
from tunecnn.space import SearchSpace

TEXT = """
name: quick
dataset: digits
architecture: model1
epochs: 2
trials: 3
parameters:
  width: {choice: [0.1, 0.2]}
  train_images: 200
start: [{width: 0.2}]
sampler: random
"""


class Silent:
    """A listener that remembers, and can raise at the n-th epoch."""

    def __init__(self, raise_at: int | None = None) -> None:
        self.epochs = 0
        self.raise_at = raise_at
        self.warnings: list[str] = []

    def began(self, trial): ...
    def ended(self, record): ...
    def interrupted(self, number, reason): ...
    def tick(self): ...

    def warned(self, text):
        self.warnings.append(text)

    def epoch(self, number, metrics):
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
    **changes,
) -> SearchResult:
    where = Where(local=True, cpus_per_trial=threads)
    options = SearchOptions(
        runs_dir=tmp_path, name="quick", where=where, checkpoint_seconds=checkpoint_seconds
    )
    space = SearchSpace.from_text(text).override(**changes)
    listening = listening_to(listener or Silent())
    return search(space, text, changes, options, listening, job)


def carry_on(
    folder: Path, listener: Silent | None = None, *, allow_changes: bool = False, **more
) -> SearchResult:
    options = SearchOptions(where=Where(local=True), allow_changes=allow_changes)
    return resume(folder, options, listening_to(listener or Silent()), **more)
