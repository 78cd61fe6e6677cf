"""`Engine`: whatever runs the trials of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tunecnn.images import TrialData
from tunecnn.recorder import Recorder
from tunecnn.run_info import EngineRecord


class Engine(Protocol):
    """Runs trials: `tunecnn.local.LocalEngine` or `tunecnn.ray_engine.RayEngine`."""

    @property
    def devices(self) -> float:
        """GPUs that one trial takes, or cores if it takes none."""

    def record(self) -> EngineRecord:
        """Return what a run records about where it ran."""

    def run(self, recorder: Recorder, data: TrialData, scratch: Path) -> None:
        """Run trials until the study has as many as were requested, or the user interrupts."""
