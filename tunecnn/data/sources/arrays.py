"""Arrays of the user, checked: from a `.npz` file or from a function."""

from __future__ import annotations

import contextlib
import math
import runpy
import sys
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.data.folder.names import folded
from tunecnn.data.images import ALMOST_BLACK, Arrays, Images, Pixels, Reading, likely_white
from tunecnn.data.memory import check_fits
from tunecnn.data.options import ImageOptions
from tunecnn.data.parts import PART_NAMES, Part
from tunecnn.data.sources.values import array_given
from tunecnn.errors import InputError, reason, text_of
from tunecnn.files import NOTHING_THERE, check_regular, expanded, read_regular, sha256
from tunecnn.words import in_utf8, shown

_IMAGES = ("images", "x", "pixels")
_LABELS = ("labels", "y")
_ALSO = ("classes", "groups")
_MOST_WHITE = 0.9  # of the values, which a picture on white may have
_LARGEST = 2**53  # beyond it, floats do not tell whole numbers apart
_EXPECTED = (
    "expected train_images (n, height, width[, channels]) and train_labels (n,), and optionally "
    "the same for val and test, classes (names by label) and groups (n,)"
)


def read_npz(path: Path, options: ImageOptions) -> Arrays:
    """Read the arrays of a `.npz` file, such as Keras's mnist.npz or those of MedMNIST.

    Raises:
        InputError: if the file or an array cannot be used.
    """
    try:
        check_regular(path)
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as stored:
            values = {name: stored[name] for name in stored.files}
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: {NOTHING_THERE}") from error
    except Exception as error:  # zlib.error, LZMAError, RuntimeError for a password, ...
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} has an array of Python objects, such as words of a pandas column: save "
                "it with .astype(str), or numbers with their type"
            ) from error
        raise InputError(f"{path} cannot be read as .npz: {reason(error)}") from error
    return from_mapping(values, str(path), options)


def _check_sizes(path: Path) -> None:
    """Check the claimed sizes of the arrays of a `.npz` file before any is read.

    Raises:
        InputError: if together they do not fit into memory.
        ValueError: if an array claims more or less than its file holds.
    """
    total = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                if version == (1, 0):
                    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                else:
                    shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
                claimed = math.prod(shape) * dtype.itemsize
                there = member.file_size - stream.tell()
            if claimed != there and not dtype.hasobject:
                raise ValueError(
                    f"{member.filename} claims {claimed:,} bytes of values and holds {there:,}"
                )
            total += claimed
    check_fits(total, str(path))


def read_function(path: str, options: ImageOptions) -> Arrays:
    """Run a function of the user's file, and check the arrays that it returns.

    It returns a mapping with the names of a `.npz` file, or two arrays: images and labels.

    Args:
        path: `FILE.py:FUNCTION`.
        options: how images are read.

    Raises:
        InputError: if there is no such function, it fails, or its arrays cannot be used.
    """
    file, _, name = path.rpartition(":")
    file = str(expanded(file))
    try:
        code = read_regular(Path(file))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {reason(error)}") from error
    try:
        with _importable(Path(file).parent):
            function = runpy.run_path(file).get(name)
            if not callable(function):
                raise InputError(f"{file} has no function {name!r}")
            returned = function()
    except InputError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"{path} failed: {type(error).__name__}: {text_of(error)}") from error
    if isinstance(returned, tuple) and len(returned) == 2:
        images, labels = returned
        returned = {"train_images": images, "train_labels": labels}
        if all(isinstance(part, tuple) and len(part) == 2 for part in (images, labels)):
            (images, labels), (test_images, test_labels) = images, labels  # as in Keras
            returned = {
                "train_images": images,
                "train_labels": labels,
                "test_images": test_images,
                "test_labels": test_labels,
            }
    if not isinstance(returned, Mapping):
        raise InputError(f"{path} returned {type(returned).__name__}; {_EXPECTED}")
    arrays = arrays_given(returned, path, options)
    note = f"the images are made by {name} of code {sha256(code)[:12]}"
    return from_mapping(arrays, path, options, note)


