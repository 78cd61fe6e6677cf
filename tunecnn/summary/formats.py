"""Formats of pictures, and of accuracies, losses, differences and intervals as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from tunecnn.words import in_short, seconds_in_words


class Format(StrEnum):
    """Format of a picture."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


def value(given: Any) -> str:
    """Format the value of a parameter, which a trial may not have."""
    return "-" if given is None else in_short(given)


def figure(given: float | None, form: str) -> str:
    """Format an accuracy as a percentage, or a loss as a number."""
    if given is None:
        return "-"
    return f"{given:.2%}" if form == "percent" else f"{given:.4f}"


def distance(given: float | None, form: str, sign: str = "") -> str:
    """Format the difference between two accuracies, in points, or between two losses."""
    if given is None:
        return "-"
    return f"{100 * given:{sign}.2f} points" if form == "percent" else f"{given:{sign}.4f}"


def between(interval: tuple[float, float] | None, form: str, sign: str = "") -> str:
    """Format an interval of accuracies or losses or, with a sign, of their differences."""
    if interval is None:
        return "-"
    low, high = (distance(end, form, sign) if sign else figure(end, form) for end in interval)
    return f"{low.removesuffix(' points')} to {high}"


def settings(values: Mapping[str, Any]) -> str:
    """Format the values of a trial in one cell."""
    return ", ".join(f"{name} {value(one)}" for name, one in values.items() if one is not None)


FILTERS: Mapping[str, Callable[..., str]] = {
    "percent": lambda share: f"{share:.2%}",
    "value": value,
    "figure": figure,
    "distance": distance,
    "each": lambda values, form: ", ".join(figure(one, form) for one in values),
    "between": between,
    "share": lambda share: "-" if share is None else f"{share:.0%}",
    "duration": seconds_in_words,
    "settings": settings,
}
"""The filters by the names that templates use."""
