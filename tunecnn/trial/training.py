"""The training loop for one config, data set and device, independent of search and cluster."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from tunecnn.data.images import Dataset, TrialData
from tunecnn.models.building import NetworkError, build, load
from tunecnn.models.checking import (
    can_train_on,
    check_alike,
    check_output,
    check_unchanged,
    lay_out,
    settle,
    shared_state,
    takes_channels_last,
    wrong_in_bf16,
)
from tunecnn.models.randomness import random_state_of
from tunecnn.models.reloading import check_reloaded, example_images, example_logits
from tunecnn.trial.arithmetic import (
    give_memory_back,
    keep_freed_memory,
    set_exact_arithmetic,
    settings_kept,
)
from tunecnn.trial.batches import Batcher, DeviceData, DeviceImages, to_device
from tunecnn.trial.checkpoint import (
    below,
    named,
    optimizer_settings,
    optimizer_tensors,
    pack,
    restore_optimizer,
    unpack,
)
from tunecnn.trial.config import TrialConfig, derive_seed
from tunecnn.trial.messages import EpochMetrics
from tunecnn.trial.optimizers import make_optimizer, make_schedule
from tunecnn.trial.step import GraphedStep, TrainingStep, autocast
from tunecnn.trial.views import mean_logits
from tunecnn.trial.weights import MeanWeights, initialize

_FEW = 16  # images on which a network whose weights are loaded again is compared


def train(
    config: TrialConfig,
    data: Dataset | TrialData | DeviceData,
    device: str | torch.device = "cpu",
) -> Iterator[EpochMetrics]:
    """Train one network and yield the metrics of each epoch when it ends.

    The same config and data on the same device give the same metrics. The generator ends after
    `config.epochs`, by early stopping, or after the first epoch whose loss is not finite. To get
    the trained network itself, use `Training`.

    Args:
        config: config of the training.
        data: training and validation images, such as `load_dataset` returns. They are taken as
            they are: what the config says of the data set, its split and how images are read is
            for `load_dataset(config.dataset, config.data_split, options=config.image_options)`.
        device: device to train on, such as `cpu` or `cuda:0`; ignored for `DeviceData`.

    Raises:
        InputError: if the network cannot be built for the images, returns no logits, or is in a
            file: `tunecnn train --config` has its code.
    """
    try:
        with settings_kept():
            training = Training(config, data, device)
        while not training.finished:
            with settings_kept():  # and not while whoever iterates does something
                metrics = training.run_epoch()
            yield metrics
    finally:
        give_memory_back()


class EarlyStopping:
    """Early stopping as in Keras 3: stop after `patience` epochs without a lower validation loss.

    The first epoch is always the best so far. A later loss counts only if it is strictly lower,
    which NaN never is.

    Attributes:
        best: lowest loss so far; None before the first epoch.
        waited: number of epochs since the best one.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self.best: float | None = None
        self.waited = 0

    def update(self, val_loss: float) -> tuple[bool, bool]:
        """Process the loss of the next epoch; return (whether it is the best, whether to stop)."""
        self.waited += 1
        if self.best is None or val_loss < self.best:
            self.best, self.waited = val_loss, 0
            return True, False
        return False, self.waited >= self._patience