def arrays_given(values: Mapping[Any, Any], where: str, options: ImageOptions) -> dict[str, Any]:
    """Return the values of a mapping as arrays by name, without those that are None.

    A value that `from_mapping` does not use may be of any type: an empty array stands for it.

    Raises:
        InputError: if one that is used is no array.
    """
    used = {name for names in _used(values).values() for name in names}
    return {
        str(name): array_given(value, f"{where}: {name}", options)
        if name in used or name in _ALSO
        else np.zeros(0)
        for name, value in values.items()
        if value is not None
    }


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the user's code import the modules beside it."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))


def from_mapping(
    values: Mapping[str, Any], where: str, options: ImageOptions, *notes: str
) -> Arrays:
    """Check arrays, and make a data set of them.

    Args:
        values: arrays by name.
        where: source of the arrays, for messages.
        options: how images are read; `scale` is needed for values above 255 and for floats.
        notes: sentences about the source.

    Raises:
        InputError: if an array is missing or cannot be used.
    """
    said = list(notes)
    used = set[str]()
    raw: dict[str, tuple[Pixels, Any]] = {}
    for part, (images, labels) in _used(values).items():
        used |= {images, labels}
        if part == "validation" and not len(values[images]):
            continue  # as a function returns them that splits nothing off
        pixels = _pixels(np.asarray(values[images]), f"{where}: {images}", options, said)
        raw[part] = pixels, _labels(values[labels], len(pixels), f"{where}: {labels}")
    if "train" not in raw:
        there = ", ".join(map(shown, sorted(values))) or "nothing"
        raise InputError(f"{where} has {there}; {_EXPECTED}")
    classes, numbers = _classes(
        {part: labels for part, (_, labels) in raw.items()}, values.get("classes"), where
    )
    parts = {part: Images(pixels, numbers[part]) for part, (pixels, _) in raw.items()}
    _check_shapes(parts, where)
    groups = None
    if values.get("groups") is not None:
        groups = np.unique(
            _labels(values["groups"], len(parts["train"]), f"{where}: groups"), return_inverse=True
        )[1].astype(np.int64)
    others = sorted(set(values) - used - set(_ALSO))
    if others:
        said.append(f"not used: {', '.join(map(str, others))}")
    empty = Images(parts["train"].pixels[:0], parts["train"].labels[:0])
    return Arrays(
        parts["train"],
        parts.get("test", empty),
        classes,
        parts.get("validation"),
        groups,
        Reading(used=sum(map(len, parts.values())), files=_names(parts)),
        tuple(said),
    )


def _used(values: Mapping[Any, Any]) -> dict[Part, tuple[Any, Any]]:
    """Return the names of the images and labels of each part."""
    found = {
        part: _find(values, prefixes, part == "train") for part, prefixes in PART_NAMES.items()
    }
    return {part: names for part, names in found.items() if names is not None}


def _find(
    values: Mapping[str, Any], prefixes: Iterable[str], may_be_alone: bool
) -> tuple[str, str] | None:
    """Return the names of the images and labels of a part; None if there are none."""
    names = {str(name).casefold(): name for name in values}
    for prefix in (*prefixes, *([""] if may_be_alone else [])):
        for images in _IMAGES:
            for labels in _LABELS:
                for form in ("{0}_{1}", "{1}_{0}", "{0}{1}"):
                    pair = form.format(prefix, images), form.format(prefix, labels)
                    if pair[0] in names and pair[1] in names:
                        return names[pair[0]], names[pair[1]]
    return None


