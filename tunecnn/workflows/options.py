"""`RunOptions`: the options of a search, confirmation or reproduction besides its space."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path

from tunecnn.engines.address import check_form
from tunecnn.errors import InputError
from tunecnn.files import expanded, stays_below
from tunecnn.process import usable_cores
from tunecnn.words import count_in_words

_SECONDS = 1e9  # thirty years; the clocks of threads overflow above it tenfold
RANGES: Mapping[str, tuple[float, float]] = {
    "cpus_per_trial": (0.01, 4096),
    "gpus_per_trial": (0, 4096),
    "checkpoint_seconds": (0, _SECONDS),
    "max_failures": (0, 10**6),
    "trial_timeout": (1, _SECONDS),
    "max_trials_at_once": (1, 10**6),
    "wait_for_workers": (1, _SECONDS),
    "min_free_gb": (0, 10**9),
    "keep_weights": (1, 10**9),
}
"""Smallest and largest value of each option that is a number."""
IN_PROCESS: Mapping[str, str] = dict.fromkeys(
    ("address", "gpus_per_trial", "max_failures", "max_trials_at_once", "wait_for_workers"),
    "all trials are trained in this process",
)
"""Options that have no effect with `local`, and why."""
SAME_FOLDER: Mapping[str, str] = dict.fromkeys(
    ("runs_dir", "name", "resume_or_start"), "a resumed run stays in its folder"
)
"""Options that have no effect on a run that exists, and why."""
NEW_RUN: Mapping[str, str] = dict.fromkeys(
    ("take_over", "allow_changes"), "a new run has no earlier session"
)
"""Options that have no effect on a run that does not exist yet, and why."""
BY_NAME: Mapping[str, str] = {"name": "it has the name already"}
"""Options that have no effect with `resume_or_start`, and why."""
INTERNAL = ("followed_by", "inside")
"""Options that only tunecnn itself gives."""
_REPEATED = (
    "local",
    "address",
    "cpus_per_trial",
    "gpus_per_trial",
    "checkpoint_seconds",
    "max_failures",
    "trial_timeout",
    "max_trials_at_once",
    "wait_for_workers",
    "min_free_gb",
    "track",
)
_NEEDED = ("checkpoint_seconds", "max_failures", "wait_for_workers", "min_free_gb")
_LEAST_SHARE = 0.001
_WHOLE = ("max_failures", "max_trials_at_once", "keep_weights")
_MOST_CANDIDATES = 100
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class RunOptions:
    """The data, folder, compute resources and safety limits of a run.

    Attributes:
        data_dir: folder of the data files; None for the default folder.
        runs_dir: folder in which the run's folder is created.
        name: name of the run's folder; None for a name made of the space, data set and time.
        resume_or_start: name of the run's folder, whose run is resumed if there is one. A process
            on another machine that held its lock is waited for until it can be taken for dead.
        local: whether to train in this process, one trial at a time, instead of on Ray.
        address: address of a running Ray cluster; None for `RAY_ADDRESS`, or else this machine.
        cpus_per_trial: CPU cores per trial; None for one.
        gpus_per_trial: GPUs per trial, may be a fraction; None for one if there is a GPU.
        checkpoint_seconds: least seconds between two checkpoints of a trial, each written after an
            epoch; a shorter time loses less work in a crash, but writes more.
        max_failures: number of times that the worker of a trial may die before the trial is
            marked as failed.
        trial_timeout: seconds after which a trial is marked as failed; None for no limit. A trial
            that was paused, or began again on another node, has as many once more.
        max_trials_at_once: trials that may run or wait for a node at once; None for as many as
            fit on the cluster.
        wait_for_workers: seconds to wait when a cluster has no room for a trial.
        min_free_gb: free disk space, in 10^9 bytes, below which no trial starts.
        keep_weights: number of the best trials of a search whose weights are kept; None for that
            of the earlier sessions, or else three. The weights of the other trials are deleted as
            they end. All trials that are tested keep theirs.
        take_over: whether to take the lock of the run from a process that seems to hold it.
        allow_changes: whether to resume with other versions of the packages that trials depend
            on.
        track: trackers that get the run: `tensorboard`, `mlflow`, `mlflow:URI` or `wandb`.
        on_end: command that is run at the end of the session, with the path of the run's folder
            and the ending (`done`, `interrupted` or `failed`) as further arguments.
        followed_by: options of the confirmation that comes next if the session ends with `done`,
            such as `--confirm 3x5`; `on_end` waits for it.
        inside: folder of the search whose confirmation this is; None if it is none. `on_end` waits
            for the search's summary, and gets this folder.

    Raises:
        InputError: if a number is out of its range, a name is none of a folder below another, or
            an address has not the form of one.
    """

    data_dir: Path | None = None
    runs_dir: Path = Path("runs")
    name: str | None = None
    resume_or_start: str | None = None
    local: bool = False
    address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    checkpoint_seconds: float = 30.0
    max_failures: int = 2
    trial_timeout: float | None = None
    max_trials_at_once: int | None = None
    wait_for_workers: float = 300.0
    min_free_gb: float = 0.5
    keep_weights: int | None = None
    take_over: bool = False
    allow_changes: bool = False
    track: tuple[str, ...] = ()
    on_end: str | None = None
    followed_by: tuple[str, ...] = ()
    inside: Path | None = None

    def __post_init__(self) -> None:
        """Check what the command line checks too, for Python code."""
        object.__setattr__(self, "runs_dir", expanded(self.runs_dir))
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", expanded(self.data_dir))
        for field, (low, high) in RANGES.items():
            value = getattr(self, field)
            if value is None and field not in _NEEDED:
                continue
            kind = Integral if field in _WHOLE else Real
            is_number = isinstance(value, kind) and not isinstance(value, bool)
            if not (is_number and low <= value <= high):
                what = "a whole number" if field in _WHOLE else "a number"
                raise InputError(
                    f"{field} must be {what} from {low:g} to {high:,.0f}, not {value!r}"
                )
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1:
            raise InputError(
                f"gpus_per_trial {self.gpus_per_trial:g}: a trial uses one GPU; give 1, or a "
                "fraction for several trials on one GPU"
            )
        if 0 < (share := self.gpus_per_trial or 0) < _LEAST_SHARE:
            raise InputError(f"gpus_per_trial must be 0 or at least {_LEAST_SHARE}, not {share}")
        if self.address and self.address != "local":
            check_form(self.address)
        _check_name("name", self.name)
        _check_name("resume_or_start", self.resume_or_start)

    @property
    def threads(self) -> int:
        """Number of torch threads for a trial that runs in this process."""
        return max(1, int(self.cpus_per_trial or 1))

    def repeated(self) -> tuple[str, ...]:
        """Return the options that a later session of the run needs again, for a command line.

        The run has the others, or they are for one session only.
        """
        words = list[str]()
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _REPEATED or value == field.default:
                continue
            flag = f"--{field.name.replace('_', '-')}"
            if value is True:
                words.append(flag)
            else:
                for one in value if isinstance(value, tuple) else (value,):
                    words += flag, f"{one:.15g}" if isinstance(one, float) else str(one)
        return (*words, *self.followed_by)


def check_threads(threads: int) -> None:
    """Check that this machine has a core for each thread: more make a training many times slower.

    Raises:
        InputError: if it has fewer.
    """
    if threads > (cores := usable_cores()):
        raise InputError(
            f"this machine cannot hold one trial of {count_in_words(threads, 'core')} (it has "
            f"{cores}); lower --cpus-per-trial"
        )


def check_seeds(seeds: int) -> None:
    """Check the number of seeds of a configuration.

    Raises:
        InputError: if it is out of its range.
    """
    check_count("seeds", seeds, _MOST_SEEDS)


def check_candidates(top: int, seeds: int, splits: int | None = None) -> None:
    """Check the numbers of a confirmation.

    Args:
        top: number of the best trials to confirm.
        seeds: number of new seeds for each.
        splits: number of splits of the data; None for that of the search's space.

    Raises:
        InputError: if one is out of its range.
    """
    from tunecnn.space.schema import MOST_SPLITS  # its imports take too long for --help

    check_count("top", top, _MOST_CANDIDATES)
    check_seeds(seeds)
    if splits is not None:
        check_count("splits", splits, MOST_SPLITS)


def check_count(option: str, count: int, most: int) -> None:
    """Check that an option is a whole number from 1 to another.

    Raises:
        InputError: if it is not.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or not 1 <= count <= most:
        raise InputError(f"{option} must be from 1 to {most:,}, not {count!r}")


def _check_name(option: str, name: str | None) -> None:
    """Check that a name is one of a folder below another, and prints in one line."""
    if name is None:
        return
    if not stays_below(name) or not _prints(name):
        raise InputError(f"{option} must name a folder below runs_dir, not {name!r}")


def _prints(name: str) -> bool:
    """Return whether a name prints in one line, with no control characters."""
    return not any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in name)
