"""`read_tables`: the tables and lists of files in a tree, joined or divided where need be."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import BinaryIO

from tunecnn.data.folder.names import Files, Paths
from tunecnn.data.folder.rows import GUESS, LONGEST_CELL, encoding_of, rows_of, text_of_table
from tunecnn.data.folder.split_column import by_split
from tunecnn.data.folder.table import (
    LABELS,
    SPREADSHEETS,
    Table,
    columns_of_files,
    first_column,
    is_list,
    plain,
)
from tunecnn.data.folder.tree import Source, Tree, Unreadable
from tunecnn.data.parts import is_split_name
from tunecnn.errors import reason
from tunecnn.words import shown

_GUESSES = re.compile(r".*submission.*|(.*[ _-])?(sample_?sub|predictions|preds)", re.IGNORECASE)
"""Names of tables with guesses, which a competition wants."""
_FOLDS = re.compile(r"fold|cv|split|subset|run|seed", re.IGNORECASE)
_INDEX = re.compile(r"(unnamed.*)?")
"""Columns, as `plain` has them, that pandas and spreadsheets write without a name."""
_ZERO_OR_ONE = re.compile(r"[01](\.0*)?")
_HEAD = 1 << 16  # bytes that tell whether a table names files
ONE_FOR_EACH = "one for each class"
"""Column of the labels of a table that has a column for each class, in whichever order."""


def read_tables(tree: Tree, names: Iterable[str], there: Paths) -> list[Table]:
    """Read the tables of a tree, those with shorter names first, and then those with guesses.

    Args:
        tree: the tree.
        names: names of the tables.
        there: paths of all files of the tree.
    """
    wanted, guesses = list[str](), list[Table]()
    for name in sorted(names, key=lambda name: (len(name), name)):
        if _GUESSES.fullmatch(name.rpartition("/")[2].rpartition(".")[0]):
            problem = "is not read: by its name, it has guesses"
            guesses.append(Table(name, (), problem=problem, is_guess=True))
        else:
            wanted.append(name)
    files = Files(there.files)
    tables = list[Table]()
    for name, source in zip(wanted, tree.contents(wanted) if wanted else (), strict=True):
        try:
            table = _read_list(name, source, files) if is_list(name) else _read(name, source)
        except (OSError, csv.Error) as error:
            tables.append(Table(name, (), problem=f"cannot be read: {reason(error)}"))
            continue
        if table.rows or table.problem:
            tables.append(_with_label(table))
    return [*(part for table in _joined(tables) for part in by_split(table, files)), *guesses]


def _content(source: Source) -> bytes:
    if isinstance(source, Unreadable):
        raise csv.Error(source.reason)
    return source if isinstance(source, bytes) else source.read_bytes()


def _read(name: str, source: Source) -> Table:
    """Read a table; of one that names no files, as a table of pixels, only the beginning."""
    if name.lower().endswith(SPREADSHEETS):
        raise csv.Error("it is a spreadsheet; save it as CSV")
    head, is_whole = _head(source)
    if not is_whole and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        first = Table(name, rows_of(head[: head.rfind(b"\n") + 1]))
        if not (first.rows and any(columns_of_files(first))):
            return first
    content = _content(source)
    rows = [
        {column: value for column, value in row.items() if not _INDEX.fullmatch(plain(column))}
        for row in rows_of(content, lambda column: plain(column) in LABELS)
    ]
    by_name: dict[str, str] = {}
    for column in rows[0] if rows else ():
        other = by_name.setdefault(plain(column), column)
        if plain(column) in LABELS and any(row.get(column) != row.get(other) for row in rows):
            raise csv.Error(
                f"its columns {shown(other)} and {shown(column)} have one name in two spellings, "
                "and differ; remove or rename one"
            )
    return Table(name, rows, is_guessed=encoding_of(content) == GUESS)


def _head(source: Source) -> tuple[bytes, bool]:
    """Return the beginning of a table with its first row, and whether that is all of it."""
    if isinstance(source, Unreadable | bytes):
        stream: BinaryIO = io.BytesIO(_content(source))
    else:
        stream = source.open("rb")
    with stream:
        head, more = b"", stream.read(_HEAD)
        while more:
            head += more
            # A cell of the first row may be long, as a mask.
            is_enough = head.count(b"\n") > 1 or len(head) >= LONGEST_CELL
            more = b"" if is_enough else stream.read(len(head))
        return head, not stream.read(1)


def _read_list(name: str, source: Source, files: Files) -> Table:
    """Read a list of files, one on each line; one more word there may be its label."""
    content = _content(source)
    folder = name.rpartition("/")[0]
    lines = [line.strip() for line in text_of_table(content).splitlines()]
    rows = [row for line in lines if line and (row := _of_line(line, files, folder))]
    if not rows:
        first = shown(next(filter(None, lines), ""))
        return Table(name, (), problem=f"names no file that is here (its first line: {first})")
    if not all("label" in row for row in rows):
        rows = [{"file": row["file"]} for row in rows]
    return Table(name, rows, is_guessed=encoding_of(content) == GUESS)


def _of_line(line: str, files: Files, folder: str) -> dict[str, str]:
    """Return the file on a line of a list, and the label beside it; nothing without a file."""
    words = [word.strip("\"'") for word in re.split(r"\s*[,;\s]\s*", line)]
    # The file's name may have spaces in it; the label is then the last word, or the first.
    last, first = _cut(line, r"(.*\S)[,;\s]+(\S+)"), _cut(line, r"(\S+?)[,;\s]+(\S.*)")
    for file, label in ((line.strip("\"'"), ""), last, first[::-1]):
        if file and files.find(file, folder) is not None:
            return {"file": file, "label": label} if label else {"file": file}
    file = next((word for word in words if word and files.find(word, folder) is not None), "")
    return {"file": file} if file else {}


def _cut(line: str, where: str) -> tuple[str, str]:
    """Return the two parts of a line without quotes; empty ones if it has only one."""
    match = re.fullmatch(where, line)
    return (match[1].strip("\"' ,;"), match[2].strip("\"' ,;")) if match else ("", "")


def _with_label(table: Table) -> Table:
    """Replace columns that are one for each class, with one 1 in each row, by a single one."""
    if not table.rows:
        return table
    files = {name for names in columns_of_files(table) for name in names}
    classes = [name for name in table.rows[0] if name not in files and not is_split_name(name)]
    if len(classes) < 2 or not files or first_column(LABELS, classes):
        return table
    for row in table.rows:
        values = [row.get(name, "").strip() for name in classes]
        if not all(map(_ZERO_OR_ONE.fullmatch, values)) or sum(map(float, values)) != 1:
            return table
    column = ONE_FOR_EACH
    rows = [
        {
            **{name: value for name, value in row.items() if name not in classes},
            column: next(name for name in classes if float(row[name])),
        }
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _joined(tables: Sequence[Table]) -> list[Table]:
    """Join tables whose names differ only in a number, such as `train_1.csv` and `train_2.csv`.

    They have the same columns, and name no file twice. Those of several folds are others each: by
    their names, or since a joined one of train names files of a joined one of test.
    """
    alike: dict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in tables:
        columns = table.rows[0] if table.rows else (table.name,)
        alike[re.sub(r"\d+", "", table.name), *columns].append(table)
    joined = [group[0] for group in alike.values() if len(group) == 1]
    groups = [group for group in alike.values() if len(group) > 1]
    cells = [[cell for table in group for cell in _cells(table)] for group in groups]
    uses = Counter(itertools.chain(*cells))  # each once, if all these tables name other files
    for group, mine in zip(groups, cells, strict=True):
        if mine and all(uses[cell] == 1 for cell in mine) and not _FOLDS.search(group[0].name):
            group = [
                replace(
                    group[0],
                    rows=[row for table in group for row in table.rows],
                    is_guessed=any(table.is_guessed for table in group),
                    also=tuple(table.name for table in group[1:]),
                )
            ]
        joined += group
    return sorted(joined, key=lambda table: (len(table.name), table.name))


def _cells(table: Table) -> list[str]:
    """Return the cells of the column that names files; none without such a one."""
    paths, usual = columns_of_files(table) if table.rows else ([], [])
    return [row.get(name, "") for name in (*paths, *usual)[:1] for row in table.rows]
