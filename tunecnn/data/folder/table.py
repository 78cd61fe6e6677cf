"""Tables in a tree: their columns, and the parts into which one divides their rows."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tunecnn.data.folder.names import Files, Paths
from tunecnn.data.folder.rows import GUESS, encoding_of, rows_of
from tunecnn.data.folder.tree import Source, Tree, Unreadable, shown
from tunecnn.data.parts import MOST_PARTS, SPLIT_COLUMNS, Part, not_all_parts, part_in, part_of
from tunecnn.errors import reason
from tunecnn.words import listed

# Names of columns as `plain` has them; those that come first are preferred.
FILES = ("file", "filename", "filepath", "path", "image", "imagename", "imagefile", "imagepath",
          "imageid", "img", "imgname", "imgpath", "name", "idcode", "id")  # fmt: skip
LABELS = ("label", "labels", "class", "classname", "category", "target", "breed", "species",
           "diagnosis", "dx", "y", "classid", "labelid", "categoryid")  # fmt: skip
_FLAGS: Mapping[str, Part] = {
    "isvalid": "validation", "isvalidation": "validation", "isval": "validation",
    "istest": "test", "istrain": "train", "istraining": "train",
}  # fmt: skip
_MEANT = ("set", "phase")
"""Names of further columns that divide the rows if they name a part; they may be other things."""
NEVER_LABELS = ("group", "groups", "patient", "patientid", "subject", "subjectid", "case",
                 "caseid", "lesionid", "slideid", "fold", "folds", "kfold", "width", "height",
                 "md5", "sha256", "split", "subset", "partition")  # fmt: skip
_MISSING = ("nan", "n/a", "#n/a", "<na>")  # what pandas and spreadsheets write for nothing
MISSING_IN_R = "NA"  # in this case only: sodium may be a class
_WHOLE = re.compile(r"^(-?\d+)\.0+$")  # as pandas writes whole numbers beside a missing one
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_HEAD = 1 << 16  # bytes that tell whether a table names files


@dataclass(frozen=True)
class Table:
    """A table in a tree.

    Attributes:
        name: path of its file below the root.
        rows: its rows, by column; empty if it cannot be read.
        split: part to which a column assigns all of its rows; None without such a column.
        problem: why it cannot be read; empty if it can.
        undivided: what is wrong with the column that divides its rows; empty if nothing is.
        is_guessed: whether the encoding of its text is a guess.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    split: Part | None = None
    problem: str = ""
    undivided: str = ""
    is_guessed: bool = False

    @property
    def folder(self) -> str:
        """Its folder below the root; empty if it is at the root."""
        return self.name.rpartition("/")[0]

    @property
    def part(self) -> Part | None:
        """The part of its rows, or in the name of its file; None if there is none, or two."""
        return self.split or part_in(PurePosixPath(self.name).stem)

    def by_split(self, files: Files) -> list[Table]:
        """Divide it by the column that assigns its rows to parts, if there is one.

        If most rows have a part there, and some that label files have none, `undivided` says so.

        Args:
            files: files of the tree: a row that names none of them belongs to no part.
        """
        columns_with_files = list(itertools.chain(*columns_of_files(self))) if self.rows else []
        if not columns_with_files:
            return [self]
        columns = list(self.rows[0])
        flags = [name for name in columns if plain(name) in _FLAGS]
        if len(flags) > 1:
            return [self._undivided(
                f"its columns {' and '.join(map(shown, flags))} both divide the images; write one "
                "column split with train, val and test"
            )]  # fmt: skip
        label = first_column(LABELS, columns)
        problem = ""
        for column in columns:
            if column == label:
                continue
            words = [row.get(column, "").strip() for row in self.rows]
            part_by_word = _parts_by_word(column, set(words))
            known = set(part_by_word.values()) - {None}
            strays = [(word, row) for word, row in zip(words, self.rows, strict=True)
                      if part_by_word[word] is None]  # fmt: skip
            divides = "train" in known and len(known) > 1 and 2 * len(strays) < len(words)
            if not divides:
                count = len(set(words) - {""})
                is_label = label is None and not known and plain(column) not in NEVER_LABELS
                is_split = plain(column) in SPLIT_COLUMNS and count <= MOST_PARTS
                if is_split and count > 1 and not is_label:
                    all_words = map(shown, filter(None, set(words)))
                    problem = problem or not_all_parts(shown(column), all_words)
                    continue
                is_meant = is_split or plain(column) in (*_MEANT, *_FLAGS) and count <= MOST_PARTS
                if not (known and strays and is_meant):
                    continue
            lost = [
                shown(word) if word else "nothing"
                for word, row in strays
                if (label is None or label_of(row, label))
                and any(files.find(row.get(name, ""), self.folder) for name in columns_with_files)
            ]
            if lost:
                return [self._undivided(
                    f"its column {shown(column)} divides the images, and {len(lost):,} of its "
                    "rows have no part (train, val or test) there: "
                    f"{listed(dict.fromkeys(lost))}. Write one, or remove these "
                    "rows, or the column"
                )]  # fmt: skip
            if not divides:
                continue
            rows: dict[Part, list[Mapping[str, str]]] = defaultdict(list)
            for word, row in zip(words, self.rows, strict=True):
                if (part := part_by_word[word]) is not None:
                    rows[part].append({key: row[key] for key in row if key != column})
            return [replace(self, rows=some, split=part) for part, some in rows.items()]
        return [self._undivided(problem) if problem else self]

    def _undivided(self, problem: str) -> Table:
        return replace(self, undivided=f"imagefolder: {shown(self.name)}: {problem}")


