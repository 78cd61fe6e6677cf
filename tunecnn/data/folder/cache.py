"""The cache of decoded images: a help that may be missing, stale, damaged or impossible.

An entry is valid only for the tree as it is now. Its key has the name, size, times and inode of
every file, the options, and the versions of Pillow and of our own decoder. Files that changed just
before they were read are compared by content too, since a further change at that time would leave
their times as they are.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from tunecnn.data.folder.layout import Layout
from tunecnn.data.folder.pixels import VERSION, can_read_heif
from tunecnn.data.folder.tree import CACHE_SUFFIX, Tree, Unreadable
from tunecnn.data.images import Pixels, pixels_hash
from tunecnn.data.options import ImageOptions
from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import (
    check_regular,
    check_stamp,
    drop_partials,
    expanded,
    read_own,
    sha256,
    stamp,
)
from tunecnn.words import shown

_SCHEMA = 2
_WRITING_SECONDS = 3600.0  # for many or large images
_FRESH_SECONDS = 3.0  # file systems round times by up to two seconds

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What the cache holds of a tree.

    Attributes:
        pixels: pixels of all parts, one after the other.
        record: everything else, as JSON values.
    """

    pixels: Pixels
    record: dict[str, Any]


@dataclass(frozen=True)
class Key:
    """The state of a tree, for which a cache entry is valid.

    Attributes:
        options: hash of the options and decoder, which selects the entry.
        state: hash of the names and states of all files.
        fresh: hash of the content of each file that changed so recently that its state alone does
            not identify its content.
    """

    options: str
    state: str
    fresh: Mapping[str, str]


def key_of(tree: Tree, layout: Layout, options: ImageOptions) -> Key:
    """Return the key of a tree as it is now."""
    digest = hashlib.sha256()
    fresh = []
    limit = time.time_ns() - int(_FRESH_SECONDS * 1e9)
    for part, groups in layout.files.items():
        for name, files in zip(layout.classes, groups, strict=True):
            digest.update(f"{part}\0{name}\0{len(files)}\n".encode())
            lines = (f"{file.name}\0{file.state}\n" for file in files)
            digest.update(os.fsencode("".join(lines)))
            fresh += [file.name for file in files if file.changed > limit or not file.changed]
    digest.update(os.fsencode(f"broken {sorted(layout.broken.items())}"))
    how = {
        **asdict(options),
        "pillow": PIL.__version__,
        "decoder": VERSION,
        "heif": can_read_heif(),
    }
    contents = _contents(tree, fresh)
    return Key(sha256(json.dumps(how))[:16], digest.hexdigest(), contents)


class Cache:
    """The cache of one tree, next to it or in the data folder.

    Args:
        tree: folder or archive.
        data_dir: data folder, for trees whose neighbourhood cannot be written.
    """

    def __init__(self, tree: Tree, data_dir: Path | None) -> None:
        self._tree = tree
        self._places = cache_places(tree.root, data_dir)

    def load(self, key: Key) -> Entry | None:
        """Return the entry of a key, with mapped pixels; None if there is no valid one."""
        for place in self._places:
            folder = place / key.options
            try:
                entry = self._load(folder, key)
            except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError):
                continue
            except RunError as error:
                _log.warning("%s; the images are decoded again", error)
                continue
            if entry is not None:
                return entry
        return None

    def _load(self, folder: Path, key: Key) -> Entry | None:
        index = json.loads(read_own(folder / "index.json"))
        check_stamp(folder, index, _SCHEMA)
        if index["state"] != key.state or index["fresh"] != _contents(self._tree, index["fresh"]):
            return None
        check_regular(folder / "pixels.npy")
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels_hash(pixels) != index["pixels"]:
            return None
        return Entry(pixels, index["record"])

    def save(self, key: Key, entry: Entry) -> Entry:
        """Write an entry; return it with mapped pixels, or as it is if nothing can be written."""
        reasons = []
        for place in self._places:
            try:
                return self._save(place, key, entry)
            except OSError as error:
                reasons.append(f"{shown(place)}: {reason(error)}")
        _log.warning(
            "the decoded images of %s could not be kept, so they are decoded again next time (%s)",
            shown(self._tree.root),
            "; ".join(reasons),
        )
        return entry

    def _save(self, place: Path, key: Key, entry: Entry) -> Entry:
        if place.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed")
        place.mkdir(parents=True, exist_ok=True)
        for left in (".partial-*", ".old-*"):
            drop_partials(place, left, time.time(), _WRITING_SECONDS)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=place))
        try:
            np.save(partial / "pixels.npy", entry.pixels)
            index = {
                **stamp(_SCHEMA),
                "state": key.state,
                "fresh": dict(key.fresh),
                "pixels": pixels_hash(entry.pixels),
                "record": entry.record,
            }
            (partial / "index.json").write_text(json.dumps(index), encoding="utf-8")
            target = place / key.options
            _replace_folder(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):
                place.rmdir()  # if nothing else is in it
            raise
        return Entry(np.load(target / "pixels.npy", mmap_mode="r"), entry.record)


def _contents(tree: Tree, names: Iterable[str]) -> dict[str, str]:
    """Return the hash of the content of each file; empty for one that cannot be read."""
    wanted = sorted(names)
    hashes = {}
    for name, source in zip(wanted, tree.contents(wanted), strict=True):
        try:
            content = source.read_bytes() if isinstance(source, Path) else source
        except OSError:
            content = b""
        hashes[name] = sha256(b"" if isinstance(content, Unreadable) else content)
    return hashes


def cache_places(root: Path, data_dir: Path | None) -> list[Path]:
    """Return the folders in which the decoded images of a tree may be kept, best first."""
    beside = root.with_name(root.name + CACHE_SUFFIX)
    if data_dir is None:
        return [beside]
    key = sha256(os.fsencode(root))[:16]
    return [beside, data_dir / "imagefolder" / key]


def clean(root: Path, data_dir: Path | None) -> list[Path]:
    """Remove the decoded images of a tree; return the folders that were removed.

    Raises:
        InputError: if a folder cannot be removed.
    """
    removed = []
    for place in cache_places(expanded(root).resolve(), data_dir):
        if place.is_symlink() or not place.is_dir():
            continue
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise InputError(f"{shown(place)} cannot be removed: {reason(error)}") from error
        removed.append(place)
    return removed


def _replace_folder(new: Path, target: Path) -> None:
    """Move a folder to a path, and remove what was there; other readers keep what they mapped."""
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent)) / "entry"
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old.parent, ignore_errors=True)
