"""Hooks of the site: what lies outside of docs/ is named, not linked."""

from __future__ import annotations

import re
from typing import Any

_PLACES = r"\.\./[^)]*|(?:results|performance|clusters)/[^)]*|[^)]*\.json"
_NOTE = "What is named here without a link, such as a summary, is a file of the repository."
_OUTSIDE = re.compile(rf"(?<!!)\[([^\]]+)\]\((?:{_PLACES})\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links to files of the repository by their names: the site does not contain them."""
    named, count = _OUTSIDE.subn(lambda found: f"{found[1]}", markdown)
    return f"{named}\n\n*{_NOTE}*\n" if count else named
