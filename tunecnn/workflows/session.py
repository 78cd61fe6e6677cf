"""One session of a run: this process runs trials, and writes the summary at the end."""

from __future__ import annotations

import contextlib
import errno
import re
import shlex
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from tunecnn.data.images import Dataset
from tunecnn.data.loading import fetch, load_dataset
from tunecnn.engines.base import Engine
from tunecnn.errors import InputError, RunError, TunecnnError, reason
from tunecnn.files import nearest_existing
from tunecnn.listeners.trackers.base import TrackedRun
from tunecnn.listeners.trackers.registry import Tracked, check_trackers, untracked
from tunecnn.models.code import NetworkCode
from tunecnn.models.counting import CostCounter
from tunecnn.models.packages import packages_of
from tunecnn.process import Interrupts
from tunecnn.run.artifacts import Artifacts
from tunecnn.run.budget import Spending
from tunecnn.run.folder import RunFolder, cannot_be_written
from tunecnn.run.info import RunInfo, Session, now
from tunecnn.run.listener import Listener
from tunecnn.run.lock import Lease, TakenOverError
from tunecnn.run.recorder import Limits, Recorder
from tunecnn.run.run import Run, name_of
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import strategy_name
from tunecnn.study.journal import JOURNAL
from tunecnn.study.records import TrialRecord, check_journal, quiet_optuna
from tunecnn.study.study import Study
from tunecnn.trial.config import Scalar
from tunecnn.trial.environment import is_same_version, source_hash, versions
from tunecnn.words import command, in_utf8, listed
from tunecnn.workflows.evaluate import evaluate_trials
from tunecnn.workflows.on_end import check_on_end, run_on_end
from tunecnn.workflows.options import RunOptions, check_threads

if TYPE_CHECKING:
    from tunecnn.summary.formats import Format
    from tunecnn.summary.run_types import RunSummary

T = TypeVar("T")
Ending = Literal["done", "interrupted"]

_QUICK_SECONDS = 0.5
"""How long the start waits for the images before it starts Ray beside their reading."""


@dataclass(frozen=True)
class RunResult:
    """The result of a session of a run.

    Attributes:
        folder: folder of the run.
        ending: `done`, or `interrupted` if the run can be resumed.
        summary: summary of the run.
        exit_code: exit code of the command: 0, or 130 or 143 after SIGINT or SIGTERM.
    """

    folder: Path
    ending: Ending
    summary: RunSummary
    exit_code: int = 0


_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)

Listening = Callable[[Study, Path], AbstractContextManager[Listener]]
"""Opens the listener of a run, given its study and folder."""


@dataclass(frozen=True)
class Opened:
    """What a session trains, how, and its open resources: images, an engine, signal handlers."""

    space: SearchSpace
    options: RunOptions
    dataset: Dataset
    code: NetworkCode | None
    costs: CostCounter
    engine: Engine
    interrupts: Interrupts

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """Packages that the networks use, besides those that all trials do."""
        return packages_of(map(self.space.network, self.space.architectures), self.code)


@contextlib.contextmanager
def opened(
    space: SearchSpace, data_dir: Path | None, options: RunOptions, code: NetworkCode | None
) -> Iterator[Opened]:
    """Open the resources of a session; the images are read while other processes start."""
    check_trackers(options.track)
    check_on_end(options.on_end)
    splits = space.data_splits
    fetch(space.dataset, data_dir)  # may take minutes or fail, so it comes first
    with CostCounter(code) as costs:
        if not all(space.network(name).is_published for name in space.architectures):
            costs.start()
        loading = _in_a_thread(
            lambda: load_dataset(
                space.dataset, splits[0], data_dir, space.image_options, more_splits=splits[1:]
            )
        )
        with contextlib.suppress(TimeoutError):
            loading.result(_QUICK_SECONDS)  # a wrong path is refused without a start of Ray
        with _engine(options) as engine, Interrupts() as interrupts:  # Ray sets handlers too
            dataset = loading.result()
            data = dataset.trial_data
            costs.set_images(data.input_shape, len(data.classes))
            yield Opened(space, options, dataset, code, costs, engine, interrupts)


