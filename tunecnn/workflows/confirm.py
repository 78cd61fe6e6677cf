"""The workflow of a confirmation, which is a run inside the folder of a search."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.files import sha256
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import ConfirmationJob, Job, RunInfo
from tunecnn.run.run import Run
from tunecnn.trial.config import Scalar, TrialConfig
from tunecnn.workflows.confirmation_space import (
    AS_SEARCHED,
    TrainingScale,
    candidates_of,
    check_confirmable,
    confirmation_space,
    job_of,
)
from tunecnn.workflows.networks import changed_code
from tunecnn.workflows.options import RunOptions, check_candidates
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.search import open_run, resume_opened, run_inside, search
from tunecnn.workflows.session import Listening, RunResult


def confirm(
    path: Path,
    top: int,
    seeds: int,
    configs: Mapping[str, TrialConfig],
    options: RunOptions,
    listening: Listening,
    splits: int | None = None,
    scale: TrainingScale = AS_SEARCHED,
) -> RunResult:
    """Train the best trials of a search and the baseline again with new seeds, and test them.

    The confirmation is a run inside the search's folder. An existing one is resumed only if it has
    the same candidates, seeds, splits of the data and scale; once the best trials are others, a
    new one is made. When it has ended, its evaluations on the test images are copied into the
    search's `run.json`, and the search's summary includes its result. The search's lock is held
    from the start, because the end of the confirmation writes into the search's folder.

    Args:
        path: folder of the search.
        top: number of its best trials to confirm.
        seeds: number of new seeds per candidate and split of the data.
        configs: other configurations, by name.
        options: options of the run; `runs_dir` and `name` are not used.
        listening: function that opens the listener which displays the run.
        splits: number of splits of the data; None for that of the search's space.
        scale: how much each candidate is trained.

    Raises:
        InputError: if there is nothing to confirm, an argument is invalid, or another process
            holds the lock of the search.
        RunError: if the run had to stop; it can be resumed.
    """
    check_candidates(top, seeds, splits)
    run = Run(path)
    check_search(path, run.info)

    def train(inside: RunOptions) -> RunResult:
        if run.state != "done":
            warnings.warn(
                f"the search has not ended ({run.ended} of {run.space.trials} trials have): its "
                "best trials may become others",
                stacklevel=2,
            )
        for text in changed_code(run.space, run.info):
            warnings.warn(text, stacklevel=2)
        count = splits or run.space.splits
        check_confirmable(run.space, top, seeds, count)
        candidates = candidates_of(run, top, configs, count, scale)
        text = confirmation_space(run, candidates, seeds, count)
        job = job_of(run, candidates, scale)
        name = _name(top, seeds, count, scale.changes(run), configs)
        inner = _folder_of(run.path / "confirmations" / name, text, job)
        if inner.exists():
            return resume_opened(open_run(inner), inside, listening)
        data_dir = run.info.data_dir
        new = dataclasses.replace(
            inside,
            data_dir=inside.data_dir or (Path(data_dir) if data_dir else None),
            runs_dir=inner.parent,
            name=inner.name,
            resume_or_start=inner.name if inside.resume_or_start else None,
        )
        return search(
            prepare_text(text, "confirmation", run.folder.code), new, listening, job, run
        )

    return run_inside(run.folder, options, train)


def check_search(path: Path, info: RunInfo) -> None:
    """Check that a run is a search, which can be confirmed.

    Args:
        path: its folder.
        info: content of its `run.json`.

    Raises:
        InputError: if it is another run.
    """
    if info.job.type != "search":
        raise InputError(f"{path} is a {info.job.type}; only a search can be confirmed")


def _folder_of(path: Path, text: str, job: ConfirmationJob) -> Path:
    """Return the folder of the confirmation with this space and these candidates, or a new one.

    Args:
        path: folder of the first confirmation of its name; `-2`, `-3` and so on are others.
        text: space of the confirmation.
        job: record of the candidates.
    """
    number = 1
    while (place := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        info = RunFolder.open(place).read_info()
        if info.space_sha256 == sha256(text) and _question(info.job) == _question(job):
            return place
        number += 1
    return place


def _question(job: Job) -> tuple[str, list[dict[str, Scalar]]] | None:
    """Return of which search and which candidates a confirmation is."""
    if not isinstance(job, ConfirmationJob):
        return None
    return job.search, [one.values for one in job.candidates]


def _name(
    top: int, seeds: int, splits: int, changes: Mapping[str, int | None], configs: Iterable[str]
) -> str:
    """Return the name of a confirmation, which says what is not as it is by default."""
    parts = [f"top{top}", f"seeds{seeds}"]
    if splits > 1:
        parts.append(f"splits{splits}")
    if "train_images" in changes:
        parts.append(f"images{changes['train_images'] or 'all'}")
    if "epochs" in changes:
        parts.append(f"epochs{changes['epochs']}")
    return "-".join([*parts, *map(_slug, configs)])


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "_", Path(name).stem)
