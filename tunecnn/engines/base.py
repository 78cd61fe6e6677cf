"""`Engine`: protocol of the engines that run the trials of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tunecnn.data.images import TrialData
from tunecnn.models.code import NetworkCode
from tunecnn.run.info import EngineRecord
from tunecnn.run.recorder import Recorder


class Engine(Protocol):
    """Runs trials, as `tunecnn.engines.local.LocalEngine` and `tunecnn.engines.ray.RayEngine`."""

    @property
    def devices(self) -> float:
        """Number of GPUs per trial, or of cores if a trial takes no GPU."""

    def record(self) -> EngineRecord:
        """Return the record of the hardware on which trials run."""

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about the hardware before the first trial."""

    def run(
        self,
        recorder: Recorder,
        splits: Mapping[int, TrialData],
        code: NetworkCode | None,
        scratch: Path,
    ) -> None:
        """Run trials until all requested trials have ended, or the user interrupts."""
