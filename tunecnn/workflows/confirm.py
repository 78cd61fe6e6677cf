"""A confirmation from its beginning to its end: a run inside the folder of a search."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder
from tunecnn.run.run import Run, load_run
from tunecnn.summary.render import write_summary
from tunecnn.trial.config import TrialConfig
from tunecnn.workflows.confirmation_space import candidates_of, confirmation_space, job_of
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare_text
from tunecnn.workflows.search import resume, search
from tunecnn.workflows.session import Listening, RunResult


def confirm(
    path: Path,
    top: int,
    seeds: int,
    configs: Mapping[str, TrialConfig],
    options: RunOptions,
    listening: Listening,
) -> RunResult:
    """Train what a search found again, with new seeds, and test it.

    It is a run inside the search's folder; if one of the same name is there already, that one is
    carried on with. When it has ended, its evaluations on the test images stand in the search's
    `run.json` too, and the search's summary says what it found. The search's lock is held from
    the beginning: what is needed at the end must not be missing then.

    Args:
        path: folder of the search.
        top: how many of its best trials.
        seeds: how many new seeds for each.
        configs: other configurations, by name.
        options: where to run; its folder and name are not used.
        listening: opens what shows the user how it goes.

    Raises:
        InputError: if there is nothing to confirm, something given cannot be used, or another
            process holds the search.
        RunError: if the run could not go on; it can be resumed.
    """
    run = load_run(path)
    if run.job.type != "search":
        raise InputError(f"{path} is a {run.job.type}; only a search can be confirmed")
    name = "-".join([f"top{top}", f"seeds{seeds}", *map(_slug, configs)])
    inner = run.path / "confirmations" / name
    folder = RunFolder.open(path)
    with folder.lock(take_over=options.take_over):
        if (inner / "run.json").is_file():
            result = resume(inner, options, listening)
        else:
            candidates = candidates_of(run, top, configs)
            text = confirmation_space(run, candidates, seeds)
            data_dir = run.info.data_dir
            inside = dataclasses.replace(
                options,
                data_dir=options.data_dir or (Path(data_dir) if data_dir else None),
                runs_dir=inner.parent,
                name=name,
            )
            job = job_of(run, candidates)
            result = search(prepare_text(text, "confirmation"), inside, listening, job)
        _copy_evaluations(folder, name, load_run(inner))
    write_summary(load_run(path))
    return result


def _copy_evaluations(folder: RunFolder, name: str, inner: Run) -> None:
    """Write the evaluations of a confirmation into the search's own run.json."""
    info = folder.read_info()
    others = [one for one in info.evaluations if one.confirmation != name]
    new = [one.model_copy(update={"confirmation": name}) for one in inner.info.evaluations]
    folder.write_info(info.with_changes(evaluations=(*others, *new)))


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "_", Path(name).stem)
