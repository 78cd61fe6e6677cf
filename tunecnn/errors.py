"""The errors that tunecnn raises deliberately, and their exit codes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class TunecnnError(Exception):
    """Base class of the errors that tunecnn raises deliberately; the message is for the user."""

    exit_code = 1


class InputError(TunecnnError):
    """The user's input is invalid; nothing was trained or written."""

    exit_code = 2


class RunError(TunecnnError):
    """A run had to stop; its records are kept, and it can be resumed."""


def reason(error: Exception) -> str:
    """Return why something failed: of an `OSError` without its number and path."""
    return str(getattr(error, "strerror", None) or error)


def text_of(error: BaseException, most: int = 300) -> str:
    """Return the text of an exception from anybody's code, on one line; empty if it has none.

    Args:
        error: the exception; its `__str__` may fail.
        most: number of characters to keep.
    """
    try:
        return " ".join(str(error).split())[:most]
    except Exception:
        return ""


def nearest(
    given: object, allowed: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> str:
    """Return the end of an error message: the name that may be meant, and all allowed names.

    Args:
        given: what was given.
        allowed: all names.
        elsewhere: names that other tools use, and what they are called here.
    """
    names = sorted(allowed)
    if not names:
        return "allowed: none"
    same = (elsewhere or {}).get(str(given))
    close = [same] if same else difflib.get_close_matches(str(given), names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"
