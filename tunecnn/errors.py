"""The errors that tunecnn raises on purpose, and the exit code that each one means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TunecnnError(Exception):
    """Root of every error that tunecnn raises on purpose; the message is for the user."""

    exit_code = 1


class InputError(TunecnnError):
    """The user gave something that cannot be used; nothing was trained and nothing written."""

    exit_code = 2


class RunError(TunecnnError):
    """A run could not go on; what it had recorded is kept and can be resumed."""


def nearest(given: object, allowed: Iterable[str]) -> str:
    """Name what is allowed, with the nearest spelling first: the tail of an error message."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(given), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
