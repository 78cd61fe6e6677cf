"""Tables of labels: which image each row names, and which column has its class."""

from __future__ import annotations

import codecs
import csv
import functools
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tunecnn.data.folder.table import rows_of
from tunecnn.data.folder.tree import Source, Tree, Unreadable, shown
from tunecnn.data.parts import MOST_PARTS, SPLIT_COLUMNS, Part, not_all_parts, part_in, part_of
from tunecnn.errors import InputError, reason

# Names of columns as `_plain` has them; those that come first are preferred.
_FILES = ("file", "filename", "filepath", "path", "image", "imagename", "imagefile", "imagepath",
          "imageid", "img", "imgname", "imgpath", "name", "idcode", "id")  # fmt: skip
_LABELS = ("label", "labels", "class", "classname", "category", "target", "breed", "species",
           "diagnosis", "dx", "y", "classid", "labelid", "categoryid")  # fmt: skip
_FLAGS: Mapping[str, Part] = {
    "isvalid": "validation", "isvalidation": "validation", "isval": "validation",
    "istest": "test", "istrain": "train", "istraining": "train",
}  # fmt: skip
_NEVER_LABELS = ("group", "groups", "patient", "patientid", "subject", "subjectid", "case",
                 "caseid", "lesionid", "slideid", "fold", "folds", "kfold", "width", "height",
                 "md5", "sha256", "split", "subset", "partition")  # fmt: skip
_MISSING = ("nan", "n/a", "#n/a", "<na>")  # what pandas and spreadsheets write for nothing
_MISSING_IN_R = "NA"  # in this case only: sodium may be a class
_WHOLE = re.compile(r"^(-?\d+)\.0+$")  # as pandas writes whole numbers beside a missing one
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_ENOUGH = 0.5  # of the images that a table must name
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
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    split: Part | None = None
    problem: str = ""
    undivided: str = ""

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
        columns_of_files = list(itertools.chain(*_columns_of_files(self))) if self.rows else []
        undivided = ""
        label = _first(_LABELS, list(self.rows[0])) if self.rows else None
        flags = [
            one for one in (self.rows[0] if columns_of_files else ()) if _plain(one) in _FLAGS
        ]
        if len(flags) > 1:
            text = (
                f"imagefolder: {shown(self.name)}: its columns {' and '.join(map(shown, flags))} "
                "both divide the images; write one column split with train, val and test"
            )
            return [replace(self, undivided=text)]
        for column in self.rows[0] if columns_of_files else ():
            if column == label:
                continue
            words = [row.get(column, "").strip() for row in self.rows]
            part_by_word = _parts_by_word(column, set(words))
            known = {part for part in part_by_word.values() if part is not None}
            strays = [(word, row) for word, row in zip(words, self.rows, strict=True)
                      if part_by_word[word] is None]  # fmt: skip
            if "train" not in known or len(known) < 2 or 2 * len(strays) >= len(words):
                are_few = 1 < len(set(words) - {""}) <= MOST_PARTS
                if (
                    _plain(column) in SPLIT_COLUMNS
                    and are_few
                    and (label is not None or known or _plain(column) in _NEVER_LABELS)
                ):
                    undivided = undivided or (
                        f"imagefolder: {shown(self.name)}: "
                        + not_all_parts(shown(column), map(shown, filter(None, set(words))))
                    )
                continue
            folder = self.name.rpartition("/")[0]
            lost = [
                shown(word) if word else "nothing"
                for word, row in strays
                if (label is None or _label(row, label))
                and any(files.find(row.get(name, ""), folder) for name in columns_of_files)
            ]
            if lost:
                few = ", ".join(list(dict.fromkeys(lost))[:5])
                text = (
                    f"imagefolder: {shown(self.name)}: its column {shown(column)} divides the "
                    f"images, and {len(lost):,} of its rows have no part (train, val or test) "
                    f"there: {few}. Write one, or remove these rows, or the column"
                )
                return [replace(self, undivided=text)]
            rows: dict[Part, list[Mapping[str, str]]] = defaultdict(list)
            for word, row in zip(words, self.rows, strict=True):
                if (part := part_by_word[word]) is not None:
                    rows[part].append({key: row[key] for key in row if key != column})
            return [replace(self, rows=some, split=part) for part, some in rows.items()]
        return [replace(self, undivided=undivided)]


