"""`TrialConfig`: all settings that determine how a trial is trained, as plain scalars."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from tunecnn.data.options import (
    IMAGE_OPTIONS,
    Fit,
    ImageOptions,
    Scale,
    Size,
    SkipBad,
    option_problems,
)
from tunecnn.data.registry import dataset_info
from tunecnn.data.splits import Split
from tunecnn.errors import InputError, nearest
from tunecnn.models.architecture import Architecture, check_name
from tunecnn.models.designs import make_design
from tunecnn.words import error_in_words

Scalar = int | float | bool | str
Natural = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of things, or a number from 0 on, which arithmetic with floats keeps exactly."""
Count = Annotated[int, Strict(), Field(ge=1, le=10**9)]
"""A number that a user gives of epochs, trials or images."""
Views = Literal["one", "mirrored", "shifted"]
"""Views of an image over which the logits are averaged; see the setting."""

_Whole = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
_Positive = Annotated[float, Strict(), Field(gt=0, le=1e30, allow_inf_nan=False)]
_Unsigned = Annotated[float, Strict(), Field(ge=0, le=1e30, allow_inf_nan=False)]
_Decay = Annotated[float, Strict(), Field(ge=0, lt=1)]
_Share = Annotated[float, Strict(), Field(gt=0, lt=1)]
_Flag = Annotated[bool, Strict()]


