"""One training, without a study: of a config, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunecnn.data.loading import load_dataset
from tunecnn.errors import InputError, RunError
from tunecnn.files import check_writable, write_atomically
from tunecnn.models.code import NetworkCode
from tunecnn.models.running import running_network
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.environment import has_gpu_device

if TYPE_CHECKING:
    from tunecnn.trial.messages import EpochMetrics

Device = Literal["auto", "cpu", "cuda"]


class OneTraining:
    """A training; iterate over its epochs.

    Images are refused before torch is imported, which takes seconds.

    Args:
        config: config of the training.
        code: code of its network; None for one in no file.
        data_dir: folder of the data files; None for the default folder.
        device: device to train on; `auto` takes a GPU if there is one.
        threads: number of CPU threads; None for torch's default.
        out: file for the weights; None to keep none.

    Raises:
        InputError: if the device, the images or the network cannot be used.

    Attributes:
        kept: metrics of the epoch whose weights are kept; None before the end.
    """

    def __init__(
        self,
        config: TrialConfig,
        code: NetworkCode | None,
        data_dir: Path | None,
        device: Device,
        threads: int | None,
        out: Path | None,
    ) -> None:
        if out is not None:
            check_writable(out, "--out")
        if device == "cuda" and sys.platform == "linux" and not has_gpu_device():
            raise InputError("--device cuda: this machine has no GPU")
        self._dataset = load_dataset(
            config.dataset, config.data_split, data_dir, config.image_options
        )
        import torch

        gpu = torch.cuda.is_available()
        if device == "cuda" and not gpu:
            raise InputError("--device cuda: torch finds no GPU on this machine")
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = "cuda" if gpu and device != "cpu" else "cpu"
        self._config, self._code, self._out = config, code, out
        self.kept: EpochMetrics | None = None

    def __iter__(self) -> Iterator[EpochMetrics]:
        """Train, and write the weights at the end.

        Raises:
            InputError: if the network cannot be built.
            RunError: if it fails later, diverges, or the weights cannot be written.
        """
        from tunecnn.models.building import importable
        from tunecnn.trial.trained import pack_model
        from tunecnn.trial.training import Training

        name = self._config.architecture
        with importable(self._code):
            with running_network(name, InputError):
                training = Training(self._config, self._dataset.trial_data, self._device)
            while not training.finished:
                with running_network(f"{name} failed in epoch {training.epoch + 1}"):
                    metrics = training.run_epoch()
                yield metrics
                if metrics.diverged:
                    raise RunError(
                        f"it has diverged: the loss of epoch {training.epoch} is not finite"
                    )
            self.kept = training.kept
            if self._out is not None:
                write_atomically(self._out, pack_model(training))
