"""The views of an image whose logits are averaged: test-time augmentation, as settings have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tunecnn.trial.batches import reflected, shift_in_pixels
from tunecnn.trial.config import Views

_SHIFT = 1 / 32
"""Shift of a view as a share of the size, one pixel at least: that of Jordan 2024
(arXiv:2404.00498), whose images have 32."""


def mean_logits(
    network: Callable[[Tensor], Tensor],
    scaling: Callable[[Tensor], Tensor],
    pixels: Tensor,
    views: Views,
) -> Tensor:
    """Return the mean of a network's logits over the views of each image.

    Args:
        network: network, from scaled pixels to logits.
        scaling: scaling of the pixels.
        pixels: images, shape (n, height, width, channels), uint8.
        views: `one` for the images themselves, `mirrored` for them and their mirror images, or
            `shifted` for these two, a quarter each, and both shifted up and to the left, and down
            and to the right, an eighth each.

    Returns:
        Shape (n, classes), float32.
    """
    if views == "one":
        return network(scaling(pixels)).float()
    # Each view is made of the bytes, so the network gets all in the same memory layout.
    first, *others = (
        weight * network(scaling(view)).float() for weight, view in _weighted(pixels, views)
    )
    return sum(others, start=first)


def _weighted(pixels: Tensor, views: Views) -> Iterator[tuple[float, Tensor]]:
    """Yield several views of images, each with its weight; the weights add up to 1."""
    straight = [(1.0, pixels)]
    if views == "shifted":
        straight = [(0.5, pixels), *((0.25, _shifted(pixels, way)) for way in (1, -1))]
    for weight, view in straight:
        yield weight / 2, view
        yield weight / 2, view.flip(2)


def _shifted(pixels: Tensor, way: int) -> Tensor:
    """Return images shifted up and to the left (1), or down and to the right (-1)."""
    for axis in (1, 2):
        size = pixels.shape[axis]
        index = torch.arange(size, device=pixels.device) + way * shift_in_pixels(_SHIFT, size)
        pixels = pixels.index_select(axis, reflected(index, size))
    return pixels
