"""The labels of images: which image each row of a table names, and its class."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tunecnn.data.folder.names import Files, Paths, slashed
from tunecnn.data.folder.table import (
    FILES,
    LABELS,
    MISSING_IN_R,
    NEVER_LABELS,
    Table,
    columns_of_files,
    first_column,
    label_of,
    plain,
)
from tunecnn.errors import InputError
from tunecnn.words import listed, shown

NONE_BESIDE_0 = "-1"
"""Label that stands for none, unless it is one of two."""
ONE_NAME = "if it is one name, join its words by _"
_ENOUGH = 0.5  # of the images that a table must name
_JOINED = re.compile(r"[|,;]")
"""What people write between several labels."""
_MAY_JOIN = re.compile(r"[+/&]")
"""What they write too, and what a name may have in it."""
_QUOTED = re.compile(r"""(["'])(.+?)\1""")
HalfOf = Literal["images", "rows", "none"]


@dataclass(frozen=True)
class TableLabels:
    """What a table says of some images.

    Attributes:
        table: name of the table.
        column: its column with the labels.
        by_file: label of each file that it names.
        unknown: number of its rows with a label that name no file of the tree.
        missing: number of its rows of files with NA, which R writes for no label.
        guessed: a label whose letters are a guess, since the table's encoding is one; or empty.
    """

    table: str
    column: str
    by_file: Mapping[str, str]
    unknown: int = 0
    missing: int = 0
    guessed: str = ""


def labels_of(
    tables: Sequence[Table],
    images: Sequence[str],
    *,
    others: Collection[str] = (),
    there: Paths | None = None,
    column: str | None = None,
    must_be_named: bool = False,
    half_of: HalfOf = "images",
) -> tuple[TableLabels | None, list[str]]:
    """Find the table with the labels of some images.

    A column with one of the usual names of labels comes first, in any table; else it is the only
    other one beside the files' names, if only one table has such a one.

    Args:
        tables: tables, in the order in which they are preferred.
        images: paths of the images.
        others: images that a name in a table means rather than these.
        there: paths of all files of the tree.
        column: column that labels them; None for any.
        must_be_named: whether the column must have a usual name.
        half_of: of what a table must name half: the images, or its rows; or `none`, so that one
            image is enough.

    Returns:
        The labels, None if no table has them; and why other tables do not.

    Raises:
        InputError: if a table gives an image several labels, names files that are not there, or
            two tables or columns may be meant.
    """
    files, reasons = Files(images, others, there), list[str]()
    guesses: list[tuple[Table, Mapping[int, str], str, str]] = []
    problem: InputError | None = None
    found: TableLabels | None = None
    for table in tables:
        if table.problem:
            reasons.append(f"{shown(table.name)} {table.problem}")
            continue
        least = _least(table, images, half_of)
        try:  # what is wrong with a table matters only if no other has the labels
            named, what, why = _files_named(table, files, least)
            rest = [name for name in table.rows[0] if name != what]
            label = first_column((plain(column),) if column else (), rest)
            label = label or (_label_column(table, rest) if named else None)
            labels = _found(table, named, what, label, there) if label and named else None
        except InputError as error:
            problem = problem or error
            continue
        if not named:
            reasons.append(f"{shown(table.name)} {why}")
            continue
        if labels is None:
            is_text = table.name.lower().endswith(".jsonl")  # of Hugging Face's: captions, say
            may_be = column is None and len(rest) == 1 and not is_text
            if may_be and plain(rest[0]) not in NEVER_LABELS:
                guesses.append((table, named, what, rest[0]))
            else:
                reasons.append(f"{shown(table.name)} has no column called label or class")
            continue
        if found is not None:
            _check_agree(found, labels)
        found = found or labels
    if found is not None:
        return found, []
    if problem is not None:
        raise problem
    if must_be_named or not guesses:
        unnamed = [
            f"{shown(table.name)} names the images, but its column {shown(name)} is not "
            "called label or class"
            for table, *_, name in guesses
        ]
        return None, [*unnamed, *reasons]
    if len(guesses) > 1:
        both = " or ".join(f"{name} of {shown(table.name)}" for table, *_, name in guesses[:3])
        raise InputError(
            f"imagefolder: which column has the labels, {both}? Call it label, or move the other "
            "table away"
        )
    return _found(*guesses[0], there), []


def _label_column(table: Table, rest: Sequence[str]) -> str | None:
    """Return the column with a usual name of labels; None if there is none.

    Raises:
        InputError: if there are two, none called `label`, which are not names of the same classes.
    """
    usual = [name for wanted in LABELS if (name := first_column((wanted,), rest))]
    if first_column(("x",), rest):
        usual = [name for name in usual if plain(name) != "y"]  # a place in the image
    if len(usual) > 1 and plain(usual[0]) not in ("label", "labels"):
        pairs = {(label_of(row, usual[0]), label_of(row, usual[1])) for row in table.rows}
        if not is_renaming(pairs):
            raise InputError(
                f"imagefolder: {shown(table.name)}: which column has the labels, "
                f"{shown(usual[0])} or {shown(usual[1])}? Call it label, or remove the other"
            )
    return usual[0] if usual else None


def is_renaming(pairs: Collection[tuple[str, str]]) -> bool:
    """Return whether two labels of the same images name the same classes in other words."""
    both = {pair for pair in pairs if all(pair)}
    return len(both) == len({one for one, _ in both}) == len({other for _, other in both})


def _check_agree(labels: TableLabels, others: TableLabels) -> None:
    """Check that two tables give the images that both name the same labels.

    Raises:
        InputError: if they do not; they may do so in other words, such as numbers.
    """
    shared = labels.by_file.keys() & others.by_file.keys()
    if not is_renaming({(labels.by_file[file], others.by_file[file]) for file in shared}):
        different = [one for one in shared if labels.by_file[one] != others.by_file[one]]
        if not set(labels.by_file.values()) & set(others.by_file.values()):  # in other words
            pairs = Counter((labels.by_file[one], others.by_file[one]) for one in shared)
            rare = min(pairs.values())
            different = [
                one for one in shared if pairs[labels.by_file[one], others.by_file[one]] == rare
            ]
        file = min(different)
        raise InputError(
            f"imagefolder: {shown(labels.table)} and {shown(others.table)} have other labels for "
            f"the same images: {shown(file)} is {shown(labels.by_file[file])} in one, and "
            f"{shown(others.by_file[file])} in the other; move one of them away"
        )


def _found(
    table: Table, named: Mapping[int, str], what: str, column: str, there: Paths | None
) -> TableLabels:
    if table.undivided:
        raise InputError(table.undivided)
    labels = _labels(table, named, column)
    everywhere = Files(there.files) if there and len(named) < len(table.rows) else None
    unknown = sum(
        everywhere is not None
        and index not in named
        and bool(label_of(row, column))
        and everywhere.find(row.get(what, "")) is None
        for index, row in enumerate(table.rows)
    )
    missing = sum(table.rows[index].get(column, "").strip() == MISSING_IN_R for index in named)
    if {NONE_BESIDE_0, "0"} <= set(labels.values()):
        count = sum(label == NONE_BESIDE_0 for label in labels.values())
        raise InputError(
            f"imagefolder: {shown(table.name)} has the label {NONE_BESIDE_0} for {count:,} "
            "images, which mostly stands for none beside 0; leave these cells empty, or number "
            "the classes from 0"
        )
    letters = sorted(one for one in labels.values() if not one.isascii())
    guessed = letters[0] if table.is_guessed and letters else ""
    return TableLabels(table.title, column, labels, unknown, missing, guessed)


def files_named(table: Table, images: Sequence[str], half_of: HalfOf = "rows") -> set[str]:
    """Return the images that a table names, whatever it says of them; none if they are too few.

    Raises:
        InputError: if it names files that are not there beside them.
    """
    if not table.rows:
        return set()
    named, _, _ = _files_named(table, Files(images), _least(table, images, half_of))
    return set(named.values())


def _least(table: Table, images: Sequence[str], half_of: HalfOf) -> int:
    """Return of how many a table must name half."""
    return {"images": len(images), "rows": len(table.rows), "none": 1}[half_of]


def names_most(tables: Sequence[Table], images: Sequence[str]) -> bool:
    """Return whether tables together name most of some images, whatever they say of them."""
    named = set[str]()
    for table in tables:
        with contextlib.suppress(InputError):
            named |= files_named(table, images, "none")
    return bool(named) and len(named) >= _ENOUGH * len(images)


def said_of(table: Table, column: str, images: Sequence[str]) -> dict[str, str]:
    """Return what a column of a table says of each of some images that it names."""
    with contextlib.suppress(InputError):
        named, _, _ = _files_named(table, Files(images), 1)
        return {file: table.rows[index].get(column, "") for index, file in named.items()}
    return {}


def too_few_named(table: Table, images: Sequence[str]) -> str:
    """Say that a table names too few of some images to say anything of them; empty if it does."""
    try:
        _, _, why = _files_named(table, Files(images), len(images))
    except InputError:
        return ""
    return f"{shown(table.title)} {why}" if why else ""


def _files_named(table: Table, files: Files, count: int) -> tuple[Mapping[int, str], str, str]:
    """Return the file that each row names, by the row's index, the column, and why there is none.

    Columns with paths come before those with bare numbers or words, which may be the rows' own. If
    a path stands for the file in its folder, no other path stands for a file in another folder.
    """
    folder = table.folder
    least = max(1.0, _ENOUGH * count)
    paths, known = columns_of_files(table)
    columns = {
        name: _found_by(files, [row.get(name, "") for row in table.rows], folder)
        for name in dict.fromkeys((*paths, *known))
    }
    if count == 1:  # one is enough, and may be a chance hit
        columns = dict(sorted(columns.items(), key=lambda one: -len(one[1])))
    best = 0
    for name, found in columns.items():
        if len(set(found.values())) >= least:
            if wrong := [one for one in paths if one in known and one != name]:
                cell = next(row[wrong[0]] for row in table.rows if row.get(wrong[0]))
                raise InputError(
                    f"imagefolder: {shown(table.name)}: its column {wrong[0]} names files that "
                    f"are not here, such as {shown(cell)}, so its {name} may be the number of the "
                    f"row; correct the paths, or remove {wrong[0]}"
                )
            if "." in name and files.find(name, folder) is not None:
                raise InputError(
                    f"imagefolder: {shown(table.name)} has no line with the names of its columns: "
                    f"its first line names the image {shown(name)}; add one, such as file,label"
                )
            return found, name, ""
        best = max(best, len(set(found.values())))
    example = next(
        (row[name] for row in table.rows for name in (*paths, *known)[:1] if row.get(name)), ""
    )
    if not (paths or known):
        return {}, "", f"has no column with names of files, such as {' or '.join(FILES[:3])}"
    few = ", and half are needed" if best else ""
    return {}, "", f"names {best} of {count:,} images{few} (its first row: {shown(example)})"


def _found_by(files: Files, cells: Sequence[str], folder: str) -> dict[int, str]:
    """Return the file that each cell of a column names, by its index."""
    found: dict[int, str] = {}
    is_whole, rest = False, []
    for index, cell in enumerate(cells):
        is_path = "/" in slashed(cell)
        if (file := files.find(cell, folder, whole=True)) is not None:
            found[index] = file
            is_whole |= is_path
        elif is_path:
            rest.append(index)
    for index in rest if not is_whole else ():
        if (file := files.find(cells[index], folder)) is not None:
            found[index] = file
    return found


def _labels(table: Table, named: Mapping[int, str], column: str) -> dict[str, str]:
    """Return the label of each file.

    Raises:
        InputError: if a file has several.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for index, file in named.items():
        if label := label_of(table.rows[index], column):
            found[file].add(label)
    parts = joined_labels(set().union(*found.values()))
    for file, names in found.items():
        if joined := names & parts.keys():
            found[file] = names - joined | {part for one in joined for part in parts[one]}
    if several := {file: names for file, names in found.items() if len(names) > 1}:
        file, names = min(several.items())
        labels = listed(map(shown, sorted(names)))
        raise InputError(
            f"imagefolder: {shown(table.name)} has several labels for {len(several):,} of "
            f"{len(found):,} files, such as {shown(file)}: {labels}; an image has one class, so "
            f"leave one of them ({ONE_NAME})"
        )
    return {file: names.pop() for file, names in found.items()}


def joined_labels(labels: Collection[str]) -> dict[str, set[str]]:
    """Return those of some labels that are several in one, such as `scab|rust`, with their parts.

    A class may have a comma in its name; several labels are those of other images as well.
    """
    parts = {label: _parts_of(label, labels) for label in labels}
    uses = Counter(part for some in parts.values() for part in some)
    return {
        label: some
        for label, some in parts.items()
        if len(some) > 1 and all(uses[part] > 1 for part in some)
    }


def _parts_of(label: str, labels: Collection[str]) -> set[str]:
    """Return the labels that one may be made of; of words, each must be a label of others."""
    words = set(label.split())
    if len(words) > 1 and words <= set(labels):
        return words
    if label.startswith(("[", "{", "(")) and (quoted := _QUOTED.findall(label)):
        return {part for _, part in quoted} - {"choices"}  # of Label Studio
    parts = {part.strip() for part in _MAY_JOIN.split(label) if part.strip()}
    if len(parts) > 1 and parts <= set(labels):
        return parts
    return {part.strip() for part in _JOINED.split(label) if part.strip()}