def _pixels(array: Any, where: str, options: ImageOptions, notes: list[str]) -> Pixels:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 1 and array.dtype.kind in "US":
        raise InputError(
            f"{where} has words, such as {str(array[0])[:60]!r}, and names of files are not read "
            "here: give their folder, imagefolder:FOLDER, or the images as Pillow opens them"
        )
    if array.ndim != 4 or array.dtype.kind not in "buif":
        raise InputError(
            f"{where} has the shape {array.shape} of {array.dtype}; images are numbers of the "
            "shape (n, height, width) or (n, height, width, channels)"
        )
    if array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
        notes.append(f"{where.rpartition(': ')[2]} had its channels before its rows")
    if array.shape[3] not in (1, 3):
        raise InputError(f"{where} has {array.shape[3]} channels; images have 1 (grey) or 3 (RGB)")
    if not array.shape[1] * array.shape[2]:
        raise InputError(f"{where} has the shape {array.shape}: its images have no pixels")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{where} has values that are not numbers (NaN or infinite)")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0:
        raise InputError(
            f"{where} has values from {low:.6g} to {high:.6g}, and black is 0: add the same "
            f"number to the images of all parts, and say which value is white, such as scale: "
            f"{high - low:g}"
        )
    if array.dtype == np.uint8 and options.scale is None:
        if high == 1:
            notes.append(
                f"{where.rpartition(': ')[2]} has only the values 0 and 1 of 255, which are "
                "almost black; in arrays, scale: 1.0 makes them black and white"
            )
        return np.ascontiguousarray(array)
    if array.dtype.kind in "iu" and 1 < high <= 255 and options.scale is None:
        return np.ascontiguousarray(array.astype(np.uint8))
    if options.scale is None:
        raise InputError(
            f"{where} has values from {low:.6g} to {high:.6g} of {array.dtype}; say which value "
            f"is white: scale: {likely_white(array)} (black is 0)"
        )
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)  # in float16, the scale may be infinite
    if array.size and round(high / options.scale * 255) <= ALMOST_BLACK:
        raise InputError(
            f"{where} has values up to {high:.6g}, so with scale: {options.scale:.6g} all images "
            "would be black or almost black"
        )
    share = float((array > options.scale).mean()) if array.size else 0.0
    if share > _MOST_WHITE:
        raise InputError(
            f"{where} has values up to {high:.6g}, so with scale: {options.scale:.6g} nearly all "
            f"({share:.1%}) would be white; if the parts have other scales, give them one"
        )
    if share:
        notes.append(
            f"{share:.2%} of the values of {where.rpartition(': ')[2]} are above scale, and white"
        )
    pixels: Pixels = np.rint(np.clip(array / options.scale, 0, 1) * 255).astype(np.uint8)
    return pixels


def _labels(given: Any, count: int, where: str) -> Any:
    labels = np.asarray(given)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    is_whole = (
        labels.dtype.kind == "f"
        and np.isfinite(labels).all()
        and np.array_equal(labels, np.rint(labels))
    )
    if (labels.dtype.kind in "iu" or is_whole) and labels.size:
        if not -_LARGEST <= float(labels.min()) <= float(labels.max()) <= _LARGEST:
            raise InputError(f"{where} has numbers beyond 2^53; number the classes from 0")
        labels = labels.astype(np.int64)  # floats as pandas writes numbers of which one is missing
    if labels.ndim == 1 and labels.dtype.kind == "f" and (lost := int(np.isnan(labels).sum())):
        raise InputError(f"{where} has {lost:,} labels that are NaN; leave these images out")
    if labels.ndim != 1 or labels.dtype.kind not in "buiUS":
        hint = ""
        if labels.ndim == 2 and labels.dtype.kind in "buif":
            are_flags = bool(np.isin(labels, (0, 1)).all())
            hint = " (of one-hot labels, their argmax)"
            if are_flags and (labels.sum(axis=1) != 1).any():
                hint = "; some images have several labels, or none, and a class is one of them"
        raise InputError(
            f"{where} has the shape {labels.shape} of {labels.dtype}; one whole number or name "
            f"per image is needed{hint}"
        )
    labels = _text(labels, where)
    if len(labels) != count:
        raise InputError(f"{where} has {len(labels):,} values for {count:,} images")
    return labels


