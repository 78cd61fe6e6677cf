"""The views of an image whose logits are averaged: test-time augmentation, as settings have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tunecnn.trial.config import Views

_SHIFT = 1 / 32
"""Shift of a view as a share of the size: the one pixel of Jordan 2024 (arXiv:2404.00498)."""


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
            `shifted` for these two and, with half of the weight, both shifted up and to the left,
            and down and to the right.

    Returns:
        Shape (n, classes), float32.
    """
    # Each view is made of the bytes, so the network gets all in the same memory layout.
    return sum(
        (weight * network(scaling(view)).float() for weight, view in _weighted(pixels, views)),
        start=torch.zeros((), device=pixels.device),
    )


def _weighted(pixels: Tensor, views: Views) -> Iterator[tuple[float, Tensor]]:
    """Yield the views of images, each with its weight; the weights add up to 1."""
    if views == "one":
        yield 1.0, pixels
        return
    straight = [(1.0, pixels)]
    if views == "shifted":
        straight = [(0.5, pixels), *((0.25, _shifted(pixels, way)) for way in (1, -1))]
    for weight, view in straight:
        yield weight / 2, view
        yield weight / 2, view.flip(2)


def _shifted(pixels: Tensor, way: int) -> Tensor:
    """Return images shifted along both axes by a 32nd of the size, with reflected edges."""
    for axis in (1, 2):
        size = pixels.shape[axis]
        shift = min(max(1, round(size * _SHIFT)), size - 1)
        index = (torch.arange(size, device=pixels.device) + way * shift).abs()
        pixels = pixels.index_select(axis, (size - 1) - (size - 1 - index).abs())
    return pixels
