"""Checks of a network, by trying it: what it returns, and that it can be trained and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils._python_dispatch import TorchDispatchMode

from tunecnn.models.building import NetworkError, describe
from tunecnn.models.designs import InputShape
from tunecnn.models.randomness import random_state_of

_SUM_TOLERANCE = 1e-4
TOLERANCE = 1e-2  # of the largest logit: bfloat16 has three digits


def takes_channels_last(network: nn.Module, input_shape: InputShape) -> bool:
    """Return whether a network can process images and weights in the layout `channels_last`.

    In that layout, `view` raises an error where `reshape` or `flatten` would work, and a network
    may check it, also in a step of training.

    Args:
        network: network to try, which is not used for anything else: it may count its images.
        input_shape: channels, height and width of one image.
    """
    lay_out(network, input_shape, (), last=False)
    channels, height, width = input_shape
    # As batches are made: `contiguous` would change nothing in images of one channel.
    images = torch.zeros(2, height, width, channels, device=_device(network)).permute(0, 3, 1, 2)
    try:
        with torch.no_grad():
            network(images)
            network.to(memory_format=torch.channels_last)
            network(images)
        _step(network, images)
    except (Exception, SystemExit):  # `check_output` says why if it takes none at all
        with contextlib.suppress(ValueError):  # weights of lazy layers that are not made yet
            network.to(memory_format=torch.contiguous_format)
        return False
    return True


def lay_out(
    network: nn.Module, input_shape: InputShape, names: Collection[str], *, last: bool
) -> None:
    """Bring a network's weights into the layout of its images.

    Args:
        network: network, which is in evaluation mode afterwards.
        input_shape: channels, height and width of one image.
        names: names in its state. If it lacks some, or has lazy layers, it is shown images, as
            its first ones make them.
        last: whether the images are in `channels_last`.
    """
    network.eval()
    is_lazy = any(isinstance(module, LazyModuleMixin) for module in network.modules())
    if is_lazy or network.state_dict().keys() != set(names):
        with torch.no_grad(), contextlib.suppress(Exception, SystemExit):
            network(torch.zeros(2, *input_shape, device=_device(network)))
    if last:
        network.to(memory_format=torch.channels_last)


def can_train_on(
    network: nn.Module, input_shape: InputShape, count: int, *, last: bool = False
) -> str:
    """Try a step of training; return why it fails, empty if it does not.

    Args:
        network: network to try.
        input_shape: channels, height and width of one image.
        count: number of images.
        last: whether the images are in `channels_last`.
    """
    try:
        _step(network, _images(network, input_shape, count, last=last))
    except (Exception, SystemExit) as error:
        return describe(error)
    return ""


def wrong_in_bf16(network: nn.Module, input_shape: InputShape, *, last: bool) -> str:
    """Return the first convolution whose weights oneDNN may give wrong gradients in bf16; or "".

    Where columns of a kernel see padding only, their gradient is 0. Of convolutions with strides
    or groups, and transposed ones, oneDNN leaves whatever was in the memory there: NaN, or other
    numbers, in more than half of the steps.

    Args:
        network: network to try, on the CPU; its buffers and counters may change.
        input_shape: channels, height and width of one image.
        last: whether the images are in `channels_last`.
    """
    weights: dict[str, Tensor] = {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd)
        and isinstance(module.weight, nn.Parameter)
        and (max(module.stride) > 1 or module.groups > 1 or module.transposed)
    }
    with _gradients(network, _images(network, input_shape, 2, last=last)):
        for name, weight in weights.items():
            if weight.grad is not None:
                unseen = (weight.grad == 0).all(1).all(0)
                if bool(unseen.any()) and not bool(unseen.all()):
                    return name
    return ""


def random_operations(network: nn.Module, input_shape: InputShape) -> list[str]:
    """Return the names of the operations of torch that draw random numbers in evaluation.

    On the meta device they are known as well, though nothing is computed there.

    Args:
        network: network to try, in evaluation mode; its buffers and counters may change.
        input_shape: channels, height and width of one image.
    """
    with torch.no_grad(), _RandomOperations() as found:
        network(_images(network, input_shape, 2, last=False))
    return list(dict.fromkeys(found.names))


class _RandomOperations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that draw from torch's random generator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.names.append(func.overloadpacket.__name__.rstrip("_"))
        return func(*args, **(kwargs or {}))


def _step(network: nn.Module, images: Tensor) -> None:
    """Pass images forward and gradients back, without a change of weights."""
    with _gradients(network, images):
        pass


@contextlib.contextmanager
def _gradients(network: nn.Module, images: Tensor) -> Iterator[None]:
    """Pass images forward and gradients back, which the weights have inside the context."""
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices=devices):
        network.train()
        network(images).float().logsumexp(1).sum().backward()
    yield
    network.zero_grad(set_to_none=True)
    network.eval()


def settle(network: nn.Module) -> None:
    """Bring a network whose weights were replaced into evaluation mode.

    Some cache what they compute from their weights, until they are in training mode again.
    """
    network.train()
    network.eval()


@contextlib.contextmanager
def in_training(network: nn.Module) -> Iterator[None]:
    """Bring a network into training mode for a while; then put back its buffers and weights.

    Some change weights without a gradient there, as a teacher that follows a mean.
    """
    kept = [
        (held, name, tensor, None if _is_fixed(tensor) else tensor.detach().clone())
        for module in network.modules()
        for held in (module._buffers, module._parameters)
        for name, tensor in held.items()
        if tensor is not None
    ]
    network.train()
    try:
        yield
    finally:
        network.eval()
        with torch.no_grad():
            for held, name, tensor, values in kept:
                held[name] = tensor  # type: ignore[assignment]
                if values is not None:
                    tensor.copy_(values)


def shared_state(one: nn.Module, other: nn.Module) -> dict[str, Tensor]:
    """Return the values of the tensors of one network that are in the memory of another's.

    Constants of a module may be shared; what changes in training must not be.
    """
    places = {tensor.untyped_storage().data_ptr() for tensor in _tensors(other).values()}
    return {
        name: tensor.detach().clone()
        for name, tensor in _tensors(one).items()
        if tensor.untyped_storage().data_ptr() in places
    }


def check_unchanged(name: str, network: nn.Module, shared: Mapping[str, Tensor]) -> None:
    """Check that what two builds share has not changed since the other one was tried.

    Raises:
        NetworkError: if it has.
    """
    now = _tensors(network)
    for key, before in shared.items():
        if not torch.equal(now[key], before) and bool(before.isfinite().all()):
            raise NetworkError(
                f"{name} has the same {key} at each call, which changes in training, so trials "
                "would go on from each other's: make its layers while it is built"
            )


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not nn.parameter.is_lazy(tensor) and tensor.layout is torch.strided and tensor.numel()
    }


def check_alike(name: str, one: nn.Module, other: nn.Module) -> None:
    """Check that two builds from the same random state are two networks with the same weights.

    Raises:
        NetworkError: if they share weights, or have others.
    """
    trained = {id(weight) for weight in one.parameters() if weight.requires_grad}
    if trained & set(map(id, other.parameters())):
        raise NetworkError(
            f"{name} has the same weights at each call, so trials would go on from each other's: "
            "make its layers while it is built, not once for the module or as default arguments, "
            "and without a cache"
        )
    others = dict(other.named_parameters())
    for key, weight in one.named_parameters():
        found = others.get(key)
        if found is None or nn.parameter.is_lazy(weight) or weight.shape != found.shape:
            continue
        if not torch.equal(weight, found) and bool(weight.isfinite().all()):
            raise NetworkError(
                f"{name} has another {key} each time it is built with one seed: it draws from a "
                "generator of its own, such as np.random.default_rng() (draw from torch's, "
                "NumPy's or Python's default one, which tunecnn seeds), or from memory that "
                "nothing has filled, as torch.empty() and torch.Tensor(n) return it"
            )


def check_output(
    name: str, network: nn.Module, input_shape: InputShape, classes: int, *, last: bool = False
) -> None:
    """Check that a network maps images to logits, and can be trained.

    Its weights are not changed, but its buffers and its counters may be.

    Args:
        name: name of the network in messages.
        network: network to try, on any device; it is in evaluation mode afterwards.
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
    _check_no_probabilities(name, logits)


