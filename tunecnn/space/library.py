"""The space files shipped with tunecnn, and the lookup of `--space NAME`."""

from __future__ import annotations

from pathlib import Path

from tunecnn.errors import InputError, nearest
from tunecnn.files import expanded, shipped


def shipped_spaces() -> dict[str, Path]:
    """Return the shipped space files by name."""
    return {path.name: path for path in shipped("search_spaces") if path.suffix == ".yaml"}


def find_space(name: str) -> Path:
    """Return the file of a space: a path first, else a shipped space, with or without `.yaml`.

    Raises:
        InputError: if there is no such space; the message lists the shipped ones.
    """
    path = expanded(name)
    if path.is_file():
        return path
    ours = shipped_spaces()
    found = ours.get(name) or ours.get(f"{name}.yaml")
    if found is None:
        raise InputError(
            f"there is no space {name!r}: no such file, and no shipped space of that name; "
            f"{nearest(name, ours)}"
        )
    return found
