"""The classes of one part of a tree: its folders, or its files with a table of their labels."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from tunecnn.data.folder.labels import (
    Table,
    TableLabels,
    files_named,
    is_table,
    labels_of,
    lists_files,
    names_most,
    read_tables,
    rejoined,
)
from tunecnn.data.folder.masks import (
    MASK,
    MASK_FILE,
    beside_images,
    in_mask_folders,
    without_suffix,
)
from tunecnn.data.folder.node import MASKS, NO_CLASS, Node, labels_in_names, may_be_image
from tunecnn.data.folder.tree import Tree, TreeFile, shown
from tunecnn.data.parts import PART_NAMES, Part
from tunecnn.errors import InputError

OUTSIDE = "outside the class folders"
NOT_IN_TABLE = "not in the table of labels"
NO_PART = "in no part, by the tables of the parts"
TABLE = "a table"
_KIND_OF_CLASS = re.compile("class|label|categor|grade|type|stage|level", re.IGNORECASE)


@dataclass
class PartClasses:
    """The classes of a part, their folders, and the files that belong to none.

    `nodes` has the folder of each class, if the classes are folders.
    """

    files: dict[str, list[TreeFile]]
    folders: dict[str, str]
    outside: Sequence[TreeFile] = ()
    reason: str = OUTSIDE
    notes: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    labels: TableLabels | None = None
    why_no_table: Sequence[str] = ()
    nodes: Sequence[Node] = ()

    @property
    def names(self) -> list[str]:
        """Paths of the files."""
        return [file.name for group in self.files.values() for file in group]


def classes_of(
    tree: Tree,
    node: Node,
    part: Part,
    shared: Sequence[Table],
    train: PartClasses | None,
    there: Collection[str],
    *,
    aside: Sequence[Table] = (),
    is_whole: bool = False,
) -> PartClasses:
    """Return the classes of a part: its folders, or else its files with a table of labels.

    Args:
        tree: the tree.
        node: folder of the part.
        part: the part.
        shared: tables beside the folders of the parts.
        train: classes of the training images; None if these are asked for.
        there: paths of all files of the tree.
        aside: tables in folders without images, which are used if nothing else tells the classes.
        is_whole: whether the folder has all images.

    Raises:
        InputError: if a table gives an image several labels, or contradicts the folders.
    """
    inner = node
    for _, only in node.wrappers(of_a_part=not is_whole):
        inner = only
    may_have_others = is_whole and inner is node
    files = {name: folder.all_files() for name, folder in inner.folders.items()
             if not (may_have_others and folder.is_for_something_else())}  # fmt: skip
    known = {table.name for table in shared}
    own = read_tables(tree, {file.name for file in (*node.files, *inner.files)
                             if is_table(file.name)} - known, there)  # fmt: skip
    # Images of all parts often have the same names, such as 0001.png: a table that is named after
    # another part says nothing of these, and one that is named after none means those of train.
    of_part = [*own, *(one for one in shared if one.part == part)]
    of_all = [one for one in shared if one.part is None]
    files, masks, left_out = _without_masks(files, inner, [*of_part, *of_all])
    used = {file.name for group in files.values() for file in group}
    outside = [file for file in node.all_files() if file.name not in used | masks]
    folders = {name: folder.name for name, folder in inner.folders.items()}
    rest = PartClasses(files, folders, outside, left_out=left_out)
    if sum(map(bool, files.values())) > 1 and not _are_only_numbered([*of_part, *of_all], files):
        _check_beside_folders([*of_part, *of_all], files)
        notes = [f"{len(masks):,} files are masks, by their names"] if masks else []
        nodes = [inner.folders[name] for name, group in files.items() if group]
        return replace(rest, notes=notes, nodes=nodes)
    images = [file for file in node.all_files() if may_be_image(file) and file.name not in masks]
    names, why = [file.name for file in images], list[str]()
    is_flat = not any(folder.has_images() for folder in node.folders.values())
    in_names = labels_in_names(images) if is_flat else {}
    if len(set(in_names.values())) < 2:
        in_names = {}  # such as `img.0.png`
    for tables, others in ((of_part, ()), (of_all, train.names if train else ())):
        labels, reasons = labels_of(
            tables,
            names,
            others=others,
            there=there,
            column=train.labels.column if train and train.labels else None,
            must_be_named=bool(in_names) or (train is not None and train.labels is None),
        )
        if labels is not None:
            return _with_labels(node, images, labels, left_out)
        why += reasons
    if in_names:
        first = images[0].name.rpartition("/")[2]
        classes = _with_labels(node, images, TableLabels("the file names", "", in_names))
        notes = [f"the labels are in the names of the files: {shown(first)}"]
        return replace(classes, notes=notes, labels=None)
    # A table aside may hold guesses or widths: it comes last, and only if it says label.
    labels, reasons = labels_of(rejoined(aside), names, there=there, must_be_named=True)
    if labels is not None:
        return _with_labels(node, images, labels, left_out)
    why += reasons
    why += [f"{shown(one.name)} is for the {one.part} images, by its name" for one in shared
            if one.part not in (None, part) and not one.split]  # fmt: skip
    if masks:
        why.append(f"{len(masks):,} files, which are masks, by their names")
    return replace(rest, why_no_table=why)


def _without_masks(
    files: Mapping[str, list[TreeFile]], inner: Node, tables: Sequence[Table]
) -> tuple[dict[str, list[TreeFile]], set[str], dict[str, int]]:
    """Leave the masks out of the files of each class; return them, and their numbers by reason.

    A class that has nothing but masks is none. A file that a table labels beside its image is no
    mask, whatever its name.
    """
    in_folders = in_mask_folders(inner)
    image_of = beside_images(inner)
    in_files = image_of.keys() - in_folders
    if in_files:
        images = [file.name for file in inner.all_files() if may_be_image(file)]
        with contextlib.suppress(InputError):  # which the caller meets as well
            labels, _ = labels_of(tables, images)
            labelled = labels.by_file.keys() if labels else set[str]()
            stems = set(map(without_suffix, labelled))
            in_files -= {name for name in labelled if image_of.get(name) in stems}
    masks = in_folders | in_files
    without = {name: [file for file in group if file.name not in masks]
               for name, group in files.items()}  # fmt: skip
    counted = {MASK: len(in_folders), MASK_FILE: len(in_files)}
    return (
        {name: group for name, group in without.items() if group or not files[name]},
        masks,
        {reason: count for reason, count in counted.items() if count},
    )


def check_depth(train: PartClasses, *, has_groups: bool) -> None:
    """Check that the folders in the classes cannot be the classes themselves.

    Args:
        train: classes of the training images.
        has_groups: whether the folders below a class are said to be groups of images.

    Raises:
        InputError: if one class has folders with the names of all others; or, without groups, if
            most names of folders in the classes are in two classes or more, and are words, or
            the numbers from 0 or 1 on, or the classes themselves are only numbered; or if words
            stand in folders such as `part1`.
    """
    outer = [name for name, group in train.files.items() if group and train.nodes]
    flat = {name for name, node in zip(outer, train.nodes, strict=True)
            if any(map(may_be_image, node.files))}  # fmt: skip
    copies = [node for name, node in zip(outer, train.nodes, strict=True)
              if set(outer) - {name} == flat - {name}
              == {one for one, inner in node.folders.items() if inner.has_images()}]  # fmt: skip
    if len(copies) == 1 and len(outer) > 2:
        raise InputError(
            f"imagefolder: the class folder {shown(copies[0].name)} has folders with the names of "
            "all other classes; it may be a copy of them: move it away"
        )
    if has_groups:
        return
    inner = _folders_in(train.nodes)
    classes = Counter(name for names in inner for name in names)
    shared = sorted(name for name, count in classes.items() if count > 1)
    if len(shared) > len(classes) / 2:
        are_words = 2 * sum(not re.search(r"\d", name) for name in shared) >= len(shared)
        have_letters = any(re.search(r"[^\W\d]", name) for name in shared)  # unlike dates
        are_meant = are_words or _are_first_numbers(shared) or (
            _are_numbered(outer) and have_letters and not _are_numbered(shared)
        )  # fmt: skip
        names = shared
    else:
        are_meant = _are_shards(outer)
        names = sorted(classes)
    if len(names) < 2 or not are_meant or any(map(NO_CLASS.fullmatch, names)):
        return
    raise InputError(
        f"imagefolder: are the classes the {len(outer):,} folders {listed(map(shown, outer))}, "
        f"or the {len(names):,} in them, {listed(map(shown, names))}? To use the outer "
        "ones, move the images out of the inner ones, or write groups: folder if those of an "
        "inner folder belong together; to use the inner ones, merge the outer folders"
    )


def _folders_in(classes: Sequence[Node]) -> list[set[str]]:
    """Return the names of the folders with images in each class; none if one has images itself.

    A single folder in each class, such as `images`, or the class's name again, is passed through.
    """
    if any(map(may_be_image, itertools.chain(*(node.files for node in classes)))):
        return []
    inner = [{name: one for name, one in node.folders.items()
              if one.has_images() and name.casefold() not in MASKS}
             for node in classes]  # fmt: skip
    if inner and all(len(folders) == 1 for folders in inner):
        return _folders_in([one for folders in inner for one in folders.values()])
    return [set(folders) for folders in inner]


def _are_first_numbers(names: Sequence[str]) -> bool:
    """Return whether names are the numbers from 0 or 1 on, unlike 2019 and 2020."""
    if not all(name.isdecimal() and len(name) < 7 for name in names):
        return False
    numbers = sorted(map(int, names))
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether names differ only in their end, as `hospitalA`, and are no kind of class."""
    stem = _stem(names)
    return stem != "" and not _KIND_OF_CLASS.match(stem)


