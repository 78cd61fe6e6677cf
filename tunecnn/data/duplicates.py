"""Identical and almost identical images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tunecnn.data.images import Labels, Pixels, blocks, forget

_GRID = 9  # rows and columns of a thumbnail
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB: what JPEG keeps best
_SEGMENTS = 4  # of a hash; at most 3 different bits leave one segment equal
_MOST_BITS = 3
_LEAST_CORRELATION = 0.99
_LEAST_CONTRAST = 4.0  # grey levels; flatter images all look alike
_LEAST_STEP = 2.0  # grey levels; smaller differences are noise of a JPEG
_LARGEST_BUCKET = 64

Floats = npt.NDArray[np.float32]


def content_ids(parts: Sequence[Pixels]) -> Labels:
    """Return a number for each image of all parts in turn, equal for identical images."""
    digests = [digest for pixels in parts for digest in _digests(pixels)]
    values = np.frombuffer(b"".join(digests), "V16") if digests else np.zeros(0, "V16")
    _, numbers = np.unique(values, return_inverse=True)
    return numbers.astype(np.int64)


def _digests(pixels: Pixels) -> Iterator[bytes]:
    for block in blocks(pixels):
        for image in np.ascontiguousarray(pixels[block]):
            yield hashlib.blake2b(image, digest_size=16).digest()
        forget(pixels)


def united(groups: Labels, ids: Labels) -> Labels:
    """Return a number for each image: one for all that equal groups or ids connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, groups = np.unique(groups, return_inverse=True)
    _, ids = np.unique(ids, return_inverse=True)
    size = int(groups.max(initial=0)) + int(ids.max(initial=0)) + 2
    links = coo_array(
        (np.ones(len(ids), bool), (groups, groups.max(initial=0) + 1 + ids)), shape=(size, size)
    )
    _, components = connected_components(links, directed=False)
    united_groups: Labels = components[groups].astype(np.int64)
    return united_groups


def almost_identical(parts: Sequence[Pixels], ids: Sequence[Labels]) -> list[list[set[int]]]:
    """Find images of one part that are almost identical to an image of another part.

    Two images are almost identical if a perceptual hash of 128 bits (the signs of the differences
    between neighbours in a thumbnail) differs in at most three bits, and the thumbnails correlate
    by 0.99. Identical images do not count.

    Returns:
        For each part and each other part, the indices of images of the first one.
    """
    found: list[list[set[int]]] = [[set() for _ in parts] for _ in parts]
    if min(size for pixels in parts for size in pixels.shape[1:3]) < _GRID:
        return found
    thumbs = np.concatenate([_thumbnails(pixels) for pixels in parts])
    part_of = np.repeat(np.arange(len(parts)), [len(pixels) for pixels in parts])
    index_of = np.concatenate([np.arange(len(pixels)) for pixels in parts])
    all_ids = np.concatenate(ids)
    flat = thumbs.reshape(len(thumbs), -1)
    contrast = flat.std(1)
    normal = (flat - flat.mean(1, keepdims=True)) / np.maximum(contrast, 1e-6)[:, None]
    hashes = _hashes(thumbs)
    for one, other in _pairs(hashes, contrast > _LEAST_CONTRAST, part_of):
        if part_of[one] == part_of[other] or all_ids[one] == all_ids[other]:
            continue
        bits = np.bitwise_count(hashes[one] ^ hashes[other]).sum()
        if bits <= _MOST_BITS and normal[one] @ normal[other] / flat.shape[1] > _LEAST_CORRELATION:
            found[part_of[one]][part_of[other]].add(int(index_of[one]))
            found[part_of[other]][part_of[one]].add(int(index_of[other]))
    return found


def _thumbnails(pixels: Pixels) -> Floats:
    """Return grey thumbnails of shape (n, 9, 9): means of the brightness over equal areas."""
    _, height, width, channels = pixels.shape
    rows, columns = _area_weights(height), _area_weights(width)
    thumbs = np.empty((len(pixels), _GRID, _GRID), np.float32)
    columns = np.kron(columns, _BRIGHTNESS if channels == 3 else np.ones(1, np.float32))
    for block in blocks(pixels):
        flat = pixels[block].reshape(-1, width * channels)
        across = flat.astype(np.float32) @ columns.T
        forget(pixels)
        thumbs[block] = rows @ across.reshape(-1, height, _GRID)
    return thumbs


def _area_weights(size: int) -> Floats:
    """Return a matrix (9, size) that averages `size` values to 9."""
    edges = np.arange(_GRID + 1) * size / _GRID
    left, right = edges[:-1, None], edges[1:, None]
    cells = np.arange(size)[None, :]
    overlap = np.clip(np.minimum(right, cells + 1) - np.maximum(left, cells), 0, None)
    weights: Floats = (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
    return weights


def _hashes(thumbs: Floats) -> npt.NDArray[np.uint32]:
    """Return perceptual hashes of thumbnails: four words of 32 bits each."""
    across = thumbs[:, :8, 1:] - thumbs[:, :8, :-1] > _LEAST_STEP
    down = thumbs[:, 1:, :8] - thumbs[:, :-1, :8] > _LEAST_STEP
    bits = np.concatenate([across.reshape(-1, 64), down.reshape(-1, 64)], axis=1)
    return np.packbits(bits, axis=1).view(np.uint32).reshape(-1, _SEGMENTS)


def _pairs(
    hashes: npt.NDArray[np.uint32], usable: npt.NDArray[np.bool_], part_of: Labels
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of images with an equal segment.

    Of many images with one, such as the frames of a film, each is paired with its neighbours in
    the order of the whole hashes, one on each side from each other part.
    """
    seen: set[tuple[int, int]] = set()
    members = np.flatnonzero(usable)
    for segment in range(_SEGMENTS):
        order = members[np.argsort(hashes[members, segment], kind="stable")]
        values = hashes[order, segment]
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])
        sizes = np.diff(np.r_[starts, len(values)])
        for start, size in zip(starts, sizes, strict=True):
            bucket = order[start : start + size]
            if 1 < size <= _LARGEST_BUCKET:
                seen.update(combinations(bucket.tolist(), 2))
            elif size > _LARGEST_BUCKET:
                seen.update(_neighbours(bucket[np.lexsort(hashes[bucket].T)], part_of))
    yield from seen


def _neighbours(order: Labels, part_of: Labels) -> Iterator[tuple[int, int]]:
    """Yield each image with the nearest one of each other part, on both sides."""
    for images in (order.tolist(), order[::-1].tolist()):
        nearest: dict[int, int] = {}
        for image in images:
            part = int(part_of[image])
            yield from ((other, image) for where, other in nearest.items() if where != part)
            nearest[part] = image
