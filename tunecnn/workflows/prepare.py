"""Preparation of a space for a run: read, changed by the command line, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunecnn.documents import read_text
from tunecnn.space.library import find_space
from tunecnn.space.space import SearchSpace
from tunecnn.workflows.warm_start import warm_start


@dataclass(frozen=True)
class Prepared:
    """A space that is ready to search, and its origin.

    Attributes:
        space: checked space with all changes.
        text: text of the space file, without the changes.
        changes: new values of the changed keys.
        notes: sentences that the user should read before the search starts.
    """

    space: SearchSpace
    text: str
    changes: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def prepare(
    name: str,
    changes: Mapping[str, Any] | None = None,
    budget: Mapping[str, float] | None = None,
    start_from: Path | None = None,
) -> Prepared:
    """Read a space file, and change it for one run.

    Args:
        name: path of a space file, or name of a shipped space.
        changes: new values by key; None leaves a key unchanged.
        budget: limits to add to those of the file.
        start_from: folder of an earlier run whose best trials become start points.

    Raises:
        InputError: if there is no such space or run, or one of them has mistakes.
    """
    path = find_space(name)
    text = read_text(path)
    changed = {key: value for key, value in (changes or {}).items() if value is not None}
    space = SearchSpace.from_text(text, str(path), path.parent, changed)
    notes = []
    more: dict[str, Any] = {}
    if budget:
        more["budget"] = {**dict(space.budget), **budget}
    if start_from is not None:
        warm = warm_start(space, start_from)
        more["start"] = warm.start
        notes.append(warm.words)
    space, changed = space.override(**more), {**changed, **more}
    return Prepared(space, text, {**changed, **places_of(space)}, tuple(notes))


def prepare_text(text: str, source: str, folder: Path | None = None) -> Prepared:
    """Prepare a space that tunecnn itself wrote.

    Args:
        text: text of the space.
        source: name of the space in messages.
        folder: folder of the networks' files; None if they are in no file.
    """
    space = SearchSpace.from_text(text, source, folder)
    return Prepared(space, text, places_of(space))


def places_of(space: SearchSpace) -> dict[str, str]:
    """Return the keys with paths, which are absolute: a run is resumed from anywhere."""
    groups = {} if space.groups is None else {"groups": space.groups}
    return {"dataset": space.dataset, **groups}
