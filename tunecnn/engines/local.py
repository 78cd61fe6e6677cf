"""Run the trials of a study in this process, one at a time: `--local`, and in notebooks."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecnn.data.images import TrialData
from tunecnn.errors import RunError
from tunecnn.models.code import NetworkCode
from tunecnn.models.running import prints_aside
from tunecnn.process import usable_cores
from tunecnn.run.folder import resume_command
from tunecnn.run.info import EngineRecord, NodeRecord
from tunecnn.run.recorder import Recorder

_IN_USE = threading.Lock()  # the generators and settings of torch, which are those of the process


def _gpus() -> int:
    """Return the number of GPUs that trials in this process use."""
    import torch

    return int(torch.cuda.is_available())


@dataclass(frozen=True)
class LocalEngine:
    """Engine in this process; `threads` is the number of torch threads on the CPU.

    A trial sends a checkpoint every `checkpoint_seconds` seconds.
    """

    threads: int
    checkpoint_seconds: float

    @property
    def devices(self) -> float:
        """GPUs per trial, or cores without a GPU."""
        return 1.0 if _gpus() else float(self.threads)

    def record(self) -> EngineRecord:
        """Return the record of the hardware on which trials run."""
        node = NodeRecord(name=platform.node(), cpus=usable_cores(), gpus=_gpus())
        return EngineRecord(engine="local", nodes=(node,), threads=self.threads, slots=1)

    def notes(self) -> tuple[str, ...]:
        """Return nothing: there is one trial at a time."""
        return ()

    def run(
        self,
        recorder: Recorder,
        splits: Mapping[int, TrialData],
        code: NetworkCode | None,
        scratch: Path,
    ) -> None:
        """Run trials until all requested trials have ended, or the user interrupts.

        Args:
            recorder: recorder that hands out trials and records their updates.
            splits: training and validation images, by the seed of their split.
            code: code of the networks; what it prints goes to stderr.
            scratch: unused folder.

        Raises:
            RunError: if the study cannot continue, or another thread trains in this process.
        """
        import torch

        from tunecnn.trial.arithmetic import give_memory_back, settings_kept

        if not _IN_USE.acquire(blocking=False):
            again = resume_command(recorder.folder)
            raise RunError(
                "another search trains in this process, in another thread, and would change the "
                f"results of this one; afterwards: {again}"
            )
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with settings_kept():
                self._run(recorder, splits, code)
        finally:  # for what a notebook does next
            torch.set_num_threads(before)
            give_memory_back()
            _IN_USE.release()
        if recorder.failure is not None:
            raise recorder.failure

    def _run(
        self,
        recorder: Recorder,
        splits: Mapping[int, TrialData],
        code: NetworkCode | None,
    ) -> None:
        import torch

        from tunecnn.models.building import importable
        from tunecnn.trial.batches import DeviceSplits
        from tunecnn.trial.environment import Environment
        from tunecnn.trial.runner import RunningTrial
        from tunecnn.trial.step import GraphedStep

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        on_device = DeviceSplits(splits.__getitem__, device)
        here = Environment.of_process(device, packages=recorder.packages)
        interrupts = recorder.interrupts
        run: RunningTrial | None = None
        with interrupts.deferred(), importable(code):
            while (trial := recorder.next_trial()) is not None:
                recorder.started(trial.number)
                if difference := recorder.begins(trial.number, here):
                    raise RunError(f"the results here would not be comparable: {difference}")
                run = None  # frees its network and images before others take their place
                run = RunningTrial(
                    trial.config,
                    on_device.of(trial.config),
                    trial.checkpoint,
                    self.checkpoint_seconds,
                    trial.rungs,
                )
                goes_on = True
                while goes_on and not recorder.stopped:
                    with interrupts.deferred(False), prints_aside(code):
                        update = run.advance(0.0)
                    if update.device_error:
                        raise RunError(f"{here.device} failed: {update.device_error}; then resume")
                    goes_on = recorder.take(trial.number, update)
                    if GraphedStep.has_failed:
                        again = resume_command(recorder.folder)
                        raise RunError(
                            "a CUDA graph could not be recorded, which torch does not get over; "
                            f"go on in a new process: {again}"
                        )
                    recorder.listener.on_tick()
