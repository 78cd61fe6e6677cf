"""Tables in a tree: their columns, and the parts into which one divides their rows."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tunecnn.data.folder.names import Files, Paths
from tunecnn.data.folder.rows import GUESS, encoding_of, rows_of, rows_of_list
from tunecnn.data.folder.tree import Source, Tree, Unreadable
from tunecnn.data.parts import (
    BOOLEANS,
    MOST_PARTS,
    Part,
    flag_of,
    is_split_name,
    names_only_part,
    not_all_parts,
    part_in,
    parts_by_word,
)
from tunecnn.errors import reason
from tunecnn.words import listed, shown

# Names of columns as `plain` has them; those that come first are preferred.
FILES = ("file", "filename", "filepath", "path", "image", "imagename", "imagefile", "imagepath",
          "imageid", "img", "imgname", "imgpath", "name", "idcode", "id")  # fmt: skip
LABELS = ("label", "labels", "class", "classname", "category", "target", "breed", "species",
           "diagnosis", "dx", "y", "classid", "labelid", "categoryid")  # fmt: skip
_MEANT = ("set", "phase")
"""Names of further columns that divide the rows if they name a part; they may be other things."""
NEVER_LABELS = ("group", "groups", "patient", "patientid", "subject", "subjectid", "case",
                 "caseid", "lesionid", "slideid", "fold", "folds", "kfold", "width", "height",
                 "md5", "sha256", "split", "subset", "partition")  # fmt: skip
_MISSING = ("nan", "n/a", "#n/a", "<na>")  # what pandas and spreadsheets write for nothing
MISSING_IN_R = "NA"  # in this case only: sodium may be a class
_WHOLE = re.compile(r"^(-?\d+)\.0+$")  # as pandas writes whole numbers beside a missing one
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_GUESSES = re.compile(r"submission|sample_?sub|predict", re.IGNORECASE)
"""Names of tables with guesses, which a competition wants."""
_FOLDS = re.compile(r"fold|cv|split|subset|run|seed", re.IGNORECASE)
_ZERO_OR_ONE = re.compile(r"[01](\.0*)?")
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
        also: names of further files whose rows it has.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    split: Part | None = None
    problem: str = ""
    undivided: str = ""
    is_guessed: bool = False
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name, and how many more files it has the rows of."""
        return f"{self.name} and {len(self.also)} more" if self.also else self.name

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
        label = first_column(LABELS, columns)
        words_in = {column: [row.get(column, "").strip() for row in self.rows]
                    for column in columns
                    if column != label and column not in columns_with_files}  # fmt: skip
        flags = [column for column, words in words_in.items() if self._is_flag(column, words)]
        if len(flags) > 1:
            return [self._undivided(
                f"its columns {' and '.join(map(shown, flags))} both divide the images; write one "
                "column split with train, val and test"
            )]  # fmt: skip
        problem = ""
        for column, words in words_in.items():
            if label is None and column not in flags and flag_of(column):
                continue  # valid and invalid images may be the classes
            part_by_word = parts_by_word(column, set(words))
            known = set(part_by_word.values()) - {None}
            strays = [(word, row) for word, row in zip(words, self.rows, strict=True)
                      if part_by_word[word] is None]  # fmt: skip
            divides = "train" in known and len(known) > 1 and 2 * len(strays) < len(words)
            if not divides:
                count = len(set(words) - {""})
                is_label = label is None and not known and plain(column) not in NEVER_LABELS
                is_split = is_split_name(column) and count <= MOST_PARTS
                if is_split and count > 1 and not is_label:
                    all_words = map(shown, filter(None, set(words)))
                    problem = problem or not_all_parts(shown(column), all_words)
                    continue
                is_meant = is_split or count <= MOST_PARTS and (
                    plain(column) in _MEANT or column in flags)  # fmt: skip
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

    def _is_flag(self, column: str, words: Iterable[str]) -> bool:
        """Return whether a column says of each row whether it is of one part, as `is_valid`."""
        has_label = first_column(LABELS, list(self.rows[0])) is not None
        if flag_of(column) is None or plain(column).startswith("is"):
            return flag_of(column) is not None
        return has_label and all(word.casefold() in BOOLEANS for word in words if word)

    def _undivided(self, problem: str) -> Table:
        return replace(self, undivided=f"imagefolder: {shown(self.name)}: {problem}")


