"""Training of one trial on any engine, with its updates and the reason of its outcome."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence

import torch

from tunecnn.errors import InputError, text_of
from tunecnn.models.building import in_own_code
from tunecnn.trial.batches import DeviceData
from tunecnn.trial.config import NET, TrialConfig
from tunecnn.trial.faults import device_error, memory_error
from tunecnn.trial.messages import Checkpoint, EpochMetrics, Outcome, TrialEnd, TrialUpdate
from tunecnn.trial.trained import pack_model
from tunecnn.trial.training import Training


class CheckpointError(Exception):
    """The given checkpoint cannot be used."""


class RunningTrial:
    """A trial that is being trained.

    Args:
        config: config of the trial.
        data: images on the device on which the trial is trained.
        checkpoint: checkpoint to continue from; None to start from the first epoch.
        checkpoint_seconds: time between the checkpoints in the updates, in seconds.
        rungs: epochs after which the trial may be paused; such an update ends with this epoch, and
            has a checkpoint.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: DeviceData,
        checkpoint: Checkpoint | None,
        checkpoint_seconds: float,
        rungs: Sequence[int] = (),
    ) -> None:
        self._config = config
        self._data = data
        self._training: Training | None = None
        self._start_from = checkpoint
        self._checkpoint_seconds = checkpoint_seconds
        self._rungs = frozenset(rungs)
        self._saved = time.perf_counter()

    def advance(self, seconds: float) -> TrialUpdate:
        """Train at least one epoch, and more until `seconds` have passed; return an update.

        An exception in the training becomes an outcome, so that the process can continue with the
        next trial.
        """
        epochs: list[EpochMetrics] = []
        started = time.perf_counter()
        try:
            end = self._advance(epochs)
            while end is None and time.perf_counter() - started < seconds:
                if epochs[-1].epoch in self._rungs:
                    break
                end = self._advance(epochs)
            checkpoint = self._checkpoint() if end is None else None
        except CheckpointError as error:
            return TrialUpdate((), None, bad_checkpoint=str(error))
        except (Exception, SystemExit) as error:  # it ends this trial, not the search
            cause = device_error(error) if self._data.device.type == "cuda" else None
            if cause is not None:
                return TrialUpdate(tuple(epochs), None, device_error=text_of(cause))
            end, checkpoint = _failure(error, self._config), None
        if end is not None:
            self._training = None
            if self._data.device.type == "cuda":
                torch.cuda.empty_cache()  # other trials may share this GPU
        return TrialUpdate(tuple(epochs), end, checkpoint)

    def _checkpoint(self) -> Checkpoint | None:
        """Return a checkpoint if one is due and the trial has not ended."""
        now = time.perf_counter()
        assert self._training is not None
        is_due = now - self._saved >= self._checkpoint_seconds
        if not is_due and self._training.epoch not in self._rungs:
            return None
        self._saved = now
        return Checkpoint(self._training.epoch, self._training.checkpoint())

    def _advance(self, epochs: list[EpochMetrics]) -> TrialEnd | None:
        if self._training is None:
            training = Training(self._config, self._data)
            if self._start_from is not None:
                try:
                    training.restore(self._start_from.data)
                except Exception as error:  # another version or damaged: no fault of the trial
                    if memory_error(error) is not None or device_error(error) is not None:
                        raise  # nor one of the checkpoint
                    raise CheckpointError(text_of(error)) from error
                self._start_from = None
            self._training = training
        metrics = self._training.run_epoch()
        epochs.append(metrics)
        if metrics.diverged:
            return TrialEnd(
                Outcome.DIVERGED, reason=f"the loss of epoch {metrics.epoch} is not finite"
            )
        if not self._training.finished:
            return None
        assert self._training.kept is not None
        return TrialEnd(
            Outcome.COMPLETE,
            kept_epoch=self._training.kept.epoch,
            weights=pack_model(self._training),
            predictions=self._training.predictions(),
        )


def _failure(error: BaseException, config: TrialConfig) -> TrialEnd:
    if (cause := memory_error(error)) is not None:
        return TrialEnd(Outcome.OUT_OF_MEMORY, reason=text_of(cause))
    if isinstance(error, InputError):  # what the network is, or gives
        values = ", ".join(f"{NET}{name}={value}" for name, value in config.net.items())
        return TrialEnd(Outcome.ERROR, reason=text_of(error) + (f" ({values})" if values else ""))
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((one for one in reversed(frames) if in_own_code(one.filename)), frames[-1])
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return TrialEnd(Outcome.ERROR, reason=f"{type(error).__name__} in {where}: {text_of(error)}")
