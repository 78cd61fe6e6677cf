"""The terminal, on which text from users and strangers is only text."""

from __future__ import annotations

import unicodedata
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
