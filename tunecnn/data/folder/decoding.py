"""Decoding of many image files in parallel, with all mistakes of all files collected."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np

from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.folder.tree import Tree
from tunecnn.data.images import Pixels
from tunecnn.data.options import ImageOptions

_CHUNK = 256  # files per task
_CHUNK_BYTES = 1 << 26  # of one task's pixels, about; large images get smaller tasks

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


@dataclass(frozen=True)
class _Result:
    """One decoded file: its pixels, or why there are none."""

    pixels: Pixels | None = None
    done: tuple[str, ...] = ()
    bad: str = ""


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
    filled = 0
    index = 0
    for results in _decoded_chunks(tree, names, options):
        good: list[Pixels] = []
        for result in results:
            if result.pixels is not None:
                found.sizes[result.pixels.shape[:2]] += 1
                found.done.update(result.done)
                found.used[index] = True
                good.append(result.pixels)
            elif result.bad:
                found.bad[names[index]] = result.bad
            else:
                found.others.append(names[index])
            index += 1
        if good and len(found.sizes) == 1:
            found.pixels = _with_room(found.pixels, filled, good, len(names))
            for pixels in good:
                found.pixels[filled] = pixels  # a grey image in an RGB array gets three channels
                filled += 1
        progress(len(results))
    found.pixels = found.pixels[:filled]
    return found


def _with_room(array: Pixels, filled: int, new: Sequence[Pixels], total: int) -> Pixels:
    """Return an array for all images in which the new ones can be stored.

    Memory that is not filled is not used, so the array has room for all images from the start.
    """
    channels = max(array.shape[3] if filled else 1, *(pixels.shape[2] for pixels in new))
    shape = (total, *new[0].shape[:2], channels)
    if array.shape == shape:
        return array
    larger = np.empty(shape, np.uint8)
    if filled:
        larger[:filled] = array[:filled]
    return larger


def _decoded_chunks(
    tree: Tree, names: Sequence[str], options: ImageOptions
) -> Iterator[Sequence[_Result]]:
    sources = zip(tree.contents(names), names, strict=True)
    first = list(itertools.islice(sources, 1))
    if not first:
        return
    # The first image tells how large the tasks may be; more than two would not fit a small chunk.
    results = _decode_chunk(first, options)
    yield results
    pixels = results[0].pixels
    per_task = _CHUNK if pixels is None else min(_CHUNK, max(1, _CHUNK_BYTES // pixels.nbytes))
    chunks = _chunks(sources, per_task)
    if len(names) <= _CHUNK:  # processes would take longer to start
        yield from (_decode_chunk(chunk, options) for chunk in chunks)
        return
    # Processes, not threads: with small images, the GIL would be the bottleneck.
    with joblib.Parallel(n_jobs=-1, return_as="generator", pre_dispatch="2*n_jobs") as pool:
        yield from pool(joblib.delayed(_decode_chunk)(chunk, options) for chunk in chunks)


def _chunks(
    sources: Iterable[tuple[Path | bytes, str]], count: int
) -> Iterator[list[tuple[Path | bytes, str]]]:
    remaining = iter(sources)
    while chunk := list(itertools.islice(remaining, count)):
        yield chunk


def _decode_chunk(
    sources: Sequence[tuple[Path | bytes, str]], options: ImageOptions
) -> list[_Result]:
    results = []
    for source, name in sources:
        try:
            pixels, done = read_pixels(source, name, options)
        except BadImageError as error:
            results.append(_Result(bad=str(error)))
        except NotAnImageError:
            results.append(_Result())
        else:
            results.append(_Result(pixels, tuple(done)))
    return results
