"""Measurement of the time per epoch of some configs, for a plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tunecnn.data.images import TrialData
from tunecnn.models.code import NetworkCode
from tunecnn.trial.config import TrialConfig

_AT_LEAST = 1.0  # seconds
_AT_MOST = 30.0


@dataclass(frozen=True)
class Timing:
    """Result of a measurement.

    Attributes:
        epochs: seconds per epoch, for each config.
        spent: seconds that the measurement took, without the imports before it.
    """

    epochs: tuple[float, ...]
    spent: float


def time_epochs(
    configs: Sequence[TrialConfig],
    data: TrialData,
    code: NetworkCode | None,
    threads: int,
    gpus: float = 1,
) -> Timing:
    """Time epochs of training and validation in this process.

    Args:
        configs: configs to measure, one after the other.
        data: training and validation images.
        code: code of the networks; None if they are in no file.
        threads: number of CPU threads of torch.
        gpus: GPUs that a trial takes: without any, the CPU is timed, whatever the machine has.
    """
    import torch

    from tunecnn.models.building import importable

    torch.set_num_threads(threads)
    device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
    started = time.perf_counter()
    with importable(code):
        seconds = [_epoch_seconds(config, data, device) for config in configs]
    return Timing(tuple(seconds), time.perf_counter() - started)


def _epoch_seconds(config: TrialConfig, data: TrialData, device: str) -> float:
    from tunecnn.trial.training import Training

    training = Training(config.replace(epochs=10**6, patience=None), data, device)
    cold = time.perf_counter()
    training.run_epoch()  # warm-up, not measured
    rounds, warm = 0, time.perf_counter()
    if warm - cold > _AT_MOST:
        return warm - cold  # a second epoch would say little more
    while not rounds or time.perf_counter() - warm < _AT_LEAST:
        training.run_epoch()
        rounds += 1
    return (time.perf_counter() - warm) / rounds
