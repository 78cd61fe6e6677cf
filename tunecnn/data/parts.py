"""The parts of a data set, and the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

Part = Literal["train", "validation", "test"]
PART_NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing", "tst", "evaluation", "eval"),
}
SPLIT_COLUMNS = ("split", "subset", "usage", "partition")
"""Names of columns that divide the rows of a table into parts, without case."""
MOST_PARTS = 3
"""Number of words in such a column; more are folds."""


def part_of(name: str) -> Part | None:
    """Return the part that has a name, in any case."""
    folded = name.casefold()
    return next((part for part, names in PART_NAMES.items() if folded in names), None)


def part_in(name: str) -> Part | None:
    """Return the part that a name has a word of, such as `seg_train`, `test1` or `trainLabels`.

    A name with words of two parts, such as `train_val`, is that of neither alone.
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    words += [word.removesuffix(end) for word in words for end in ("labels", "set", "data")]
    found = {part for part in map(part_of, words) if part is not None}
    return found.pop() if len(found) == 1 else None


def not_all_parts(column: str, words: Iterable[str]) -> str:
    """Say that a column such as `split` has words that are no parts."""
    return (
        f"its column {column} has the words {', '.join(sorted(words))}, and not all of them are "
        "parts: write train, val and test, or remove or rename the column"
    )