def _parts_by_word(column: str, words: Collection[str]) -> dict[str, Part | None]:
    """Return the part that each word of a column names, or true and false of one as `is_valid`."""
    flag = _FLAGS.get(_plain(column))
    if flag is not None:
        other: Part = "train" if flag != "train" else "test"
        meant = {**dict.fromkeys(("true", "1", "1.0", "yes"), flag),
                 **dict.fromkeys(("false", "0", "0.0", "no"), other)}  # fmt: skip
        return {word: meant.get(word.casefold()) for word in words}
    to_part = part_in if _plain(column) in SPLIT_COLUMNS else part_of
    return {word: to_part(word) for word in words}


@dataclass(frozen=True)
class TableLabels:
    """What a table says of some images.

    Attributes:
        table: name of the table.
        column: its column with the labels.
        by_file: label of each file that it names.
        unknown: number of its rows with a label that name no file of the tree.
        missing: number of its rows of files with NA, which R writes for no label.
    """

    table: str
    column: str
    by_file: Mapping[str, str]
    unknown: int = 0
    missing: int = 0


def is_table(name: str) -> bool:
    """Return whether a file may be a table, by its name."""
    return name.lower().endswith((".csv", ".tsv", ".jsonl", *_SPREADSHEETS))


def read_tables(tree: Tree, names: Iterable[str], there: Collection[str]) -> list[Table]:
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
    files = Files(there)
    for name, source in zip(wanted, tree.contents(wanted) if wanted else (), strict=True):
        try:
            rows = _rows(name, source)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            tables.append(Table(name, (), problem=f"cannot be read: {reason(error)}"))
            continue
        tables += Table(name, rows).by_split(files) if rows else []
    return tables


def _rows(name: str, source: Source) -> list[dict[str, str]]:
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
        first = Table("", rows_of(head[: head.rfind(b"\n") + 1]))
        if not (first.rows and any(_columns_of_files(first))):
            return list(map(dict, first.rows))
    return rows_of(source if isinstance(source, bytes) else source.read_bytes())


class Files:
    """Finds the file that a cell of a table names: by path, file name or stem.

    A name that two files have stands for neither. One that no file has stands for that whose name
    differs only in case or in the form of accents: macOS and archives change these.

    Args:
        files: paths of the files below the root.
        others: files that come first: a name that one of them has stands for none of `files`.
        there: paths of all files of the tree: one of them stands for itself only.
    """

    def __init__(
        self, files: Iterable[str], others: Iterable[str] = (), there: Collection[str] = ()
    ) -> None:
        self._there = there
        self._files, self._others = list(files), list(others)

    @functools.cached_property
    def _by_name(self) -> Mapping[str, str]:
        return _unambiguous(self._files, self._others, lambda key: key)

    @functools.cached_property
    def _by_form(self) -> Mapping[str, str]:
        return _unambiguous(self._files, self._others, folded)

    @functools.cached_property
    def _lasts(self) -> set[str]:
        """Names and stems of the files, in one form: most cells of a table have none of them."""
        return {folded(key.rpartition("/")[2]) for file in self._files for key in _keys(file)}

    def find(self, cell: str, folder: str = "", *, whole: bool = False) -> str | None:
        """Return the file that a cell names; None if there is none.

        Args:
            cell: path, below the root, the table's folder, one around that, or of another machine,
                with slashes or backslashes; file name; or stem.
            folder: folder of the table.
            whole: whether a path stands for no file in another folder.
        """
        path = slashed(cell)
        last = path.rpartition("/")[2]
        if not last or folded(last) not in self._lasts:
            return None
        keys = [*_paths(path, folder)]
        if last != path and not whole:
            keys.append(last)
        for key in keys:
            if (found := self._by_name.get(key)) is not None:
                return found
            if "/" in key and key in self._there:
                return None
        return next((self._by_form[form] for form in map(folded, keys) if form in self._by_form),
                    None)  # fmt: skip


def _paths(path: str, folder: str) -> Iterator[str]:
    """Yield what a path in a table may mean below the root, the longest first.

    It may begin on another machine, and lead on from the table's folder or from one around that.
    """
    folders = [folder, *map(str, PurePosixPath(folder).parents)] if folder else []
    above = path.count("/")
    for index in range(max(above, 1)):
        end = path.split("/", index)[-1]
        yield from (f"{one}/{end}" for one in folders if one != ".")
        yield end


def slashed(cell: str) -> str:
    """Return a path in a cell of a table with slashes, and without a dot before them."""
    path = cell.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path


