"""`Engine`: whatever runs the trials of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tunecnn.data.images import TrialData
from tunecnn.run.info import EngineRecord
from tunecnn.run.recorder import Recorder


class Engine(Protocol):
    """Runs trials: `tunecnn.engines.local.LocalEngine` or `tunecnn.engines.ray.RayEngine`."""

    @property
    def devices(self) -> float:
        """GPUs that one trial takes, or cores if it takes none."""

    def record(self) -> EngineRecord:
        """Return what a run records about where it ran."""

    def run(self, recorder: Recorder, data: TrialData, scratch: Path) -> None:
        """Run trials until the study has as many as were requested, or the user interrupts."""