def _check_no_probabilities(name: str, logits: Tensor) -> None:
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < _SUM_TOLERANCE).all()):
        raise NetworkError(
            f"{name} returns probabilities, not logits: leave its softmax out, as the loss and "
            "the predictions have one of their own"
        )


def check_training(
    name: str, network: nn.Module, input_shape: InputShape, classes: int, *, last: bool = False
) -> None:
    """Do the second part of `check_output`: what it keeps, and a pass in training mode."""
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
    network.eval()  # which some forget to return
    with torch.no_grad():
        _logits(name, network, input_shape, classes, last=last, count=1)
    check_alone(name, network, _images(network, input_shape, 2, last=last))
    device = _device(network)
    devices = [device] if device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices=devices):
        network.train()
        logits = _logits(name, network, input_shape, classes, last=last)
        again = _logits(name, network, input_shape, classes, last=last)
    network.eval()
    if logits.device.type != "meta":
        _check_no_probabilities(name, logits.detach())
    if not logits.requires_grad:
        raise NetworkError(
            f"{name} returns logits without a gradient, as after detach() or in no_grad(): "
            "nothing in it would be trained"
        )
    # A leaf that each pass makes anew is no weight, such as the images of a gradient by them.
    known = {id(one) for one in network.parameters()}
    reached = {id(one) for one in _trained_by(again)} - known
    if lost := [one for one in _trained_by(logits) if id(one) in reached]:
        raise NetworkError(
            f"{name} has weights of the shape {tuple(lost[0].shape)} that are not among its "
            "parameters, so they would be neither trained nor saved; layers in a list belong into "
            "nn.ModuleList"
        )


