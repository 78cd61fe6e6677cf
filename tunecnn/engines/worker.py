"""Ray actor that trains the trials of a run, one after the other.

This module travels to the nodes by value and imports nothing of tunecnn before it runs, so that it
can report a node without tunecnn, or with another version.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

if TYPE_CHECKING:
    from tunecnn.trial.environment import Environment
    from tunecnn.trial.messages import Checkpoint

_UPDATE_SECONDS = 0.5  # an update costs milliseconds, so several tiny epochs share one

_NODE_ID = "ray.io/node-id"  # a label that Ray gives to each node

DEVICE_ERROR = "tunecnn device error:"
"""Begins the text of the exception with which a worker ends after an error of its device."""

_MAKERS = ("CUDA", "HIP")  # of NVIDIA, and of AMD


@dataclass(frozen=True)
class Supplies:
    """What a worker needs for its trials.

    Attributes:
        splits: reference of the `TrialData` of each split, by the seed of its split.
        code: reference of the `NetworkCode`, or of None.
        threads: number of torch threads.
        gpus: GPUs that a trial takes.
        checkpoint_seconds: seconds between two checkpoints of a trial.
        packages: packages that the networks use, besides those that all trials do.
    """

    splits: Mapping[int, ray.ObjectRef[Any]]
    code: ray.ObjectRef[Any]
    threads: int
    gpus: float
    checkpoint_seconds: float
    packages: tuple[str, ...]


class Parcel:
    """A checkpoint in a trial's config, of which Tune keeps several copies until its end.

    Once it is taken, on either side, no copy there holds it any more, and none is sent back.
    """

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint

    def __deepcopy__(self, memo: object) -> Parcel:
        return self

    def take(self) -> Checkpoint | None:
        """Return the checkpoint, if there is one, and let go of it."""
        checkpoint, self._checkpoint = self._checkpoint, None
        return checkpoint


class Worker(tune.Trainable):
    """An actor that trains one trial after the other; a step is one or more epochs.

    The first step of an actor only reports its environment, so that the driver can decide whether
    trials may run there. A result has one or more of the keys `report` (the environment, as JSON),
    `unfit` (the reason why the actor cannot train) and `update` (a `TrialUpdate`), and its node.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return the request for a trial, which excludes the nodes where it must not run."""
        trial = config["trial"]
        bundle = {"CPU": trial["cpus"], "GPU": trial["gpus"]}
        where: dict[str, Any] = {}
        if trial["avoided"]:
            where["bundle_label_selector"] = [{_NODE_ID: f"!in({','.join(trial['avoided'])})"}]
        return tune.PlacementGroupFactory(
            [{name: amount for name, amount in bundle.items() if amount}], **where
        )

    def setup(self, config: dict[str, Any], supplies: Supplies) -> None:  # type: ignore[override]
        """Keep what is needed; an exception here would not say on which node it was raised."""
        self._supplies = supplies
        self._report: str | None = None
        self._is_told = False
        self._run: Any = None
        self._code: Any = None
        self._start_from = config["trial"]["checkpoint"].take()

    def cleanup(self) -> None:
        """Remove the unpacked code."""
        if self._code is not None:
            self._code.__exit__(None, None, None)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this actor."""
        self._is_told, self._run = False, None
        self._start_from = new_config["trial"]["checkpoint"].take()
        if self._report is not None:
            self._free_memory()  # of a trial that was pruned
        return True

    def step(self) -> dict[str, Any]:
        """Report the environment, or train for at least one epoch; see the class."""
        if self._report is None:
            try:
                self._report = self._prepare()
            except Exception as error:
                return {"unfit": f"{type(error).__name__}: {error}", **_place()}
            self._is_told = True
            return {"report": self._report, **_place()}
        result = {} if self._is_told else {"report": self._report, **_place()}
        self._is_told = True
        if self._run is None:
            self._begin()
        update = self._run.advance(_UPDATE_SECONDS)
        if update.device_error:
            # The exception ends this process: its device would fail in every further trial.
            raise RuntimeError(f"{DEVICE_ERROR} {update.device_error}")
        from tunecnn.trial.step import GraphedStep

        return {"update": update, "is_damaged": GraphedStep.has_failed, **result}

    def _prepare(self) -> str:
        """Copy the images of the first trial's split to the device, where they stay."""
        from tunecnn.process import collect_garbage_seldom

        collect_garbage_seldom()
        import torch

        from tunecnn.models.building import importable
        from tunecnn.trial.batches import DeviceSplits
        from tunecnn.trial.config import TrialConfig
        from tunecnn.trial.environment import Environment, has_gpu_device

        supplies = self._supplies
        torch.set_num_threads(supplies.threads)
        index, unused = assigned_device(
            ray.get_gpu_ids(), os.environ, torch.cuda.is_available(), has_gpu_device()
        )
        device = torch.device("cpu" if index is None else f"cuda:{index}")
        if index is not None and supplies.gpus < 1:
            # A trial that takes more than its share would end the others on this GPU.
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(memory_share(supplies.gpus, total), device)
        # The order of a network's layers decides the device of new tensors, here and in its code.
        if index is not None:
            torch.cuda.set_device(device)
        self._images = DeviceSplits(lambda seed: ray.get(supplies.splits[seed]), device)
        self._images.of(TrialConfig.from_dict(self.config["trial"]["config"]))
        self._code = importable(ray.get(supplies.code))
        self._code.__enter__()  # until the actor ends
        gpu = "" if index is None else f"GPU {ray.get_gpu_ids()[0]}"
        return json.dumps(vars(Environment.of_process(device, gpu, unused, supplies.packages)))

    def _begin(self) -> None:
        from tunecnn.trial.config import TrialConfig
        from tunecnn.trial.runner import RunningTrial

        trial = self.config["trial"]
        config = TrialConfig.from_dict(trial["config"])
        self._run = RunningTrial(
            config,
            self._images.of(config),
            self._start_from,
            self._supplies.checkpoint_seconds,
            trial["rungs"],
        )
        self._start_from = None

    def _free_memory(self) -> None:
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


