"""A training's state as bytes, and back: tensors as safetensors, everything else as JSON in them.

No pickle, so that reading a run's folder can run no code.
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

SCHEMA = 1
_METADATA = "tunecnn"


def pack(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Write tensors, from whatever device, and plain values into one piece."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata={_METADATA: json.dumps({**stamp(SCHEMA), **metadata})})


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Undo `pack`; the tensors lie on the CPU.

    Raises:
        RunError: if the bytes are damaged, or were written by a version with another schema.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        metadata = json.loads(header["__metadata__"][_METADATA])
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"a checkpoint is damaged: {error}") from error
    check_stamp("its checkpoint", metadata, SCHEMA)
    return tensors, metadata


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before each name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `named` gave a prefix, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return what an optimizer remembers of each weight, as `<position>/<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{position}/{name}": tensor
        for position, remembered in state.items()
        for name, tensor in remembered.items()
        if tensor is not None
    }


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return an optimizer's settings, such as the learning rate at which it stands."""
    groups: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
    return groups


def restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], settings: list[dict[str, Any]]
) -> None:
    """Give a new optimizer over the same weights the memory and the settings of an old one."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        position, _, name = key.partition("/")
        weight = weights[int(position)]
        if tensor.shape == weight.shape:  # in the memory order of its weight, or steps are slower
            tensor = torch.empty_like(weight, device="cpu").copy_(tensor)
        state.setdefault(int(position), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": settings})
