"""How long an epoch of some configs takes, for a plan; nothing of the training is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tunecnn.data.images import TrialData
from tunecnn.trial.config import TrialConfig

_AT_LEAST = 1.0  # seconds


@dataclass(frozen=True)
class Timing:
    """What was measured.

    Attributes:
        epochs: seconds that an epoch takes, for each config.
        spent: seconds that measuring took, without the imports before it.
    """

    epochs: tuple[float, ...]
    spent: float


def time_epochs(configs: Sequence[TrialConfig], data: TrialData, threads: int) -> Timing:
    """Time epochs of training and validation in this process.

    Args:
        configs: to be timed, one after the other.
        data: to train and validate on.
        threads: for torch, where there is no GPU.
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
        training.run_epoch()  # the first one warms up
        rounds, warm = 0, time.perf_counter()
        while not rounds or time.perf_counter() - warm < _AT_LEAST:
            training.run_epoch()
            rounds += 1
        seconds.append((time.perf_counter() - warm) / rounds)
    return Timing(tuple(seconds), time.perf_counter() - started)
