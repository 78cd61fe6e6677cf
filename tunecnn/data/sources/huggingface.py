"""Folders of Hugging Face `datasets`: Parquet shards, or the Arrow files of `save_to_disk`."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunecnn.data.folder.layout import PART_NAMES, UNLABELLED, Part
from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.images import Arrays, Images, Reading
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError

_IMAGES = ("image", "img", "images", "pixels")
_LABELS = ("label", "labels", "fine_label", "class", "target")


def read_huggingface(path: Path, options: ImageOptions) -> Arrays:
    """Read a folder of Parquet or Arrow files, or one such file.

    The split of a file is the first word of its name (`train-00000-of-00001.parquet`) or the
    folder that it lies in.

    Raises:
        InputError: if there are no such files, a column is missing, or an image cannot be used.
    """
    path = path.expanduser()
    if not path.exists():
        raise InputError(f"huggingface: there is nothing at {path}")
    files = [path] if path.is_file() else sorted(
        file for kind in ("*.parquet", "*.arrow") for file in path.rglob(kind)
    )  # fmt: skip
    if not files:
        raise InputError(f"huggingface: {path} has no .parquet or .arrow files")
    tables: dict[Part, list[pa.Table]] = defaultdict(list)
    left_out: dict[str, int] = {}
    for file in files:
        part = _part_of(file, path)
        table = _read(file)
        if part is None and len(files) > 1:
            left_out[f"rows of {file.name}, which names no split"] = len(table)
        else:
            tables[part or "train"].append(table)
    if "train" not in tables:
        there = ", ".join(file.name for file in files[:5])
        raise InputError(f"huggingface: {path} has no training split among {there}")
    return _arrays(path, tables, left_out, options)


def _part_of(file: Path, root: Path) -> Part | None:
    parts = file.relative_to(root).parts if file != root else (file.name,)
    for word in (file.name, *reversed(parts[:-1])):
        first = re.split(r"[-_.]", word.casefold())[0]
        for part, names in PART_NAMES.items():
            if first in names:
                return part
    return None


def _read(file: Path) -> pa.Table:
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file)
        with pa.memory_map(str(file)) as stream:
            try:
                return pa.ipc.open_stream(stream).read_all()
            except pa.ArrowInvalid:
                return pa.ipc.open_file(stream).read_all()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"huggingface: {file} cannot be read: {error}") from error


def _arrays(
    path: Path,
    tables: Mapping[Part, list[pa.Table]],
    left_out: Mapping[str, int],
    options: ImageOptions,
) -> Arrays:
    bad: dict[str, str] = {}
    changed: dict[str, int] = defaultdict(int)
    images: dict[str, list[Any]] = {}
    labels: dict[str, list[Any]] = {}
    names: list[str] = []
    classes: tuple[str, ...] | None = None
    unlabelled = 0
    order: list[Part] = [part for part in PART_NAMES if part in tables]
    for part in order:
        images[part], labels[part] = [], []
        for number, (image, label, known) in enumerate(_rows(path, tables[part])):
            classes = classes or known
            name = f"{part}[{number}]"
            try:
                pixels, done = read_pixels(image, f"{name}.png", options)
            except (BadImageError, NotAnImageError) as error:
                bad[name] = str(error)
                continue
            if label is None or (isinstance(label, int) and label < 0):
                if part == "test":
                    unlabelled += 1
                else:
                    bad[name] = "it has no label"
                continue
            if isinstance(label, int) and known is not None and label >= len(known):
                bad[name] = f"its label is {label}, and there are {len(known)} classes"
                continue
            images[part].append(pixels)
            labels[part].append(label)
            names.append(name)
            for one in done:
                changed[one] += 1
    if bad and not options.skip_bad:
        few = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:5])
        raise InputError(
            f"huggingface: {path}: {len(bad):,} rows cannot be used: {few}. Add --skip-bad to "
            "leave them out."
        )
    sizes = {one.shape[:2] for group in images.values() for one in group}
    if len(sizes) > 1:
        raise InputError(
            f"huggingface: {path}: the images have {len(sizes)} different sizes; give one: "
            "size: 32"
        )
    channels = max((one.shape[2] for group in images.values() for one in group), default=1)
    found = sorted({label for group in labels.values() for label in group})
    if classes is None:
        classes = tuple(map(str, found))
        index = {label: i for i, label in enumerate(found)}
    else:
        index = {label: label for label in found}
    parts = {
        part: Images(
            np.stack([np.broadcast_to(one, (*one.shape[:2], channels)) for one in images[part]]),
            np.array([index[label] for label in labels[part]], np.int64),
        )
        for part in order
        if images[part]
    }
    if "train" not in parts or len(classes) < 2:
        raise InputError(f"huggingface: {path} has no training images of at least two classes")
    empty = Images(parts["train"].pixels[:0], parts["train"].labels[:0])
    out = {**left_out, UNLABELLED: unlabelled, "cannot be read (--skip-bad)": len(bad)}
    out = {why: count for why, count in out.items() if count}
    return Arrays(
        parts["train"], parts.get("test", empty), classes, parts.get("validation"), None,
        Reading(len(names), out, dict(changed), bad, tuple(names)),
    )  # fmt: skip


def _rows(
    path: Path, tables: list[pa.Table]
) -> Iterator[tuple[bytes, Any, tuple[str, ...] | None]]:
    """Yield the encoded image, the label and the known class names of each row."""
    for table in tables:
        image = next((name for name in _IMAGES if name in table.column_names), None)
        label = next((name for name in _LABELS if name in table.column_names), None)
        if image is None or label is None:
            raise InputError(
                f"huggingface: {path} has the columns {', '.join(table.column_names)}; an image "
                f"({', '.join(_IMAGES)}) and a label ({', '.join(_LABELS)}) are needed"
            )
        known = _class_names(table.schema, label)
        for batch in table.select([image, label]).to_batches(max_chunksize=256):
            for value, number in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                content = value.get("bytes") if isinstance(value, dict) else value
                if content is None and isinstance(value, dict) and value.get("path"):
                    file = path / value["path"]
                    content = file.read_bytes() if file.is_file() else b""
                yield content if isinstance(content, bytes) else b"", number, known


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Return the class names that `datasets` keeps in the metadata of a table."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, stored["info"]["features"][label]["names"]))
    except (KeyError, TypeError, ValueError):
        return None
