"""The command line, in this process or in one of its own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer.main

_built = functools.cache(typer.main.get_command)
"""All commands from their signatures, once: it takes 50 ms, and hundreds of tests call `main`."""


def run_cli(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tunecnn", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )


def command_names() -> Iterator[list[str]]:
    """Yield the words of every command and group of commands."""
    from tunecnn.cli.app import app

    def below(group: Any, words: list[str]) -> Iterator[list[str]]:
        for name, command in group.commands.items():
            yield [*words, name]
            if hasattr(command, "commands"):
                yield from below(command, [*words, name])

    return below(_built(app), [])


def main(*words: str) -> int:
    """Run the command line in this process: no second interpreter has to import torch."""
    from tunecnn.cli.app import main as run

    before = sys.argv
    sys.argv = ["tunecnn", *words]
    try:
        with patch.object(typer.main, "get_command", _built):
            run()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = before
    raise AssertionError("main did not exit")
