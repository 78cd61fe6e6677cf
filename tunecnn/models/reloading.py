"""Checks of a network that has been trained: whether its weights are all that it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunecnn.models.building import NetworkError
from tunecnn.models.checking import TOLERANCE, check_alone, in_training, settle
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


def _differ(one: nn.Module, other: nn.Module, images: Tensor, context: Context) -> bool:
    """Return whether two networks give other logits with the same random numbers."""
    returned = []
    for network in (one, other):
        with random_state_of(0, images.device), torch.no_grad(), context():
            given = images.clone()  # which it may change in place
            returned.append(network(given).detach().float())
    scale = max(1.0, float(returned[0].abs().max()))
    return float((returned[0] - returned[1]).abs().max()) > TOLERANCE * scale
