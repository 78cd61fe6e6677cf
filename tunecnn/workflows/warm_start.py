"""Start points for a search from the trials of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunecnn.errors import InputError
from tunecnn.run.run import Run
from tunecnn.space.space import SearchSpace

_SHARE = 4


@dataclass(frozen=True)
class WarmStart:
    """The start points of a space with those of an earlier run, and a sentence about them."""

    start: tuple[Any, ...]
    words: str


def warm_start(space: SearchSpace, path: Path) -> WarmStart:
    """Take the best trials of an earlier run as start points, at most a quarter of the trials.

    They are trained again, so that all results of the new run come from its own data, epochs and
    seeds. A trial lies in the space if it has a value for each searched parameter and each value
    can be sampled.

    Args:
        space: space of the new run.
        path: folder of the earlier run.

    Raises:
        InputError: if not one of its complete trials lies in the space.
        RunError: if there is no such run.
    """
    old = Run(path)
    points: list[dict[str, Any]] = []
    outside = 0
    for number in old.ranked["trial"]:
        trained = old.config(int(number))
        config = {**trained.to_dict(), **old.arguments_of(trained)}
        known = {name: config[name] for name in space.searched_settings if name in config}
        point = space.only_active(known)
        missing = [
            name
            for name in space.searched_settings.keys() - known.keys()
            if space.is_active(name, known)
        ]
        if missing or not all(
            space.searched[name].contains(value) for name, value in point.items()
        ):
            outside += 1
        elif point not in points:
            points.append(point)
    if not points:
        raise InputError(
            f"not one of the {len(old.ranked)} trials that {path} trained to the end lies in the "
            f"space {space.name}"
        )
    selected = points[: max(1, space.trials // _SHARE)]
    words = (
        f"from {old.name}: the best {len(selected)} of {len(old.ranked) - outside} trials in the "
        f"space that were trained to the end are start points; {outside} do not lie in the space"
    )
    new = [point for point in selected if point not in space.start]
    return WarmStart((*space.start, *new), words)
