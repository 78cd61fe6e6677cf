"""What a network costs, counted on a network that is built for it."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tunecnn.files import sha256
from tunecnn.models.architecture import Architecture
from tunecnn.models.building import NetworkError, build, load
from tunecnn.models.checking import check_evaluation, check_training, random_operations
from tunecnn.models.designs import Cost, InputShape


def measure(
    architecture: Architecture, given: Mapping[str, Any], input_shape: InputShape, classes: int
) -> Cost:
    """Count what a network costs: by a build on the meta device, which computes nothing.

    A network that cannot be built there is built on the CPU, and moved there if it can. A class
    with a static method `count(input_shape, classes, **arguments)` that returns `params` and
    `macs` is not built.

    Raises:
        NetworkError: if the network cannot be built, or does not return logits.
    """
    made = load(architecture)
    if _counts_itself(made, input_shape, classes, given):
        params, macs = made.count(input_shape, classes, **given)  # type: ignore[attr-defined]
        return Cost(int(params), int(macs), 0)
    try:
        with torch.device("meta"):
            network = build(architecture, given, input_shape, classes)
        return _cost(architecture, network, input_shape, classes)
    except (Exception, SystemExit):  # what fails there may still work on the CPU
        network = build(architecture, given, input_shape, classes)
        cost = _cost(architecture, network, input_shape, classes)
        with contextlib.suppress(Exception):
            return _cost(architecture, network.to("meta"), input_shape, classes)
        return cost


@contextlib.contextmanager
def _in_counted_steps() -> Iterator[None]:
    """Let a CPU compute in steps that are counted, not whole layers at once."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TF32, which the flags name as well
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _counts_itself(made: Any, *given: Any) -> bool:
    """Return whether a class has a static method `count` for these arguments."""
    if not isinstance(inspect.getattr_static(made, "count", None), staticmethod):
        return False
    *by_position, named = given
    try:
        inspect.signature(made.count).bind(*by_position, **named)
    except TypeError:
        return False
    return True


def _cost(
    architecture: Architecture, network: nn.Module, input_shape: InputShape, classes: int
) -> Cost:
    sizes: list[int] = []

    def note(module: nn.Module, given: Any, returned: Any) -> None:
        if isinstance(returned, Tensor) and returned.dim():
            sizes.append(returned[0].numel())

    if any(isinstance(one, torch.jit.ScriptModule) for one in network.modules()):
        raise NetworkError(
            f"{architecture.attribute} has parts in TorchScript, whose cost cannot be counted; "
            "leave torch.jit.script and torch.jit.trace out"
        )
    leaves = [one for one in network.modules() if not list(one.children())]
    hooks = [one.register_forward_hook(note) for one in leaves]
    try:
        with _in_counted_steps(), FlopCounterMode(display=False) as counter:
            check_evaluation(architecture.attribute, network, input_shape, classes)
    except NetworkError as error:
        check_evaluation(architecture.attribute, network, input_shape, classes)
        raise NetworkError(
            f"the operations of {architecture.attribute} cannot be counted ({error}); give it a "
            "static method count(input_shape, classes, **arguments) that returns its params and "
            "macs"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    with _in_counted_steps():  # in a second pass: weights that the first one makes are random
        random = random_operations(network, input_shape)
    check_training(architecture.attribute, network, input_shape, classes)
    return Cost(
        params=sum(one.numel() for one in network.parameters() if one.requires_grad),
        macs=counter.get_total_flops() // 4,  # of two images, and two for each
        activations=sum(sizes),
        layers=sha256(repr(network)),
        random_operations=random,
    )
