"""Output on the terminal: texts of users and strangers, escaped, and lines of JSON."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

_UNBROKEN = 10_000  # columns: a file or a pipe gets lines that are not broken


class PlainConsole(Console):
    """A console that takes no markup, and shows control characters instead of obeying them.

    Names, goals, class names and errors come from files, and any of them may contain brackets or
    the escape sequences of a terminal.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal and "width" not in settings:
            self.width = _UNBROKEN

    def render_str(self, text: str, **settings: Any) -> Text:
        """Render a string, with its control characters as escapes."""
        return super().render_str(printable(text), **settings)


def print_json(values: Mapping[str, Any]) -> None:
    """Print a mapping as one line of JSON, in which a number that is not finite is null.

    Python would write NaN, which is no JSON: other programs refuse the line.
    """
    print(json.dumps(_finite(values), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    """Return a mapping, sequence or other value with None for each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_error(text: str) -> str:
    """Return a text as an error for a terminal: printable, and cut in its middle if it is long.

    An error repeats what it found in somebody's file, which may be a word of a million characters.
    """
    if len(text) > 2000:
        text = f"{text[:1200]} ... ({len(text):,} characters) ... {text[-600:]}"
    return f"error: {printable(text)}"


def printable(text: str) -> str:
    r"""Return a text in which control characters and undecodable bytes are escapes, as `\x1b`."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
        else character
        for character in text
    )