def _in_a_thread(function: Callable[[], T]) -> Future[T]:
    """Call a function in a daemon thread, so that an interrupted process can exit at once."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@contextlib.contextmanager
def _engine(options: RunOptions) -> Iterator[Engine]:
    """Open the engine that runs the trials: this process, or a Ray cluster."""
    if options.local:
        from tunecnn.engines.local import LocalEngine

        check_threads(options.threads)
        yield LocalEngine(options.threads, options.checkpoint_seconds)
        return
    from tunecnn.engines.cluster import Resources, connected

    resources = Resources(
        options.cpus_per_trial, options.gpus_per_trial, options.max_trials_at_once
    )
    with connected(options.address, resources) as cluster:
        from tunecnn.engines.ray import RayEngine

        yield RayEngine(
            cluster, options.checkpoint_seconds, options.max_failures, options.wait_for_workers
        )


def run_session(
    folder: RunFolder, there: Opened, listening: Listening, doubts: Sequence[str] = ()
) -> RunResult:
    """Run trials under the run's lock, record the session, and write the summary.

    Args:
        folder: folder of the run.
        there: what is trained, and the open resources.
        listening: function that opens the listener which displays the run.
        doubts: warnings about the networks, which the listener shows.

    Raises:
        InputError: if another process holds the lock of the run.
        RunError: if the run had to stop; it can be resumed.
    """
    options, tracked = there.options, list[Tracked]()
    try:
        with (
            quiet_optuna(),
            _stopping(folder.path),
            folder.lock(
                take_over=options.take_over, wait=options.resume_or_start is not None
            ) as lease,
        ):
            ending = _run_locked(folder, there, listening, doubts, lease, tracked)
        # A scheduler may kill this process while it writes the summary; the lock is free by then.
        summary = summarize(folder.path)
        if ending == "done" and summary.failures and not summary.trained:
            raise RunError(f"not one of the trials could be trained; {_first_failure(summary)}")
    except (InputError, TakenOverError):  # another process has the run, where it goes on
        raise
    except Exception:  # a mistake of ours too: whoever waits for the end waits for any
        _finish(tracked, "failed")
        run_on_end(options.on_end, folder.path, "failed")
        raise
    except KeyboardInterrupt:  # while the summary was written, or a second one
        run_on_end(options.on_end, folder.path, "interrupted")
        raise
    _finish(tracked, ending)
    if ending != "done" or not options.is_followed:
        run_on_end(options.on_end, folder.path, ending)
    code = 0 if ending == "done" else there.interrupts.exit_code
    return RunResult(folder.path, ending, summary, code)


def _finish(tracked: Sequence[Tracked], ending: str) -> None:
    """Send trackers what is missing, and the summary."""
    for one in tracked:
        for text in one.finish(ending):
            warnings.warn(text, stacklevel=1)


@contextlib.contextmanager
def _stopping(path: Path) -> Iterator[None]:
    """Summarize a run that had to stop, and say what to do where it cannot be written to."""
    from tunecnn.summary.render import write_summary

    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        raise cannot_be_written(path, error) from error
    except TakenOverError:
        raise
    except RunError:
        # The error is raised even if this fails, as on a full disk or in a folder that is gone.
        with contextlib.suppress(OSError, TunecnnError):
            write_summary(Run(path))
        raise


def summarize(path: Path, formats: Collection[Format] = (), out: Path | None = None) -> RunSummary:
    """Write the summary of a run into its folder, or into another.

    Args:
        path: folder of the run.
        formats: formats of the pictures besides SVG.
        out: folder to write to; None for that of the run.

    Raises:
        InputError: if `out` cannot be a folder.
        RunError: if the run cannot be read, or its summary cannot be written.
    """
    run = Run(path)
    run.check_begun()
    if out is not None and not (above := nearest_existing(out)).is_dir():
        raise InputError(f"--out {out}: {above} is not a folder")

    from tunecnn.summary.render import write_summary

    try:
        return write_summary(run, formats, out)
    except OSError as error:
        file = error.filename2 or error.filename  # the second one is that of a rename
        raise RunError(
            f"the summary of {path} cannot be written ({f'{file}: ' * bool(file)}"
            f"{reason(error)}); all its trials are safe in its journal; write it "
            f"elsewhere: {command('summarize', path)} --out FOLDER"
        ) from error


def _run_locked(
    folder: RunFolder,
    there: Opened,
    listening: Listening,
    doubts: Sequence[str],
    lease: Lease,
    tracked: list[Tracked],
) -> Ending:
    """Run trials, evaluate them if the run is tested, and record the session."""
    space, options = there.space, there.options
    if (info := folder.read_info()).sessions:
        check_journal(folder.path / JOURNAL)  # else all trials would be trained again
    study = Study(folder.path, space, there.costs, info.id)
    info = _with_end(info, study.last_time)
    # Once the journal is there, for readers.
    info = info.with_changes(keep_weights=options.keep_weights or info.keep_weights)
    info = _start_session(folder, info, there)
    started = time.monotonic()
    recorder: Recorder | None = None
    try:
        with listening(study, folder.path) as listener:
            if options.track:
                listener = Tracked(listener, options.track, _tracked_run(folder, space), study)
                tracked.append(listener)
            for name in untracked(folder.path, options.track):
                listener.on_note(
                    f"{name} has the run up to now, and gets nothing of what follows; a resume "
                    f"with --track {name} sends it"
                )
            for text in (*_notes(space, there.dataset), *there.engine.notes()):
                listener.on_note(text)
            of_images = there.dataset.sheet.warnings(there.dataset.trial_data.classes)
            for text in (*doubts, *of_images, *_warnings(lease.left, info)):
                listener.on_warning(text)
            spending = Spending(
                space.budget, space.metric, there.engine.devices, info.wall_seconds, study.records
            )
            limits = Limits(
                space.trials if info.is_tested else info.keep_weights,
                options.trial_timeout, options.min_free_gb, options.allow_changes,
            )  # fmt: skip
            recorder = Recorder(
                study, Artifacts(folder.path, listener.on_warning, info.id), listener, spending,
                limits, there.interrupts, lease, there.packages,
                on_abandoned=lambda: run_on_end(options.on_end, folder.path, "failed"),
            )  # fmt: skip
            there.engine.run(recorder, there.dataset.splits, there.code, folder.ray)
            if recorder.used_up and not there.interrupts.requested:
                listener.on_note(
                    f"no further trial was started, since {recorder.used_up}; a resume with a "
                    "higher limit goes on"
                )
        lease.check()
        ended = study.finished or recorder.used_up
        if info.is_tested and not there.interrupts.requested and ended:
            evaluate_trials(folder, _complete(study), there.dataset, lease.check)
    except KeyboardInterrupt:
        if there.interrupts.forced:
            raise  # the run can be resumed; what follows would take time
    except Exception:  # a mistake of ours, or of a user's listener, too
        with contextlib.suppress(OSError, TunecnnError):
            seconds = time.monotonic() - started
            _end_session(folder, study, recorder, lease, seconds, has_failed=True)
        raise
    return _end_session(folder, study, recorder, lease, time.monotonic() - started)


def _tracked_run(folder: RunFolder, space: SearchSpace) -> TrackedRun:
    info = folder.read_info()
    settings: dict[str, Scalar] = {
        "space": space.name, "dataset": space.dataset, "architecture": space.architecture,
        "recipe": space.recipe, "epochs": space.epochs, "trials": space.trials,
        "sampler": strategy_name(space.sampler), "pruner": strategy_name(space.pruner),
        "seed": space.seed, "job": info.job.type,
    }  # fmt: skip
    return TrackedRun(info.id, name_of(folder.path), space.goal, folder.path, settings)


def changed_versions(
    sessions: Sequence[Session], versions_now: Mapping[str, str], names: Iterable[str]
) -> str:
    """Describe the packages whose versions differ from those of the last session."""
    before = sessions[-1].versions if sessions else {}
    return ", ".join(
        f"{name} {before[name]} then, {versions_now.get(name, 'none')} now"
        for name in names
        if name in before
        and not is_same_version(name, before[name], versions_now.get(name, "none"))
    )


def _with_end(info: RunInfo, last_time: int) -> RunInfo:
    """Give a killed session the time of its last record as its end, so that its hours count."""
    if not info.sessions or info.last_session.ended is not None:
        return info
    sign = datetime.fromtimestamp(last_time, UTC)
    return info.with_session(ended=max(info.last_session.started, sign))


def _start_session(folder: RunFolder, info: RunInfo, there: Opened) -> RunInfo:
    """Record the start of a session, with any additional trials and budget."""
    session = Session(
        command=in_utf8(shlex.join(_shown(sys.argv))),
        started=now(),
        engine=there.engine.record(),
        versions=versions(there.packages),
        source=source_hash(),
    )
    more = {"trials": there.space.trials, "budget": dict(there.space.budget)}
    info = info.with_changes(sessions=(*info.sessions, session), changes={**info.changes, **more})
    folder.write_info(info)
    return info


def _shown(words: Sequence[str]) -> Iterator[str]:
    """Yield a command line without what may be secret: summaries and model cards are passed on.

    That is the command of `--on-end`, and credentials in the address of a tracker or cluster.
    """
    before = ""
    for word in words:
        option, equals, _ = word.partition("=")
        if not before and Path(word).name == "__main__.py":  # python -m tunecnn
            yield "tunecnn"
        elif before == "--on-end":
            yield "..."
        elif option == "--on-end" and equals:
            yield "--on-end=..."
        else:
            yield re.sub(r"(?<=://)[^/@\s]*@", "...@", word)
        before = word


def _notes(space: SearchSpace, dataset: Dataset) -> Iterator[str]:
    """Yield what the user should know about the images before the first trial."""
    sheet = dataset.sheet
    if files := sheet.files_in_words():
        yield f"images: {files}"
        yield f"classes: {listed(dataset.trial_data.classes)}"
        yield from sheet.notes
    yield from (f"{name}: {text}" for name, text in space.image_changes.items())


def _warnings(left: str, info: RunInfo) -> Iterator[str]:
    """Yield warnings about differences from the previous session, and a lock taken over."""
    if left:
        yield f"the lock of {left} was taken over: that process had ended without releasing it"
    *earlier, last = info.sessions
    if changed := changed_versions(earlier, last.versions, last.versions):
        yield f"versions differ from the previous session: {changed}"


def _end_session(
    folder: RunFolder, study: Study, recorder: Recorder | None, lease: Lease, seconds: float, *,
    has_failed: bool = False,
) -> Ending:  # fmt: skip
    """Requeue the running trials, and record the end of the session after so many seconds.

    The clock may have been set in between.

    Raises:
        RunError: if the run was taken over: then it is another process's to write.
    """
    lease.check()
    is_cut_off = bool(study.running)  # their trials are trained again, whatever is used up
    used_up = recorder.used_up if recorder and not has_failed and not study.finished else ""
    shut_out = recorder.shut_out if recorder else {}
    study.requeue_running()
    info = folder.read_info()
    untested = info.is_tested and len(info.evaluations) < len(_complete(study))
    ended = study.finished or (bool(used_up) and not is_cut_off)
    ending: Ending = "done" if ended and not untested else "interrupted"
    ended_at = info.last_session.started + timedelta(seconds=round(seconds))
    end = {"ended": ended_at, "ending": ending, "used_up": used_up, "shut_out": dict(shut_out)}
    folder.write_info(info.with_session(**end))
    return ending


def _complete(study: Study) -> list[TrialRecord]:
    return [record for record in study.records if record.is_complete]


def _first_failure(summary: RunSummary) -> str:
    number, reason = next(iter(summary.failures.items()))
    return f"trial {number}: {reason}"
