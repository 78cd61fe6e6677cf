"""Atomic writing of files, and stamps with the version of tunecnn that wrote a file."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunecnn.errors import InputError, RunError


def sha256(content: bytes | str) -> str:
    """Return the SHA-256 hash of content in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that readers see the old or the new content, even after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    data = content.encode() if isinstance(content, str) else content
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


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
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{what} {path}: cannot be written: {error.strerror}") from error


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
    if found is None or writer is None:
        who, way = "a tunecnn older than 0.2.0", "read it with the version that wrote it"
    else:
        who, way = f"tunecnn {writer}", f"read it with that version: pip install tunecnn=={writer}"
    raise RunError(
        f"{path} was written by {who} with schema {found}, and tunecnn {_version()} reads schema "
        f"{schema} only; {way}"
    )


@cache
def _version() -> str:
    return version("tunecnn")
