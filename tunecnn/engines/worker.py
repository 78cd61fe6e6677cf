"""Ray actor that trains the trials of a run, one after the other."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import ray
from ray import tune

from tunecnn.data.images import TrialData
from tunecnn.models.code import NetworkCode
from tunecnn.process import collect_garbage_seldom
from tunecnn.trial.config import TrialConfig

_UPDATE_SECONDS = 0.5  # an update costs milliseconds, so several tiny epochs share one


class Worker(tune.Trainable):
    """An actor that trains one trial after the other; a step is one or more epochs."""

    def setup(  # type: ignore[override]  # Tune passes the arguments of with_parameters
        self,
        config: dict[str, Any],
        data: TrialData,
        code: NetworkCode | None,
        threads: int,
        checkpoint_seconds: float,
    ) -> None:
        """Copy the images to the device, once for all trials of this actor."""
        collect_garbage_seldom()
        import torch

        from tunecnn.models.building import importable
        from tunecnn.trial.batches import to_device

        torch.set_num_threads(threads)
        assigned = bool(ray.get_gpu_ids())
        gpu = assigned and torch.cuda.is_available()
        if assigned and not gpu and Path("/dev/nvidia0").exists():
            raise RuntimeError(
                f"Error: torch {torch.__version__} on {platform.node()} cannot use the GPU that "
                "this trial was given; install a build of torch for its driver"
            )
        self._device = torch.device("cuda" if gpu else "cpu")
        self._data = to_device(data, self._device)
        self._checkpoint_seconds = checkpoint_seconds
        self._code = importable(code)
        self._code.__enter__()  # until the actor ends
        self._begin(config)

    def cleanup(self) -> None:
        """Remove the unpacked code."""
        self._code.__exit__(None, None, None)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this actor."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for at least one epoch, and return an update of the trial."""
        return {"update": self._run.advance(_UPDATE_SECONDS)}

    def _begin(self, config: dict[str, Any]) -> None:
        from tunecnn.trial.runner import TrialRun

        trial = config["trial"]
        self._run = TrialRun(
            TrialConfig.from_dict(trial["config"]),
            self._data,
            trial["checkpoint"],
            self._checkpoint_seconds,
            trial["rungs"],
        )
        self.config["trial"]["checkpoint"] = None  # else Tune returns it with every result
