"""Building of networks: import of their code, a check of what they return, and their cost."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import sys
import tempfile
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tunecnn.errors import InputError, nearest, text_of
from tunecnn.models.architecture import PUBLISHED, Architecture
from tunecnn.models.code import NetworkCode
from tunecnn.models.designs import Cost, InputShape
from tunecnn.models.randomness import random_state_of
from tunecnn.models.signature import CLASSES_NAMES, INPUT_NAMES

_SUM_TOLERANCE = 1e-4
_folder: Path | None = None  # of the code that can be imported now
_code: NetworkCode | None = None
_imported: dict[str, tuple[tempfile.TemporaryDirectory[str], dict[str, ModuleType]]] = {}


class NetworkError(InputError):
    """A network cannot be imported, built or used; the message says which, and why."""


def build_model(
    architecture: str, input_shape: InputShape, classes: int = 10, **params: Any
) -> nn.Module:
    """Build one of the published networks, with any of its arguments changed.

    Args:
        architecture: name of the architecture: `model1`, `model2` or `proposed`.
        input_shape: channels, height and width of one image.
        classes: number of classes.
        **params: arguments of the class in `tunecnn.models.published`, such as `width`,
            `width_block1`, `dropout_block1` and `dense_units`; those that are not given keep the
            published values.

    Returns:
        A module that maps float images (n, C, H, W) to logits (n, classes).

    Raises:
        InputError: for an unknown architecture or argument, a width below 1, a dropout outside
            [0, 1), or an input that is too small for the pools.
    """
    if architecture not in PUBLISHED:
        raise InputError(
            f"unknown architecture {architecture!r}; {nearest(architecture, PUBLISHED)}"
        )
    return build(Architecture(architecture, Path()), params, input_shape, classes)


def build(
    architecture: Architecture, given: Mapping[str, Any], input_shape: InputShape, classes: int
) -> nn.Module:
    """Build a network, on torch's default device and from its default generator.

    The code of a network in a file must be importable: see `importable`.

    Args:
        architecture: network to build.
        given: its arguments, apart from the input's shape and the number of classes.
        input_shape: channels, height and width of one image.
        classes: number of classes.

    Raises:
        NetworkError: if it cannot be imported or built, or is no module of torch.
        InputError: if an argument of a published network is not allowed.
    """
    if architecture.is_published:
        for _, problem in architecture.problems(given):
            raise InputError(problem)
    made = load(architecture)
    takes = {"input_shape": input_shape, "in_channels": input_shape[0],
             **dict.fromkeys(CLASSES_NAMES, classes)}  # fmt: skip
    own = {name: takes[name] for name in _settable(made)}
    seed = torch.initial_seed()
    try:
        network = made(**own, **given)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{architecture.attribute} cannot be built with {_in_words(given)}: {describe(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{architecture.attribute} returned {type(network).__name__}, not a torch.nn.Module"
        )
    if torch.initial_seed() != seed:
        raise NetworkError(
            f"{architecture.attribute} sets torch's seed while it is built, so trials with other "
            "seeds would begin alike: remove that (for constants, use a torch.Generator)"
        )
    return network


def load(architecture: Architecture) -> Callable[..., Any]:
    """Import the module of a network, and return its class or function.

    Raises:
        NetworkError: if the import fails, or finds no such class or function.
    """
    name = architecture.module
    if architecture.is_own_file:
        if _folder is None:
            raise NetworkError(f"the code of {architecture.name} is not at hand")
        name = ".".join(Path(name).with_suffix("").parts)
    try:
        # The file may seed a generator, or draw constants; who loads it next finds it imported.
        with random_state_of(0):
            found = getattr(importlib.import_module(name), architecture.attribute, None)
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{architecture.module} cannot be imported: {describe(error)}"
        ) from error
    if not callable(found):
        raise NetworkError(
            f"{architecture.module} has no class or function {architecture.attribute!r}"
        )
    return found  # type: ignore[no-any-return]


def returns_network(made: Callable[..., Any]) -> bool:
    """Return whether it is a class of networks, or a function annotated to return one."""
    found: Any = made
    if not isinstance(made, type):
        try:
            found = typing.get_type_hints(made).get("return")
        except Exception:  # a hint may name what is not there
            return False
    return isinstance(found, type) and issubclass(found, nn.Module)


@contextlib.contextmanager
def importable(code: NetworkCode | None) -> Iterator[None]:
    """Let a run's code be imported, and nothing else of the same names.

    The code is unpacked into a temporary folder. Modules that were imported before and have the
    name of one of its files are set aside, so that a run's copy is used even where a newer version
    has been imported. One process imports each version once: some modules register what may not
    be registered twice.

    Args:
        code: code of the networks; None if they are in no file.
    """
    global _folder, _code
    if code is None or (_code is not None and _code.hash == code.hash):
        yield
        return
    names = {Path(name).parts[0].removesuffix(".py") for name in code.files}

    def ours() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in names]

    if code.hash not in _imported:
        unpacked = tempfile.TemporaryDirectory(prefix="tunecnn-code-")  # until the process ends
        code.write(Path(unpacked.name))
        _imported[code.hash] = unpacked, {}
    unpacked, modules = _imported[code.hash]
    before, outer = {name: sys.modules.pop(name) for name in ours()}, (_folder, _code)
    _folder, _code = Path(unpacked.name), code
    sys.modules.update(modules)
    sys.path.insert(0, unpacked.name)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _folder, _code = outer
        with contextlib.suppress(ValueError):
            sys.path.remove(unpacked.name)
        modules.update({name: sys.modules.pop(name) for name in ours()})
        sys.modules.update(before)


def importable_code() -> NetworkCode | None:
    """Return the code that can be imported now, by `importable`."""
    return _code


def in_own_code(file: str) -> bool:
    """Return whether a file is part of the code that can be imported now."""
    return _folder is not None and str(_folder) in file


def use_channels_last(network: nn.Module, input_shape: InputShape) -> bool:
    """Bring a network's weights into the memory layout `channels_last`, if it can process it.

    In that layout, `view` raises an error where `reshape` or `flatten` would work, and a network
    may check it; one that fails, also in a step of training, is left as it is. It is in evaluation
    mode afterwards.

    Returns:
        Whether images have to be in `channels_last` too.
    """
    channels, height, width = input_shape
    # As batches are made: `contiguous` would change nothing in images of one channel.
    images = torch.zeros(2, height, width, channels, device=_device(network)).permute(0, 3, 1, 2)
    network.eval()
    try:
        with torch.no_grad():
            network(images)
            network.to(memory_format=torch.channels_last)
            network(images)
        _step(network, images)
    except (Exception, SystemExit):
        network.to(memory_format=torch.contiguous_format)
        return False
    return True


def can_train_on(
    network: nn.Module, input_shape: InputShape, count: int, *, last: bool = False
) -> str:
    """Try a step of training; return why it fails, empty if it does not.

    Args:
        network: network, which has not been trained afterwards.
        input_shape: channels, height and width of one image.
        count: number of images.
        last: whether the images are in `channels_last`.
    """
    try:
        _step(network, _images(network, input_shape, count, last=last))
    except (Exception, SystemExit) as error:
        return describe(error)
    return ""


def _step(network: nn.Module, images: Tensor) -> None:
    """Pass images forward and gradients back through a copy of a network."""
    devices = [images.device] if images.device.type == "cuda" else []
    with _tried(network) as tried, torch.enable_grad(), torch.random.fork_rng(devices=devices):
        tried.train()
        tried(images).float().logsumexp(1).sum().backward()
        tried.zero_grad(set_to_none=True)
    network.eval()


def settle(network: nn.Module) -> None:
    """Bring a network whose weights were replaced into evaluation mode.

    Some cache what they compute from their weights, until they are in training mode again.
    """
    network.train()
    network.eval()


def check_output(
    name: str, network: nn.Module, input_shape: InputShape, classes: int, *, last: bool = False
) -> None:
    """Check that a network maps images to logits, and can be trained.

    It is in evaluation mode afterwards, and has not been trained.

    Args:
        name: name of the network in messages.
        network: network, on any device.
        input_shape: channels, height and width of one image.
        classes: number of classes.
        last: whether the images are in `channels_last`.

    Raises:
        NetworkError: if it cannot process images, does not return finite values of the shape
            (n, classes), in training too, has nothing that could be trained, or has a state that
            cannot be saved.
    """
    check_evaluation(name, network, input_shape, classes, last=last)
    check_training(name, network, input_shape, classes, last=last)


def check_evaluation(
    name: str, network: nn.Module, input_shape: InputShape, classes: int, *, last: bool = False
) -> None:
    """Do the first part of `check_output`: a forward pass in evaluation mode."""
    network.eval()
    with torch.no_grad():
        logits = _logits(name, network, input_shape, classes, last=last)
    if logits.device.type == "meta":
        return
    if not bool(torch.isfinite(logits).all()):
        raise NetworkError(f"{name} returns nan or infinity before any training")
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < _SUM_TOLERANCE).all()):
        raise NetworkError(
            f"{name} returns probabilities, not logits: leave its softmax out, as the loss and "
            "the predictions have one of their own"
        )


def check_training(
    name: str, network: nn.Module, input_shape: InputShape, classes: int, *, last: bool = False
) -> None:
    """Do the second part of `check_output`: a forward pass in training mode."""
    if not any(one.requires_grad for one in network.parameters()):
        raise NetworkError(f"{name} has no parameters to train")
    for key, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise NetworkError(
                f"{name} keeps {key!r}, a {type(value).__name__}, in its state; a file of weights "
                "has tensors only: register it as a buffer"
            )
        if why := _cannot_be_kept(value):
            raise NetworkError(f"{name} keeps {key!r}, {why}")
    with torch.no_grad():
        _logits(name, network.eval(), input_shape, classes, last=last, count=1)
    device = _device(network)
    devices = [device] if device.type == "cuda" else []
    with _tried(network) as tried, torch.enable_grad(), torch.random.fork_rng(devices=devices):
        tried.train()
        logits = _logits(name, tried, input_shape, classes, last=last)
        known = {id(one) for one in tried.parameters()}
    network.eval()
    if not logits.requires_grad:
        raise NetworkError(
            f"{name} returns logits without a gradient, as after detach() or in no_grad(): "
            "nothing in it would be trained"
        )
    if lost := [one for one in _trained_by(logits) if id(one) not in known]:
        raise NetworkError(
            f"{name} has weights of the shape {tuple(lost[0].shape)} that are not among its "
            "parameters, so they would be neither trained nor saved; layers in a list belong into "
            "nn.ModuleList"
        )


def _cannot_be_kept(value: Tensor) -> str:
    """Return why a tensor cannot be written to a file of weights and read from it; or nothing."""
    if value.layout is not torch.strided:
        return "a sparse tensor, which a file of weights cannot hold; keep its dense form"
    try:
        save({"": torch.zeros(1, dtype=value.dtype)})
    except Exception:
        return f"of the type {value.dtype}, which a file of weights cannot hold; use another one"
    if any(size > 1 and not stride
           for size, stride in zip(value.shape, value.stride(), strict=True)):  # fmt: skip
        return "whose values share memory, as expand() returns them; add .clone()"
    return ""


def _images(network: nn.Module, input_shape: InputShape, count: int, *, last: bool) -> Tensor:
    channels, height, width = input_shape
    images = torch.linspace(0, 1, count * channels * height * width, device=_device(network))
    images = images.view(count, *input_shape)
    if last:
        images = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return images


def _logits(
    name: str,
    network: nn.Module,
    input_shape: InputShape,
    classes: int,
    *,
    last: bool,
    count: int = 2,
) -> Tensor:
    channels, height, width = input_shape
    images = _images(network, input_shape, count, last=last)
    training = " in training" if network.training else ""
    try:
        logits = network(images)
    except (Exception, SystemExit) as error:
        raise NetworkError(
            f"{name} cannot process images of {channels}x{height}x{width}{training}: "
            f"{describe(error)}"
        ) from error
    if not isinstance(logits, Tensor):
        raise NetworkError(
            f"{name} returned {type(logits).__name__}{training}, not a tensor of logits"
        )
    if tuple(logits.shape) != (count, classes):
        one = "; a squeeze() may need its dimension" if count == 1 else ""
        raise NetworkError(
            f"{name} returned the shape {tuple(logits.shape)} for {count} "
            f"image{'s' * (count > 1)} of {channels}x{height}x{width}{training}; logits of "
            f"{classes} classes have the shape ({count}, {classes}){one}"
        )
    return logits


@contextlib.contextmanager
def _tried(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy of a network, to try it; or itself, whose buffers are put back then.

    Torch cannot copy all networks, such as those with its older `weight_norm`.
    """
    try:
        tried = copy.deepcopy(network)
    except Exception:
        kept = [(module._buffers, name, buffer, buffer.clone())
                for module in network.modules()
                for name, buffer in module._buffers.items() if buffer is not None]  # fmt: skip
        yield network
        for buffers, name, buffer, values in kept:
            buffers[name] = buffer if torch.equal(buffer, values) else values
        return
    yield tried


