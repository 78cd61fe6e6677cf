"""The workflow of a search: its start, and its resumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

from tunecnn.data.images import Dataset
from tunecnn.data.registry import kind_and_path
from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import expanded, sha256, whole
from tunecnn.models.code import NetworkCode
from tunecnn.models.packages import packages_of
from tunecnn.process import EndedAtOnceError
from tunecnn.run.folder import RunFolder, resume_command
from tunecnn.run.info import (
    CodeRecord,
    ConfirmationJob,
    DatasetRecord,
    Job,
    ReproductionJob,
    RunInfo,
    SearchJob,
)
from tunecnn.run.lock import TakenOverError
from tunecnn.run.run import Run
from tunecnn.space.space import SearchSpace
from tunecnn.trial.environment import (
    DECISIVE,
    changed_versions,
    processor,
    source_hash,
    versions,
)
from tunecnn.words import in_utf8
from tunecnn.workflows.confirmation_space import check_splits
from tunecnn.workflows.networks import (
    changed_code,
    check_constraints,
    check_networks,
    network_warnings,
)
from tunecnn.workflows.on_end import check_on_end, run_on_end
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import Prepared
from tunecnn.workflows.reproduction_space import check_images
from tunecnn.workflows.resources import opened
from tunecnn.workflows.session import (
    Listening,
    RunResult,
    run_session,
)
from tunecnn.workflows.summarize import summarize

Fingerprint = Literal["fingerprint", "split_fingerprint"]


def search(
    prepared: Prepared,
    options: RunOptions,
    listening: Listening,
    job: Job | None = None,
    confirmed: Run | None = None,
) -> RunResult:
    """Start a search and run it to its end, or until the user interrupts it.

    Args:
        prepared: space to search.
        options: options of the run.
        listening: function that opens the listener which displays the run.
        job: purpose of the run; None for a search. For any other job, all trials are tested at
            the end.
        confirmed: search that the run confirms, whose images it must have; None for any images.

    Raises:
        InputError: if an argument is invalid; nothing has been written then.
        RunError: if the run had to stop; it can be resumed.
    """
    space, job = prepared.space, job or SearchJob()
    if options.resume_or_start is not None:
        path = options.runs_dir / options.resume_or_start
        if RunFolder.is_run(path):
            return _resume_same(path, prepared, options, listening)
    if isinstance(job, SearchJob) and len(space.data_splits) > 1:
        raise InputError("split_seed: all trials of a search have the same split of the data")
    path = new_run_path(space, options)
    data_dir = expanded(options.data_dir).resolve() if options.data_dir else None
    code = space.network_code()
    with opened(space, data_dir, options, code) as there:
        data = there.dataset.trial_data
        check_splits(space, there.dataset)
        if confirmed is not None:
            _check_same(confirmed.path, "fingerprint", confirmed.info.dataset, there.dataset)
        found = check_networks(space, data.name, there.costs)
        notes = network_warnings(space, found, there.costs)
        notes += check_constraints(space, data.name, found, there.costs)
        if isinstance(job, ReproductionJob) and job.against:
            check_images(job.against, data.input_shape, len(data.classes))
        info = RunInfo(
            id=uuid4().hex,
            space=space.name,
            space_sha256=sha256(prepared.text),
            changes=dict(prepared.changes),
            data_dir=str(data_dir) if data_dir else None,
            dataset=DatasetRecord.of(there.dataset),
            code=_code_record(space, code),
            processor=processor(),
            job=job,
        )
        folder = _created(path, prepared.text, info, code, options)
        return run_session(folder, there, listening, notes)


def _created(
    path: Path, text: str, info: RunInfo, code: NetworkCode | None, options: RunOptions
) -> RunFolder:
    """Create the folder of a run; a name of ours may be that of another job of the same second."""
    free, number = path, 1
    while True:
        try:
            return RunFolder.create(free, text, info, code)
        except InputError:
            if not _is_ours(options) or not free.exists():
                raise
        number += 1
        free = path.with_name(f"{path.name}-{number}")


def _is_ours(options: RunOptions) -> bool:
    """Return whether the user has given no name, so that it is made of the time."""
    return options.name is None and options.resume_or_start is None


def _resume_same(
    path: Path, prepared: Prepared, options: RunOptions, listening: Listening
) -> RunResult:
    """Resume a run that was started with a space, up to the trials and budget of the space.

    Raises:
        InputError: if the run was started with another space.
    """
    info = RunFolder.open(path).read_info()
    changed = [
        key
        for key in sorted(prepared.changes.keys() | info.changes.keys())
        if key not in ("trials", "budget", "start", "splits", "groups")  # of the file, or more
        and prepared.changes.get(key) != info.changes.get(key)
    ]
    if sha256(prepared.text) != info.space_sha256:
        changed.append("the space file")
    code = prepared.space.network_code()
    if code is not None and info.code is not None and code.hash != info.code.hash:
        changed.append("the networks' code")
    if changed:
        raise InputError(
            f"the run {path} was started with another search ({', '.join(changed)}); give another "
            f"name, or go on with it as it is: {resume_command(path)}"
        )
    more = prepared.space.trials - int(info.changes.get("trials", prepared.space.trials))
    run = open_run(path, max(0, more), dict(prepared.space.budget))
    return resume_opened(run, options, listening)


def resume(
    path: Path,
    options: RunOptions,
    listening: Listening,
    more_trials: int = 0,
    budget: Mapping[str, float] | None = None,
    splits: int | None = None,
) -> RunResult:
    """Resume a run that was interrupted or killed, or add trials to it.

    Finished trials are unchanged; unfinished ones continue from their last checkpoint, with the
    same numbers and seeds. For the arguments see `search` and `open_run`; without a data folder,
    the one recorded in the run is used. The search around a confirmation learns of its result, as
    from `confirm`.

    Raises:
        InputError: if there is no such run, its data have changed, or another process holds the
            lock of the search around a confirmation.
        RunError: if the run had to stop.
    """
    run = open_run(path, more_trials, budget, splits)
    outer = whole(path).parent.parent
    if not isinstance(run.info.job, ConfirmationJob) or not RunFolder.is_run(outer):
        return resume_opened(run, options, listening)
    around = RunFolder.open(outer)
    return run_inside(around, options, lambda inside: resume_opened(run, inside, listening))


def run_inside(
    around: RunFolder, options: RunOptions, run: Callable[[RunOptions], RunResult]
) -> RunResult:
    """Run a confirmation under the lock of the search around it, whose summary gets its result.

    Args:
        around: folder of the search.
        options: options of the run; `on_end` is run when the summary of the search is written,
            with the folder of the search.
        run: function that runs the confirmation with the options that it gets.
    """
    check_on_end(options.on_end)
    is_ours = False
    try:
        wait = options.resume_or_start is not None
        with around.lock(take_over=options.take_over, wait=wait) as lease:
            is_ours = True
            result = run(replace(options, inside=around.path))
            lease.check()
            _copy_evaluations(around, result.folder)
        summarize(around.path)
    except (KeyboardInterrupt, EndedAtOnceError):
        run_on_end(options.on_end, around.path, "interrupted")
        raise
    except TakenOverError:  # another process has the search, where it goes on
        raise
    except Exception:  # whoever waits for the end waits for it after a search of days
        if is_ours:  # else another process has the lock, whose run goes on
            run_on_end(options.on_end, around.path, "failed")
        raise
    run_on_end(options.on_end, around.path, result.ending)
    return result


def _copy_evaluations(around: RunFolder, inner: Path) -> None:
    """Copy the evaluations of a confirmation into the `run.json` of the search around it.

    Raises:
        RunError: if it cannot be written.
    """
    info = around.read_info()
    others = [one for one in info.evaluations if one.confirmation != inner.name]
    new = [
        one.model_copy(update={"confirmation": inner.name})
        for one in RunFolder.open(inner).read_info().evaluations
    ]
    try:
        around.write_info(info.with_changes(evaluations=(*others, *new)))
    except OSError as error:
        raise RunError(
            f"{error.filename or around.path} cannot be written ({reason(error)}); all of the "
            f"confirmation is safe in {inner}; when it can be written again, give the same command"
        ) from error


@dataclass(frozen=True)
class OpenedRun:
    """A run that can be resumed: its folder, its info, and its space with what is changed."""

    folder: RunFolder
    info: RunInfo
    space: SearchSpace


def resume_opened(run: OpenedRun, options: RunOptions, listening: Listening) -> RunResult:
    """Resume a run from `open_run`, without any change to a search around it."""
    folder, info, space = run.folder, run.info, run.space
    _check_name(folder.path, options)
    data_dir = options.data_dir or (Path(info.data_dir) if info.data_dir else None)
    code = folder.read_code(info)
    packages = packages_of(map(space.network, space.architectures), code)
    names = (*DECISIVE, *packages)
    before = info.last_session.versions if info.sessions else {}
    changed = changed_versions(before, versions(packages), names)
    if not changed and info.sessions and info.last_session.source != source_hash():
        changed = f"the source of tunecnn {versions()['tunecnn']}"
    if changed and not options.allow_changes:
        raise InputError(
            f"packages that the trials of {folder.path} depend on have changed ({changed}), so "
            "new trials would not be comparable; install the old ones, or add --allow-changes"
        )
    with opened(space, data_dir, options, code) as there:
        for what in get_args(Fingerprint):
            _check_same(folder.path, what, info.dataset, there.dataset)
        # What the code reads may be gone, and each proposal would be one that cannot be built.
        check_networks(space, there.dataset.trial_data.name, there.costs)
        check_splits(space, there.dataset)
        return run_session(folder, there, listening, changed_code(space, info))


def open_run(
    path: Path,
    more_trials: int = 0,
    budget: Mapping[str, float] | None = None,
    splits: int | None = None,
) -> OpenedRun:
    """Open a run to resume it.

    Args:
        path: its folder.
        more_trials: number of trials to add.
        budget: limits that replace those of the run.
        splits: number of splits of the data of the confirmation that comes next; None for that of
            the run's space.

    Raises:
        InputError: if there is no such run, or fewer trials are asked for.
        RunError: if its files are damaged.
    """
    if more_trials < 0:
        raise InputError(f"more_trials must be 0 or more, not {more_trials}")
    folder = RunFolder.open(path)
    info = folder.read_info()
    space = folder.read_space(info)
    if more_trials and info.is_tested:
        raise InputError(
            f"{path} is a {info.job.type}: it has one trial for each seed, and none can be added"
        )
    if more_trials or budget:
        limits = {**dict(space.budget), **(budget or {})}
        space = space.override(trials=space.trials + more_trials, budget=limits)
    if splits is not None:
        space = space.override(splits=splits)
    return OpenedRun(folder, info, space)


def new_run_path(space: SearchSpace, options: RunOptions) -> Path:
    """Return the path of a new run's folder.

    Raises:
        InputError: if no run can be created there.
    """
    name = options.resume_or_start or options.name or _run_name(space)
    path = options.runs_dir / name
    for parent in list(path.parents)[: len(Path(name).parts) - 1]:
        if RunFolder.is_run(parent):
            raise InputError(f"{parent} is a run; a run cannot be made inside another")
    if not (_is_ours(options) and path.exists()):
        RunFolder.check_free(path)
    _check_name(path, options)
    return path


def _check_name(path: Path, options: RunOptions) -> None:
    """Check that Ray, which writes into the folder of the run too, can name it.

    Raises:
        InputError: if its path is not UTF-8.
    """
    name = str(path.resolve())
    if not options.local and in_utf8(name) != name:
        raise InputError(
            f"Ray cannot use the folder {in_utf8(name)}, whose name is not UTF-8: give another "
            "folder, or train without Ray: --local"
        )


def _check_same(path: Path, what: Fingerprint, before: DatasetRecord, dataset: Dataset) -> None:
    """Check that images are those with which a run was started.

    Args:
        path: folder of the run.
        what: `fingerprint` of all images, or `split_fingerprint` of their parts as well.
        before: record of its images.
        dataset: images.

    Raises:
        InputError: if they are others.
    """
    old, new = getattr(before, what), getattr(dataset, what)
    if old != new:
        raise InputError(
            f"the {what.replace('_', ' ')} of {dataset.trial_data.name} is {new}, but the run "
            f"{path} was started with {old}: its trials would not be comparable"
        )


def _code_record(space: SearchSpace, code: NetworkCode | None) -> CodeRecord | None:
    if code is None:
        return None
    return CodeRecord(hash=code.hash, files=tuple(code.files), source=str(space.folder))


def _run_name(space: SearchSpace) -> str:
    dataset, _ = kind_and_path(space.dataset)
    return f"{space.name}-{dataset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