def _are_shards(names: Sequence[str]) -> bool:
    """Return whether folders hold some of the images each, such as `images_001`."""
    return all(map(NO_CLASS.fullmatch, names)) and _stem(names) != ""


def _stem(names: Sequence[str]) -> str:
    """Return the beginning of several names that differ only in a number or letter; else "" ."""
    stems = {re.sub(r"([\s_-]*\d+|(?<![A-Z])[A-Z]|[\s_-][a-z])$", "", name) for name in names}
    return stems.pop() if len(names) > 1 and len(stems) == 1 else ""


def _are_only_numbered(tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]) -> bool:
    """Return whether folders such as `part_1` have the images of one table with their labels."""
    names = [file.name for group in files.values() for file in group]
    if not _are_shards([folder for folder, group in files.items() if group]):
        return False
    return labels_of(tables, names, must_be_named=True)[0] is not None


def _check_beside_folders(
    tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]
) -> None:
    """Check that no table says that folders are no classes.

    Raises:
        InputError: if a table has several labels in one folder, or fewer labels than there are
            folders, or there is one and the folders differ only in a number. Of folders that do
            so, such as `subject1`, a column whose name does not tell may have the labels.
    """
    images = [file.name for group in files.values() for file in group]
    for table in tables:
        try:
            whole = replace(table, undivided="")
            labels, _ = labels_of([whole], images, must_be_named=True)
        except InputError:  # several labels for one image, such as one for each object in it
            continue
        if labels is None:
            if all(map(NO_CLASS.fullmatch, files)) and names_most(table, images):
                raise InputError(
                    f"imagefolder: are {listed(map(shown, files))} classes? {shown(table.name)} "
                    "names the images, but has no column called label or class. Call the column "
                    "with the labels label, and put all images into one folder; or move the table "
                    "away, to use the folders"
                )
            if _stem([folder for folder, group in files.items() if group]):
                labels = _guessed(whole, images)
        if labels is None:
            continue
        by_folder = {folder: {labels.by_file[file.name] for file in group
                              if file.name in labels.by_file}
                     for folder, group in files.items()}  # fmt: skip
        different = set().union(*by_folder.values())
        several = {folder: found for folder, found in by_folder.items() if len(found) > 1}
        if several or 1 < len(different) < sum(map(bool, by_folder.values())):
            folder, found = min(several.items()) if several else ("all folders", different)
            raise InputError(
                f"imagefolder: are the classes the {len(files):,} folders or the labels of "
                f"{shown(table.name)}? It has {listed(map(shown, sorted(found)))} for images in "
                f"{shown(folder)}. Move the table away to use the folders; to use the table, put "
                "all images into one folder"
            )