class TrialConfig(BaseModel):
    """The configuration of one trial; with the data, it is enough to repeat the trial.

    The defaults are those of the published protocol; `tunecnn.trial.recipes` has the other
    settings of each recipe. In space files, config files and data frames, a config is one flat
    mapping of training settings and of the network's arguments, whose names begin with `net.`.

    Raises:
        InputError: if a value is not allowed; the message names the setting and the value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    architecture: Annotated[str, Strict()] = "proposed"
    """The network: `model1`, `model2`, `proposed`, or a class or function as `file.py:Name` or
    `package.module:Name`."""
    code: Annotated[str, Strict()] | None = None
    """Hash of the code of a network in a file; None for other networks."""
    net: dict[str, Scalar] = Field(default_factory=dict)
    """Arguments of the network; those that are not given keep its own defaults."""
    dataset: Annotated[str, Strict()] = "digits"
    """Name of a data set; `tunecnn data list` shows them."""
    size: Size | None = None
    """Height and width of all images in pixels; None to leave them as they are."""
    fit: Fit = "crop"
    """How an image that is not square gets `size`: `crop` cuts the longer side, `pad` adds
    background to the shorter one, `stretch` changes the proportions."""
    background: Annotated[str, Strict()] = "white"
    """Colour behind transparent pixels and of padding: a name or `#rrggbb`."""
    scale: Scale | None = None
    """Value that becomes white in images of more than 8 bits per channel; None to refuse them."""
    groups: Annotated[str, Strict()] | None = None
    """Images that are not divided between training, validation and test: `folder` for those of one
    folder below a class, or the path of a CSV file with the columns `file` and `group`."""
    skip_bad: SkipBad = False
    """Whether to leave out files that cannot be read, instead of refusing the data set."""
    epochs: Count = 10
    """Passes over the training images."""
    seed: _Whole = 0
    """Seed of the weights, the shuffling, the augmentation and the dropout."""
    split: Literal["stratified", "published"] = "stratified"
    """Split into training and validation images: `stratified`, or `published` (as in the
    published notebooks)."""
    split_seed: _Whole = 0
    """Seed of a stratified split."""
    validation: _Share = 0.2
    """Share of the training images used for validation, in a stratified split."""
    train_images: Count | None = None
    """Number of training images to use (a stratified subset); None for all."""
    batch_size: Count = 128
    """Images per step; a smaller last batch is kept."""
    optimizer: Literal["rmsprop", "adamw", "sgd", "muon"] = "rmsprop"
    """`rmsprop` is Keras's rule; `muon` is Muon for the convolutions, AdamW for all else."""
    learning_rate: _Positive = 1e-4
    """Peak of the schedule."""
    weight_decay: _Unsigned = 0.0
    """Weight decay, decoupled from the gradient (a step shrinks the weights by learning_rate times
    it); for `sgd`, it is added to the gradient."""
    momentum: _Decay = 0.9
    """Momentum of `sgd` and `muon`."""
    nesterov: _Flag = True
    """Whether `sgd` and `muon` use Nesterov's momentum."""
    beta1: _Decay = 0.9
    """Decay rate of the mean of gradients, in `adamw` and `muon`."""
    beta2: _Decay = 0.999
    """Decay rate of the mean of squared gradients, in `adamw` and `muon`."""
    rho: _Decay = 0.9
    """Decay rate of the mean of squared gradients, in `rmsprop`."""
    epsilon: _Positive = 1e-7
    """Constant added to the denominator for stability, in `rmsprop`, `adamw` and `muon`."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Learning rate by step: `constant`, `cosine` to zero, or `one_cycle`."""
    warmup: _Share = 0.3
    """Share of the steps in which the learning rate of `one_cycle` rises."""
    label_smoothing: _Decay = 0.0
    """Share of the target spread evenly over all classes, in training only."""
    pixels: Literal["raw", "unit", "standardized"] = "unit"
    """Scaling of the pixels: `raw` 0..255, `unit` 0..1 or `standardized` per channel."""
    flip: _Flag = False
    """Whether to mirror each training image with probability 1/2."""
    crop: Annotated[float, Strict(), Field(ge=0, lt=0.5)] = 0.0
    """Maximum random shift of each training image, as a share of its height and of its width
    (0.0625 is 2 pixels of 32), with reflected edges; above 0, it is one pixel at least."""
    alternate_flip: _Flag = False
    """Whether `flip` mirrors each image in every other epoch, instead of at random: a network then
    sees both sides equally often (Jordan 2024, arXiv:2404.00498). Without `flip`, nothing."""
    cutout: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.0
    """Size of the square of each training image that is replaced by the mean colour, at a random
    place, as a share of the shorter side (DeVries and Taylor 2017, arXiv:1708.04552)."""
    cutmix: Annotated[float, Strict(), Field(ge=0, le=1)] = 0.0
    """Share of the training images over which a rectangle of another one of their batch is pasted,
    of any area and at a random place; the target, and a hit in `train_accuracy`, are then those of
    both images, in proportion to their areas (Yun et al. 2019, arXiv:1905.04899)."""
    initialization: Literal["own", "he", "orthogonal", "dirac"] = "own"
    """Initial weights of the convolutions: the network's `own` (Glorot's in the published ones),
    `he` (He et al. 2015), `orthogonal` (Saxe et al. 2014), or `dirac`: as many outputs as possible
    repeat an input (Zagoruyko and Komodakis 2017), the others keep the network's own. Frozen
    weights stay as they are."""
    averaging: _Decay = 0.0
    """Decay by step of the mean of the weights that is validated and kept instead of the last
    weights; 0 for no mean. The decay of step t is at most t / (t + 10): 0.99 is in use from step
    990 on, 0.999 from step 9,990, and shorter trainings do not tell the two apart."""
    views: Views = "one"
    """Views of each image over which the logits are averaged, in validation, test and use: `one`
    for the image itself, `mirrored` for its mirror image as well, or `shifted` for these two, a
    quarter each, and both shifted up and left, and down and right, by a 32nd of the size, a pixel
    at least, an eighth each (Jordan 2024, arXiv:2404.00498). That takes one, two or six forward
    passes; `macs` counts one."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of the classes in the training loss: `none`, or `balanced` for weights in inverse
    proportion to the number of training images of a class, with a mean of 1 over the images."""
    patience: Annotated[int, Strict(), Field(ge=0, le=10**9)] | None = None
    """Number of epochs without a lower validation loss before training stops, keeping the weights
    of the epoch with the lowest (Keras's EarlyStopping); None or 0 to keep those of the last."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision: `bf16` uses autocast if the device has instructions for it (GPUs since Ampere,
    CPUs with AVX512-BF16 or AMX); otherwise, and with `fp32`, all is computed in fp32."""
    compile: _Flag = False
    """Whether to use torch.compile if the device is a GPU."""
    cuda_graph: _Flag = False
    """Whether to replay each training step as a CUDA graph if the device is a GPU. A network whose
    forward pass waits for the device, or depends on values, cannot be replayed."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _in_our_words(error) from error
        dataset_info(self.dataset)
        for name, problem in option_problems(self.image_options, self.dataset):
            raise InputError(f"{name} {problem}")
        self._check_network()

    def _check_network(self) -> None:
        """Check the arguments of a published network; the code of others may not be here."""
        check_name(self.architecture)
        if self.network.is_published:
            for _, problem in self.network.problems(self.net):
                raise InputError(problem)
            make_design(self.architecture, **self.net)  # type: ignore[arg-type]

    @property
    def network(self) -> Architecture:
        """The network; of one in a file, this is looked for where the process runs."""
        return Architecture(self.architecture, Path())

    @property
    def data_split(self) -> Split:
        """The split of the images into training and validation images."""
        return Split(self.split, self.split_seed, self.validation, self.train_images)

    @property
    def image_options(self) -> ImageOptions:
        """How the images are read."""
        return ImageOptions(**{name: getattr(self, name) for name in IMAGE_OPTIONS})

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some settings changed.

        Args:
            **changes: settings by name; `net` for all arguments of the network, or one of them as
                `**{"net.width": 0.5}`.

        Raises:
            InputError: for an unknown name, or a value that is not allowed.
        """
        return self.from_dict({**dict(self), **changes})

    def to_dict(self) -> dict[str, Scalar]:
        """Return the config as a flat mapping of scalars, without the settings that are None."""
        settings = {name: value for name, value in self if name != "net" and value is not None}
        return {**settings, **{f"{NET}{name}": value for name, value in self.net.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config from a mapping as returned by `to_dict`; missing names take defaults.

        NumPy's values are taken as Python's, and arguments of the network also from a mapping
        `net`.

        Raises:
            InputError: for an unknown name, or a value that is not allowed.
        """
        values = {
            name: one.item() if isinstance(one, np.generic) else one
            for name, one in values.items()
        }
        inner = values.pop("net", {})
        if not isinstance(inner, Mapping):
            raise InputError(f"net must be a mapping of the network's arguments, not {inner!r}")
        net = {
            **inner,
            **{
                name.removeprefix(NET): value
                for name, value in values.items()
                if name.startswith(NET)
            },
        }
        settings = {name: value for name, value in values.items() if not name.startswith(NET)}
        for name in settings:
            if problem := setting_problem(name):
                raise InputError(problem)
        return cls(**settings, net=net)


NET = "net."
"""Prefix of the names of a network's arguments."""
SETTINGS = frozenset(TrialConfig.model_fields) - {"net"}
"""Names of the training settings."""
VIEWS: Mapping[str, str] = {
    "mirrored": "the mean of the logits over 2: itself and its mirror image",
    "shifted": "the mean of the logits over 6: itself and its mirror image, a quarter each, and "
    "both shifted up and left, and down and right, an eighth each",
}
"""What `views` of more than one are, in words."""
REPEATS = ("seed", "split_seed")
"""Settings in which trials of one configuration differ: its seeds and splits of the data."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    name: get_args(field.annotation)
    for name, field in TrialConfig.model_fields.items()
    if getattr(field.annotation, "__origin__", None) is Literal
}
"""Allowed values of each setting that is one of a few words."""


def derive_seed(*parts: int) -> int:
    """Derive a seed in [0, 2**31) from integers, such as (run seed, trial, repeat).

    The seed is a hash, so neighbouring numbers give unrelated seeds. The rule never changes.
    """
    text = ",".join(str(int(part)) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


_ELSEWHERE = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "optim": "optimizer",
    "scheduler": "schedule",
    "init": "initialization",
    "ema": "averaging",
}
"""Names that other tools use, and what they are called here."""


def setting_problem(name: str, allowed: Iterable[str] = SETTINGS) -> str:
    """Return why a name is not that of a setting, and how it may be meant; empty if it is.

    Args:
        name: the name.
        allowed: names that can be given here, for the message.
    """
    if name in SETTINGS:
        return ""
    argument = name.replace(".", "_")  # as these names were written in earlier versions
    if argument in Architecture("proposed", Path()).signature.arguments:
        return f"{name!r} is an argument of the network: write {NET}{argument}"
    own = re.sub(r"(?i)^net[._]", "", name).replace(".", "_")
    return (
        f"unknown setting {name!r}; {nearest(name, allowed, _ELSEWHERE)}; an argument of the "
        f"network is written {NET}{own}"
    )


def _in_our_words(error: ValidationError) -> InputError:
    details = error.errors()[0]
    name = str(details["loc"][0])
    if details["type"] == "literal_error":
        allowed = nearest(details["input"], CHOICES[name])
        return InputError(f"unknown {name} {details['input']!r}; {allowed}")
    if name == "net" and len(details["loc"]) > 1:
        name = f"{NET}{details['loc'][1]}"
    return InputError(f"{name} {error_in_words(details)}")