def check_alone(name: str, network: nn.Module, images: Tensor) -> None:
    """Check that an image has the same logits again, and alone as among others.

    Of a network that draws random numbers the latter is not known, nor of one without values.

    Args:
        name: name of the network in messages.
        network: network in evaluation mode.
        images: images, scaled, (n, channels, height, width).

    Raises:
        NetworkError: if one has others: then its accuracy would be that of whole batches, or of
            what was evaluated before.
    """
    if images.device.type == "meta":
        return

    def logits(given: Tensor, seed: int = 0) -> Tensor:
        with random_state_of(seed, images.device), torch.no_grad():
            found: Tensor = network(given.clone())
            return found.detach().float()

    whole = logits(images)
    scale = max(1e-6, float(whole.abs().max()))  # which is small after one epoch

    def is_near(others: Tensor) -> bool:  # which NaN is to nothing
        return bool(((whole - others).abs() <= TOLERANCE * scale).all())

    if not bool(whole.isfinite().all()):
        return
    if not is_near(logits(images)):
        raise NetworkError(
            f"{name} gives the same images other logits in evaluation the second time, so its "
            "accuracy would be that of what was evaluated before: it changes a buffer or counter "
            "where it is not in training (ask self.training), or draws from a generator of its own"
        )
    if bool((whole != logits(images, seed=1)).any()) or len(images) < 2:
        return
    if not is_near(torch.cat([logits(one) for one in torch.split(images, 1)])):
        raise NetworkError(
            f"{name} gives an image other logits alone than among others, so its accuracy "
            "would be that of whole batches: it computes over the images, as softmax(dim=0), "
            "x.max() or a BatchNorm without running statistics does"
        )


def _cannot_be_kept(value: Tensor) -> str:
    """Return why a tensor cannot be written to a file of weights and read from it; or nothing."""
    if value.layout is not torch.strided:
        return "a sparse tensor, which a file of weights cannot hold; keep its dense form"
    try:
        save({"": torch.zeros(1, dtype=value.dtype)})
    except Exception:
        return f"of the type {value.dtype}, which a file of weights cannot hold; use another one"
    if is_expanded(value):
        return "whose values share memory, as expand() returns them; add .clone()"
    return ""


def _is_fixed(buffer: Tensor) -> bool:
    """Return whether a buffer cannot be written in its place."""
    return buffer.layout is not torch.strided or is_expanded(buffer)


def is_expanded(tensor: Tensor) -> bool:
    """Return whether values of a tensor share their memory, so that it cannot be written to."""
    return any(
        size > 1 and not stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )


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
    if not logits.is_floating_point():
        raise NetworkError(
            f"{name} returned {str(logits.dtype).removeprefix('torch.')}{training}; logits are "
            "real numbers (floats)"
        )
    if tuple(logits.shape) != (count, classes):
        one = "; a squeeze() may need its dimension" if count == 1 else ""
        raise NetworkError(
            f"{name} returned the shape {tuple(logits.shape)} for {count} "
            f"image{'s' * (count > 1)} of {channels}x{height}x{width}{training}; logits of "
            f"{classes} classes have the shape ({count}, {classes}){one}"
        )
    return logits


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


def _device(network: nn.Module) -> torch.device:
    return next((one.device for one in network.parameters()), torch.device("cpu"))
