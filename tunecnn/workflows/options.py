"""`RunOptions`: what a search, a confirmation or a reproduction needs besides its space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Where the trials of a run are trained, where the run is kept, and its safety limits.

    Attributes:
        data_dir: folder of the data files; None for the default one.
        runs_dir: folder in which the run's own is made.
        name: of the run's folder; None for one of the space, the data set and the time.
        local: train in this process, one trial after the other, instead of on Ray.
        address: of a running Ray cluster; None for `RAY_ADDRESS`, or else this machine.
        cpus_per_trial: cores per trial; None for one.
        gpus_per_trial: GPUs per trial, may be a fraction; None for one where there are any.
        checkpoint_seconds: time between two checkpoints of a trial; with a shorter one less is
            lost in a crash, and more is written.
        max_failures: number of times that the worker of a trial may die before the trial is given
            up.
        trial_timeout: seconds after which a trial is given up; None for no limit.
        wait_for_workers: seconds for which a cluster may have no room for a trial.
        min_free_gb: free space on the disk, in 10^9 bytes, below which no trial starts.
        take_over: take the lock of the run from a process that seems to hold it.
        allow_changes: resume although packages that trials depend on have other versions.
    """

    data_dir: Path | None = None
    runs_dir: Path = Path("runs")
    name: str | None = None
    local: bool = False
    address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    checkpoint_seconds: float = 30.0
    max_failures: int = 2
    trial_timeout: float | None = None
    wait_for_workers: float = 300.0
    min_free_gb: float = 0.5
    take_over: bool = False
    allow_changes: bool = False

    @property
    def threads(self) -> int:
        """Threads of torch for a trial that runs in this process."""
        return max(1, int(self.cpus_per_trial or 1))
