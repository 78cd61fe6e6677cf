"""A search from its beginning, or from where it stopped, to its summary."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tunecnn.architectures import layers
from tunecnn.budget import Spending
from tunecnn.catalogue import IMAGEFOLDER, absolute
from tunecnn.checkpoint_files import CheckpointFiles
from tunecnn.config import TrialConfig
from tunecnn.datasets import fetch, load_dataset
from tunecnn.errors import InputError, RunError
from tunecnn.files import sha256
from tunecnn.images import Dataset, TrialData
from tunecnn.interrupts import Interrupts
from tunecnn.looks import look_at_test
from tunecnn.recorder import KEEP_WEIGHTS, Listener, Recorder
from tunecnn.records import TrialRecord
from tunecnn.reproduction import check_images
from tunecnn.run_folder import RunFolder
from tunecnn.run_info import (
    DatasetRecord,
    EngineRecord,
    Job,
    ReproductionJob,
    RunInfo,
    SearchJob,
    Session,
    now,
    processor,
    versions,
)
from tunecnn.runs import load_run
from tunecnn.space import SearchSpace
from tunecnn.study import Study

if TYPE_CHECKING:
    from tunecnn.render import AnySummary

DECISIVE = ("tunecnn", "torch", "torchvision", "numpy", "scikit-learn")
"""Packages whose version decides what a trial trains to."""
T = TypeVar("T")
Ending = Literal["done", "interrupted"]


@dataclass(frozen=True)
class Where:
    """Where a search runs.

    Attributes:
        local: in this process, one trial after the other, instead of on Ray.
        address: of a running Ray cluster; None for `RAY_ADDRESS`, or else this machine.
        cpus_per_trial: cores of one trial; None for one.
        gpus_per_trial: GPUs of one trial, may be a fraction; None for one where there are any.
    """

    local: bool = False
    address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None


@dataclass(frozen=True)
class SearchOptions:
    """What a search needs besides its space.

    Attributes:
        data_dir: folder of the data files; None for the default one.
        runs_dir: folder in which the run's own is made.
        name: of the run's folder; None for one of the space, the data set and the time.
        where: where the trials run.
        checkpoint_seconds: time between two checkpoints of a trial; less is lost in a crash, and
            more is written.
        max_failures: how often the worker of a trial may die before the trial is given up.
        trial_timeout: seconds after which a trial is given up; None for no limit.
        wait_for_workers: seconds for which a cluster may have no room for a trial.
        min_free_gb: room on the disk, in 10^9 bytes, below which no trial begins.
        take_over: write although a process elsewhere is noted as the writer.
        allow_changes: resume although what trials depend on has another version.
    """

    data_dir: Path | None = None
    runs_dir: Path = Path("runs")
    name: str | None = None
    where: Where = field(default_factory=Where)
    checkpoint_seconds: float = 30.0
    max_failures: int = 2
    trial_timeout: float | None = None
    wait_for_workers: float = 300.0
    min_free_gb: float = 0.5
    take_over: bool = False
    allow_changes: bool = False


@dataclass(frozen=True)
class SearchResult:
    """The folder of a search's run, how the search ended, and what the run says.

    `exit_code` is that of the command: 0, or 130 or 143 after SIGINT or SIGTERM.
    """

    folder: Path
    ending: Ending
    summary: AnySummary
    exit_code: int = 0


class Engine(Protocol):
    """Runs trials: `tunecnn.local.LocalEngine` or `tunecnn.engine.RayEngine`."""

    @property
    def devices(self) -> float:
        """GPUs that one trial takes, or cores if it takes none."""

    def record(self) -> EngineRecord:
        """Return what a run writes down about where it ran."""

    def run(self, recorder: Recorder, data: TrialData, scratch: Path) -> None:
        """Run trials until the study has as many as were asked for, or the user interrupts."""


Listening = Callable[[Study, Path], AbstractContextManager[Listener]]
"""Opens the listener of a run, once its study and folder are there."""


def search(
    space: SearchSpace,
    space_text: str,
    overrides: dict[str, Any],
    options: SearchOptions,
    listening: Listening,
    job: Job | None = None,
) -> SearchResult:
    """Begin a search and run it to its end, or until the user interrupts it.

    Args:
        space: what to search, with the command line's changes in it.
        space_text: the space file as it was given, kept in the run's folder.
        overrides: the command line's changes, kept beside it.
        options: data, folders and where to run.
        listening: opens what shows the user how it goes.
        job: what the run is for, a search if None; all trials of every other job are tested at
            its end.

    Raises:
        InputError: if something given cannot be used; then nothing was written.
        RunError: if the run could not go on; it can be resumed.
    """
    path = options.runs_dir / (options.name or _run_name(space))
    RunFolder.check_free(path)
    # A resumed run may be started in another folder.
    space = space.override(dataset=absolute(space.dataset))
    overrides = {**overrides, "dataset": space.dataset}
    data_dir = options.data_dir.expanduser().resolve() if options.data_dir else None
    with _opened(space, data_dir, options) as (dataset, engine, interrupts):
        data = dataset.trial_data
        _check_input(space, data)
        if isinstance(job, ReproductionJob) and job.against:
            check_images(job.against, data.input_shape, len(data.classes))
        info = RunInfo(
            space=space.name,
            space_sha256=sha256(space_text),
            changes=overrides,
            data_dir=str(data_dir) if data_dir else None,
            dataset=DatasetRecord.of(dataset),
            processor=processor(),
            job=job or SearchJob(),
        )
        folder = RunFolder.create(path, space_text, info)
        return _session(folder, space, dataset, engine, listening, options, interrupts)


def resume(
    path: Path,
    options: SearchOptions,
    listening: Listening,
    more_trials: int = 0,
    budget: Mapping[str, float] | None = None,
) -> SearchResult:
    """Carry on with a search that was interrupted or killed, or that is to have more trials.

    Finished trials stay as they are; those that were under way go on from their last checkpoint,
    under their numbers and seeds. For the arguments see `search`; if no data folder is given, the
    run's own is used.

    Raises:
        InputError: if there is no such run, or its data are not what they were.
        RunError: if the run could not go on.
    """
    folder = RunFolder.open(path)
    info = folder.read_info()
    space = folder.read_space(info)
    limits = {**dict(space.budget), **(budget or {})}
    space = space.override(trials=space.trials + more_trials, budget=limits)
    data_dir = options.data_dir or (Path(info.data_dir) if info.data_dir else None)
    changed = ", ".join(_changed_versions(info.sessions, versions(), DECISIVE))
    if changed and not options.allow_changes:
        raise InputError(
            f"what the trials of {path} depend on has changed ({changed}), so new ones would not "
            "be comparable; go back, or add --allow-changes"
        )
    with _opened(space, data_dir, options) as (dataset, engine, interrupts):
        _check_same_images(path, info.dataset, DatasetRecord.of(dataset))
        return _session(folder, space, dataset, engine, listening, options, interrupts)


def _check_same_images(path: Path, before: DatasetRecord, now: DatasetRecord) -> None:
    for what, old, new in (
        ("fingerprint", before.fingerprint, now.fingerprint),
        ("split fingerprint", before.split_fingerprint, now.split_fingerprint),
    ):
        if old != new:
            raise InputError(
                f"the {what} of {now.name} is {new}, but the run {path} was started with {old}: "
                "its trials would not be comparable"
            )


@contextlib.contextmanager
def _opened(
    space: SearchSpace, data_dir: Path | None, options: SearchOptions
) -> Iterator[tuple[Dataset, Engine, Interrupts]]:
    """Read the images while Ray starts, most of which is waiting for its processes."""
    fetch(space.dataset, data_dir)  # may take minutes, or fail: before anything has started
    loading = _beside(lambda: load_dataset(space.dataset, space.data_split, data_dir))
    with _engine(options) as engine, Interrupts() as interrupts:  # Ray sets handlers too
        yield loading.result(), engine, interrupts


def _beside(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread for which an interrupted process does not wait."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


@contextlib.contextmanager
def _engine(options: SearchOptions) -> Iterator[Engine]:
    """Open what runs the trials: this process, or a Ray cluster."""
    where = options.where
    if where.local:
        from tunecnn.local import LocalEngine

        yield LocalEngine(max(1, int(where.cpus_per_trial or 1)), options.checkpoint_seconds)
        return
    from tunecnn.cluster import Resources, connected

    with connected(
        where.address, Resources(where.cpus_per_trial, where.gpus_per_trial)
    ) as cluster:
        from tunecnn.engine import RayEngine

        yield RayEngine(
            cluster, options.checkpoint_seconds, options.max_failures, options.wait_for_workers
        )


def _session(
    folder: RunFolder,
    space: SearchSpace,
    dataset: Dataset,
    engine: Engine,
    listening: Listening,
    options: SearchOptions,
    interrupts: Interrupts,
) -> SearchResult:
    """Run trials under the run's lock, keep account of the session, and write the summary."""
    with folder.lock(take_over=options.take_over) as left:
        info = folder.read_info()
        session = Session(
            command=shlex.join(sys.argv),
            started=now(),
            engine=engine.record(),
            versions=versions(),
        )
        # A resumed run may have been given more.
        more = {"trials": space.trials, "budget": dict(space.budget)}
        info = info.with_changes(
            sessions=(*info.sessions, session), changes={**info.changes, **more}
        )
        folder.write_info(info)
        data = dataset.trial_data
        study = Study(folder.path, space, data.input_shape, len(data.classes))
        keep = space.trials if info.is_tested else KEEP_WEIGHTS
        used_up = ""
        try:
            with listening(study, folder.path) as listener:
                for text in _warnings(left, info):
                    listener.warned(text)
                checkpoints = CheckpointFiles(folder.checkpoints, listener.warned)
                spending = Spending(space.budget, engine.devices, info.wall_seconds, study.records)
                recorder = Recorder(
                    study, folder.weights, checkpoints, listener, spending, keep,
                    options.trial_timeout, options.min_free_gb, interrupts,
                )  # fmt: skip
                engine.run(recorder, data, folder.ray)
                used_up = recorder.used_up
            if info.is_tested and not interrupts.asked and (study.finished or used_up):
                look_at_test(folder, _complete(study), dataset)
        except KeyboardInterrupt:
            if interrupts.insisted:
                raise  # the run is resumable as it is; its summary would take seconds
        except RunError:
            # It is said whatever becomes of this; on a full disk, nothing does.
            with contextlib.suppress(OSError, RunError):
                _end_session(folder, study, "")
            raise
        summary, ending = _end_session(folder, study, used_up)
    if ending == "done" and not summary.trained:
        raise RunError(f"not one of the trials could be trained; {_first_failure(summary)}")
    code = 0 if ending == "done" else interrupts.exit_code
    return SearchResult(folder.path, ending, summary, code)