def is_table(name: str) -> bool:
    """Return whether a file may be a table, or a list of the files of a part, by its name."""
    return name.lower().endswith((".csv", ".tsv", ".tab", ".jsonl", *_SPREADSHEETS)) or _is_list(
        name
    )


def _is_list(name: str) -> bool:
    """Return whether a file such as `train.txt` or `TestImages.txt` may list those of a part.

    One with a number, as `train_1.txt`, may belong to an image.
    """
    path = PurePosixPath(name)
    stem = re.sub(r"(?i)list|file(name)?s?|names?", "", path.stem)
    return path.suffix.lower() == ".txt" and not re.search(r"\d", stem) and names_only_part(stem)


def read_tables(tree: Tree, names: Iterable[str], there: Paths) -> list[Table]:
    """Read the tables of a tree, those with shorter names first.

    A submission to a competition has no labels, but guesses.

    Args:
        tree: the tree.
        names: names of the tables.
        there: paths of all files of the tree.
    """
    wanted = sorted((one for one in names if not _GUESSES.search(one)),
                    key=lambda name: (len(name), name))  # fmt: skip
    tables = list[Table]()
    for name, source in zip(wanted, tree.contents(wanted) if wanted else (), strict=True):
        try:
            table = _read(name, source)
        except (OSError, csv.Error) as error:
            tables.append(Table(name, (), problem=f"cannot be read: {reason(error)}"))
            continue
        if table.rows:
            tables.append(_with_label(table))
    files = Files(there.files)
    return [part for table in _joined(tables) for part in table.by_split(files)]


def _with_label(table: Table) -> Table:
    """Return a table with a column `label` if it has one for each class, and one 1 in each row."""
    files = {name for names in columns_of_files(table) for name in names}
    classes = [name for name in table.rows[0] if name not in files]
    if (
        len(classes) < 2
        or not files
        or first_column(LABELS, classes)
        or any(map(flag_of, classes))
    ):
        return table
    for row in table.rows:
        values = [row.get(name, "").strip() for name in classes]
        if not all(map(_ZERO_OR_ONE.fullmatch, values)) or sum(map(float, values)) != 1:
            return table
    rows = [
        {**{name: row[name] for name in files if name in row},
         "label": next(name for name in classes if float(row[name]))}
        for row in table.rows
    ]  # fmt: skip
    return replace(table, rows=rows)


def _joined(tables: Sequence[Table]) -> list[Table]:
    """Join tables whose names differ only in a number, such as `train_1.csv` and `train_2.csv`.

    They have the same columns, and name no file twice. Those of several folds are others each.
    """
    alike: dict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in tables:
        columns = table.rows[0] if table.rows else (table.name,)
        alike[re.sub(r"\d+", "", table.name), *columns].append(table)
    joined = []
    for group in alike.values():
        rows = [row for table in group for row in table.rows]
        files = list(itertools.chain(*columns_of_files(group[0]))) if rows else []
        cells = [tuple(row.get(name, "") for name in files) for row in rows]
        is_of_folds = _FOLDS.search(group[0].name) is not None
        if len(group) > 1 and files and len(set(cells)) == len(cells) and not is_of_folds:
            others = tuple(table.name for table in group[1:])
            is_guessed = any(table.is_guessed for table in group)
            group = [replace(group[0], rows=rows, also=others, is_guessed=is_guessed)]
        joined += group
    return sorted(joined, key=lambda table: (len(table.name), table.name))


def _read(name: str, source: Source) -> Table:
    """Read a table; of one that names no files, as a table of pixels, only the beginning."""
    if name.lower().endswith(_SPREADSHEETS):
        raise csv.Error("it is a spreadsheet; save it as CSV")
    if isinstance(source, Unreadable):
        raise csv.Error(source.reason)
    if _is_list(name):
        content = source if isinstance(source, bytes) else source.read_bytes()
        return Table(name, rows_of_list(content), is_guessed=encoding_of(content) == GUESS)
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


def may_have_labels(table: Table) -> bool:
    """Return whether a column may name classes: its name is not another's, and words recur."""
    files = {name for names in columns_of_files(table) for name in names}
    columns = [name for name in table.rows[0]
               if name not in files and plain(name) not in NEVER_LABELS]  # fmt: skip
    counts = (len({row.get(name, "") for row in table.rows}) for name in columns)
    return any(1 < count <= len(table.rows) / 2 for count in counts)


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
