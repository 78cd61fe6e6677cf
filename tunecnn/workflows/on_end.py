"""The command of `--on-end`: run once, when all that a command line asks for has ended."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import warnings
from pathlib import Path

from tunecnn.errors import InputError


def check_on_end(command: str | None) -> None:
    """Check the command of `--on-end` before anything runs: its run may be days away.

    Raises:
        InputError: if it cannot be run.
    """
    if command is None:
        return
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--on-end {command}: {str(error).lower()}") from error
    if not words or shutil.which(words[0]) is None:
        raise InputError(f"--on-end {command}: there is no such program")


def run_on_end(command: str | None, path: Path, ending: str) -> None:
    """Run the command of `--on-end`, if there is one; that it fails is only a warning.

    Args:
        command: the command, to which the path and the ending are added.
        path: folder of the run.
        ending: `done`, `interrupted` or `failed`.
    """
    if command is None:
        return
    try:
        # What it prints must not stand among the lines of `--json`: 2 is the standard error.
        words = [*shlex.split(command), str(path), ending]
        done = subprocess.run(words, check=False, stdout=2)
    except (OSError, ValueError) as error:
        warnings.warn(f"--on-end {command}: {error}", stacklevel=1)
        return
    if done.returncode:
        warnings.warn(f"--on-end {command}: it ended with {done.returncode}", stacklevel=1)
