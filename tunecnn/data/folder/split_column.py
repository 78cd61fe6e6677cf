"""`by_split`: the parts into which a column of a table divides its rows."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tunecnn.data.folder.names import Files
from tunecnn.data.folder.table import (
    LABELS,
    NEVER_LABELS,
    Table,
    columns_of_files,
    first_column,
    label_of,
    plain,
)
from tunecnn.data.parts import (
    MOST_PARTS,
    Part,
    flag_of,
    is_split_name,
    may_be_parts,
    not_all_parts,
    parts_by_word,
    too_few_train,
)
from tunecnn.words import listed, shown

_MEANT = ("set", "phase")
"""Names of further columns that divide the rows if they name a part; they may be other things."""


def by_split(table: Table, files: Files) -> list[Table]:
    """Divide a table by the column that assigns its rows to parts, if there is one.

    If it is not clear how, `undivided` says so: most rows have a part there, and some that label
    files have none; it names parts, by its name, but in other words; or two columns differ.

    Args:
        table: the table.
        files: files of the tree: a row that names none of them belongs to no part.
    """
    with_files = list(itertools.chain(*columns_of_files(table))) if table.rows else []
    if not with_files:
        return [table]
    label = first_column(LABELS, list(table.rows[0]))
    found: dict[str, list[Part | None]] = {}
    problem = ""
    for column in table.rows[0]:
        if column == label or (column in with_files and not is_split_name(column)):
            continue
        words = [row.get(column, "").strip() for row in table.rows]
        part_by_word = parts_by_word(column, set(words))
        parts = [part_by_word[word] for word in words]
        counts = Counter(parts)
        divides = (
            counts["train"] > 0 and len({*counts} - {None}) > 1 and 2 * counts[None] < len(parts)
        )
        if not divides:
            if text := _unclear(column, set(words), has_label=label is not None):
                problem = problem or text
                continue
            if not _is_meant(column, set(words)):
                continue
        elif text := too_few_train(column, parts, "images"):
            problem = problem or text
            continue
        lost = [
            shown(word) if word else "nothing"
            for word, part, row in zip(words, parts, table.rows, strict=True)
            if part is None
            and (label is None or label_of(row, label))
            and any(files.find(row.get(name, ""), table.folder) for name in with_files)
        ]
        if lost:
            return [
                _undivided(
                    table,
                    f"its column {shown(column)} divides the images, and {len(lost):,} of its "
                    "rows have no part (train, val or test) there: "
                    f"{listed(dict.fromkeys(lost))}. Write one, or remove these rows, or the "
                    "column",
                )
            ]
        if divides:
            found[column] = parts
    if len({*map(tuple, found.values())}) > 1:
        return [
            _undivided(
                table,
                f"its columns {' and '.join(map(shown, found))} divide the images in different "
                "ways; write one column split with train, val and test, and remove the others",
            )
        ]
    if not found:
        return [_undivided(table, problem) if problem else table]
    return _divided(table, found)


def _divided(table: Table, found: Mapping[str, Sequence[Part | None]]) -> list[Table]:
    """Return a table for each part, without the columns that tell the parts."""
    rows: dict[Part, list[Mapping[str, str]]] = defaultdict(list)
    for part, row in zip(next(iter(found.values())), table.rows, strict=True):
        if part is not None:
            rows[part].append({key: row[key] for key in row if key not in found})
    return [
        replace(table, rows=some, split=part, divided_by=tuple(found))
        for part, some in rows.items()
    ]


def _unclear(column: str, words: set[str], *, has_label: bool) -> str:
    """Say what is wrong with a column that divides the rows by its name; empty if nothing is."""
    full = words - {""}
    known = set(parts_by_word(column, words).values()) - {None}
    if not (may_be_parts(column, full) if is_split_name(column) else 1 < len(full) <= MOST_PARTS):
        return ""
    may_be_label = not has_label and not known and plain(column) not in NEVER_LABELS
    if is_split_name(column) and not may_be_label:
        return not_all_parts(shown(column), map(shown, full))
    if has_label and plain(column).startswith("is") and flag_of(column) and not known:
        return (
            f"its column {shown(column)} has the words {listed(sorted(full))}: write true "
            "and false, or rename it"
        )
    return ""


def _is_meant(column: str, words: set[str]) -> bool:
    """Return whether a column that names a part of some rows only is meant to divide them."""
    parts = set(parts_by_word(column, words).values())
    if len(words - {""}) > MOST_PARTS or None not in parts or parts == {None}:
        return False
    return is_split_name(column) or plain(column) in _MEANT or flag_of(column) is not None


def _undivided(table: Table, problem: str) -> Table:
    return replace(table, undivided=f"imagefolder: {shown(table.name)}: {problem}")
