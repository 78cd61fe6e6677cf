"""Summaries as Markdown, in which whatever a user named is text and never markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader

from tunecnn.summary.formats import FILTERS
from tunecnn.summary.run_types import RUN_TYPES, RunSummary

# Line breaks and control characters, also Unicode's; a cell or a heading is one line.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")
_MARKUP = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|(?<!\S)#")
_INDENTED = re.compile(r"^ +")  # four spaces begin a block of code
_AT_START = re.compile(r"^(\s*)(?:([-+=])|(\d+)([.)]))(?=[\s#=+-]|$)")


class Markup(str):
    """Text that is Markdown already."""

    __slots__ = ()


def render_markdown(summary: RunSummary, pictures: Mapping[str, tuple[str, str]]) -> str:
    """Return a summary as Markdown.

    Args:
        summary: summary of a run of any type.
        pictures: link and finding of each picture, by name.
    """
    template = RUN_TYPES[summary.type].template
    images = {
        name: Markup(f"![{escape(finding)}]({link})") for name, (link, finding) in pictures.items()
    }
    return render_template(template, s=summary, pictures=images)


def render_template(template: str, **values: Any) -> str:
    """Return a template with values, which are escaped unless they are `Markup`."""
    return _environment().get_template(template).render(values)


def escape(text: Any) -> Any:
    """Escape text, so that Markdown and GitHub's dialect show each of its characters.

    Line breaks and control characters become spaces. `Markup` is left as it is.
    """
    if isinstance(text, Markup):
        return text
    plain = _INDENTED.sub(" ", _BREAKS.sub(" ", str(text)))
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", plain)
    return _AT_START.sub(
        lambda found: (
            f"{found[1]}{found[3] or ''}\\{found[2] or found[4]}" if len(plain) > 1 else found[0]
        ),
        escaped,
    )


def fenced(text: str, language: str = "") -> Markup:
    """Return text as a block of code, whatever backticks it has."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{fence}{language}\n{text}\n{fence}")


def code(text: str) -> Markup:
    """Return text as code within a line."""
    plain = _BREAKS.sub(" ", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    space = " " if "`" in plain or not plain.strip() else ""
    return Markup(f"{fence}{space}{plain}{space}{fence}".replace("|", "\\|"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tunecnn.summary"),
        autoescape=False,  # that would be for HTML
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    environment.filters |= {"fenced": fenced, "code": code, "markup": Markup}
    return environment
