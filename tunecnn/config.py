"""`TrialConfig`: everything that decides how one trial is trained, as plain scalars."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tunecnn.architectures import Design, make_design
from tunecnn.catalogue import dataset_facts
from tunecnn.errors import InputError, nearest

Scalar = int | float | bool | str

CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("rmsprop", "adamw", "sgd", "muon"),
    "schedule": ("constant", "cosine", "one_cycle"),
    "pixels": ("raw", "unit", "standardized"),
    "precision": ("fp32", "bf16"),
    "split": ("stratified", "report"),
}


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial's configuration; with the data it is all that is needed to repeat the trial.

    The defaults are the report's protocol; `tunecnn.recipes` fills in the rest of a recipe. A
    field that is None keeps the architecture's own value. In space files and data frames the
    model's fields are written with a dot: `dropout.block1`, `width.conv2`.

    Attributes:
        architecture: `model1`, `model2` or `proposed`.
        dataset: a name of `tunecnn.catalogue`.
        epochs: passes over the training images.
        seed: of the weights, the shuffling, the augmentation and the dropout.
        split: how validation images are set apart: `stratified`, or the `report`'s own way.
        split_seed: seed of a stratified split.
        validation: share of the training images that validate, in a stratified split.
        train_images: train on this many images only (stratified choice); None for all.
        width: multiplies the channels of every convolution.
        width_block1: channels of every convolution of a block (before `width`).
        width_conv1: channels of one convolution, in order (before `width`).
        dropout_block1: dropout after a block's pool.
        dropout_dense: dropout after the hidden dense layer.
        dense_units: units of the hidden dense layer.
        batch_size: images a step; the last, smaller batch is kept.
        optimizer: `rmsprop` (Keras's rule), `adamw`, `sgd`, or `muon` (Muon for the convolutions,
            AdamW for all else).
        learning_rate: the peak of the schedule.
        weight_decay: decoupled from the gradient (a step shrinks the weights by learning_rate
            times it), but in `sgd` added to the gradient.
        momentum: of `sgd` and `muon`.
        nesterov: whether they use Nesterov's momentum.
        beta1: decay of `adamw`'s mean of gradients, also in `muon`.
        beta2: decay of `adamw`'s mean of squared gradients, also in `muon`.
        rho: decay of `rmsprop`'s mean of squared gradients.
        epsilon: added where `rmsprop` and `adamw` divide, also in `muon`.
        schedule: `constant`, `cosine` to zero, or `one_cycle`.
        warmup: share of the steps in which `one_cycle` rises.
        label_smoothing: share of the target spread evenly over all classes, in training only.
        pixels: what the network sees: `raw` 0..255, `unit` 0..1 or `standardized` a channel.
        flip: mirror each training image with probability 1/2.
        crop: shift each training image by up to this many pixels, edges reflected.
        patience: stop after this many epochs without a lower validation loss, and keep the
            weights of the lowest (Keras's EarlyStopping); None to keep the last epoch's.
        precision: `bf16` autocasts where the device has instructions for it (GPUs since Ampere,
            CPUs with AVX512-BF16 or AMX); elsewhere, and with `fp32`, all is computed in fp32.
        compile: use torch.compile where the device is a GPU.

    Raises:
        InputError: if a value is outside what is allowed; the message names field and value.
    """

    architecture: str = "proposed"
    dataset: str = "digits"
    epochs: int = 10
    seed: int = 0
    split: str = "stratified"
    split_seed: int = 0
    validation: float = 0.2
    train_images: int | None = None
    width: float = 1.0
    width_block1: int | None = None
    width_block2: int | None = None
    width_block3: int | None = None
    width_conv1: int | None = None
    width_conv2: int | None = None
    width_conv3: int | None = None
    width_conv4: int | None = None
    width_conv5: int | None = None
    dropout_block1: float | None = None
    dropout_block2: float | None = None
    dropout_block3: float | None = None
    dropout_dense: float | None = None
    dense_units: int | None = None
    batch_size: int = 128
    optimizer: str = "rmsprop"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    rho: float = 0.9
    epsilon: float = 1e-7
    schedule: str = "constant"
    warmup: float = 0.3
    label_smoothing: float = 0.0
    pixels: str = "unit"
    flip: bool = False
    crop: int = 0
    patience: int | None = None
    precision: str = "fp32"
    compile: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field, getattr(self, field.name))
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"unknown {name} {value!r}; {nearest(value, allowed)}")
        for rule, names in _RULES.items():
            for name in names:
                value = getattr(self, name)
                if value is not None and not (math.isfinite(value) and _HOLDS[rule](value)):
                    raise InputError(f"{name} must be {rule}, not {value!r}")
        dataset_facts(self.dataset)
        self.design()

    def design(self) -> Design:
        """Return the network's design: the architecture with this config's widths and dropouts."""
        given = {
            dotted(name): value
            for name in _MODEL_FIELDS
            if (value := getattr(self, name)) is not None
        }
        return make_design(self.architecture, given)

    def to_dict(self) -> dict[str, Scalar]:
        """Return the config as a flat mapping of scalars, names dotted, without None."""
        return {
            dotted(name): value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config from a mapping such as `to_dict` returns; absent names take defaults.

        Raises:
            InputError: for a name that is no field, or a value that is not allowed.
        """
        return cls(**{field_name(name): value for name, value in values.items()})


def dotted(name: str) -> str:
    """Write a field of `TrialConfig` as space files do: `dropout_block1` -> `dropout.block1`."""
    return _DOTTED.get(name, name)


def field_name(name: str) -> str:
    """Turn a dotted or plain name into the field of `TrialConfig`.

    Raises:
        InputError: if there is no such field; the message offers the nearest one.
    """
    if name in _FIELDS:
        return name
    if name in _UNDOTTED:
        return _UNDOTTED[name]
    raise InputError(f"unknown setting {name!r}; {nearest(name, map(dotted, _FIELDS))}")


def derive_seed(*parts: int) -> int:
    """Derive a seed in [0, 2**31) from whole numbers, such as (run seed, trial, repeat).

    It is a hash, so neighbouring parts give unrelated seeds, and it never changes.
    """
    text = ",".join(str(int(part)) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


_FIELDS = tuple(field.name for field in dataclasses.fields(TrialConfig))
_MODEL_FIELDS = tuple(
    name
    for name in _FIELDS
    if name in ("width", "dense_units") or name.startswith(("width_", "dropout_"))
)
_DOTTED = {
    name: name.replace("_", ".", 1) for name in _MODEL_FIELDS if name.startswith(("width_", "dr"))
}
_UNDOTTED = {dotted_name: name for name, dotted_name in _DOTTED.items()}

_HOLDS: Mapping[str, Callable[[float], bool]] = {
    "1 or more": lambda value: value >= 1,
    "0 or more": lambda value: value >= 0,
    "above 0": lambda value: value > 0,
    "in [0, 1)": lambda value: 0 <= value < 1,
    "in (0, 1)": lambda value: 0 < value < 1,
}
_RULES: Mapping[str, tuple[str, ...]] = {
    "1 or more": ("epochs", "batch_size", "patience", "train_images"),
    "0 or more": ("seed", "split_seed", "weight_decay", "crop"),
    "above 0": ("learning_rate", "epsilon"),
    "in [0, 1)": ("momentum", "beta1", "beta2", "rho", "label_smoothing"),
    "in (0, 1)": ("validation", "warmup"),
}


def _check_type(field: dataclasses.Field[Any], value: object) -> None:
    """Refuse a value of another kind; the annotations are strings such as `int | None`."""
    kinds = str(field.type).split(" | ")
    fits = (
        (value is None and "None" in kinds)
        or (isinstance(value, bool) and "bool" in kinds)
        or (isinstance(value, str) and "str" in kinds)
        or (isinstance(value, int) and not isinstance(value, bool) and "int" in kinds)
        or (isinstance(value, int | float) and not isinstance(value, bool) and "float" in kinds)
    )
    if not fits:
        words = {"int": "a whole number", "float": "a number", "bool": "true or false",
                 "str": "a word", "None": "nothing"}  # fmt: skip
        allowed = " or ".join(words[kind] for kind in kinds)
        raise InputError(f"{dotted(field.name)} must be {allowed}, not {value!r}")
