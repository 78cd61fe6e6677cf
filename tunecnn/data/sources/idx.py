"""IDX files, in which MNIST and the data sets that follow it keep their images and labels."""

from __future__ import annotations

import gzip
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tunecnn.data.images import Arrays, Pixels
from tunecnn.data.memory import check_fits
from tunecnn.data.options import ImageOptions
from tunecnn.data.parts import PART_NAMES, Part
from tunecnn.data.sources.arrays import from_mapping
from tunecnn.errors import InputError, reason
from tunecnn.files import NOTHING_THERE, check_regular, expanded

_GZIP = b"\x1f\x8b"
_LONGEST_HEAD = 4 + 4 * 4  # bytes, of a file with four axes
_PARTS: Mapping[Part, tuple[str, ...]] = {**PART_NAMES, "test": (*PART_NAMES["test"], "t10k")}


class BadIdxError(Exception):
    """A file that is not a whole IDX file of bytes."""


def read_idx(path: Path) -> tuple[Pixels, bytes]:
    """Read an IDX file of bytes, compressed by gzip or not.

    Its first bytes are 0, 0, 8 (the type) and the number of axes; then follow the length of each
    axis as a big-endian number of four bytes, and the values.

    Returns:
        The values, and the whole uncompressed content.

    Raises:
        BadIdxError: if the file is incomplete or something else.
    """
    try:
        check_regular(path)
        with path.open("rb") as stream:
            is_packed = stream.read(len(_GZIP)) == _GZIP
        with gzip.open(path) if is_packed else path.open("rb") as stream:
            head = stream.read(_LONGEST_HEAD)
            if len(head) < 8 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                begins = f"begins with {head[:12]!r}" if head else "is empty"
                raise BadIdxError(f"is no IDX file of bytes: it {begins}")
            axes = head[3]
            shape = tuple(map(int, np.frombuffer(head, ">u4", count=axes, offset=4)))
            expected = math.prod(shape)
            if not expected:
                raise BadIdxError(f"has no values: its shape is {shape}")
            check_fits(expected, path.name)
            whole = 4 + 4 * axes + expected
            content = head + stream.read(max(0, whole - len(head)))
            further = b"" if len(content) < whole else stream.read(1)
    except EOFError as error:
        raise BadIdxError("is incomplete: its compressed data ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadIdxError(f"cannot be unpacked: {error}") from error
    except OSError as error:
        raise BadIdxError(f"cannot be read: {reason(error)}") from error
    except ValueError as error:  # fewer bytes than its axes need
        raise BadIdxError(f"is incomplete: {error}") from error
    found = len(content) - 4 - 4 * axes
    if found < expected:
        raise BadIdxError(f"is incomplete: it has {found:,} of the {expected:,} values")
    if found > expected or further:
        raise BadIdxError(f"is no IDX file: bytes follow its last value, number {expected:,}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape), content


def read_idx_folder(path: Path, options: ImageOptions) -> Arrays:
    """Read the IDX files of a folder: training images and labels, and others if there are any.

    A file belongs to the training, validation or test images by its name (`t10k` is for testing),
    and holds images or labels by its content.

    Raises:
        InputError: if the files cannot be paired, or cannot be read.
    """
    folder = expanded(path)
    if not folder.is_dir():
        why = "is not a folder" if folder.exists() else NOTHING_THERE
        raise InputError(f"idx: {folder}: {why}")
    images: dict[Part, list[tuple[Path, Pixels]]] = defaultdict(list)
    labels: dict[Part, list[tuple[Path, Pixels]]] = defaultdict(list)
    left_out = 0
    for file in _once(folder):
        part = _part_of(file)
        if part is None:
            left_out += 1
            continue
        try:
            values, _ = read_idx(file)
        except BadIdxError as error:
            raise InputError(f"idx: {file} {error}") from error
        (labels if values.ndim == 1 else images)[part].append((file, values))
    arrays_by_name = {}
    for part in _PARTS:
        if images[part] or labels[part]:
            pair = _only(part, "images", images[part]), _only(part, "labels", labels[part])
            arrays_by_name[f"{part}_images"], arrays_by_name[f"{part}_labels"] = pair
    if "train_images" not in arrays_by_name:
        raise InputError(
            f"idx: {folder} has no training images; expected files such as "
            "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz"
        )
    arrays = from_mapping(arrays_by_name, f"idx: {folder}", options)
    assert arrays.reading is not None
    reading = replace(arrays.reading, left_out={"names no part": left_out} if left_out else {})
    return replace(arrays, reading=reading)


def _once(folder: Path) -> Iterator[Path]:
    """Yield the IDX files below a folder, each once if it is there packed and unpacked."""
    seen = set()
    for file in sorted(folder.rglob("*ubyte*")):
        name = str(file.relative_to(folder)).removesuffix(".gz").casefold().replace(".idx", "-idx")
        if file.is_file() and name not in seen:
            seen.add(name)
            yield file


def _part_of(file: Path) -> Part | None:
    words = file.name.casefold().replace(".", "-").replace("_", "-").split("-")
    return next((part for part, names in _PARTS.items() if set(names) & set(words)), None)


def _only(part: Part, content: str, found: list[tuple[Path, Pixels]]) -> Pixels:
    if len(found) != 1:
        names = ", ".join(file.name for file, _ in found)
        raise InputError(
            f"idx: one file of {part} {content} is needed, not {len(found)}"
            + (f" ({names}); move one data set to a folder of its own" if found else "")
        )
    return found[0][1]
