"""One session of a run: this process runs trials, and writes the summary at the end."""

from __future__ import annotations

import contextlib
import errno
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunecnn.data.images import Dataset
from tunecnn.errors import InputError, RunError, TunecnnError
from tunecnn.listeners.trackers.base import TrackedRun
from tunecnn.listeners.trackers.registry import Tracked, untracked
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
from tunecnn.trial.environment import changed_versions, source_hash, versions
from tunecnn.words import in_utf8, listed
from tunecnn.workflows.evaluate import evaluate_trials
from tunecnn.workflows.on_end import run_on_end
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.resources import Opened
from tunecnn.workflows.summarize import summarize

if TYPE_CHECKING:
    from tunecnn.summary.run_types import RunSummary

Ending = Literal["done", "interrupted"]


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
    options, session = there.options, _RunningSession(folder, there)
    try:
        with (
            quiet_optuna(),
            _stopping(folder.path),
            folder.lock(
                take_over=options.take_over, wait=options.resume_or_start is not None
            ) as lease,
        ):
            ending = session.run(listening, doubts, lease)
        # A scheduler may kill this process while it writes the summary; the lock is free by then.
        summary = summarize(folder.path)
        if ending == "done" and summary.failures and not summary.trained:
            raise RunError(f"not one of the trials could be trained; {_first_failure(summary)}")
    except (InputError, TakenOverError):  # another process has the run, where it goes on
        raise
    except Exception:  # a mistake of ours too: whoever waits for the end waits for any
        session.finish_tracking("failed")
        _tell(options, folder.path, "failed")
        raise
    except KeyboardInterrupt:  # while the summary was written, or a second one
        _tell(options, folder.path, "interrupted")
        raise
    session.finish_tracking(ending)
    if ending != "done" or not options.followed_by:
        _tell(options, folder.path, ending)
    code = 0 if ending == "done" else there.interrupts.exit_code
    return RunResult(folder.path, ending, summary, code)


def _tell(options: RunOptions, path: Path, ending: str) -> None:
    """Run the command of `--on-end`, which for a confirmation the search around it does."""
    if options.inside is None:
        run_on_end(options.on_end, path, ending)


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


@dataclass
class _RunningSession:
    """The work of this process on a run.

    Attributes:
        folder: folder of the run.
        there: what is trained, and the open resources.
        tracked: listener that sends the run to trackers; None without any.
    """

    folder: RunFolder
    there: Opened
    tracked: Tracked | None = None

    def run(self, listening: Listening, doubts: Sequence[str], lease: Lease) -> Ending:
        """Run trials, evaluate them if the run is tested, and record the session."""
        folder, there = self.folder, self.there
        if (info := folder.read_info()).sessions:
            check_journal(folder.path / JOURNAL)  # else all trials would be trained again
        study = Study(folder.path, there.space, there.costs, info.id)
        info = _with_end(info, study.last_time)
        # Once the journal is there, for readers.
        info = info.with_changes(keep_weights=there.options.keep_weights or info.keep_weights)
        info = _start_session(folder, info, there)
        started = time.monotonic()
        recorder: Recorder | None = None
        try:
            with listening(study, folder.path) as listener:
                listener = self._with_trackers(listener, study)
                self._say(listener, doubts, _warnings(lease.left, info))
                recorder = self._recorder(study, info, listener, lease)
                there.engine.run(recorder, there.dataset.splits, there.code, folder.ray)
                was_limited = recorder.used_up and not study.finished
                if was_limited and not there.interrupts.requested:
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

    def finish_tracking(self, ending: str) -> None:
        """Send trackers what is missing, and the summary."""
        for text in self.tracked.finish(ending) if self.tracked is not None else ():
            warnings.warn(text, stacklevel=1)

    def _with_trackers(self, listener: Listener, study: Study) -> Listener:
        """Return the listener, which sends the run to its trackers as well."""
        track, path = self.there.options.track, self.folder.path
        if track:
            run = _tracked_run(self.folder, self.there.space)
            listener = self.tracked = Tracked(listener, track, run, study)
        for name in untracked(path, track):
            listener.on_note(
                f"{name} has the run up to now, and gets nothing of what follows; a resume "
                f"with --track {name} sends it"
            )
        return listener

    def _say(self, listener: Listener, doubts: Iterable[str], changes: Iterable[str]) -> None:
        """Show what the user should know before the first trial."""
        dataset = self.there.dataset
        for text in (*_notes(self.there.space, dataset), *self.there.engine.notes()):
            listener.on_note(text)
        of_images = dataset.sheet.warnings(dataset.trial_data.classes)
        for text in (*doubts, *of_images, *changes):
            listener.on_warning(text)

    def _recorder(self, study: Study, info: RunInfo, listener: Listener, lease: Lease) -> Recorder:
        there, options, path = self.there, self.there.options, self.folder.path
        space = there.space
        spending = Spending(
            space.budget, space.metric, there.engine.devices, info.wall_seconds, study.records
        )
        limits = Limits(
            space.trials if info.is_tested else info.keep_weights,
            options.trial_timeout,
            options.min_free_gb,
            options.allow_changes,
        )
        return Recorder(
            study,
            Artifacts(path, listener.on_warning, info.id),
            listener,
            spending,
            limits,
            there.interrupts,
            lease,
            there.packages,
            on_abandoned=lambda: run_on_end(options.on_end, options.inside or path, "failed"),
        )


def _tracked_run(folder: RunFolder, space: SearchSpace) -> TrackedRun:
    info = folder.read_info()
    settings: dict[str, Scalar] = {
        "space": space.name,
        "dataset": space.dataset,
        "architecture": space.architecture,
        "recipe": space.recipe,
        "epochs": space.epochs,
        "trials": space.trials,
        "sampler": strategy_name(space.sampler),
        "pruner": strategy_name(space.pruner),
        "seed": space.seed,
        "job": info.job.type,
    }
    return TrackedRun(info.id, name_of(folder.path), space.goal, folder.path, settings)


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
        repeated=tuple(_shown(there.options.repeated())),
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
    before = earlier[-1].versions if earlier else {}
    if changed := changed_versions(before, last.versions, last.versions):
        yield f"versions differ from the previous session: {changed}"


def _end_session(
    folder: RunFolder,
    study: Study,
    recorder: Recorder | None,
    lease: Lease,
    seconds: float,
    *,
    has_failed: bool = False,
) -> Ending:
    """Requeue the running trials, and record the end of the session after so many seconds.

    The clock may have been set in between.

    Raises:
        RunError: if the run was taken over: then it is another process's to write.
    """
    lease.check()
    is_cut_off = bool(study.running)  # their trials go on, whatever is used up
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
