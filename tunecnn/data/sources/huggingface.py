"""Folders of Hugging Face `datasets`: Parquet shards, or the Arrow files of `save_to_disk`."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tunecnn.data.folder.labels import ONE_NAME, joined_labels
from tunecnn.data.folder.layout import UNLABELLED
from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.folder.table import stands_for_none
from tunecnn.data.folder.tree import Unreadable
from tunecnn.data.images import Arrays, Pixels, Reading, useless_scale
from tunecnn.data.options import ImageOptions
from tunecnn.data.parts import (
    PART_NAMES,
    Part,
    divides_rows,
    is_split_name,
    not_all_parts,
    part_in,
    part_of,
    parts_by_word,
    too_few_train,
)
from tunecnn.data.sources.arrays import from_mapping
from tunecnn.errors import InputError, reason
from tunecnn.files import NOTHING_THERE, check_regular, expanded, read_regular, stays_below
from tunecnn.words import listed, shown

_MOST_WORDS = 20  # of a column that divides the rows
_IMAGE_COLUMNS = ("image", "img", "images", "pixels")
_SHARD = re.compile(r"[-_.]\d+([-_.]of[-_.]\d+.*)?$")
_NUMBERED = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})(?=[^/]*$)")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


def read_huggingface(path: Path, options: ImageOptions) -> Arrays:
    """Read a folder of Parquet or Arrow files, or one such file.

    The split of a file is the first word of its name (`train-00000-of-00001.parquet`) or the
    folder that it lies in; where no file has one, a word of its name (`mnist-train.arrow`).
    Folders such as `label=3` or `split=train`, as of a partitioned table, are columns.

    Raises:
        InputError: if there are no such files, a column is missing, or an image cannot be used.
    """
    path = expanded(path)
    if not path.exists():
        raise InputError(f"huggingface: {path}: {NOTHING_THERE}")
    left_out: dict[str, int] = {}
    files = [path]
    if path.is_dir():
        found = sorted(file for kind in ("*.parquet", "*.arrow") for file in path.rglob(kind))
        files = [file for file in found if not _is_cache(file)]
        left_out = {
            f"{file.relative_to(path)}, which `datasets` has put there for itself": 1
            for file in found
            if file not in files
        }
    if not files:
        raise InputError(f"huggingface: {path} has no .parquet or .arrow files")
    tables: dict[Part, list[pa.Table]] = defaultdict(list)
    folders: dict[Part, Path] = {}
    splits: dict[Part, str] = {}
    columns = [_partitions(file, path) for file in files]
    named = [_without_partitions(file, path) for file in files]
    parts = [_part_of(file, path) for file in named]
    in_names = [part_in(_SHARD.sub("", file.stem)) for file in files]
    is_one_table = all(_SHARD.search(file.stem) for file in files)
    is_one_table |= any(columns) and not any(in_names)
    if is_one_table and not any(parts):
        parts = ["train"] * len(files)
    if path.is_dir():
        _check_shards([file for file, part in zip(files, parts, strict=True) if part])
    is_alike = not any(parts)
    if is_alike:  # as in `mnist-train.arrow`
        parts = in_names
    for original, file, part, own in zip(files, named, parts, _typed(columns), strict=True):
        table = _read(original, own)
        if part is None and len(files) > 1:
            left_out[f"rows of {file.name}, which names no split"] = len(table)
            continue
        part = part or "train"
        split = _SHARD.sub("", file.stem) if is_alike and len(files) > 1 else _split_of(file)
        if splits.setdefault(part, split) != split:
            raise InputError(
                f"huggingface: {path} has two splits of {part} images, {splits[part]} and "
                f"{split}; move the files of one away"
            )
        place = _configuration(file, path)
        if folders.setdefault(part, place) != place:
            one, other = (one.relative_to(path) for one in (folders[part], place))
            raise InputError(
                f"huggingface: {path} has {part} rows in {one}/ and in {other}/: several "
                "configurations; give the folder of one"
            )
        tables[part].append(table)
    notes = _which_columns(tables.get("train", []))
    if tables.keys() == {"train"}:
        tables, column = _by_column(path, tables["train"])
        if column:
            notes.append(f"the parts are those of the column {column}")
    if "train" not in tables:
        there = listed(file.name for file in files)
        raise InputError(f"huggingface: {path} has no training split among {there}")
    arrays = _arrays(path, _decoded(path, tables, options), left_out, options)
    return replace(arrays, notes=(*arrays.notes, *notes))


def _check_shards(files: Sequence[Path]) -> None:
    """Check that no shard is missing, as after a download that was cut off.

    Raises:
        InputError: if one of `train-00000-of-00003.parquet` and so on is.
    """
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    example: dict[tuple[str, int], re.Match[str]] = {}
    for file in files:
        if match := _NUMBERED.search(str(file)):
            key = str(file)[: match.start()], int(match["count"])
            found[key].add(int(match["number"]))
            example[key] = match
    for key, numbers in found.items():
        if missing := sorted({*range(key[1])} - numbers):
            match = example[key]
            number = str(missing[0]).zfill(len(match["number"]))
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise InputError(
                f"huggingface: {key[0]}-{number}-of-{match['count']} is missing{more}; "
                f"get it, or take -of-{match['count']} out of the names of the others"
            )


def _which_columns(tables: Sequence[pa.Table]) -> list[str]:
    """Return notes on the columns of the labels and of the images, if others may be meant."""
    fields = list(tables[0].schema) if tables else []
    names, notes = [field.name for field in fields], []
    labels = [name for name in names if label_column([name])]
    if len(labels) > 1:
        notes.append(
            f"the labels are those of the column {label_column(names)}, among {listed(labels)}"
        )
    images = [
        one.name for one in fields if _column(_IMAGE_COLUMNS, [one.name]) or _is_image(one.type)
    ]
    if len(images) > 1:
        image = _column(_IMAGE_COLUMNS, names)
        notes.append(f"the images are those of the column {image}, among {listed(images)}")
    return notes


def _is_image(type_: pa.DataType) -> bool:
    """Return whether a column has encoded images, as `datasets` stores them."""
    return pa.types.is_struct(type_) and {"bytes", "path"} <= {one.name for one in type_}


def _by_column(path: Path, rows: list[pa.Table]) -> tuple[dict[Part, list[pa.Table]], str]:
    """Divide rows of files that name no other split by a column such as `split`, if they have one.

    Returns:
        The rows of each part, and the column's name; empty without such a one.

    Raises:
        InputError: if it has a few words, not all of which are parts, makes more rows validate
            than train, or another column divides the rows in another way.
    """
    label = label_column(rows[0].column_names)
    found: dict[str, list[Part]] = {}
    for column in rows[0].column_names:
        if column == label or not all(column in table.column_names for table in rows):
            continue
        words = set().union(*(_words(table[column]) for table in rows))
        if not divides_rows(column, words):
            continue
        part_by_word = parts_by_word(column, words)
        if "train" not in part_by_word.values() or None in part_by_word.values():
            raise InputError(f"huggingface: {path}: {not_all_parts(column, words)}")
        found[column] = [
            part
            for table in rows
            for word in _texts(table[column]).to_pylist()
            if (part := part_by_word[word or ""]) is not None
        ]
    if not found:
        return {"train": rows}, ""
    if len({*map(tuple, found.values())}) > 1:
        raise InputError(
            f"huggingface: {path}: its columns {' and '.join(found)} divide the rows in different "
            "ways; remove or rename all but one"
        )
    column, parts = next(iter(found.items()))
    if text := too_few_train(column, parts, "rows"):
        raise InputError(f"huggingface: {path}: {text}")
    divided: dict[Part, list[pa.Table]] = defaultdict(list)
    start = 0
    for table in rows:
        own = parts[start : start + len(table)]
        start += len(table)
        for part in dict.fromkeys(own):
            divided[part].append(table.filter(pa.array([one == part for one in own])))
    return divided, column


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.string())


def _words(column: pa.ChunkedArray) -> set[str]:
    """Return the different words in a column; of one with something else, or many, none."""
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
    ):
        return set()
    words = pc.unique(_texts(column)).to_pylist()
    return {word or "" for word in words} if len(words) <= _MOST_WORDS else set()


def _is_cache(file: Path) -> bool:
    """Return whether a file is what `.map` or `.filter` of `datasets` has left beside the data."""
    state = file.with_name("state.json")  # of `save_to_disk`: it names the files of the data
    try:
        names = [one["filename"] for one in json.loads(read_regular(state))["_data_files"]]
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        names = []
    return file.name not in names if names else file.name.startswith("cache-")


def _partitions(file: Path, root: Path) -> dict[str, str | None]:
    """Return the columns that folders such as `label=3` are, of a label or a split."""
    found: dict[str, str | None] = {}
    for name, sign, value in (one.partition("=") for one in _folders(file, root)):
        if sign and _is_partition(name):
            found[name] = None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
    return found


def _typed(columns: Sequence[dict[str, str | None]]) -> list[dict[str, str | int | None]]:
    """Make numbers of columns that have nothing else; 01 is a name, which is not that of 1."""
    of_numbers = {
        name
        for one in columns
        for name in one
        if all(
            (text := other.get(name)) is None or text.isdecimal() and text == str(int(text))
            for other in columns
        )
    }
    return [
        {
            name: int(text) if name in of_numbers and text is not None else text
            for name, text in one.items()
        }
        for one in columns
    ]


def _without_partitions(file: Path, root: Path) -> Path:
    """Return the path without folders such as `label=3`; `split=train` is the folder `train`."""
    folders = []
    for folder in _folders(file, root):
        name, sign, value = folder.partition("=")
        if not (sign and _is_partition(name)):
            folders.append(folder)
        elif is_split_name(name):
            folders.append(value)
    return root.joinpath(*folders, file.name) if file != root else file


def _folders(file: Path, root: Path) -> tuple[str, ...]:
    return file.relative_to(root).parts[:-1] if file != root else ()


def _is_partition(name: str) -> bool:
    return name in LABEL_COLUMNS or is_split_name(name)


def _part_of(file: Path, root: Path) -> Part | None:
    for word in (file.name, *reversed(_folders(file, root))):
        if (part := _part_named(word)) is not None:
            return part
    return None


def _split_of(file: Path) -> str:
    """Return the name of the split in the name of a file, or in that of a folder above it."""
    if _part_named(file.name) is None:
        return next((above.name for above in file.parents if _part_named(above.name)), "")
    return _SHARD.sub("", file.stem)


def _part_named(word: str) -> Part | None:
    return part_of(re.split(r"[-_.]", word)[0])


def _configuration(file: Path, root: Path) -> Path:
    """Return the folder of the configuration of a file: that above the folder of its split."""
    for above in file.parents:
        if above == root:
            break
        if _part_named(above.name) is not None:
            return above.parent
    return file.parent


def _read(file: Path, columns: Mapping[str, Any]) -> pa.Table:
    """Read a file, and add columns that have one value in all of its rows."""
    try:
        check_regular(file)
        table = _table(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"huggingface: {file} cannot be read: {reason(error)}") from error
    for name, value in columns.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table)))
    return table


def _table(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file, partitioning=None)
    with pa.memory_map(str(file)) as stream:
        try:
            return pa.ipc.open_stream(stream).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(stream).read_all()


@dataclass
class _Decoded:
    """The usable rows of a data set, by part, and why the others are not used.

    Attributes:
        images: pixels of each image.
        labels: label of each image.
        names: names of all images, in the order of the parts.
        classes: class names by label; None if the tables do not tell.
        bad: reason why a row cannot be used, by name.
        changed: number of images of each transformation.
        unlabelled: number of test images without a label.
    """

    images: dict[Part, list[Pixels]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[Part, list[Any]] = field(default_factory=lambda: defaultdict(list))
    names: list[str] = field(default_factory=list)
    classes: tuple[str, ...] | None = None
    bad: dict[str, str] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0


def _decoded(path: Path, tables: Mapping[Part, list[pa.Table]], options: ImageOptions) -> _Decoded:
    found = _Decoded()
    for part in (part for part in PART_NAMES if part in tables):
        own = tables[part]
        if part == "test":
            own = [one for one in own if label_column(one.column_names)]
            found.unlabelled += sum(map(len, tables[part])) - sum(map(len, own))
        for number, (content, label, known) in enumerate(_rows(path, own)):
            if known and found.classes and known != found.classes:
                classes = zip_longest(found.classes, known)
                label, both = next(
                    (label, both) for label, both in enumerate(classes) if both[0] != both[1]
                )
                one, other = (name or "not there" for name in both)
                raise InputError(
                    f"huggingface: {path}: its files have different classes, or in another order: "
                    f"label {label} is {one} in one and {other} in another; give the folder of "
                    "one configuration"
                )
            found.classes = found.classes or known
            name = f"{part}[{number}]"
            if part == "test" and _is_missing(label):
                found.unlabelled += 1
                continue
            try:
                _check_label(label, known)
                pixels, done = read_pixels(content, f"{name}.png", options)
            except (BadImageError, NotAnImageError) as error:
                found.bad[name] = str(error)
                continue
            found.images[part].append(pixels)
            found.labels[part].append(label)
            found.names.append(name)
            found.changed.update(done)
    words = {label for some in found.labels.values() for label in some if isinstance(label, str)}
    if joined := joined_labels(words):
        label, parts = min(joined.items())
        raise InputError(
            f"huggingface: {path}: the label {shown(label)} is several in one, "
            f"{listed(map(shown, sorted(parts)))}, which other rows have alone; an image has one "
            f"class, so leave one of them ({ONE_NAME})"
        )
    return found


def _is_missing(label: Any) -> bool:
    if isinstance(label, str):
        return stands_for_none(label)
    return label is None or (isinstance(label, int) and label < 0)


def _check_label(label: Any, classes: tuple[str, ...] | None) -> None:
    if _is_missing(label):
        raise BadImageError("it has no label" + (f" ({label!r})" if label else ""))
    if isinstance(label, int) and classes is not None and label >= len(classes):
        raise BadImageError(f"its label is {label}, and there are {len(classes)} classes")


def _arrays(
    path: Path, found: _Decoded, left_out: Mapping[str, int], options: ImageOptions
) -> Arrays:
    if found.bad and not options.skip_bad:
        few = "; ".join(f"{name}: {why}" for name, why in list(found.bad.items())[:5])
        raise InputError(
            f"huggingface: {path}: {len(found.bad):,} rows cannot be used: {few}. Add --skip-bad "
            "to leave them out."
        )
    shapes = {one.shape for images in found.images.values() for one in images}
    if (sizes := len({shape[:2] for shape in shapes})) > 1:
        raise InputError(
            f"huggingface: {path}: the images have {sizes} different sizes; give one: size: 32"
        )
    channels = max((shape[2] for shape in shapes), default=1)
    arrays_by_name: dict[str, Any] = {}
    for part, images in found.images.items():
        wide = [np.broadcast_to(one, (*one.shape[:2], channels)) for one in images]
        arrays_by_name[f"{part}_images"] = np.stack(wide)
        arrays_by_name[f"{part}_labels"] = np.array(found.labels[part])
    if found.classes is not None:
        arrays_by_name["classes"] = found.classes
    everything = [one for images in found.images.values() for one in images]
    if why := useless_scale(everything, options.scale):
        raise InputError(f"huggingface: {path}: {why}")
    in_bytes = replace(options, scale=None)  # `read_pixels` has divided by it
    arrays = from_mapping(arrays_by_name, f"huggingface: {path}", in_bytes)
    out = {**left_out, UNLABELLED: found.unlabelled, "cannot be read (--skip-bad)": len(found.bad)}
    reading = Reading(
        len(found.names),
        {why: count for why, count in out.items() if count},
        dict(found.changed),
        found.bad,
        tuple(found.names),
    )
    return replace(arrays, reading=reading)


def _rows(
    path: Path, tables: list[pa.Table]
) -> Iterator[tuple[bytes | Unreadable, Any, tuple[str, ...] | None]]:
    """Yield the encoded image, the label and the known class names of each row."""
    folder = path if path.is_dir() else path.parent
    for table in tables:
        image, label = image_and_label(table.column_names, f"huggingface: {path} has the columns")
        for name in (image, label):
            if _is_list(table.schema.field(name).type):
                raise InputError(
                    f"huggingface: {path}: the column {name} has lists; one encoded image and one "
                    "label for each row are needed"
                )
        known = _class_names(table.schema, label)
        for batch in table.select([image, label]).to_batches(max_chunksize=256):
            for value, number in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                content = value.get("bytes") if isinstance(value, dict) else value
                if content is None and isinstance(value, dict):
                    content = value.get("path")
                yield _content(folder, content), number, known


def label_column(names: Collection[str]) -> str | None:
    """Return the column with the first of the usual names of labels, in any case, or None."""
    return _column(LABEL_COLUMNS, names)


def _column(wanted: Sequence[str], names: Collection[str]) -> str | None:
    in_any_case = {str(name).casefold(): name for name in reversed([*names])}
    return next((in_any_case[name] for name in wanted if name in in_any_case), None)


def image_and_label(names: Collection[str], subject: str) -> tuple[str, str]:
    """Return the columns of the image and of the label, by their usual names.

    Args:
        names: names of the columns.
        subject: beginning of the message if one is missing.

    Raises:
        InputError: if there is none of these names.
    """
    image, label = _column(_IMAGE_COLUMNS, names), label_column(names)
    if image is None or label is None:
        raise InputError(
            f"{subject} {listed(map(str, names))}; an image ({', '.join(_IMAGE_COLUMNS)}) and "
            f"a label ({', '.join(LABEL_COLUMNS)}) are needed"
        )
    return image, label


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _content(folder: Path, value: Any) -> bytes | Unreadable:
    """Return an encoded image: the value itself, or the file below the folder that it names."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        what = "missing" if value is None else f"a {type(value).__name__}, not an encoded image"
        return Unreadable(f"its image is {what}")
    if not stays_below(value):
        return Unreadable(f"its image is the text {value[:60]!r}, which is no path in {folder}")
    try:
        return read_regular(folder / value)
    except OSError as error:
        return Unreadable(f"its image {value[:200]!r} cannot be read: {reason(error)}")


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Return the class names that `datasets` keeps in the metadata of a table."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, stored["info"]["features"][label]["names"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