def memory_share(gpus: float, total: int) -> float:
    """Return the share of a GPU's memory that torch may allocate for a share of the GPU.

    The context of CUDA and the kernels come on top: half a GiB for each process.
    """
    return max(gpus / 2, gpus - 2**29 / total)


def _place() -> dict[str, Any]:
    return {"node": platform.node(), "node_id": ray.get_runtime_context().get_node_id()}


def assigned_device(
    assigned: Sequence[int | str],
    environ: Mapping[str, str],
    is_available: bool,
    has_device: bool,
) -> tuple[int | None, str]:
    """Decide which of torch's GPUs a worker uses.

    Args:
        assigned: ids of the GPUs that Ray has given to the worker.
        environ: environment variables.
        is_available: whether torch can use a GPU.
        has_device: whether the machine has a GPU.

    Returns:
        Index of the GPU for torch, or None for the CPU; and the resource that is held without
        being used, in words, or an empty string.

    Raises:
        RuntimeError: if the machine has a GPU that torch cannot use.
    """
    if not assigned:
        return None, ""
    if not is_available:
        if has_device:
            raise RuntimeError(
                "torch cannot use the GPU that the trial was given; install a build of torch for "
                "the driver of this machine"
            )
        return None, (
            "its trials hold a GPU and train on the CPU, since the machine has no GPU that torch "
            "can use; start Ray there with --num-gpus=0"
        )
    if not any(environ.get(f"RAY_EXPERIMENTAL_NOSET_{one}_VISIBLE_DEVICES") for one in _MAKERS):
        return 0, ""  # Ray has made this one the only visible one
    visible = next(filter(None, (environ.get(f"{one}_VISIBLE_DEVICES") for one in _MAKERS)), None)
    names = [name.strip() for name in visible.split(",")] if visible else []
    own = str(assigned[0])
    if own in names:
        return names.index(own), ""
    return (int(own) if own.isdigit() else 0), ""


def environment_of(report: str) -> Environment:
    """Return the environment in a report; unknown values of another version are left out."""
    from dataclasses import fields

    from tunecnn.trial.environment import Environment

    known = {field.name for field in fields(Environment)}
    values = json.loads(report)
    return Environment(**{name: value for name, value in values.items() if name in known})
