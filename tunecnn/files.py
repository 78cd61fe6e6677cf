"""Files: written atomically and read safely, their paths, and stamps of what wrote them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunecnn.errors import InputError, RunError, reason
from tunecnn.words import in_utf8

_WRITING_SECONDS = 60.0  # after which a file that is still partial was left by a killed process

NOTHING_THERE = "there is nothing; where images of a run have moved, put a link at the old place"
"""What is said of a path of images at which there is none."""


def sha256(content: bytes | str) -> str:
    """Return the SHA-256 hash of content in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that readers see the old or the new content, even after a crash.

    A symbolic link at the path is replaced, not followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    data = in_utf8(content).encode() if isinstance(content, str) else content
    try:
        # Exclusive: neither the file of another writer nor a stranger's link is opened.
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """Return an unused path beside a path, for what is renamed to that once it is whole."""
    return path.with_name(f".{path.name}.{uuid4().hex[:12]}.partial")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can open folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def drop_partials(
    folder: Path, pattern: str, now: float, writing_seconds: float = _WRITING_SECONDS
) -> None:
    """Remove what killed processes left half-written, but not what is being written.

    Args:
        folder: folder to clean.
        pattern: pattern of paths that `partial_of` may have returned, below the folder.
        now: time by the clock of the file system.
        writing_seconds: how long one may be written.
    """
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if now - status.st_mtime < writing_seconds:
                continue
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()


def read_own(path: Path) -> bytes:
    """Read a file that tunecnn wrote; a link is not followed, and a pipe or device not opened.

    Raises:
        OSError: if it cannot be read, or is not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a symbolic link", str(path)) from error
        raise
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return stream.read()


def stays_below(name: object) -> bool:
    """Return whether a name, which a stranger may have written, stays below its folder."""
    if not isinstance(name, str):
        return False
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:  # half of a character
        return False
    path = Path(name)
    is_relative = bool(path.parts) and not path.is_absolute()
    return is_relative and ".." not in path.parts and b"\0" not in encoded


def check_regular(path: Path) -> None:
    """Check that what a user named is no pipe or device, which would hang or never end.

    Raises:
        OSError: if it is, or is not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        what = os.strerror(errno.EISDIR) if path.is_dir() else "it is not a regular file"
        raise OSError(errno.EINVAL, what, str(path))


def read_regular(path: Path) -> bytes:
    """Read a file that a user named; see `check_regular`."""
    check_regular(path)
    return path.read_bytes()


def expanded(path: str | Path) -> Path:
    """Return a path with its `~` or `~user` replaced by that user's home folder.

    Raises:
        InputError: if there is no such user, or none whose home is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: there is no home folder of {Path(path).parts[0]}") from error


def whole(path: str | Path) -> Path:
    """Return the absolute path without `..`, so that its parts are names; links are kept."""
    return Path(os.path.abspath(path))  # noqa: PTH100  `resolve` would follow links


def shipped(folder: str) -> list[Path]:
    """Return the files of one of tunecnn's own folders, such as `search_spaces`, by name."""
    package = Path(__file__).parent
    # Inside the package if installed; beside it in a checkout.
    places = (package / folder, package.parent / folder)
    found = next((place for place in places if place.is_dir()), None)
    return sorted(found.iterdir()) if found else []


def is_installed(file: str | Path) -> bool:
    """Return whether a file belongs to an installed package."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def nearest_existing(path: Path) -> Path:
    """Return a path itself, or the nearest folder above it that exists for this user."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if os.path.exists(one))  # noqa: PTH110


def check_writable(path: Path, what: str) -> None:
    """Check that a file can be written at a path, before any work is done for it.

    Args:
        path: path of a file to be written later.
        what: source of the path, for the message.

    Raises:
        InputError: if the file, or its folder, cannot be written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists():
            check_regular(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be written: {reason(error)}") from error


def stamp(schema: int) -> dict[str, Any]:
    """Return the stamp of a file: the number of its schema, and the version of tunecnn."""
    return {"schema": schema, "tunecnn": _version()}


def check_stamp(path: Path | str, values: Mapping[str, Any], schema: int) -> None:
    """Check that a file has the schema that this version of tunecnn reads.

    Args:
        path: path of the file, or a description of it.
        values: content of the file, with the keys of `stamp` if the file has them.
        schema: number of the schema that this version of tunecnn reads.

    Raises:
        RunError: if the file has another number; the message names the version that can read it.
    """
    if not isinstance(values, Mapping) or values.get("schema") == schema:
        return
    found, writer = values.get("schema"), values.get("tunecnn")
    if found is None:
        raise RunError(
            f"{path} has no number of a schema: it is damaged, or not of tunecnn {_version()}"
        )
    if writer is None:
        who, way = "a tunecnn older than 0.2.0", "read it with the version that wrote it"
    elif isinstance(found, int) and re.fullmatch(r"[\w.+!-]{1,40}", str(writer)):
        who, way = f"tunecnn {writer}", f"read it with that version: pip install tunecnn=={writer}"
    else:
        raise RunError(f"{path} is damaged: its schema or version is none")
    raise RunError(
        f"{path} was written by {who} with schema {found}, and tunecnn {_version()} reads schema "
        f"{schema} only; {way}"
    )


@cache
def _version() -> str:
    return version("tunecnn")
