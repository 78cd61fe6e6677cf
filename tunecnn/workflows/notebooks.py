"""The notebooks shipped with tunecnn."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunecnn.errors import InputError, reason
from tunecnn.files import shipped


def own_notebooks() -> list[Path]:
    """Return the shipped notebooks."""
    return [path for path in shipped("notebooks") if path.suffix == ".ipynb"]


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the shipped notebooks into a folder, and return their paths there.

    Raises:
        InputError: if one of them is there already, or the folder cannot be written.
    """
    there = [folder / path.name for path in own_notebooks()]
    if taken := [path for path in there if path.exists()]:
        raise InputError(f"{taken[0]} exists already; nothing was copied: give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(own_notebooks(), there, strict=True):
            shutil.copyfile(source, target)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {reason(error)}") from error
    return there