class Training:
    """A training that runs epoch by epoch; iterate over it, or call `run_epoch`.

    Args:
        config: config of the training.
        data: training and validation images.
        device: device to train on; ignored if `data` is already on a device.

    The code of a network in a file must be importable: see `tunecnn.models.building.importable`.

    Raises:
        InputError: if the network cannot be built for the images, or returns no logits.

    Attributes:
        data: images of the training.
        model: network; after the last epoch, it has the weights that the trial keeps.
        finished: whether no epoch is left to run.
        epoch: number of epochs that have been run.
        kept: metrics of the epoch whose weights are kept so far; None before the first epoch.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: Dataset | TrialData | DeviceData,
        device: str | torch.device = "cpu",
    ) -> None:
        if isinstance(data, Dataset):
            data = data.trial_data
        if isinstance(data, TrialData):
            data = to_device(data, torch.device(device))
        load(config.network)  # whose file may set what is set below
        set_exact_arithmetic()
        if data.device.type == "cpu":
            keep_freed_memory()
        self.config = config
        self.data = data.source
        self._data = data
        self._device = data.device
        self._in_bf16 = config.precision == "bf16" and computes_in_bf16(data.device)
        self._random: dict[str, Tensor] = {}
        self._batcher = Batcher(config, data)
        with self._own_generator():
            self.model = self._built()
        self._forward = self.model
        if config.compile and self._device.type == "cuda":
            torch.compiler.reset()  # dynamo stops compiling after eight networks per process
            # Autotuning would search kernels anew for each trial, for longer than it trains.
            self._forward = cast(nn.Module, torch.compile(self.model))
        self._optimizer = make_optimizer(config, self.model)
        self._step = self._made_step()
        self._run_step: Callable[[Tensor], None] = self._step
        if config.cuda_graph and self._device.type == "cuda":
            size = min(config.batch_size, len(data.train))
            self._run_step = GraphedStep(self._step, self._optimizer, size, self._device)
        self._mean = MeanWeights(self.model, config.averaging) if config.averaging else None
        steps = self._batcher.steps * config.epochs
        self._schedule = make_schedule(config, self._optimizer, steps)
        self._stopping = EarlyStopping(config.patience) if config.patience else None
        self._best_weights: dict[str, Tensor] = {}
        self.epoch = 0
        self.kept: EpochMetrics | None = None
        self._predicted = self._kept_predicted = torch.zeros(0, dtype=torch.int64)
        self.finished = False

    def _built(self) -> nn.Module:
        """Build the network on the device, and check that it returns logits.

        A network that is not ours gets its images in the memory layout that it can process.
        """
        model = self._build()
        if self.config.network.is_published:
            self._batcher.scaling.in_bf16 = self._in_bf16  # they begin with a convolution
            return model
        # Another one is tried: some count images, or scale themselves by the first that they get.
        with random_state_of(self.config.seed, self._device):
            tried, name = self._build(), self.config.network.attribute
            check_alike(name, model, tried)
            shared = shared_state(model, tried)
            last = self._try(name, tried)
            check_unchanged(name, model, shared)
        self._batcher.scaling.channels_last = last
        lay_out(model, self.data.input_shape, tried.state_dict().keys(), last=last)
        return model

    def _build(self) -> nn.Module:
        shape, classes = self.data.input_shape, len(self.data.classes)
        model = build(self.config.network, self.config.net, shape, classes)
        initialize(model, self.config.initialization)
        return model.to(self._device)

    def _try(self, name: str, network: nn.Module) -> bool:
        """Check a network of somebody else, and return whether it takes `channels_last`."""
        shape, classes = self.data.input_shape, len(self.data.classes)
        last = takes_channels_last(network, shape)
        check_output(name, network, shape, classes, last=last)
        self._batcher.joins_last_image = any(
            isinstance(module, _BatchNorm) for module in network.modules()
        ) or bool(can_train_on(network, shape, 1, last=last))
        with self._autocast():
            why = can_train_on(network, shape, 2, last=last) if self._in_bf16 else ""
        if why and not can_train_on(network, shape, 2, last=last):
            raise NetworkError(f"{name} cannot be trained in bf16: {why}; write precision: fp32")
        in_bf16_here = self._in_bf16 and self._device.type == "cpu"
        if wrong := wrong_in_bf16(network, shape, last=last) if in_bf16_here else "":
            raise NetworkError(
                f"{name} cannot be trained in bf16 on a processor with images of "
                f"{shape[1]}x{shape[2]}: a part of {wrong} sees padding only, and torch gives "
                "it wrong gradients; write precision: fp32"
            )
        return last

    def _made_step(self) -> TrainingStep:
        weights = _class_weights(self._data) if self.config.class_weights == "balanced" else None
        return TrainingStep(
            self._forward,
            self._optimizer,
            self._batcher,
            weights,
            self.config.label_smoothing,
            in_bf16=self._in_bf16,
        )

    def __iter__(self) -> Iterator[EpochMetrics]:
        while not self.finished:
            yield self.run_epoch()

    def run_epoch(self) -> EpochMetrics:
        """Train for one epoch, validate, and return the metrics."""
        started = time.perf_counter()
        with self._own_generator():
            train_loss, train_accuracy = self._train_epoch()
        with self._mean_weights(), random_state_of(self._seed_of_epoch(1), self._device):
            val_loss, val_accuracy, balanced, self._predicted = self._evaluate(
                self._data.validation
            )
        self.epoch += 1
        weights = [one for one in self.model.parameters() if one.requires_grad]
        if not bool(torch.stack([one.isfinite().all() for one in weights]).all()):
            val_loss = math.nan  # as of a network that has diverged: it cannot learn any more
        metrics = EpochMetrics(
            epoch=self.epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=time.perf_counter() - started,
            val_balanced_accuracy=balanced,
        )
        self._keep_or_stop(metrics)
        if (self.epoch == 1 or self.finished) and not metrics.diverged:
            self._check_reload()
        return metrics

    def _check_reload(self) -> None:
        """Check that a new network of somebody else gives the same once it has these weights.

        Raises:
            NetworkError: if it does not.
        """
        if self.config.network.is_published:
            return
        with random_state_of(self.config.seed, self._device):
            again = self._build()
        weights, last = self.model.state_dict(), self._batcher.scaling.channels_last
        lay_out(again, self.data.input_shape, weights.keys(), last=last)
        again.load_state_dict(weights)
        # Of as many classes as can be: those of a folder lie class by class, and are often alike.
        by_class = self._data.validation.labels.argsort(stable=True)
        few = by_class[torch.linspace(0, len(by_class) - 1, min(_FEW, len(by_class))).long()]
        images = self._batcher.scaling(self._data.validation.pixels[few])
        check_reloaded(self.config.network.attribute, self.model, again, images, self._autocast)

    def _evaluate(self, images: DeviceImages) -> tuple[float, float, float, Tensor]:
        """Return the mean cross-entropy, accuracy, balanced accuracy and predicted classes."""
        loss, hits = (torch.zeros((), device=self._device) for _ in range(2))
        predicted = []
        self._forward.eval()
        with torch.no_grad():  # a buffer made in inference mode could not be trained with
            for pixels, labels in self._batcher.evaluation(images):
                logits = self._logits(pixels)
                loss += cross_entropy(logits, labels, reduction="sum")
                predicted.append(logits.argmax(1))
                hits += (predicted[-1] == labels).sum()
        classes = torch.cat(predicted)
        return *_means(loss, hits, len(images)), _balanced(classes, images.labels), classes

    def _logits(self, pixels: Tensor) -> Tensor:
        return mean_logits(self._output, self._batcher.scaling, pixels, self.config.views)

    def _output(self, values: Tensor) -> Tensor:
        with self._autocast():
            output: Tensor = self._forward(values)
        return output

    def example_logits(self) -> list[list[float]] | None:
        """Return the logits by which a loaded model is checked; None for a published network.

        They are not known either of one that returns no numbers for the random images.
        """
        if self.config.network.is_published:
            return None
        settle(self.model)
        images = example_images(self.data.input_shape).to(self._device)
        logits = example_logits(self.model, self._batcher.scaling(images))
        if not bool(logits.isfinite().all()):
            return None
        return [[float(f"{one:.6g}") for one in row] for row in logits.tolist()]

    def predictions(self) -> bytes:
        """Return the labels and predicted classes of the validation images, for the kept weights.

        They are an int32 array of shape (2, n), as the bytes of a `.npy` file.
        """
        both = torch.stack([self._data.validation.labels, self._kept_predicted])
        stream = io.BytesIO()
        np.save(stream, both.to(torch.int32).cpu().numpy())
        return stream.getvalue()

    def weights(self) -> dict[str, Tensor]:
        """Return the network's weights by name, on the CPU."""
        return {
            name: weight.detach().contiguous().cpu()
            for name, weight in self.model.state_dict().items()
        }

    def checkpoint(self) -> bytes:
        """Return the complete state of the training between two epochs, for `restore`."""
        tensors = {
            **named("model", self.model.state_dict()),
            **named("best", self._best_weights),
            **named("mean", self._mean.state_dict() if self._mean else {}),
            **named("optimizer", optimizer_tensors(self._optimizer)),
            **named("random", self._random),
            **named("validation", {"predicted": self._kept_predicted}),
        }
        metadata = {
            "epoch": self.epoch,
            "finished": self.finished,
            "kept": vars(self.kept) if self.kept else None,
            "optimizer": optimizer_settings(self._optimizer),
            "schedule": self._schedule.state_dict(),
            "stopping": [self._stopping.best, self._stopping.waited] if self._stopping else None,
        }
        return pack(tensors, metadata)

    def restore(self, checkpoint: bytes) -> None:
        """Continue from a checkpoint of a training with the same config and data.

        On the same type of device, the results are those of an uninterrupted training. On another
        type, the random numbers differ from here on.

        Raises:
            RunError: if the bytes are damaged or have another schema; then nothing has changed.
        """
        tensors, metadata = unpack(checkpoint)
        self.model.load_state_dict(below("model", tensors))
        best = below("best", tensors)
        self._best_weights = {
            name: torch.empty_like(weight).copy_(best[name])
            for name, weight in (self.model.state_dict().items() if best else ())
        }
        if self._mean:
            self._mean.load_state_dict(below("mean", tensors))
        restore_optimizer(self._optimizer, below("optimizer", tensors), metadata["optimizer"])
        self._schedule.load_state_dict(metadata["schedule"])
        self._random = below("random", tensors)
        self._kept_predicted = below("validation", tensors)["predicted"].to(self._device)
        self.epoch, self.finished = metadata["epoch"], metadata["finished"]
        self.kept = EpochMetrics.from_dict(metadata["kept"]) if metadata["kept"] else None
        if self._stopping and metadata["stopping"]:
            self._stopping.best, self._stopping.waited = metadata["stopping"]

    def _train_epoch(self) -> tuple[float, float]:
        """Train for one epoch; return the mean loss and the accuracy.

        The sums stay on the device until the end of the epoch, so that no step waits for them.
        """
        self._forward.train()
        self._step.reset()
        for indices in self._batcher.order(self.epoch):
            self._run_step(indices)
            self._schedule.step()
            if self._mean:
                self._mean.update()
        return _means(self._step.loss, self._step.hits, len(self._data.train))

    def _keep_or_stop(self, metrics: EpochMetrics) -> None:
        stop = False
        if self._stopping is None:
            self.kept, self._kept_predicted = metrics, self._predicted
        else:
            is_best, stop = self._stopping.update(metrics.val_loss)
            if is_best:
                self.kept, self._kept_predicted = metrics, self._predicted
                with self._mean_weights():
                    self._best_weights = copy.deepcopy(self.model.state_dict())
        if stop or metrics.diverged or metrics.epoch == self.config.epochs:
            self.finished = True
            if self._best_weights:
                self.model.load_state_dict(self._best_weights)
            elif self._mean:
                self._mean.swap()
            settle(self.model)

    @contextlib.contextmanager
    def _own_generator(self) -> Iterator[None]:
        """Use this training's own random state, independent of the rest of the process.

        That of torch goes on from one epoch to the next; those of Python and NumPy, which some
        networks use, begin anew in each.
        """
        is_begun = bool(self._random)
        seed = self._seed_of_epoch(0) if is_begun else self.config.seed
        with random_state_of(seed, self._device):
            if is_begun:
                torch.set_rng_state(self._random["cpu"])
            if "cuda" in self._random and self._device.type == "cuda":
                torch.cuda.set_rng_state(self._random["cuda"], self._device)
            yield
            self._random = {"cpu": torch.get_rng_state()}
            if self._device.type == "cuda":
                self._random["cuda"] = torch.cuda.get_rng_state(self._device)

    def _seed_of_epoch(self, use: int) -> int:
        """Return a seed of the next epoch, for one use."""
        return derive_seed(self.config.seed, 2, self.epoch, use)

    def _mean_weights(self) -> contextlib.AbstractContextManager[None]:
        """Return what gives the network its mean weights for a while, if the config has a mean."""
        return self._mean.in_use() if self._mean else contextlib.nullcontext()

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        return autocast(self._device, in_bf16=self._in_bf16)


def _class_weights(data: DeviceData) -> Tensor:
    """Return weights in inverse proportion to the number of training images of each class."""
    counts = torch.bincount(data.train.labels, minlength=len(data.source.classes))
    return (len(data.train) / (counts.clamp(min=1) * (counts > 0).sum())).float()


def _balanced(predicted: Tensor, labels: Tensor) -> float:
    """Return the mean recall over the classes that have images."""
    classes = int(labels.max()) + 1
    there = torch.bincount(labels, minlength=classes)
    right = torch.bincount(labels[predicted == labels], minlength=classes)
    return float((right[there > 0].double() / there[there > 0]).mean())


def _means(loss: Tensor, hits: Tensor, count: int) -> tuple[float, float]:
    total, right = torch.stack([loss, hits]).tolist()
    return total / count, right / count


def computes_in_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; without them, bfloat16 is slower."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = tell()  # empty in torch 2.9
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
