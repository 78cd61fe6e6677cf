"""Checks of a network that has been trained: whether its weights are all that it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from tunecnn.errors import RunError
from tunecnn.models.building import NetworkError
from tunecnn.models.checking import TOLERANCE, check_alone, in_training, settle
from tunecnn.models.designs import InputShape
from tunecnn.models.randomness import random_state_of

Context = Callable[[], AbstractContextManager[None]]


def check_reloaded(
    name: str, network: nn.Module, again: nn.Module, images: Tensor, context: Context
) -> None:
    """Check that a new network with the weights of a trained one gives the same as that.

    Args:
        name: name of the network in messages.
        network: network that was trained; it is in evaluation mode afterwards.
        again: another one, into which its weights were loaded.
        images: a few images, scaled, (n, channels, height, width).
        context: makes the context in which the network computes, such as autocast.

    Raises:
        NetworkError: if it does not: then weights and checkpoints are worth nothing.
    """
    settle(network)
    settle(again)
    if _differ(network, again, images, context):
        raise NetworkError(
            f"{name} gives other results once its weights are loaded again: it uses what its "
            "state_dict lacks, such as a counter, or a buffer with persistent=False that "
            "training changes"
        )
    check_alone(name, again, images)
    again.load_state_dict(network.state_dict())
    with in_training(network), in_training(again):
        if len(images) > 1 and _differ(network, again, images, context):
            raise NetworkError(
                f"{name} gives other results in training once its weights are loaded again, "
                "as after a pause: it uses what its state_dict lacks, such as a counter (make "
                "it a buffer) or a random generator of its own (draw from torch's or NumPy's)"
            )


def example_images(input_shape: InputShape) -> Tensor:
    """Return two images for which a file of weights keeps the logits, always the same ones.

    Returns:
        Bytes of the shape (2, height, width, channels).
    """
    channels, height, width = input_shape
    count = 2 * height * width * channels
    # Of no generator: NumPy's may give others in a later version.
    values = (np.arange(count, dtype=np.uint64) ** 2 * 40503 >> 8).astype(np.uint8)
    return torch.from_numpy(values.reshape(2, height, width, channels))


def example_logits(network: nn.Module, images: Tensor, seed: int = 0) -> Tensor:
    """Return the logits of images in evaluation, in float32 and with random numbers of a seed.

    Args:
        network: network in evaluation mode.
        images: images, scaled, (n, channels, height, width).
        seed: seed of the random numbers that it may draw.
    """
    with random_state_of(seed, images.device), torch.no_grad():
        logits: Tensor = network(images.clone())
        return logits.detach().float().cpu()


def check_as_trained(where: str, network: nn.Module, images: Tensor, expected: Tensor) -> None:
    """Check that a network gives the logits that it gave when its file of weights was written.

    Args:
        where: name of the file in messages.
        network: network with the weights of the file.
        images: the images of `example_images`, scaled.
        expected: their logits of then.

    Raises:
        RunError: if it gives others, and does not draw random numbers in evaluation.
    """
    found = example_logits(network, images)
    apart, scale = float((found - expected).abs().max()), float(expected.abs().max())
    again = example_logits(network, images, seed=1)
    is_random = bool(found.isfinite().all()) and not torch.equal(found, again)
    if not apart <= TOLERANCE * max(1.0, scale) and not is_random:
        raise RunError(
            f"{where}: its network gives other logits here than when it was trained, by up to "
            f"{apart:.3g} of {scale:.3g}, so it depends on more than its weights and its code: on "
            "the order of a set, which changes with each process (sort it), on a file that it "
            "reads by a path from the working folder, or on the version of a package"
        )


def _differ(one: nn.Module, other: nn.Module, images: Tensor, context: Context) -> bool:
    """Return whether two networks give other logits with the same random numbers."""
    returned = []
    for network in (one, other):
        with random_state_of(0, images.device), torch.no_grad(), context():
            given = images.clone()  # which it may change in place
            returned.append(network(given).detach().float())
    scale = max(1.0, float(returned[0].abs().max()))
    return float((returned[0] - returned[1]).abs().max()) > TOLERANCE * scale
