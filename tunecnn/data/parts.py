"""The parts of a data set, and the names that people give them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from tunecnn.words import shown

Part = Literal["train", "validation", "test"]
PART_NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing", "tst", "evaluation", "eval"),
}
_FILLERS = frozenset(
    {"set", "data", "dataset", "image", "images", "img", "imgs", "pictures", "photos", "split"}
)
"""Words beside that of a part in the name of its folder."""
_SPLITS = frozenset({"split", "splits", "subset", "usage", "partition"})
_KINDS = frozenset({"subset", "usage", "partition"})
"""Those of them that may name kinds of rows as well."""
_MORE = frozenset({"id", "name", "type"})
_OF_FLAGS = frozenset({"", "in", "sample", "flag"})
_MAY_BE_QUALITY = frozenset({"val", "valid", "validate", "dev", "evaluation", "eval"})
"""Names of columns of true and false that may say something else of an image."""
_TRUE = frozenset({"true", "1", "1.0", "yes", "y", "t", "x"})
_FALSE = frozenset({"false", "0", "0.0", "no", "n", "f"})
MOST_PARTS = 3
"""Number of words in such a column; more are folds."""
_MOST_WORDS = 10
"""Number of words in a column called `split`; more are something else."""


def part_of(name: str) -> Part | None:
    """Return the part that has a name, in any case."""
    folded = name.casefold()
    return next((part for part, names in PART_NAMES.items() if folded in names), None)


def part_in(name: str) -> Part | None:
    """Return the part that a name has a word of, such as `seg_train`, `test1` or `trainLabels`.

    A name with words of two parts, such as `train_val`, is that of neither alone.
    """
    words = _words(name)
    words += [word.removesuffix(end) for word in words for end in ("labels", "set", "data")]
    found = {part for part in map(part_of, words) if part is not None}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def names_only_part(name: str) -> bool:
    """Return whether a name is that of a part and of nothing else, such as `test_set`."""
    return part_in(name) is not None and all(
        part_of(word.removesuffix("set")) or word in _FILLERS for word in _words(name)
    )


def is_split_name(column: str) -> bool:
    """Return whether a column divides rows, by its name: `split`, `data_split`, `train_test`."""
    words = _words(column)
    parts = {part_of(word) for word in words} - {None}
    is_named = any(word in _SPLITS for word in words) or len(parts) > 1
    return is_named and all(part_of(word) or word in _SPLITS | _FILLERS | _MORE for word in words)


def flag_of(column: str) -> Part | None:
    """Return the part of the rows with true in a column as `is_valid`; None if it is no such."""
    words = [word.removeprefix("is") for word in _words(column)]
    parts = {part for part in map(part_of, words) if part is not None}
    others = (word for word in words if part_of(word) is None)
    is_flag = len(parts) == 1 and all(word in _FILLERS | _OF_FLAGS for word in others)
    return parts.pop() if is_flag and column.casefold() not in _MAY_BE_QUALITY else None


def parts_by_word(column: str, words: Collection[str]) -> dict[str, Part | None]:
    """Return the part that each word in a column of a table names; None of one that names none.

    Args:
        column: name of the column: in one as `is_valid`, true and false, or 1 and 0, name parts.
        words: different words in it.
    """
    full = [word for word in words if word]
    flag = flag_of(column)
    if flag is not None and full and all(word.casefold() in _TRUE | _FALSE for word in full):
        other: Part = "train" if flag != "train" else "test"
        meant = {**dict.fromkeys(_TRUE, flag), **dict.fromkeys(_FALSE, other)}
        return {word: meant.get(word.casefold()) for word in words}
    are_words = all(re.fullmatch(r"[\w -]+", word) for word in full)  # unlike paths
    is_loose = is_split_name(column) or (are_words and all(map(part_in, full)))
    return {word: (part_in if is_loose else part_of)(word) for word in words}


def may_be_parts(column: str, words: Collection[str]) -> bool:
    """Return whether the words of a column that divides rows by its name may be parts.

    More than three are folds if they are numbered, or something else, unless it is called `split`.
    """
    has_digits = any(map(re.compile(r"\d").search, words))
    is_split = not has_digits and not _KINDS.intersection(_words(column))
    return 1 < len(words) <= (_MOST_WORDS if is_split else MOST_PARTS)


def divides_rows(column: str, words: Collection[str]) -> bool:
    """Return whether a column with some different words says which rows train, and which do not.

    Of one that says it by its name, some or all of a few words may be others: it is not clear how.
    """
    full = {word for word in words if word}
    parts = set(parts_by_word(column, full).values())
    if is_split_name(column) and may_be_parts(column, full):
        return True
    is_whole = None not in parts or is_split_name(column)
    return "train" in parts and len(parts - {None}) > 1 and is_whole


def too_few_train(column: str, parts: Iterable[Part | None], what: str) -> str:
    """Say that a column as `is_valid` would have more validate than train; empty if it does not.

    Args:
        column: name of the column.
        parts: part of each row.
        what: word for the rows.
    """
    counts = Counter(parts)
    if flag_of(column) is None or counts["validation"] <= counts["train"]:
        return ""
    return (
        f"its column {shown(column)} makes {counts['validation']:,} {what} validate, and "
        f"{counts['train']:,} train: rename it, if it says something else"
    )


def not_all_parts(column: str, words: Iterable[str]) -> str:
    """Say that a column such as `split` has words that are no parts."""
    return (
        f"its column {column} has the words {', '.join(sorted(words))}, and not all of them are "
        "parts: write train, val and test, or remove or rename the column"
    )