def _guessed(table: Table, images: Sequence[str]) -> TableLabels | None:
    """Return the labels in the only other column of a table, if they look like classes."""
    with contextlib.suppress(InputError):
        labels, _ = labels_of([table], images)
        if labels is not None:
            words = set(labels.by_file.values())
            if 2 * len(words) <= len(labels.by_file) and not all(map(_is_number, words)):
                return labels
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def by_tables_of_parts(node: Node, tables: Sequence[Table]) -> dict[Part, PartClasses]:
    """Return the parts of images that lie together, by tables such as `train.csv` and `test.csv`.

    Beside tables of the others, one that is named after no part, or after two, has the training
    images.

    Raises:
        InputError: if two tables name one image.
    """
    images = list(filter(may_be_image, node.all_files()))
    names = [file.name for file in images]
    found: dict[Part, PartClasses] = {}
    folders = [inner for inner in node.folders.values() if inner.has_images()]
    must_be_named = len(folders) > 1 or len(set(labels_in_names(images).values())) > 1

    def labels_in(own: Sequence[Table], column: str | None) -> TableLabels | None:
        return labels_of(
            own, names, column=column, must_be_named=must_be_named, of_rows=True
        )[0]  # fmt: skip

    of_part = {part: [table for table in tables if table.part == part] for part in PART_NAMES}
    is_whole = not of_part["train"] and any(of_part.values())
    of_train = [one for one in tables if one.part is None] if is_whole else of_part["train"]
    train = labels_in(of_train, None)
    if train is None:
        return {}
    others: dict[Part, TableLabels] = {
              part: labels for part in PART_NAMES if part != "train"
              and (labels := labels_in(of_part[part], train.column)) is not None}  # fmt: skip
    if is_whole:  # the table of all images: those of the others' tables do not train
        elsewhere = set().union(*(one.by_file.keys() for one in others.values()))
        mine = {file: label for file, label in train.by_file.items() if file not in elsewhere}
        train = replace(train, by_file=mine)
    all_labels: dict[Part, TableLabels] = {"train": train, **others}
    for part, labels in all_labels.items():
        for other, classes in found.items():
            if both := set(classes.names) & labels.by_file.keys():
                raise InputError(
                    f"imagefolder: {shown(labels.table)} and the table of the {other} images both "
                    f"name {len(both):,} images, such as {shown(min(both))}"
                )
        found[part] = _with_labels(node, images, labels)
    if len(found) < 2:
        return {}
    known = {name for classes in found.values() for name in classes.names}
    rest = [file for file in images if file.name not in known]
    return {
        part: replace(classes, outside=rest if part == "train" else [],
                      left_out=classes.left_out if part == "train" else {})
        for part, classes in found.items()
    }  # fmt: skip