def _parts_by_word(column: str, words: Collection[str]) -> dict[str, Part | None]:
    """Return the part that each word of a column names, or true and false of one as `is_valid`."""
    flag = _FLAGS.get(plain(column))
    if flag is not None:
        other: Part = "train" if flag != "train" else "test"
        meant = {**dict.fromkeys(("true", "1", "1.0", "yes"), flag),
                 **dict.fromkeys(("false", "0", "0.0", "no"), other)}  # fmt: skip
        return {word: meant.get(word.casefold()) for word in words}
    to_part = part_in if plain(column) in SPLIT_COLUMNS else part_of
    return {word: to_part(word) for word in words}


def is_table(name: str) -> bool:
    """Return whether a file may be a table, by its name."""
    return name.lower().endswith((".csv", ".tsv", ".jsonl", *_SPREADSHEETS))


def read_tables(tree: Tree, names: Iterable[str], there: Paths) -> list[Table]:
    """Read the tables of a tree, those with shorter names first.

    A submission to a competition has no labels, but guesses.

    Args:
        tree: the tree.
        names: names of the tables.
        there: paths of all files of the tree.
    """
    wanted = sorted((one for one in names if "submission" not in one.lower()),
                    key=lambda name: (len(name), name))  # fmt: skip
    tables = []
    files = Files(there.files)
    for name, source in zip(wanted, tree.contents(wanted) if wanted else (), strict=True):
        try:
            table = _read(name, source)
        except (OSError, csv.Error) as error:
            tables.append(Table(name, (), problem=f"cannot be read: {reason(error)}"))
            continue
        tables += table.by_split(files) if table.rows else []
    return tables


def _read(name: str, source: Source) -> Table:
    """Read a table; of one that names no files, as a table of pixels, only the beginning."""
    if name.lower().endswith(_SPREADSHEETS):
        raise csv.Error("it is a spreadsheet; save it as CSV")
    if isinstance(source, Unreadable):
        raise csv.Error(source.reason)
    if isinstance(source, bytes):
        head = source[:_HEAD]
    else:
        with source.open("rb") as stream:
            head = stream.read(_HEAD)
    if len(head) == _HEAD and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        first = Table(name, rows_of(head[: head.rfind(b"\n") + 1]))
        if not (first.rows and any(columns_of_files(first))):
            return first
    content = source if isinstance(source, bytes) else source.read_bytes()
    rows = rows_of(content, lambda column: plain(column) in LABELS)
    by_name: dict[str, str] = {}
    for column in rows[0] if rows else ():
        other = by_name.setdefault(plain(column), column)
        if plain(column) in LABELS and any(row.get(column) != row.get(other) for row in rows):
            raise csv.Error(
                f"its columns {shown(other)} and {shown(column)} have one name in two spellings, "
                "and differ; remove or rename one"
            )
    return Table(name, rows, is_guessed=encoding_of(content) == GUESS)


def lists_files(table: Table) -> bool:
    """Return whether a table has a column of paths or names of files, unlike bare numbers."""
    return bool(table.rows) and bool(columns_of_files(table)[0])


def rejoined(tables: Sequence[Table]) -> list[Table]:
    """Return tables that a column had divided as they are in their files, without that column."""
    by_name: dict[str, Table] = {}
    for table in tables:
        if (one := by_name.get(table.name)) is not None:
            table = replace(table, rows=[*one.rows, *table.rows])
        by_name[table.name] = replace(table, split=None)
    return list(by_name.values())


def columns_of_files(table: Table) -> tuple[list[str], list[str]]:
    """Return the columns that may name files: those with paths, and those with usual names.

    Those with usual names are in the order of these: an `id` beside a `file` is another number.
    """
    usual = [name for name in table.rows[0] if plain(name) in FILES]
    return (
        [name for name in table.rows[0] if _has_paths(table, name)],
        sorted(usual, key=lambda name: FILES.index(plain(name))),
    )


def _has_paths(table: Table, name: str) -> bool:
    """Return whether most cells of a column look like paths or names of files."""
    cells = [row[name] for row in table.rows[:200] if row.get(name)]
    pathlike = sum(bool(re.search(r"[/\\]|\.[A-Za-z]\w{1,4}$", cell)) for cell in cells)
    return pathlike > len(cells) / 2


def label_of(row: Mapping[str, str], column: str) -> str:
    """Return the label in a row; empty if there is none, or what stands for none."""
    label = row.get(column, "").strip()
    if label.casefold() in _MISSING or label == MISSING_IN_R:
        return ""
    return _WHOLE.sub(r"\1", label)


def first_column(wanted: Iterable[str], columns: Sequence[str]) -> str | None:
    """Return the column with the first of some names that one has; None if none has any."""
    there = {plain(name): name for name in columns}
    return next((there[name] for name in wanted if name in there), None)


def plain(column: str) -> str:
    """Return the name of a column without differences of case and of what joins its words."""
    return re.sub(r"[\s_-]", "", column).casefold()
