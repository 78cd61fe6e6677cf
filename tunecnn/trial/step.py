"""One training step: as it is, or replayed as a CUDA graph."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from tunecnn.errors import InputError
from tunecnn.trial.batches import Batcher, Targets

_WARM_UP_STEPS = 3  # after which optimizer and libraries have all the memory that they keep


def autocast(device: torch.device, *, in_bf16: bool) -> contextlib.AbstractContextManager[None]:
    """Return what a forward pass runs in: autocast to bfloat16, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bf16)


class TrainingStep:
    """Forward pass, backward pass and optimizer step over one batch.

    Args:
        forward: network, perhaps compiled.
        optimizer: optimizer of its weights.
        batcher: maker of the batches.
        class_weights: weight in the loss of the images of each class; None for equal weights.
        label_smoothing: share of the target spread over all classes.
        in_bf16: whether the forward pass uses autocast to bfloat16.

    Attributes:
        loss: sum of the losses of the images since `reset`, on the device.
        hits: number of images classified correctly since then, on the device.
    """

    def __init__(
        self,
        forward: nn.Module,
        optimizer: Optimizer,
        batcher: Batcher,
        class_weights: Tensor | None,
        label_smoothing: float,
        *,
        in_bf16: bool,
    ) -> None:
        self._forward = forward
        self._optimizer = optimizer
        self._batcher = batcher
        self._class_weights = class_weights
        self._label_smoothing = label_smoothing
        self._in_bf16 = in_bf16
        self.loss = torch.zeros((), device=batcher.device)
        self.hits = torch.zeros((), device=batcher.device)

    def reset(self) -> None:
        """Set the sums to zero, in place: a graph keeps adding to the same memory."""
        self.loss.zero_()
        self.hits.zero_()

    def __call__(self, indices: Tensor) -> None:
        """Train on some training images.

        Args:
            indices: their indices, shape (b,).
        """
        values, targets = self._batcher.batch(indices)
        with autocast(values.device, in_bf16=self._in_bf16):
            logits = self._forward(values)
        loss = self._mean_loss(logits.float(), targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.loss += loss.detach() * len(targets)
        predicted = logits.detach().argmax(1)
        self.hits += targets.weighted(lambda labels: (predicted == labels).float()).sum()

    def _mean_loss(self, logits: Tensor, targets: Targets) -> Tensor:
        if self._class_weights is None and targets.others is None:
            return cross_entropy(logits, targets.labels, label_smoothing=self._label_smoothing)
        return targets.weighted(lambda labels: self._losses(logits, labels)).mean()

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image, weighted by its class; shape (b,)."""
        smoothing = self._label_smoothing
        each = cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        if self._class_weights is None:
            return each
        # Not as torch weighs it: it would smooth the targets towards the rare classes, and divide
        # by the weights of the batch, so that a batch without them counts as much as any other.
        return each * self._class_weights[labels]


class GraphedStep:
    """A step that is recorded once, and then replayed: a launch instead of some hundred.

    The batches must be made on the device. A batch of another size, such as the last one of an
    epoch, and the first few steps are not replayed.

    Args:
        step: step to replay.
        optimizer: its optimizer.
        size: number of images of a whole batch.
        device: device of the training.
        record: function that records a step without doing it, and returns what replays it.

    Attributes:
        has_failed: whether a record has failed in this process, after which torch may keep its
            memory, and believe that it goes on: better not train in it any more.
    """

    has_failed: ClassVar[bool] = False

    def __init__(
        self,
        step: Callable[[Tensor], None],
        optimizer: Optimizer,
        size: int,
        device: torch.device,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        self._step = step
        self._optimizer = optimizer
        self._indices = torch.zeros(size, dtype=torch.int64, device=device)
        self._rates = [torch.zeros((), device=device) for _ in optimizer.param_groups]
        self._record = record or _record
        self._done = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, indices: Tensor) -> None:
        """Train on some training images; see `TrainingStep`."""
        with self._rates_on_device():
            if self._done < _WARM_UP_STEPS:
                with _beside(indices.device):
                    self._step(indices)
            elif len(indices) != len(self._indices):
                self._step(indices)
            else:
                self._indices.copy_(indices)
                if self._replay is None:
                    self._replay = self._recorded()
                self._replay()
        self._done += 1

    def _recorded(self) -> Callable[[], None]:
        groups = [group for group in self._optimizer.param_groups if "capturable" in group]
        for group in groups:  # torch refuses to record AdamW without it, and warns of it elsewhere
            group["capturable"] = True
        before = _random_states()
        try:
            replay = self._record(lambda: self._step(self._indices))
            if _random_states() == before:
                return replay  # else it would replay numbers that were drawn once
        except RuntimeError as error:
            if "captur" not in str(error):
                raise
            GraphedStep.has_failed |= self._indices.is_cuda
        finally:
            for group in groups:
                group["capturable"] = False
        # Not from the error, which would be taken for one of the device.
        raise InputError(
            "the training step cannot be replayed as a CUDA graph: in its forward pass the "
            "network waits for the device, depends on values, or draws random numbers on the CPU; "
            "set cuda_graph: false"
        )

    @contextlib.contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Give the optimizer the learning rates of this step in memory that a graph reads.

        The schedule and the checkpoints keep numbers, so that no step waits for the device.
        """
        groups = self._optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        for group, rate, number in zip(groups, self._rates, numbers, strict=True):
            group["lr"] = rate.fill_(number)
        try:
            yield
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number


@contextlib.contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """Use another stream than the default one, as torch wants it of the steps before a record."""
    if device.type != "cuda":
        yield
        return
    stream, usual = _side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        yield
    usual.wait_stream(stream)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one other stream of a device: each has workspaces that are never freed."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _random_states() -> tuple[object, ...]:
    """Return the states of the generators on the CPU, of which a graph replays nothing."""
    kind, keys, *rest = np.random.get_state()
    torch_state = torch.get_rng_state().numpy().tobytes()
    return random.getstate(), kind, np.asarray(keys).tobytes(), *rest, torch_state


def _record(step: Callable[[], None]) -> Callable[[], None]:
    graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, stream=_side_stream(usual.device)):
            step()
    except BaseException:
        torch.cuda.set_stream(usual)  # a record that fails leaves its own in place
        raise
    replay: Callable[[], None] = graph.replay
    return replay
