"""The state of a training as bytes: safetensors, with all other values as JSON in its metadata.

Pickle is not used, so reading a run's folder cannot execute code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from tunecnn.errors import RunError
from tunecnn.files import check_stamp, stamp

SCHEMA = 2
BAD_BYTES = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors of `tensors_and_metadata`."""
_METADATA = "tunecnn"


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Serialize tensors, from any device, and JSON values to bytes."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return with_metadata(whole, {**stamp(SCHEMA), **metadata})


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, on the CPU, and the values that `pack` serialized.

    Raises:
        RunError: if the bytes are damaged, or were written by a version with another schema.
    """
    try:
        tensors, metadata = tensors_and_metadata(data)
    except BAD_BYTES as error:
        raise RunError(f"a checkpoint is damaged: {error}") from error
    check_stamp("its checkpoint", metadata, SCHEMA)
    return tensors, metadata


def with_metadata(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Serialize contiguous tensors on the CPU as safetensors, with JSON values in the metadata."""
    return save(_each_in_its_memory(tensors), metadata={_METADATA: json.dumps(metadata)})


def _each_in_its_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory, as tied weights do, which safetensors refuses."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return apart


def tensors_and_metadata(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the values that `with_metadata` serialized.

    Raises:
        BAD_BYTES: if the bytes are damaged, or have no such values.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return load(data), json.loads(header["__metadata__"][_METADATA])


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add a prefix to each name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with a prefix from `named`, by their names without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state tensors of each weight, named `<position>/<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{position}/{name}": tensor
        for position, remembered in state.items()
        for name, tensor in remembered.items()
        if tensor is not None
    }


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return an optimizer's settings, such as its current learning rate."""
    groups: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
    return groups


def restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], settings: list[dict[str, Any]]
) -> None:
    """Load the state tensors and settings of an optimizer into a new one over the same weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        position, _, name = key.partition("/")
        weight = weights[int(position)]
        if tensor.shape == weight.shape:  # same memory format as the weight, for fast steps
            tensor = torch.empty_like(weight, device="cpu").copy_(tensor)
        state.setdefault(int(position), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": settings})
