"""A trained network on its own: its file, and the module that is loaded from it.

A file of weights has everything that is needed to use them: config, size of the images, classes
and the statistics that scale the pixels. Without those, the weights give other results.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from torch import Tensor, nn

from tunecnn.data.images import Pixels
from tunecnn.data.sources.values import plain_array
from tunecnn.errors import InputError, RunError, reason, text_of
from tunecnn.files import check_stamp, read_regular, stamp
from tunecnn.models.architecture import Architecture
from tunecnn.models.building import (
    build,
    importable,
    importable_code,
    load,
    returns_network,
)
from tunecnn.models.checking import lay_out, settle, takes_channels_last
from tunecnn.models.code import NetworkCode
from tunecnn.models.designs import InputShape
from tunecnn.models.randomness import random_state_of
from tunecnn.models.reloading import check_as_trained, example_images
from tunecnn.trial.arithmetic import settings_kept, usual_torch
from tunecnn.trial.batches import Scaling, evaluation_batch
from tunecnn.trial.checkpoint import BAD_BYTES, tensors_and_metadata, with_metadata
from tunecnn.trial.config import TrialConfig, Views
from tunecnn.trial.step import autocast
from tunecnn.trial.training import Training, computes_in_bf16
from tunecnn.trial.views import mean_logits
from tunecnn.words import first_error

_SCHEMA = 2
_MOST_CLASSES = 1_000_000
_Size = Annotated[int, Field(ge=1, le=2**16)]


class TrainedModel(nn.Module):
    """A trained network with the scaling of its input inside.

    Args:
        config: config of the training.
        network: network with the trained weights.
        scaling: scaling of the pixels.
        input_shape: channels, height and width of one image.
        classes: class names by label.
        code: code of the network, if it is in a file.

    Shapes: input (n, height, width, channels) uint8; output (n, classes) float32 logits.
    """

    def __init__(
        self,
        config: TrialConfig,
        network: nn.Module,
        scaling: Scaling,
        input_shape: InputShape,
        classes: Sequence[str],
        code: NetworkCode | None = None,
    ) -> None:
        super().__init__()
        self._code = code
        self.config = config
        self.network = network
        self.scaling = scaling
        self.input_shape = input_shape
        self.classes = tuple(classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images: of their views, but of themselves while it is trained.

        Raises:
            InputError: if they are not as those of the training: others would get some answer too.
        """
        self._check(images.dtype == torch.uint8, tuple(images.shape[1:]), images)
        views = "one" if self.training else self.config.views
        return mean_logits(self._output, self.scaling, images, views)

    def _check(self, are_bytes: bool, shape: tuple[int, ...], images: Any) -> None:
        channels, height, width = self.input_shape
        if not are_bytes or shape != (height, width, channels):
            type_ = str(images.dtype).removeprefix("torch.")
            white = self.config.scale or (1 if type_.startswith("float") else 255)
            as_bytes = f"(images * {255 / white:.6g}).round().astype('uint8')"
            way = "" if are_bytes else f"; with {white:g} as white, {as_bytes}"
            if shape == (channels, height, width):
                way += "; put the channels last"
            raise InputError(
                f"the model takes bytes of the shape (n, {height}, {width}, {channels}), and the "
                f"images are {type_} of {tuple(images.shape)}{way}"
            )

    def _output(self, values: Tensor) -> Tensor:
        in_bf16 = self.config.precision == "bf16" and computes_in_bf16(values.device)
        # Nothing is said to torch in float32: its exporter takes no region without autocast.
        context = autocast(values.device, in_bf16=True) if in_bf16 else contextlib.nullcontext()
        with context:
            if self._code is None:
                logits: Tensor = self.network(values)
            else:
                with importable(self._code):  # it may import some of itself while it runs
                    logits = self.network(values)
        return logits

    def in_float32(self) -> TrainedModel:
        """Return the same network, which computes in float32 also if its training was in bf16."""
        return self._with(precision="fp32")

    def with_views(self, views: Views) -> TrainedModel:
        """Return the same network, which sees other views of each image than in its training.

        They say nothing of how it was trained. To choose among them, use the validation images.

        Args:
            views: `one`, `mirrored` or `shifted`; see the setting of that name.

        Raises:
            InputError: for other views.
        """
        return self._with(views=views)

    def _with(self, **changes: str) -> TrainedModel:
        config = self.config.replace(**changes)
        model = TrainedModel(
            config, self.network, self.scaling, self.input_shape, self.classes, self._code
        )
        model.training = self.training  # the network is the same, and stays as it is
        return model

    def probabilities(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Return the probability of each class for each image.

        Args:
            pixels: images of shape (n, height, width, channels), values 0..255, such as those of
                `tunecnn.load_dataset`.

        Returns:
            Shape (n, classes); each row adds up to 1.

        Raises:
            InputError: if the images have another type or shape than those of the training.
        """
        found: npt.NDArray[np.float32] = self.logits(pixels).softmax(1).numpy()
        return found

    def logits(self, pixels: Pixels) -> Tensor:
        """Return the network's outputs, batch by batch, for images as `probabilities` takes them.

        Returns:
            Shape (n, classes), on the CPU.

        Raises:
            InputError: if the images have another type or shape than those of the training.
        """
        _, height, width = self.input_shape
        pixels = plain_array(pixels)
        self._check(pixels.dtype == np.uint8, pixels.shape[1:], pixels)
        device = next(self.network.parameters()).device
        parts = []
        with self._evaluating(), random_state_of(self.config.seed, device):
            count = evaluation_batch(self.config.batch_size, height, width)
            for start in range(0, len(pixels), count):
                images = torch.from_numpy(np.ascontiguousarray(pixels[start : start + count]))
                logits = self(images.to(device)).detach()  # a thread of the network has gradients
                parts.append(logits.cpu())
        return torch.cat(parts) if parts else torch.zeros(0, len(self.classes))

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Compute as in use, even if the model is being trained further, and change nothing."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            # As in its validation: in inference mode no gradient can be computed inside of it.
            with settings_kept(), torch.no_grad():
                yield
        finally:
            for module, was_training in modes.items():
                module.training = was_training


class _Metadata(BaseModel):
    """What a file of weights has besides the weights and the stamp."""

    model_config = ConfigDict(frozen=True)

    config: dict[str, Any]
    input_shape: tuple[_Size, _Size, _Size]
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=_MOST_CLASSES)]
    mean: tuple[FiniteFloat, ...]
    deviation: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    code: dict[str, str] | None
    logits: tuple[tuple[FiniteFloat, ...], ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.mean) == len(self.deviation) == self.input_shape[0]:
            raise ValueError("mean and deviation have one value per channel")
        if self.logits is not None and [*map(len, self.logits)] != 2 * [len(self.classes)]:
            raise ValueError("logits are those of two images, with one value per class")
        return self


def pack_model(training: Training) -> bytes:
    """Serialize the network of a training as safetensors, with what it needs in the metadata."""
    data, code = training.data, importable_code()
    metadata = {
        **stamp(_SCHEMA),
        "config": training.config.to_dict(),
        "input_shape": data.input_shape,
        "classes": data.classes,
        "mean": data.mean,
        "deviation": data.deviation,
        "code": code.to_json() if code else None,
        "logits": training.example_logits(),
        "versions": {name: version(name) for name in ("tunecnn", "torch")},
    }
    return with_metadata(training.weights(), metadata)


def unpack_model(content: bytes, where: str, *, is_trusted: bool = False) -> TrainedModel:
    """Make a model from what `pack_model` serialized.

    The code of a network in a file is imported, from the copy in the bytes; this is warned of,
    since it runs somebody's code.

    Args:
        content: the bytes.
        where: what they are, for messages.
        is_trusted: whether they are known to be those of a trial of the run that is at hand, whose
            code this process runs anyway; then nothing is said.

    Raises:
        RunError: if the bytes are damaged or of another version; the message names `where`.
        InputError: if the network cannot be built here.
    """
    try:
        weights, values = tensors_and_metadata(content)
        check_stamp(where, values, _SCHEMA)
        metadata = _Metadata.model_validate(values)
        config = TrialConfig.from_dict(metadata.config)
        code = NetworkCode.from_json(metadata.code) if metadata.code else None
    except ValidationError as error:
        raise RunError(f"{where} is damaged: {first_error(error)}") from error
    except InputError as error:
        raise RunError(f"{where} is damaged: its config: {error}") from error
    except (*BAD_BYTES, MemoryError) as error:
        raise RunError(
            f"{where} is no model of tunecnn, or damaged: {type(error).__name__} {text_of(error)}"
        ) from error
    architecture, shape = config.network, metadata.input_shape
    with importable(code), usual_torch():
        if not (architecture.is_published or is_trusted):
            _warn_of_code(architecture, code, where)
        load(architecture)

        def built() -> nn.Module:
            with random_state_of(config.seed):  # as in its training: it may have random constants
                return build(architecture, config.net, shape, len(metadata.classes))

        network = built()
        scaling = Scaling(config, metadata.mean, metadata.deviation)
        if not architecture.is_published:
            with random_state_of(config.seed):
                scaling.channels_last = takes_channels_last(built(), shape)
            lay_out(network, shape, weights.keys(), last=scaling.channels_last)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{where} has other weights than its network: {text_of(error)}") from error
    settle(network)
    if not all(bool(one.isfinite().all()) for one in network.parameters() if one.requires_grad):
        raise RunError(f"{where} has weights that are not numbers (NaN or infinite)")
    if metadata.logits is not None:
        with importable(code), usual_torch():
            images = scaling(example_images(shape))
            check_as_trained(where, network, images, torch.tensor(metadata.logits))
    return TrainedModel(config, network, scaling, shape, metadata.classes, code).eval()


def _warn_of_code(architecture: Architecture, code: NetworkCode | None, where: str) -> None:
    """Warn of the code that a file makes us run, and refuse what says of itself no network.

    A file may come from anywhere, and might name any function that is installed here.

    Raises:
        InputError: if the file names code of an installed package that is no class of networks,
            and no function with the annotation that it returns one.
    """
    if code is not None:
        what = f"{', '.join(code.files)} (hash {code.hash})"
        text = f"comes with the code of its network, which is run now: {what}"
    else:
        text = f"needs {architecture.name}, which is run now"
    warnings.warn(f"{where} {text}", stacklevel=3)
    if code is None and not returns_network(load(architecture)):
        raise InputError(
            f"{where} names {architecture.name} as its network, which is no class of networks and "
            "no function with the annotation that it returns one, so it is not called"
        )


def load_model(path: str | Path) -> TrainedModel:
    """Load a trained network from a file of weights, such as `weights/trial-00003.safetensors`.

    The code of a network that is not ours is in the file, and is run, with a warning: load only
    files that you trust.

    Raises:
        InputError: if it is no path of a file, or the network cannot be built here.
        RunError: if the file cannot be read, is damaged, or was written by another version.
    """
    if not isinstance(path, str | Path) or Path(path).is_dir():
        raise InputError(
            "load_model takes a file of weights, such as run/weights/trial-00003.safetensors; the "
            f"best of a run is tunecnn.load_run(...).load_model(): not {path!r}"
        )
    try:
        content = read_regular(Path(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from error
    return unpack_model(content, str(path))