def _changed_versions(
    sessions: Sequence[Session], now: Mapping[str, str], names: Iterable[str]
) -> Iterator[str]:
    """Say which packages have another version than in the last of some sessions."""
    before = sessions[-1].versions if sessions else {}
    for name in names:
        if name in before and before[name] != now[name]:
            yield f"{name} {before[name]} then, {now[name]} now"


def _warnings(left: str, info: RunInfo) -> Iterator[str]:
    """Say what is different from the sessions before, the last of which is this one."""
    if left:
        yield f"the lock of {left} was taken over: it had ended without a word"
    *earlier, now = info.sessions
    changed = ", ".join(_changed_versions(earlier, now.versions, now.versions))
    if changed:
        yield f"different from the session before: {changed}"


def _end_session(folder: RunFolder, study: Study, used_up: str) -> tuple[AnySummary, Ending]:
    """Put what is under way back into the queue, and write down how the run stands."""
    from tunecnn.render import write_summary

    study.requeue_running()
    info = folder.read_info()
    untested = info.is_tested and len(info.evaluations) < len(_complete(study))
    ended = study.finished or bool(used_up)
    ending: Ending = "done" if ended and not untested else "interrupted"
    folder.write_info(info.with_session(ended=now(), ending=ending, used_up=used_up))
    return write_summary(load_run(folder.path)), ending


def _complete(study: Study) -> list[TrialRecord]:
    return [record for record in study.records if record.state == "COMPLETE"]


def _first_failure(summary: AnySummary) -> str:
    number, reason = next(iter(summary.failures.items()))
    return f"trial {number}: {reason}"


def _check_input(space: SearchSpace, data: TrialData) -> None:
    """Refuse a space whose networks cannot take the data set's images."""
    for architecture in space.architectures:
        design = TrialConfig(architecture=architecture).design()
        try:
            layers(design, data.input_shape, len(data.classes))
        except InputError as error:
            raise InputError(f"{architecture} on {data.name}: {error}") from error


def _run_name(space: SearchSpace) -> str:
    dataset = IMAGEFOLDER if space.dataset.startswith(IMAGEFOLDER) else space.dataset
    return f"{space.name}-{dataset}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
