"""`TrialConfig`: everything that decides how one trial is trained, as plain scalars."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from tunecnn.data.registry import dataset_info
from tunecnn.data.splits import Split
from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import Design, design_parameters, make_design
from tunecnn.words import in_words

Scalar = int | float | bool | str

_Count = Annotated[int, Strict(), Field(ge=1)]
_Whole = Annotated[int, Strict(), Field(ge=0)]
_Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
_Unsigned = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
_Decay = Annotated[float, Strict(), Field(ge=0, lt=1)]
_Share = Annotated[float, Strict(), Field(gt=0, lt=1)]
_Flag = Annotated[bool, Strict()]


class TrialConfig(BaseModel):
    """One trial's configuration; with the data it is all that is needed to repeat the trial.

    The defaults are the published protocol; `tunecnn.trial.recipes` fills in the rest of a recipe.
    In space files, config files and data frames a config is one flat mapping, in which the
    network's parameters stand beside the settings of the training.

    Raises:
        InputError: if a value is not allowed; the message names the setting and the value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    architecture: Annotated[str, Strict()] = "proposed"
    """`model1`, `model2` or `proposed`."""
    net: dict[str, Scalar] = Field(default_factory=dict)
    """Parameters of the network, by the names of `tunecnn.models.designs.design_parameters`; what
    is not given keeps the architecture's own value."""
    dataset: Annotated[str, Strict()] = "digits"
    """Name of a data set: see `tunecnn data list`."""
    epochs: _Count = 10
    """Passes over the training images."""
    seed: _Whole = 0
    """Seed of the weights, the shuffling, the augmentation and the dropout."""
    split: Literal["stratified", "published"] = "stratified"
    """How validation images are set apart: `stratified`, or the `published`'s own way."""
    split_seed: _Whole = 0
    """Seed of a stratified split."""
    validation: _Share = 0.2
    """Share of the training images that validate, in a stratified split."""
    train_images: _Count | None = None
    """Train on this many images only (stratified choice); None for all."""
    batch_size: _Count = 128
    """Images per step; the last, smaller batch is kept."""
    optimizer: Literal["rmsprop", "adamw", "sgd", "muon"] = "rmsprop"
    """`rmsprop` is Keras's rule; `muon` is Muon for the convolutions, AdamW for all else."""
    learning_rate: _Positive = 1e-4
    """Peak of the schedule."""
    weight_decay: _Unsigned = 0.0
    """Decoupled from the gradient (a step shrinks the weights by learning_rate times it), but in
    `sgd` added to the gradient."""
    momentum: _Decay = 0.9
    """Momentum of `sgd` and `muon`."""
    nesterov: _Flag = True
    """Whether `sgd` and `muon` use Nesterov's momentum."""
    beta1: _Decay = 0.9
    """Decay of `adamw`'s mean of gradients, also in `muon`."""
    beta2: _Decay = 0.999
    """Decay of `adamw`'s mean of squared gradients, also in `muon`."""
    rho: _Decay = 0.9
    """Decay of `rmsprop`'s mean of squared gradients."""
    epsilon: _Positive = 1e-7
    """Added where `rmsprop` and `adamw` divide, also in `muon`."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Learning rate by step: `constant`, `cosine` to zero, or `one_cycle`."""
    warmup: _Share = 0.3
    """Share of the steps in which `one_cycle` rises."""
    label_smoothing: _Decay = 0.0
    """Share of the target that is spread evenly over all classes, in training only."""
    pixels: Literal["raw", "unit", "standardized"] = "unit"
    """What the network sees: `raw` 0..255, `unit` 0..1 or `standardized` per channel."""
    flip: _Flag = False
    """Mirror each training image with probability 1/2."""
    crop: _Whole = 0
    """Shift each training image by up to this many pixels, edges reflected."""
    patience: _Count | None = None
    """Stop after this many epochs without a lower validation loss, and keep the weights of the
    lowest (Keras's EarlyStopping); None to keep the last epoch's."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` autocasts where the device has instructions for it (GPUs since Ampere, CPUs with
    AVX512-BF16 or AMX); elsewhere, and with `fp32`, all is computed in fp32."""
    compile: _Flag = False
    """Use torch.compile where the device is a GPU."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _in_our_words(error) from error
        dataset_info(self.dataset)
        self.design()

    def design(self) -> Design:
        """Return the network's design: the architecture with this config's parameters."""
        return make_design(self.architecture, self.net)

    @property
    def data_split(self) -> Split:
        """How the images are split into those that train and those that validate."""
        return Split(self.split, self.split_seed, self.validation, self.train_images)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked again."""
        return type(self)(**{**dict(self), **changes})

    def to_dict(self) -> dict[str, Scalar]:
        """Return the config as a flat mapping of scalars, without None."""
        settings = {name: value for name, value in self if name != "net" and value is not None}
        return {**settings, **self.net}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config from a mapping such as `to_dict` returns; absent names take defaults.

        Raises:
            InputError: for a name that is no setting, or a value that is not allowed.
        """
        settings = {name: value for name, value in values.items() if name in SETTINGS}
        net = {name: value for name, value in values.items() if name not in SETTINGS}
        architecture = settings.get("architecture", cls.model_fields["architecture"].default)
        for name in net:
            _check_is_known(name, architecture)
        return cls(**settings, net=net)


SETTINGS = frozenset(TrialConfig.model_fields) - {"net"}
"""Names of the settings of a training; every other name is one of the network's parameters."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    name: get_args(field.annotation)
    for name, field in TrialConfig.model_fields.items()
    if getattr(field.annotation, "__origin__", None) is Literal
}
"""Allowed words of the settings that are words."""


def derive_seed(*parts: int) -> int:
    """Derive a seed in [0, 2**31) from whole numbers, such as (run seed, trial, repeat).

    It is a hash, so neighbouring parts give unrelated seeds, and it never changes.
    """
    text = ",".join(str(int(part)) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _check_is_known(name: str, architecture: str) -> None:
    """Refuse a name that is neither a setting nor a parameter of some network."""
    try:
        parameters = design_parameters(architecture)
    except InputError:
        return  # an architecture that there is not is refused by its own name
    if name in parameters or name in design_parameters("proposed"):
        return
    raise InputError(f"unknown setting {name!r}; {nearest(name, [*SETTINGS, *parameters])}")


def _in_our_words(error: ValidationError) -> InputError:
    details = error.errors()[0]
    name = str(details["loc"][0])
    if details["type"] == "literal_error":
        allowed = nearest(details["input"], CHOICES[name])
        return InputError(f"unknown {name} {details['input']!r}; {allowed}")
    return InputError(f"{'.'.join(map(str, details['loc'][:1]))} {in_words(details)}")
