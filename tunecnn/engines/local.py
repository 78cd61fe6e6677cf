"""Run a study's trials in this process, one after the other: for debuggers and tests."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from tunecnn.data.images import TrialData
from tunecnn.run.info import EngineRecord, NodeRecord
from tunecnn.run.recorder import Recorder


@dataclass(frozen=True)
class LocalEngine:
    """This process; `threads` are for torch, where it trains on the CPU.

    A trial brings a checkpoint every `checkpoint_seconds`.
    """

    threads: int
    checkpoint_seconds: float

    @property
    def devices(self) -> float:
        """Cores that one trial takes."""
        return float(self.threads)

    def record(self) -> EngineRecord:
        """Return what a run writes down about where it ran."""
        node = NodeRecord(name=platform.node(), cpus=os.cpu_count() or 1)
        return EngineRecord(engine="local", nodes=(node,), threads=self.threads, slots=1)

    def run(self, recorder: Recorder, data: TrialData, scratch: Path) -> None:
        """Run trials until the study has as many as were requested.

        Args:
            recorder: hands out trials, and records their updates.
            data: training and validation images.
            scratch: not used.

        Raises:
            RunError: if the study cannot go on.
        """
        import torch

        from tunecnn.trial.batches import to_device
        from tunecnn.trial.runner import TrialRun

        torch.set_num_threads(self.threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        on_device = to_device(data, device)
        interrupts = recorder.interrupts
        with interrupts.deferred():
            while (trial := recorder.next_trial()) is not None:
                recorder.started(trial.number)
                run = TrialRun(trial.config, on_device, trial.checkpoint, self.checkpoint_seconds)
                goes_on = True
                while goes_on and not recorder.stopped:
                    with interrupts.deferred(False):
                        update = run.advance(0.0)
                    goes_on = recorder.take(trial.number, update)
                    recorder.tick()
        if recorder.failure is not None:
            raise recorder.failure
