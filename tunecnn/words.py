"""Formatting of values and pydantic's errors, for messages and summaries."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}
"""Types of values in words, by Python's names."""


def first_error(error: ValidationError) -> str:
    """Return where the first error in a file that tunecnn wrote is, and what, on one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {' '.join(first['msg'].split())}"


def error_in_words(details: ErrorDetails) -> str:
    """Return a pydantic error in tunecnn's wording, with the given value."""
    error_type, given = details["type"], details["input"]
    limits = details.get("ctx", {})
    if error_type == "tunecnn":
        return details["msg"]
    if given is None:
        return "cannot be None"
    if error_type in ("model_type", "dict_type"):
        return f"must be a mapping of keys to values, not {given!r}"
    if error_type == "string_too_long":
        return f"must have at most {limits['max_length']:,} characters, and has {len(given):,}"
    if error_type in ("missing", "tuple_type", "too_long"):
        return f"must be two values, [low, high], not {given!r}"
    type_ = error_type.removesuffix("_type").replace("string", "str")
    if type_ in TYPES:
        return f"must be {TYPES[type_]}, not {given!r}"
    words = {
        "greater_than_equal": "{ge} or more",
        "greater_than": "above {gt}",
        "less_than_equal": "{le} or less",
        "less_than": "below {lt}",
    }.get(error_type)
    if words is not None:
        numbers = {name: f"{value:g}" for name, value in limits.items()}
        return f"must be {words.format(**numbers)}, not {given!r}"
    text = details["msg"].removeprefix("Input ").replace("should be", "must be")
    text = text.partition(", unable to parse")[0]
    text = text.replace("a valid integer", "a whole number").replace("a valid ", "a ")
    return f"{text}, not {given!r}"


def command(words: str, *given: object) -> str:
    """Return a line of tunecnn to paste into a shell.

    Args:
        words: fixed words and options, such as `search --resume`.
        given: what follows them, such as paths, which may have spaces.
    """
    return in_utf8(shlex.join(["tunecnn", *words.split(), *map(str, given)]))


def in_utf8(text: str) -> str:
    """Escape what UTF-8 cannot hold: the other bytes of a file's name, as Python reads them."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(path: object) -> str:
    """Return a path as printable text; bytes that are not UTF-8 and control characters escaped."""
    text = str(path)
    if text.isascii() and text.isprintable():
        return text
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def all_in_utf8(value: Any) -> Any:
    """Return a mapping, sequence or other value with its texts as in `in_utf8`."""
    if isinstance(value, dict):
        return {in_utf8(key): all_in_utf8(one) for key, one in value.items()}
    if isinstance(value, list):
        return [all_in_utf8(one) for one in value]
    return in_utf8(value) if isinstance(value, str) else value


def in_short(value: object) -> str:
    """Format a value with at most four significant digits; whole numbers with all of theirs.

    A column with gaps has whole numbers as floats.
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def listed(names: Iterable[object]) -> str:
    """Join names with commas, of many the first five."""
    known = list(map(str, names))
    more = f" and {len(known) - 5} more" if len(known) > 5 else ""
    return ", ".join(known[:5]) + more


def count_in_words(number: float, what: str) -> str:
    """Format a number of things: `1 trial`, `2 trials`."""
    return f"{number:,.10g} {what}" + ("" if number == 1 else "s")


def resources_in_words(cpus: float, gpus: float) -> str:
    """Format cores and GPUs: `1 core and 0.5 GPUs`."""
    return f"{count_in_words(cpus, 'core')} and {count_in_words(gpus, 'GPU')}"


def list_in_words(numbers: Sequence[int], of: str) -> str:
    """Format the numbers 3, 4, 5, 9 as `lines 3 to 5, 9`; return "" if there are none."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    words = [
        f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part))
        for part in parts
    ]
    return f"{of}{'s' if len(numbers) > 1 else ''} {', '.join(words)}" if words else ""


def seconds_in_words(seconds: float) -> str:
    """Format a duration: `8.3 s`, `12 min 5 s`, `3 h 20 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def bytes_in_words(count: float) -> str:
    """Format a size with three significant digits: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