def _unambiguous(
    files: Sequence[str], others: Sequence[str], form: Callable[[str], str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    taken = {form(key) for file in others for key in _keys(file) if key != file}
    for file in files:
        for key in map(form, _keys(file)):
            if found.setdefault(key, file) != file:
                taken.add(key)
    for key in taken:
        found.pop(key, None)
    return found


def folded(name: str) -> str:
    """Return a name without differences of case and of the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _keys(file: str) -> set[str]:
    return {PurePosixPath(file).stem, file.rpartition("/")[2], file}


def labels_of(
    tables: Sequence[Table],
    images: Sequence[str],
    *,
    others: Collection[str] = (),
    there: Collection[str] = (),
    column: str | None = None,
    must_be_named: bool = False,
    of_rows: bool = False,
) -> tuple[TableLabels | None, list[str]]:
    """Find the table with the labels of some images.

    A column with one of the usual names of labels comes first, in any table; else it is the only
    other one beside the files' names, if only one table has such a one.

    Args:
        tables: tables, those that come first first.
        images: paths of the images.
        others: images that a name in a table means rather than these.
        there: paths of all files of the tree.
        column: column that labels them; None for any.
        must_be_named: whether the column must have a usual name.
        of_rows: whether half of the rows must name images, else half of the images be named.

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
        least = len(table.rows) if of_rows else len(images)
        try:  # what is wrong with a table matters only if no other has the labels
            named, what, why = _files_named(table, files, least)
            rest = [name for name in table.rows[0] if name != what]
            label = _first((_plain(column),) if column else (), rest)
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
            if may_be and _plain(rest[0]) not in _NEVER_LABELS:
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
        return None, reasons
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
    usual = [name for wanted in _LABELS if (name := _first((wanted,), rest))]
    if _first(("x",), rest):
        usual = [name for name in usual if _plain(name) != "y"]  # a place in the image
    if len(usual) > 1 and _plain(usual[0]) not in ("label", "labels"):
        pairs = {(_label(row, usual[0]), _label(row, usual[1])) for row in table.rows}
        if not _is_renaming(pairs):
            raise InputError(
                f"imagefolder: {shown(table.name)}: which column has the labels, "
                f"{shown(usual[0])} or {shown(usual[1])}? Call it label, or remove the other"
            )
    return usual[0] if usual else None


def _is_renaming(pairs: Collection[tuple[str, str]]) -> bool:
    """Return whether two labels of the same images name the same classes in other words."""
    both = {pair for pair in pairs if all(pair)}
    return len(both) == len({one for one, _ in both}) == len({other for _, other in both})


def _check_agree(labels: TableLabels, others: TableLabels) -> None:
    """Check that two tables give the images that both name the same labels.

    Raises:
        InputError: if they do not; they may do so in other words, such as numbers.
    """
    shared = labels.by_file.keys() & others.by_file.keys()
    if not _is_renaming({(labels.by_file[file], others.by_file[file]) for file in shared}):
        different = [one for one in shared if labels.by_file[one] != others.by_file[one]]
        if not set(labels.by_file.values()) & set(others.by_file.values()):  # in other words
            pairs = Counter((labels.by_file[one], others.by_file[one]) for one in shared)
            rare = min(pairs.values())
            different = [one for one in shared
                         if pairs[labels.by_file[one], others.by_file[one]] == rare]  # fmt: skip
        file = min(different)
        raise InputError(
            f"imagefolder: {shown(labels.table)} and {shown(others.table)} have other labels for "
            f"the same images: {shown(file)} is {shown(labels.by_file[file])} in one, and "
            f"{shown(others.by_file[file])} in the other; move one of them away"
        )


def _found(
    table: Table, named: Mapping[int, str], what: str, column: str, there: Collection[str]
) -> TableLabels:
    if table.undivided:
        raise InputError(table.undivided)
    labels = _labels(table, named, column)
    everywhere = Files(there) if len(named) < len(table.rows) else None
    unknown = sum(
        everywhere is not None and index not in named and bool(_label(row, column))
        and everywhere.find(row.get(what, "")) is None
        for index, row in enumerate(table.rows)
    )  # fmt: skip
    missing = sum(table.rows[index].get(column, "").strip() == _MISSING_IN_R for index in named)
    return TableLabels(table.name, column, labels, unknown if there else 0, missing)


def files_named(table: Table, images: Sequence[str]) -> set[str]:
    """Return the images that a table names, whatever it says of them; none if few of its rows do.

    Raises:
        InputError: if it names files that are not there beside them.
    """
    if not table.rows:
        return set()
    named, _, _ = _files_named(table, Files(images), len(table.rows))
    return set(named.values())


def lists_files(table: Table) -> bool:
    """Return whether a table has a column of paths or names of files, unlike bare numbers."""
    return bool(table.rows) and bool(_columns_of_files(table)[0])


def rejoined(tables: Sequence[Table]) -> list[Table]:
    """Return tables that a column had divided as they are in their files, without that column."""
    by_name: dict[str, Table] = {}
    for table in tables:
        if (one := by_name.get(table.name)) is not None:
            table = replace(table, rows=[*one.rows, *table.rows])
        by_name[table.name] = replace(table, split=None)
    return list(by_name.values())


def names_most(table: Table, images: Sequence[str]) -> bool:
    """Return whether a table names most of some images, whatever it says of them."""
    try:
        return bool(table.rows) and bool(_files_named(table, Files(images), len(images))[0])
    except InputError:
        return False


def _files_named(table: Table, files: Files, count: int) -> tuple[Mapping[int, str], str, str]:
    """Return the file that each row names, by the row's index, the column, and why there is none.

    Columns with paths come before those with bare numbers or words, which may be the rows' own. If
    a path stands for the file in its folder, no other path stands for a file in another folder.
    """
    folder = table.name.rpartition("/")[0]
    least = max(1.0, _ENOUGH * count)
    paths, known = _columns_of_files(table)
    best = 0
    for name in dict.fromkeys((*paths, *known)):
        found = _found_by(files, [row.get(name, "") for row in table.rows], folder)
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
    example = next((row[name] for row in table.rows for name in (*paths, *known)[:1]
                    if row.get(name)), "")  # fmt: skip
    if not (paths or known):
        return {}, "", f"has no column with names of files, such as {' or '.join(_FILES[:3])}"
    return {}, "", f"names {best} of {count:,} images (its first row: {shown(example)})"


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


def _columns_of_files(table: Table) -> tuple[list[str], list[str]]:
    """Return the columns that may name files: those with paths, and those with usual names.

    Those with usual names are in the order of these: an `id` beside a `file` is another number.
    """
    usual = [name for name in table.rows[0] if _plain(name) in _FILES]
    return (
        [name for name in table.rows[0] if _has_paths(table, name)],
        sorted(usual, key=lambda name: _FILES.index(_plain(name))),
    )


def _has_paths(table: Table, name: str) -> bool:
    """Return whether most cells of a column look like paths or names of files."""
    cells = [row[name] for row in table.rows[:200] if row.get(name)]
    pathlike = sum(bool(re.search(r"[/\\]|\.[A-Za-z]\w{1,4}$", cell)) for cell in cells)
    return pathlike > len(cells) / 2


def _labels(table: Table, named: Mapping[int, str], column: str) -> dict[str, str]:
    """Return the label of each file.

    Raises:
        InputError: if a file has several.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for index, file in named.items():
        if label := _label(table.rows[index], column):
            found[file].add(label)
    parts = {label: _parts_of(label) for names in found.values() for label in names}
    uses = Counter(part for some in parts.values() for part in some)
    for file, names in found.items():
        # A class may have a comma in its name; several labels are those of other images as well.
        if joined := [one for one in names if len(parts[one]) > 1
                      and all(uses[part] > 1 for part in parts[one])]:  # fmt: skip
            found[file] = names - set(joined) | {part for one in joined for part in parts[one]}
    if several := {file: names for file, names in found.items() if len(names) > 1}:
        file, names = min(several.items())
        listed = ", ".join(map(shown, sorted(names)[:5]))
        raise InputError(
            f"imagefolder: {shown(table.name)} has several labels for {len(several):,} of "
            f"{len(found):,} files, such as {shown(file)}: {listed}; an image has one class, so "
            "leave one of them"
        )
    return {file: names.pop() for file, names in found.items()}


def _label(row: Mapping[str, str], column: str) -> str:
    label = row.get(column, "").strip()
    if label.casefold() in _MISSING or label == _MISSING_IN_R:
        return ""
    return _WHOLE.sub(r"\1", label)


def _parts_of(label: str) -> set[str]:
    return {part.strip() for part in re.split(r"[|,;]", label) if part.strip()}


def _first(wanted: Iterable[str], columns: Sequence[str]) -> str | None:
    there = {_plain(name): name for name in columns}
    return next((there[name] for name in wanted if name in there), None)


def _plain(column: str) -> str:
    """Return the name of a column without differences of case and of what joins its words."""
    return re.sub(r"[\s_-]", "", column).casefold()
