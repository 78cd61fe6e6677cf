"""Decoding of many image files in parallel, with all mistakes of all files collected."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import joblib
import numpy as np

from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.folder.tree import Source, Tree
from tunecnn.data.images import Pixels
from tunecnn.data.options import ImageOptions

_CHUNK = 256  # files per task
_CHUNK_BYTES = 1 << 23  # of one task's pixels, about; large images get smaller tasks

Progress = Callable[[int], None]
"""Is called with the number of files decoded since the last call."""


@dataclass
class Decoded:
    """Decoded files, in their order.

    Attributes:
        pixels: pixels of the usable files, of shape (n, height, width, 1 or 3); RGB if any is.
        used: whether each file is among them.
        sizes: number of images of each (height, width).
        done: number of images of each transformation.
        bad: reason why an image cannot be used, by name.
        others: names of files that are no images.
    """

    pixels: Pixels
    used: np.ndarray[tuple[int], np.dtype[np.bool_]]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    bad: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


@dataclass
class _Chunk:
    """Some decoded files.

    Attributes:
        used: whether each file is among the images.
        images: pixels of the usable files: one array if they have one shape, which is quicker to
            send between processes than many small ones.
        done: number of images of each transformation.
        bad: reason why an image cannot be used, by name.
        others: names of files that are no images.
    """

    used: list[bool] = field(default_factory=list)
    images: Pixels | list[Pixels] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    bad: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def decode(
    tree: Tree, names: Sequence[str], options: ImageOptions, progress: Progress = lambda _: None
) -> Decoded:
    """Decode files of a tree.

    If images differ in size, only the sizes are collected and `pixels` is incomplete; the caller
    has to refuse them.

    Args:
        tree: folder or archive.
        names: names of its files.
        options: size, background and scale.
        progress: function that is called during the decoding.
    """
    found = Decoded(np.zeros((0, 0, 0, 1), np.uint8), np.zeros(len(names), bool))
    filled = index = grey = 0
    for chunk in _decoded_chunks(tree, names, options):
        found.used[index : index + len(chunk.used)] = chunk.used
        index += len(chunk.used)
        found.done.update(chunk.done)
        found.bad.update(chunk.bad)
        found.others += chunk.others
        for images in _by_shape(chunk.images):
            found.sizes[images.shape[1:3]] += len(images)
            grey += len(images) * (images.shape[3] == 1)
            if len(found.sizes) == 1:
                found.pixels = _with_room(found.pixels, filled, images, len(names))
                # A grey image in an RGB array gets three channels.
                found.pixels[filled : filled + len(images)] = images
                filled += len(images)
        progress(len(chunk.used))
    found.pixels = found.pixels[:filled]
    if grey and found.pixels.shape[3] == 3:
        found.done["grey given three channels, as others have colours"] += grey
    return found


def _by_shape(images: Pixels | list[Pixels]) -> Sequence[Pixels]:
    """Return the images as arrays (n, height, width, channels), in their order."""
    if isinstance(images, list):
        return [image[None] for image in images]
    return [images]


def _with_room(array: Pixels, filled: int, new: Pixels, total: int) -> Pixels:
    """Return an array for all images in which the new ones can be stored.

    Memory that is not filled is not used, so the array has room for all images from the start.
    """
    channels = max(array.shape[3] if filled else 1, new.shape[3])
    shape = (total, *new.shape[1:3], channels)
    if array.shape == shape:
        return array
    larger = np.empty(shape, np.uint8)
    if filled:
        larger[:filled] = array[:filled]
    return larger


def _decoded_chunks(tree: Tree, names: Sequence[str], options: ImageOptions) -> Iterator[_Chunk]:
    sources = zip(tree.contents(names), names, strict=True)
    first = list(itertools.islice(sources, 1))
    if not first:
        return
    # The first image tells how large the tasks may be; more than two would not fit a small chunk.
    alone = _decode_chunk(first, options)
    yield alone
    size = sum(images.nbytes for images in _by_shape(alone.images))
    per_task = min(_CHUNK, max(1, _CHUNK_BYTES // size)) if size else _CHUNK
    chunks = _chunks(sources, per_task)
    if len(names) <= _CHUNK:  # processes would take longer to start
        yield from (_decode_chunk(chunk, options) for chunk in chunks)
        return
    # Processes, not threads: with small images, the GIL would be the bottleneck.
    with joblib.Parallel(n_jobs=-1, return_as="generator", pre_dispatch="2*n_jobs") as pool:
        yield from pool(joblib.delayed(_decode_chunk)(chunk, options) for chunk in chunks)


def _chunks(
    sources: Iterable[tuple[Source, str]], count: int
) -> Iterator[list[tuple[Source, str]]]:
    remaining = iter(sources)
    while chunk := list(itertools.islice(remaining, count)):
        yield chunk


def _decode_chunk(sources: Sequence[tuple[Source, str]], options: ImageOptions) -> _Chunk:
    chunk = _Chunk()
    images: list[Pixels] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images and odd metadata; errors remain
        for source, name in sources:
            try:
                pixels, done = read_pixels(source, name, options)
            except BadImageError as error:
                chunk.bad[name] = str(error)
                chunk.used.append(False)
            except NotAnImageError:
                chunk.others.append(name)
                chunk.used.append(False)
            else:
                images.append(pixels)
                chunk.done.update(done)
                chunk.used.append(True)
    one_shape = len({image.shape for image in images}) == 1
    chunk.images = np.stack(images) if one_shape else images
    return chunk
