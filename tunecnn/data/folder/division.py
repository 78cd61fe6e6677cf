"""The parts of images that lie together, by tables that say which of them train and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from tunecnn.data.folder.doubts import are_shards
from tunecnn.data.folder.labels import (
    HalfOf,
    TableLabels,
    files_named,
    is_renaming,
    labels_of,
    names_most,
)
from tunecnn.data.folder.node import Node, classes_in_names, may_be_image
from tunecnn.data.folder.part import PartClasses, with_labels
from tunecnn.data.folder.table import Table, dividers, is_list, lists_files
from tunecnn.data.folder.tree import TreeFile
from tunecnn.data.parts import PART_NAMES, Part
from tunecnn.errors import InputError
from tunecnn.words import listed, shown

NO_PART = "in no part, by the tables of the parts"


def by_tables_of_parts(
    node: Node, tables: Sequence[Table], *, must_be_named: bool = False
) -> dict[Part, PartClasses]:
    """Return the parts of images that lie together, by tables such as `train.csv` and `test.csv`.

    Beside tables of the others, one that is named after no part, or after two, has the training
    images.

    Args:
        node: folder of the images.
        tables: the tables.
        must_be_named: whether the column of the labels must have a usual name.

    Raises:
        InputError: if two tables name one image.
    """
    images = list(filter(may_be_image, node.all_files()))
    names = [file.name for file in images]
    found: dict[Part, PartClasses] = {}
    folders = [inner for inner in node.folders.values() if inner.has_images()]
    must_be_named = must_be_named or len(folders) > 1 or bool(classes_in_names(images))
    are_of_more = _are_of_more(tables, names)

    def labels_in(own: Sequence[Table], column: str | None) -> TableLabels | None:
        half_of = _half_of(own, are_of_more=are_of_more)
        return labels_of(own, names, column=column, must_be_named=must_be_named, half_of=half_of)[
            0
        ]

    of_part = {part: [table for table in tables if table.part == part] for part in PART_NAMES}
    is_whole = not of_part["train"] and any(of_part.values())
    of_train = [one for one in tables if one.part is None] if is_whole else of_part["train"]
    train = labels_in(of_train, None)
    if train is None:
        return {}
    others: dict[Part, TableLabels] = {
        part: labels
        for part in PART_NAMES
        if part != "train" and (labels := labels_in(of_part[part], train.column)) is not None
    }
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
        found[part] = with_labels(node, images, labels)
    if len(found) < 2 or _are_those_of_folders(folders, all_labels.values()):
        return {}
    known = {name for classes in found.values() for name in classes.names}
    rest = [file for file in images if file.name not in known]
    by_column = [
        one
        for one in tables
        if one.divided_by and any(one.name == labels.table for labels in all_labels.values())
    ]
    train_notes = [*found["train"].notes]
    if by_column:
        train_notes.append(f"the parts are those of {dividers(by_column)}")
    return {
        part: replace(classes, outside=rest, notes=train_notes)
        if part == "train"
        else replace(classes, outside=[], left_out={})
        for part, classes in found.items()
    }


def _are_of_more(tables: Sequence[Table], images: Sequence[str]) -> bool:
    """Return whether tables of the parts are those of a data set of which only some is here.

    Then they name most of the images together, though few of their rows do.
    """
    return names_most([table for table in tables if table.part or table.undivided], images)


def _half_of(tables: Sequence[Table], *, are_of_more: bool) -> HalfOf:
    """Return how much tables of a part must name; bare numbers may be those of other images."""
    return "none" if are_of_more and all(map(lists_files, tables)) else "rows"


def _are_those_of_folders(folders: Sequence[Node], tables: Collection[TableLabels]) -> bool:
    """Return whether folders are the classes, whatever labels the tables of the parts have.

    They are if the labels are other words for them, or only stand on the lines of lists.
    """
    if len(folders) < 2 or are_shards([shown(folder.name) for folder in folders]):
        return False
    if all(is_list(labels.table) for labels in tables):
        return True
    by_file = {file: label for labels in tables for file, label in labels.by_file.items()}
    pairs = {
        (folder.name, by_file[file.name])
        for folder in folders
        for file in folder.all_files()
        if file.name in by_file
    }
    return is_renaming(pairs)


def divided(classes: PartClasses, tables: Sequence[Table]) -> dict[Part, PartClasses]:
    """Divide images whose classes are known by tables that say which of them train and test.

    Without a list of the training images, all others train, if the lists have names of files.

    Raises:
        InputError: if two tables, or two rows of one, name an image for different parts, or one
            divides them in words that are no parts.
    """
    names = classes.names
    if sum(map(bool, classes.files.values())) < 2:
        return {"train": classes}

    are_of_more = _are_of_more(tables, names)

    def named_by(table: Table) -> set[str]:
        return files_named(table, names, _half_of([table], are_of_more=are_of_more))

    for table in tables:
        if table.undivided and named_by(table):
            raise InputError(table.undivided)
    lists = [(table, table.part, named_by(table)) for table in tables if table.part]
    lists = [one for one in lists if one[2]]
    counted = Counter(part for _, part, _ in lists)
    parts = set(counted)
    if "train" not in parts:
        parts = {part for table, part, _ in lists if lists_files(table)}
    if not parts - {"train"}:
        named = set().union(*(one for _, _, one in lists))
        if rest := len(names) - len(named) if named else 0:
            which = listed(shown(table.title) for table, *_ in lists)
            note = (
                f"{which} names {len(named):,} training images, and the {rest:,} others train too"
            )
            return {"train": replace(classes, notes=[*classes.notes, note])}
        return {"train": classes}
    by_file: dict[str, tuple[Part, str]] = {}
    for table, part, named in lists:
        for file in sorted(named) if part in parts else ():
            other, name = by_file.setdefault(file, (part, table.name))
            if other == part:
                continue
            if max(counted.values()) > 1:
                which = listed(shown(one.name) for one, *_ in lists)
                note = f"{which} are not used: they divide the images in several ways"
                return {"train": replace(classes, notes=[*classes.notes, note])}
            if name == table.name:
                raise InputError(
                    f"imagefolder: {shown(name)} has {shown(file)} among the {other} images and "
                    f"among the {part} images, as of several folds; write one row for each image"
                )
            raise InputError(
                f"imagefolder: {shown(file)} is one of the {other} images in {shown(name)}, and "
                f"one of the {part} images in {shown(table.name)}; move one of the tables away"
            )
    is_listed = "train" in parts
    found: dict[Part, PartClasses] = {}
    for part in PART_NAMES:
        mine = {name for name, (of, _) in by_file.items() if of == part}
        if part == "train":
            if not is_listed:
                mine = {name for name in names if name not in by_file}
            train = _of_train(classes, mine, [one for one, *_ in lists])
            rest = sum(name not in by_file for name in names) if is_listed else 0
            left_out = {**classes.left_out, **({NO_PART: rest} if rest else {})}
            found[part] = replace(train, left_out=left_out)
        elif part in parts:
            found[part] = _of_another(classes, mine)
    return found


def _among(classes: PartClasses, names: Collection[str]) -> dict[str, list[TreeFile]]:
    """Return the files of each class that have one of some names."""
    return {
        label: [file for file in group if file.name in names]
        for label, group in classes.files.items()
    }


def _of_another(classes: PartClasses, names: Collection[str]) -> PartClasses:
    """Return the images of a part that does not train, among all."""
    files = {label: group for label, group in _among(classes, names).items() if group}
    return PartClasses(files, dict(classes.folders))


def _of_train(
    classes: PartClasses, names: Collection[str], tables: Iterable[Table]
) -> PartClasses:
    """Return the training images among all, by the tables of the parts."""
    files = _among(classes, names)
    full = [name for name, group in classes.files.items() if group]
    nodes = [node for name, node in zip(full, classes.nodes, strict=False) if files[name]]
    notes = [*classes.notes, f"the parts are those of {dividers(tables)}"]
    return replace(classes, files=files, nodes=nodes, notes=notes)


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
    are_of_more = _are_of_more(tables, train.names)
    more: dict[Part, PartClasses] = {}
    for part in (one for one in PART_NAMES if one not in found):
        own = [table for table in tables if table.part == part]
        rest = [file for file in train.outside if may_be_image(file)]
        labels, _ = labels_of(
            own, [file.name for file in rest], must_be_named=True, half_of="rows"
        )
        if labels is not None:
            more[part] = replace(with_labels(node, rest, labels), outside=(), left_out={})
            outside = [file for file in train.outside if file.name not in labels.by_file]
            note = f"the {part} images are those of {dividers(own)}"
            train = replace(train, outside=outside, notes=[*train.notes, note])
            continue
        columns = [table for table in own if table.split or is_list(table.name)]
        named = set().union(
            *(
                files_named(table, train.names, _half_of([table], are_of_more=are_of_more))
                for table in columns
            )
        )
        if named:
            more[part] = _of_another(train, named)
            rest_of_train = set(train.names) - named
            train = _of_train(train, rest_of_train, columns)
    return {**found, "train": train, **more}
