"""The user's own images: a `{train,test}/<class>/*` tree, decoded once into a cache next to it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock

from tunecnn.data.images import Arrays, Labels, Pixels
from tunecnn.errors import InputError, RunError
from tunecnn.files import check_stamp, stamp

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
PARTS = ("train", "test")
_SCHEMA = 1  # schema of the cache
_CHUNK = 512  # images per decoding task

_log = logging.getLogger(__name__)


def read_imagefolder(folder: Path, cache_dir: Path | None = None) -> Arrays:
    """Read the images below `folder`, from the cache if the tree has not changed.

    The cache is `<folder>.tunecnn-cache` next to the folder, or is in `cache_dir` if that is not
    writable. The images are grey if all of them are, else RGB.

    Raises:
        InputError: if the tree is not `{train,test}/<class>/*`, an image cannot be decoded, the
            sizes of images differ, or no cache can be written.
    """
    folder = folder.expanduser().resolve()
    classes, files = _scan(folder)
    state = _tree_state(folder, classes, files)
    cache = _cache_folder(folder, cache_dir)
    with FileLock(cache / ".lock"):
        arrays = _load(cache, state)
        if arrays is None:
            arrays = _decode_tree(folder, classes, files)
            _save(cache, state, arrays)
    return arrays


def check_is_folder(path: Path) -> None:
    """Raise an InputError if there is no such folder."""
    if not path.expanduser().is_dir():
        raise InputError(f"imagefolder: {path} is not a folder")


def _scan(folder: Path) -> tuple[tuple[str, ...], dict[str, list[list[Path]]]]:
    """Return the class names and, for each part, the sorted files of each class."""
    check_is_folder(folder)
    for part in PARTS:
        if not (folder / part).is_dir():
            raise InputError(
                f"imagefolder: {folder} has no folder {part!r}; "
                "the layout is {train,test}/<class>/*, with images in each class"
            )
    classes = tuple(sorted(_class_names(folder / "train")))
    if len(classes) < 2:
        raise InputError(
            f"imagefolder: {folder / 'train'} has {len(classes)} class folders, and at least 2 "
            "are needed"
        )
    files: dict[str, list[list[Path]]] = {}
    for part in PARTS:
        files[part] = []
        for name in classes:
            class_folder = folder / part / name
            found = sorted(
                path for path in (class_folder.iterdir() if class_folder.is_dir() else ())
                if path.suffix.lower() in SUFFIXES
            )  # fmt: skip
            if not found:
                raise InputError(f"imagefolder: no image in {class_folder}")
            files[part].append(found)
    extra = _class_names(folder / "test") - set(classes)
    if extra:
        raise InputError(
            f"imagefolder: {folder / 'test'} has classes that train lacks: "
            f"{', '.join(sorted(extra))}"
        )
    return classes, files


def _class_names(part: Path) -> set[str]:
    return {path.name for path in part.iterdir() if path.is_dir() and path.name[0] != "."}


def _tree_state(folder: Path, classes: Sequence[str], files: dict[str, list[list[Path]]]) -> str:
    """Return a hash of the names, sizes and times of all files, to detect changes of the tree."""
    digest = hashlib.sha256("\0".join(classes).encode())
    for part in PARTS:
        for path in (path for group in files[part] for path in group):
            stat = path.stat()
            line = f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def _cache_folder(folder: Path, cache_dir: Path | None) -> Path:
    beside = folder.with_name(folder.name + ".tunecnn-cache")
    caches = [beside]
    if cache_dir is not None:
        key = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        caches.append(cache_dir / "imagefolder" / key)
    for cache in caches:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(cache, os.W_OK):
            return cache
    raise InputError(
        "imagefolder: no writable folder for the decoded images; tried "
        + " and ".join(map(str, caches))
    )


def _load(cache: Path, state: str) -> Arrays | None:
    """Return the cached arrays, or None if they are missing, outdated or damaged."""
    try:
        index = json.loads((cache / "index.json").read_text(encoding="utf-8"))
        check_stamp(cache, index, _SCHEMA)
        if index["state"] != state:
            return None
        stored = {
            f"{part}_{what}": np.load(cache / f"{part}_{what}.npy", allow_pickle=False)
            for part in PARTS
            for what in ("pixels", "labels")
        }
        arrays = Arrays(**stored, classes=tuple(index["classes"]))
    except (OSError, ValueError, KeyError):
        return None
    except RunError as error:
        _log.warning("%s; the images are decoded again", error)
        return None
    return arrays if arrays.fingerprint() == index["fingerprint"] else None


def _save(cache: Path, state: str, arrays: Arrays) -> None:
    (cache / "index.json").unlink(missing_ok=True)  # a cache without its index is not valid
    for part in PARTS:
        for what in ("pixels", "labels"):
            np.save(cache / f"{part}_{what}.npy", getattr(arrays, f"{part}_{what}"))
    index = {
        **stamp(_SCHEMA),
        "state": state,
        "fingerprint": arrays.fingerprint(),
        "classes": list(arrays.classes),
    }
    partial = cache / "index.json.partial"
    partial.write_text(json.dumps(index), encoding="utf-8")
    partial.replace(cache / "index.json")


def _decode_tree(
    folder: Path, classes: tuple[str, ...], files: dict[str, list[list[Path]]]
) -> Arrays:
    decoded: list[Pixels] = []
    labels: list[Labels] = []
    for part in PARTS:
        paths = [path for group in files[part] for path in group]
        decoded.append(_same_channels(list(_decode(folder, paths))))
        labels.append(np.repeat(np.arange(len(classes)), [len(group) for group in files[part]]))
    train, test = decoded
    if train.shape[3] != test.shape[3]:
        train, test = _as_rgb(train), _as_rgb(test)
    if train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"imagefolder: the training images are {train.shape[2]}x{train.shape[1]} and the test "
            f"images {test.shape[2]}x{test.shape[1]} pixels; resize them to one size first"
        )
    return Arrays(train, labels[0], test, labels[1], classes)


def _decode(folder: Path, paths: Sequence[Path]) -> Iterator[Pixels]:
    """Decode files in parallel; yield arrays (n, height, width, channels) in their order."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    size: tuple[int, ...] | None = None
    # Processes, not threads: with small images, the GIL would be the bottleneck.
    with joblib.Parallel(n_jobs=-1, return_as="generator") as pool:
        decoded = pool(joblib.delayed(_decode_chunk)(chunk) for chunk in chunks)
        for chunk, (pixels, mistakes) in zip(chunks, decoded, strict=True):
            if mistakes:
                raise InputError(f"imagefolder: cannot decode {'; '.join(mistakes[:5])}")
            for path, image in zip(chunk, pixels, strict=True):
                size = size or image.shape[:2]
                if image.shape[:2] != size:
                    raise InputError(
                        f"imagefolder: {path} is {image.shape[1]}x{image.shape[0]} pixels and "
                        f"{paths[0].relative_to(folder)} {size[1]}x{size[0]}; resize the images "
                        "to one size first"
                    )
            yield _same_channels([image[None] for image in pixels])


def _decode_chunk(paths: Sequence[Path]) -> tuple[list[Pixels], list[str]]:
    """Decode some files; return the arrays and the error messages."""
    from PIL import Image

    pixels, mistakes = [], []
    for path in paths:
        try:
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"{image.mode} pixels have more than 8 bits")
                grey = image.mode in ("1", "L")
                array = np.asarray(image.convert("L" if grey else "RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow for a bad file
            mistakes.append(f"{path}: {error}")
        else:
            pixels.append(array[..., None] if grey else array)
    return pixels, mistakes


def _same_channels(parts: list[Pixels]) -> Pixels:
    """Concatenate images; if any of them is RGB, convert the grey ones."""
    if len({part.shape[3] for part in parts}) > 1:
        parts = [_as_rgb(part) for part in parts]
    return np.concatenate(parts)


def _as_rgb(pixels: Pixels) -> Pixels:
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