def divided(classes: PartClasses, tables: Sequence[Table]) -> dict[Part, PartClasses]:
    """Divide images whose classes are known by tables that say which of them train and test.

    Without a list of the training images, all others train, if the lists have names of files.

    Raises:
        InputError: if two tables name an image for different parts, or one divides them in words
            that are no parts.
    """
    names = classes.names
    if sum(map(bool, classes.files.values())) < 2:
        return {"train": classes}
    for table in tables:
        if table.undivided and files_named(table, names):
            raise InputError(table.undivided)
    lists = [(table, table.part, files_named(table, names)) for table in tables if table.part]
    lists = [one for one in lists if one[2]]
    counted = Counter(part for _, part, _ in lists)
    parts = set(counted)
    if "train" not in parts:
        parts = {part for table, part, _ in lists if lists_files(table)}
    if not parts - {"train"}:
        return {"train": classes}
    by_file: dict[str, tuple[Part, str]] = {}
    for table, part, named in lists:
        for file in named if part in parts else ():
            other, name = by_file.setdefault(file, (part, table.name))
            if other == part:
                continue
            if max(counted.values()) > 1:
                which = listed(shown(one.name) for one, *_ in lists)
                note = f"{which} are not used: they divide the images in several ways"
                return {"train": replace(classes, notes=[*classes.notes, note])}
            raise InputError(
                f"imagefolder: {shown(file)} is one of the {other} images in {shown(name)}, and "
                f"one of the {part} images in {shown(table.name)}; move one of the tables away"
            )
    is_listed = "train" in parts
    found: dict[Part, PartClasses] = {}
    for part in PART_NAMES:
        files = {
            label: [
                file
                for file in group
                if by_file.get(file.name, ("" if is_listed else "train", ""))[0] == part
            ]
            for label, group in classes.files.items()
        }
        if part == "train":
            train = _of_train(classes, files, [one.name for one, *_ in lists])
            rest = sum(name not in by_file for name in names) if is_listed else 0
            left_out = {**classes.left_out, **({NO_PART: rest} if rest else {})}
            found[part] = replace(train, left_out=left_out)
        elif part in parts:
            found[part] = PartClasses(
                {label: group for label, group in files.items() if group}, dict(classes.folders)
            )
    return found