def _text(names: Any, where: str) -> Any:
    """Return names as text, as which `str` would not read bytes; numbers as they are."""
    names = np.asarray(names)
    if names.dtype.kind == "U":
        try:
            texts = [
                unicodedata.normalize("NFC", in_utf8(name)) for name in names.ravel().tolist()
            ]
            return np.array(texts, dtype="U" if texts else None).reshape(names.shape)
        except (ValueError, SystemError) as error:
            raise InputError(f"{where} has a name that is no text") from error
    if names.dtype.kind != "S":
        return names
    try:
        return _text(np.char.decode(names, "utf-8"), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} has a name that is not UTF-8") from error


def _classes(
    labels: Mapping[str, Any], names: Any, where: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the class names, and the labels of each part as indices into them."""
    if len({one.dtype.kind in "US" for one in labels.values() if len(one)}) > 1:
        raise InputError(f"{where}: some parts have names as labels, and others numbers")
    if not any(map(len, labels.values())):
        raise InputError(f"{where} has no images")
    known = np.unique(np.concatenate([one for one in labels.values() if len(one)]))
    if len(known) < 2:
        raise InputError(f"{where} has {len(known)} class; at least 2 are needed")
    if known.dtype.kind in "US":
        _check_spelling(known.tolist(), where)
    elif known[0] == -1 and known[1] == 0:
        count = sum(int((one == -1).sum()) for one in labels.values())
        raise InputError(
            f"{where}: {count:,} images have the label -1, which mostly stands for none beside 0; "
            "leave them out, or number the classes from 0"
        )
    missing = np.setdiff1d(known, labels["train"])
    if len(missing):
        raise InputError(f"{where}: no training image has the label {missing[0]}")
    if names is None:
        numbers = {part: np.searchsorted(known, one) for part, one in labels.items()}
        return tuple(map(str, known)), {k: v.astype(np.int64) for k, v in numbers.items()}
    named = _text(names, where)
    if named.ndim != 1:
        raise InputError(
            f"{where}: classes has the shape {named.shape}; one name per class is needed"
        )
    classes = tuple(in_utf8(str(name)) for name in named.tolist())
    if twice := [name for name in dict.fromkeys(classes) if classes.count(name) > 1]:
        raise InputError(f"{where}: classes has {twice[0]!r} twice")
    if known.dtype.kind in "US":
        index = {name: i for i, name in enumerate(classes)}
        if unknown := set(known.tolist()) - index.keys():
            raise InputError(f"{where}: the label {min(unknown)!r} is not in classes")
        return classes, {
            part: np.array([index[one] for one in given], np.int64)
            for part, given in labels.items()
        }
    if known.min() < 0 or known.max() >= len(classes):
        raise InputError(
            f"{where}: labels from {known.min()} to {known.max()} and {len(classes)} classes"
        )
    return classes, {part: given.astype(np.int64) for part, given in labels.items()}


def _check_spelling(names: Sequence[str], where: str) -> None:
    """Refuse classes that differ only as people mistype them; `a` and `A` may be two letters."""
    by_form: dict[str, str] = {}
    for name in names:
        bare = name.strip()
        other = by_form.setdefault(folded(bare) if len(bare) > 1 else bare, name)
        if other != name:
            raise InputError(
                f"{where} has the labels {other!r} and {name!r}, which differ only in case or in "
                "spaces around them; write them alike, or number them"
            )


def _check_shapes(parts: Mapping[str, Images], where: str) -> None:
    shapes = {part: images.pixels.shape[1:] for part, images in parts.items()}
    if len(set(shapes.values())) > 1:
        words = ", ".join(f"{part} {'x'.join(map(str, shape))}" for part, shape in shapes.items())
        raise InputError(f"{where}: the images of the parts differ in shape: {words}")


def _names(parts: Mapping[str, Images]) -> tuple[str, ...]:
    order = (part for part in ("train", "validation", "test") if part in parts)
    return tuple(f"{part}[{i}]" for part in order for i in range(len(parts[part])))
