"""Tables in a tree, and what their columns mean by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tunecnn.data.parts import Part, names_only_part, part_in
from tunecnn.words import listed, shown

# Names of columns as `plain` has them; those that come first are preferred.
FILES = ("file", "filename", "filepath", "path", "image", "imagename", "imagefile", "imagepath",
          "imageid", "img", "imgname", "imgpath", "name", "idcode", "id")  # fmt: skip
LABELS = ("label", "labels", "class", "classname", "category", "target", "breed", "species",
           "diagnosis", "dx", "y", "classid", "labelid", "categoryid")  # fmt: skip
_GROUPS = ("group", "groups", "groupid", "patient", "patientid", "subject", "subjectid", "case",
           "caseid", "lesionid", "slideid", "participantid", "personid")  # fmt: skip
NEVER_LABELS = (*_GROUPS, "fold", "folds", "kfold", "width", "height", "md5", "sha256", "split",
                "subset", "partition")  # fmt: skip
GROUPS = frozenset(
    {*_GROUPS, "patients", "subjects", "cases", "lesion", "slide", "participant", "person"}
)
"""What images that belong together share, or may share: some of these words name classes too."""
_MISSING = ("nan", "n/a", "#n/a", "<na>")  # what pandas and spreadsheets write for nothing
MAY_BE_NONE = ("null", "none", "nil", "?", "-", "--", "\\n", "missing")
"""What may stand for no label, and may be a class: nothing tells which."""
MISSING_IN_R = "NA"  # in this case only: sodium may be a class
_ALONE = re.compile(r"""\[\s*(["'])([^"']*)\1\s*\]""")  # as pandas writes a list of one label
_WHOLE = re.compile(r"^(-?\d+)\.0+$")  # as pandas writes whole numbers beside a missing one
SPREADSHEETS = (".xlsx", ".xls", ".ods")


@dataclass(frozen=True)
class Table:
    """A table in a tree.

    Attributes:
        name: path of its file below the root.
        rows: its rows, by column; empty if it cannot be read.
        split: part to which columns assign all of its rows; None without such a column.
        divided_by: names of these columns.
        problem: why it cannot be read; empty if it can.
        undivided: what is wrong with the column that divides its rows; empty if nothing is.
        is_guessed: whether the encoding of its text is a guess.
        also: names of further files whose rows it has.
        is_guess: whether it has guesses of labels, by its name.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    split: Part | None = None
    divided_by: tuple[str, ...] = ()
    problem: str = ""
    undivided: str = ""
    is_guessed: bool = False
    also: tuple[str, ...] = ()
    is_guess: bool = False

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


def dividers(tables: Iterable[Table]) -> str:
    """Say which tables divide images, and by which columns."""
    texts = (
        f"{shown(table.title)}, column {' and '.join(map(shown, table.divided_by))}"
        if table.divided_by
        else shown(table.title)
        for table in tables
    )
    return listed(dict.fromkeys(texts))


def is_table(name: str) -> bool:
    """Return whether a file may be a table, by its name."""
    return name.lower().endswith((".csv", ".tsv", ".tab", ".jsonl", *SPREADSHEETS))


def is_list(name: str) -> bool:
    """Return whether a file such as `train.txt` or `TestImages.txt` may list those of a part.

    One with a number, as `train_1.txt`, may belong to an image.
    """
    path = PurePosixPath(name)
    stem = re.sub(r"(?i)list|file(name)?s?|names?", "", path.stem)
    return path.suffix.lower() == ".txt" and not re.search(r"\d", stem) and names_only_part(stem)


def may_say_something(name: str) -> bool:
    """Return whether a file may say something of images, by its name: a table, or such a list."""
    return is_table(name) or is_list(name)


def lists_files(table: Table) -> bool:
    """Return whether a table has a column of paths or names of files, unlike bare numbers."""
    return bool(table.rows) and bool(columns_of_files(table)[0])


def may_have_labels(table: Table) -> bool:
    """Return whether a column may name classes: its name is not another's, and words recur."""
    files = {name for names in columns_of_files(table) for name in names}
    columns = [
        name for name in table.rows[0] if name not in files and plain(name) not in NEVER_LABELS
    ]
    counts = (len({row.get(name, "") for row in table.rows}) for name in columns)
    return any(1 < count <= len(table.rows) / 2 for count in counts)


def rejoined(tables: Sequence[Table]) -> list[Table]:
    """Return tables that a column had divided as they are in their files, without that column."""
    by_name: dict[str, Table] = {}
    for table in tables:
        if (one := by_name.get(table.name)) is not None:
            table = replace(table, rows=[*one.rows, *table.rows])
        by_name[table.name] = replace(table, split=None, divided_by=())
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
    if alone := _ALONE.fullmatch(label):
        label = alone[2]
    return "" if stands_for_none(label) else _WHOLE.sub(r"\1", label)


def stands_for_none(label: str) -> bool:
    """Return whether a text stands for no label, as pandas, R and spreadsheets write it."""
    return not label.strip() or label.casefold() in _MISSING or label == MISSING_IN_R


def first_column(wanted: Iterable[str], columns: Sequence[str]) -> str | None:
    """Return the column with the first of some names that one has; None if none has any."""
    there = {plain(name): name for name in columns}
    return next((there[name] for name in wanted if name in there), None)


def plain(column: str) -> str:
    """Return the name of a column without differences of case and of what joins its words."""
    return re.sub(r"[\s_-]", "", column).casefold()
