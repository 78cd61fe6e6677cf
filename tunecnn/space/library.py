"""The space files shipped with tunecnn, and the lookup of `--space NAME`."""

from __future__ import annotations

from pathlib import Path

from tunecnn.errors import InputError, nearest
from tunecnn.files import expanded


def shipped_spaces() -> dict[str, Path]:
    """Return the shipped space files by name."""
    package = Path(__file__).parent.parent
    # Inside the package if installed; beside it in a checkout.
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def find_space(name: str) -> Path:
    """Return the file of a space: a path first, else a shipped space, with or without `.yaml`.

    Raises:
        InputError: if there is no such space; the message lists the shipped ones.
    """
    path = expanded(name)
    if path.is_file():
        return path
    shipped = shipped_spaces()
    found = shipped.get(name) or shipped.get(f"{name}.yaml")
    if found is None:
        raise InputError(
            f"there is no space {name!r}: no such file, and no shipped space of that name; "
            f"{nearest(name, shipped)}"
        )
    return found