def _trained_by(logits: Tensor) -> list[Tensor]:
    """Return the weights that the gradient of logits reaches."""
    found, seen = [], set()
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        weight = getattr(node, "variable", None)  # of the node that accumulates a leaf's gradient
        if isinstance(weight, Tensor):
            found.append(weight)
        waiting += [before for before, _ in node.next_functions]
    return found


def measure(
    architecture: Architecture, given: Mapping[str, Any], input_shape: InputShape, classes: int
) -> Cost:
    """Count what a network costs: by a build on the meta device, which computes nothing.

    A network that cannot be built there is built on the CPU, and moved there if it can: the CPU
    computes some layers in one step, of which nothing is counted. A class with a static method
    `count(input_shape, classes, **arguments)` that returns `params` and `macs` is not built.

    Raises:
        NetworkError: if the network cannot be built, or does not return logits.
    """
    made = load(architecture)
    if isinstance(inspect.getattr_static(made, "count", None), staticmethod):
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


def _cost(
    architecture: Architecture, network: nn.Module, input_shape: InputShape, classes: int
) -> Cost:
    sizes: list[int] = []

    def note(module: nn.Module, given: Any, returned: Any) -> None:
        if isinstance(returned, Tensor) and returned.dim():
            sizes.append(returned[0].numel())

    leaves = [one for one in network.modules() if not list(one.children())]
    hooks = [one.register_forward_hook(note) for one in leaves]
    with FlopCounterMode(display=False) as counter:
        check_evaluation(architecture.attribute, network, input_shape, classes)
    for hook in hooks:
        hook.remove()
    check_training(architecture.attribute, network, input_shape, classes)
    params = sum(one.numel() for one in network.parameters() if one.requires_grad)
    return Cost(params, counter.get_total_flops() // 4, sum(sizes))  # 2 images, 2 per mac


def describe(error: BaseException) -> str:
    """Return an exception as one line, with the line of the user's code that raised it."""
    text = text_of(error)
    name = "a call of sys.exit" if isinstance(error, SystemExit) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if in_own_code(one.filename)]
    where = f" ({Path(inside[-1].filename).name}:{inside[-1].lineno})" if inside else ""
    return f"{name}{where}" + (f": {text}" if text else "")


def _settable(made: Callable[..., Any]) -> list[str]:
    """Return the arguments of a network that tunecnn sets."""
    try:
        found = inspect.signature(made).parameters
    except (TypeError, ValueError):
        return [CLASSES_NAMES[1]]
    names = [name for name in (*INPUT_NAMES, *CLASSES_NAMES) if name in found]
    is_open = any(one.kind is one.VAR_KEYWORD for one in found.values())
    if is_open and not any(name in CLASSES_NAMES for name in names):
        # That of a base class, which gets them; else as torchvision's networks take it.
        bases = made.__mro__[1:] if isinstance(made, type) else ()
        taken = {
            name
            for base in bases
            if (call := vars(base).get("__init__")) is not None
            if inspect.isfunction(call)
            for name in inspect.signature(call).parameters
        }
        names.append(next((name for name in CLASSES_NAMES if name in taken), CLASSES_NAMES[1]))
    return names


def _device(network: nn.Module) -> torch.device:
    return next((one.device for one in network.parameters()), torch.device("cpu"))


def _in_words(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in given.items()) or "its defaults"
