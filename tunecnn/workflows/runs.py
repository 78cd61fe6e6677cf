"""The runs of a folder, and searches beside each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tunecnn.analysis.comparison import Comparison, compare_runs
from tunecnn.errors import InputError, TunecnnError
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import now
from tunecnn.run.run import Run, as_run
from tunecnn.study.records import in_zone


@dataclass(frozen=True)
class ListedRun:
    """A run in the list of a folder.

    Attributes:
        path: folder of the run.
        started: start time; None if the run cannot be read.
        type: purpose of the run: `search`, `reproduction` or `confirmation`.
        goal: question of the run.
        state: what has become of it, as in `tunecnn.run.run.Run`.
        trials: number of trials that have ended, of those requested.
        best: validation accuracy of the best trial; None without a complete one.
        seconds: duration of its sessions; one that was killed counts up to its last sign.
        problem: why it cannot be read; empty if it can.
    """

    path: Path
    started: datetime | None = None
    type: str = ""
    goal: str = ""
    state: str = ""
    trials: str = ""
    best: float | None = None
    seconds: float = 0.0
    problem: str = ""


def list_runs(folder: Path) -> list[ListedRun]:
    """List the runs of a folder, newest first; runs that cannot be read come last.

    Raises:
        InputError: if there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give --runs-dir")
    found = [_listed(info) for info in _runs_below(folder)]
    readable = [run for run in found if run.started is not None]
    readable.sort(key=lambda run: run.started.timestamp() if run.started else 0.0, reverse=True)
    return [*readable, *(run for run in found if run.started is None)]


def _runs_below(folder: Path, depth: int = 3) -> Iterator[Path]:
    """Yield the folders of the runs below a folder, but not those inside another run.

    A name may have folders in it, but a folder of runs may also be one full of images.
    """
    inside: list[Path] = []
    with contextlib.suppress(OSError):  # such as a folder of somebody else
        inside = sorted(path for path in folder.iterdir() if os.path.isdir(path))  # noqa: PTH112
    for inner in inside:
        if RunFolder.is_run(inner):
            yield inner
        elif depth > 1 and not inner.is_symlink():
            yield from _runs_below(inner, depth - 1)


def compare(runs: Sequence[str | Path | Run]) -> Comparison:
    """Compare searches: in what they differ, and what they found.

    Args:
        runs: two searches or more, or their folders.

    Raises:
        InputError: if there are fewer, a run is given twice, or one is no search.
        RunError: if a run cannot be read.
    """
    given = [runs] if isinstance(runs, str | Path | Run) else runs
    return compare_runs([as_run(one) for one in given])


def _listed(path: Path) -> ListedRun:
    try:
        run = Run(path)
    except TunecnnError as error:
        return ListedRun(path, problem=str(error))
    ended = run.ended
    return ListedRun(
        path=path,
        started=run.info.sessions[0].started if run.info.sessions else None,
        type=run.info.job.type,
        goal=run.space.goal,
        state=run.state,
        trials=f"{ended} of {run.space.trials}",
        best=None if run.best is None else float(run.best[run.space.metric]),
        seconds=run.info.wall_seconds + _seconds_without_end(run),
    )


def _seconds_without_end(run: Run) -> float:
    """Return the duration of a session that runs, or was killed: up to a trial's last sign."""
    if not run.info.sessions or run.info.last_session.ended is not None:
        return 0.0
    started = run.info.last_session.started
    if run.state == "running":
        return (now() - started).total_seconds()
    signs = (
        record.ended or record.started + timedelta(seconds=record.seconds)
        for record in run.records
        if record.started
    )
    last = max(map(in_zone, signs), default=started)
    return max(0.0, (last - started).total_seconds())