def _of_train(
    classes: PartClasses, files: dict[str, list[TreeFile]], tables: Sequence[str]
) -> PartClasses:
    """Return the training images among all, by the tables of the parts."""
    full = [name for name, group in classes.files.items() if group]
    nodes = [node for name, node in zip(full, classes.nodes, strict=False) if files[name]]
    which = listed(map(shown, dict.fromkeys(tables)))
    return replace(
        classes,
        files=files,
        nodes=nodes,
        notes=[*classes.notes, f"the parts are those of {which}"],
    )


def parts_within(
    found: Mapping[Part, PartClasses], node: Node, tables: Sequence[Table]
) -> dict[Part, PartClasses]:
    """Add the parts without a folder whose images lie among those of train, by their tables.

    Args:
        found: parts that have folders.
        node: folder of the training images.
        tables: tables beside the folders.
    """
    train = found["train"]
    more: dict[Part, PartClasses] = {}
    for part in (one for one in PART_NAMES if one not in found):
        own = [table for table in tables if table.part == part]
        rest = [file for file in train.outside if may_be_image(file)]
        labels, _ = labels_of(own, [file.name for file in rest], must_be_named=True, of_rows=True)
        if labels is not None:
            more[part] = replace(_with_labels(node, rest, labels), outside=(), left_out={})
            outside = [file for file in train.outside if file.name not in labels.by_file]
            train = replace(train, outside=outside)
            continue
        columns = [table for table in own if table.split]
        named = set().union(*(files_named(table, train.names) for table in columns))
        if named:
            inside = {label: [file for file in group if file.name in named]
                      for label, group in train.files.items()}  # fmt: skip
            more[part] = PartClasses(
                {label: group for label, group in inside.items() if group}, dict(train.folders)
            )
            files = {label: [file for file in group if file.name not in named]
                     for label, group in train.files.items()}  # fmt: skip
            train = _of_train(train, files, [table.name for table in columns])
    return {**found, "train": train, **more}


def _with_labels(
    node: Node,
    images: Sequence[TreeFile],
    labels: TableLabels,
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> PartClasses:
    files: dict[str, list[TreeFile]] = defaultdict(list)
    for file in images:
        if file.name in labels.by_file:
            files[labels.by_file[file.name]].append(file)
    outside = [file for file in images if file.name not in labels.by_file]
    count = len(images) - len(outside)
    tables = sum(is_table(file.name) for file in node.all_files())
    others = len(node.all_files()) - len(images) - tables - sum(left_out.values())
    counts = {**left_out, TABLE: tables, OUTSIDE: others}
    where = f"{shown(labels.table)}, column {shown(labels.column)}"
    if labels.unknown:
        where += f"; {labels.unknown:,} of its rows name no file that is here, or several"
    if labels.missing:
        where += f"; {labels.missing:,} of its rows have NA, which is taken as no label"
    above = [PurePosixPath(file.name).parts[:-1] for file in images]
    around = "/".join(same[0] for same in itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*above, strict=False)))  # fmt: skip
    return PartClasses(
        dict(files),
        dict.fromkeys(files, around),
        outside,
        NOT_IN_TABLE,
        [f"the labels of {count:,} images are from {where}"],
        {reason: count for reason, count in counts.items() if count},
        labels,
    )


def listed(names: Iterable[object]) -> str:
    """Join names with commas, of many the first five."""
    shown_names = [str(name) for name in names]
    more = f" and {len(shown_names) - 5} more" if len(shown_names) > 5 else ""
    return ", ".join(shown_names[:5]) + more
