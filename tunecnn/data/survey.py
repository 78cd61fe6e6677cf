"""`make_sheet`: counts the images of a data set, and finds those that are in it twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from tunecnn.data.duplicates import almost_identical
from tunecnn.data.images import Arrays, Images, Labels
from tunecnn.data.sheet import DataSheet

_MOST_EXAMPLES = 3


def make_sheet(
    arrays: Arrays,
    parts: Mapping[str, Images],
    positions: Mapping[str, Labels],
    ids: Labels,
    notes: Sequence[str] = (),
) -> DataSheet:
    """Make the sheet of a data set.

    Args:
        arrays: data set as it was found.
        parts: its training, validation and test images.
        positions: position of each image of a part in the data set as it was found.
        ids: number of each image of the whole data set, equal for identical images.
        notes: sentences about what was inferred about the layout and the split.
    """
    reading = arrays.reading
    ids_of = {part: ids[where] for part, where in positions.items()}
    near = {}
    if reading is not None:
        names = list(parts)
        found = almost_identical([parts[name].pixels for name in names], list(ids_of.values()))
        near = {
            f"{names[j]} in {names[i]}": len(found[j][i])
            for i, j in combinations(range(len(names)), 2)
            if found[j][i]
        }
    classes = len(arrays.classes)
    return DataSheet(
        counts={
            name: tuple(map(int, np.bincount(images.labels, minlength=classes)))
            for name, images in parts.items()
        },
        used=reading.used if reading else None,
        left_out=reading.left_out if reading else {},
        changed=reading.changed if reading else {},
        bad=reading.bad if reading else {},
        notes=tuple(notes),
        identical=dict(_identical(ids_of)),
        two_labels=_two_labels(parts, ids_of),
        near=near,
        different={part: len(np.unique(found)) for part, found in ids_of.items()},
        examples=tuple(_examples(reading.files, positions, ids)) if reading else (),
    )


def _identical(ids: Mapping[str, Labels]) -> Iterator[tuple[str, int]]:
    """Yield how many images of a part are in it more than once, or in an earlier part as well."""
    names = list(ids)
    for i, name in enumerate(names):
        _, inverse, counts = np.unique(ids[name], return_inverse=True, return_counts=True)
        if count := int((counts[inverse] > 1).sum()):
            yield f"{name} in {name}", count
        for earlier in names[:i]:
            if count := int(np.isin(ids[name], ids[earlier]).sum()):
                yield f"{name} in {earlier}", count


def _two_labels(parts: Mapping[str, Images], ids: Mapping[str, Labels]) -> int:
    """Return the number of images that are identical to an image of another class."""
    numbers = np.concatenate(list(ids.values()))
    labels = np.concatenate([images.labels for images in parts.values()])
    order = np.lexsort((labels, numbers))
    numbers, labels = numbers[order], labels[order]
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    counts = np.diff(np.r_[starts, len(numbers)])
    differ = np.maximum.reduceat(labels, starts) != np.minimum.reduceat(labels, starts)
    return int(counts[differ].sum())


def _examples(files: Sequence[str], positions: Mapping[str, Labels], ids: Labels) -> Iterator[str]:
    """Yield pairs of identical files, those of different parts first."""
    where = np.concatenate(list(positions.values()))
    part = np.repeat(np.arange(len(positions)), [len(one) for one in positions.values()])
    order = np.lexsort((part, ids[where]))
    where, part = where[order], part[order]
    same = np.flatnonzero(ids[where][1:] == ids[where][:-1])
    across = same[part[same] != part[same + 1]]
    for index in (across if len(across) else same)[:_MOST_EXAMPLES]:
        yield f"{files[where[index]]} = {files[where[index + 1]]}"
