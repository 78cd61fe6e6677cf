"""Measurement of the time per epoch of some configs, for a plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tunecnn.data.images import TrialData
from tunecnn.trial.config import TrialConfig

_AT_LEAST = 1.0  # seconds


@dataclass(frozen=True)
class Timing:
    """Result of a measurement.

    Attributes:
        epochs: seconds per epoch, for each config.
        spent: seconds that the measurement took, without the imports before it.
    """

    epochs: tuple[float, ...]
    spent: float


def time_epochs(configs: Sequence[TrialConfig], data: TrialData, threads: int) -> Timing:
    """Time epochs of training and validation in this process.

    Args:
        configs: configs to measure, one after the other.
        data: training and validation images.
        threads: number of CPU threads of torch.
    """
    import torch

    from tunecnn.trial.training import Training

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    started = time.perf_counter()
    seconds = []
    for config in configs:
        endless = config.replace(epochs=10**6, patience=None)
        training = Training(endless, data, device)
        training.run_epoch()  # warm-up, not measured
        rounds, warm = 0, time.perf_counter()
        while not rounds or time.perf_counter() - warm < _AT_LEAST:
            training.run_epoch()
            rounds += 1
        seconds.append((time.perf_counter() - warm) / rounds)
    return Timing(tuple(seconds), time.perf_counter() - started)
