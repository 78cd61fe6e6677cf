"""Checks of a network that has been trained: whether its weights are all that it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunecnn.models.building import NetworkError
from tunecnn.models.checking import in_training, settle
from tunecnn.models.randomness import random_state_of

_TOLERANCE = 1e-2  # of the largest logit: bfloat16 has three digits

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
    _check_alone(name, again, images)
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
    return float((returned[0] - returned[1]).abs().max()) > _TOLERANCE * scale


def _check_alone(name: str, network: nn.Module, images: Tensor) -> None:
    """Check that each image has the same logits alone as among others.

    A network that draws random numbers is not checked.

    Raises:
        NetworkError: if one has others: then its accuracy would be that of whole batches.
    """

    def logits(given: Tensor, seed: int = 0) -> Tensor:
        with random_state_of(seed, images.device), torch.no_grad():
            found: Tensor = network(given.clone())
            return found.detach().float()

    whole = logits(images)
    if bool((whole != logits(images, seed=1)).any()) or len(images) < 2:
        return
    alone = torch.cat([logits(one) for one in torch.split(images, 1)])
    scale = max(1e-6, float(whole.abs().max()))  # which is small after one epoch
    if float((whole - alone).abs().max()) > _TOLERANCE * scale:
        raise NetworkError(
            f"{name} gives an image other logits alone than among others, so its accuracy "
            "would be that of whole batches: it computes over the images, as softmax(dim=0), "
            "x.max() or a BatchNorm without running statistics does"
        )
