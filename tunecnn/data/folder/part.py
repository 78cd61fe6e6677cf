"""The classes of one part of a tree: its folders, or its files with a table of their labels."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from tunecnn.data.folder.doubts import are_only_numbered, check_beside_folders
from tunecnn.data.folder.labels import TableLabels, labels_of
from tunecnn.data.folder.masks import (
    MASK,
    MASK_FILE,
    beside_images,
    in_mask_folders,
    without_suffix,
)
from tunecnn.data.folder.names import Paths
from tunecnn.data.folder.node import Node, classes_in_names, may_be_image
from tunecnn.data.folder.rows import GUESS
from tunecnn.data.folder.table import (
    MAY_BE_NONE,
    Table,
    is_table,
    may_say_something,
    rejoined,
)
from tunecnn.data.folder.tables import read_tables
from tunecnn.data.folder.tree import Tree, TreeFile
from tunecnn.data.parts import Part, part_in
from tunecnn.errors import InputError
from tunecnn.words import listed, shown

OUTSIDE = "outside the class folders"
NOT_IN_TABLE = "not in the table of labels"
TABLE = "a table"
_LABEL_FOLDER = re.compile("labels?|annotations?|ground[ _-]?truths?|gt", re.IGNORECASE)
_TRUTH = re.compile("truth|solution|answer|label|gt|key", re.IGNORECASE)


@dataclass
class PartClasses:
    """The classes of a part, their folders, and the files that belong to none.

    `nodes` has the folder of each class, if the classes are folders, `tables` the tables that lie
    in the folder of the part.
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
    tables: Sequence[Table] = ()

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
    there: Paths,
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
    files = {
        name: folder.all_files()
        for name, folder in inner.folders.items()
        if not (may_have_others and folder.is_for_something_else())
    }
    known = {name for table in shared for name in (table.name, *table.also)}
    own = read_tables(
        tree,
        {file.name for file in (*node.files, *inner.files) if may_say_something(file.name)}
        - known,
        there,
    )
    # Images of all parts often have the same names, such as 0001.png: a table that is named after
    # another part says nothing of these, and one that is named after none means those of train.
    of_part = [*own, *(one for one in shared if one.part == part)]
    of_all = [one for one in shared if one.part is None]
    guesses = list[Table]()
    if train is not None and train.labels is not None and part_in(train.labels.table) == "train":
        # Beside `train.csv`, one such as `baseline.csv` may have guesses of the test labels.
        guesses = [one for one in of_all if not _TRUTH.search(one.name)]
        of_all = [one for one in of_all if one not in guesses]
    files, masks, left_out = _without_masks(files, inner, [*of_part, *of_all])
    used = {file.name for group in files.values() for file in group} | masks
    outside = [file for file in node.all_files() if file.name not in used]
    folders = {name: folder.name for name, folder in inner.folders.items()}
    rest = PartClasses(files, folders, outside, left_out=left_out, tables=own)
    if sum(map(bool, files.values())) > 1 and not are_only_numbered([*of_part, *of_all], files):
        notes = check_beside_folders([*of_part, *of_all], files)
        if masks:
            notes.append(f"{len(masks):,} files are masks, by their names")
        nodes = [inner.folders[name] for name, group in files.items() if group]
        return replace(rest, notes=notes, nodes=nodes)
    images = [file for file in node.all_files() if may_be_image(file) and file.name not in masks]
    names, why = [file.name for file in images], list[str]()
    is_flat = not any(folder.has_images() for folder in node.folders.values())
    in_names = classes_in_names(images) if is_flat else {}
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
            return replace(with_labels(node, images, labels, left_out), tables=own)
        why += reasons
    if in_names:
        first = images[0].name.rpartition("/")[2]
        classes = with_labels(node, images, TableLabels("the file names", "", in_names))
        notes = [f"the labels are in the names of the files: {shown(first)}"]
        return replace(classes, notes=notes, labels=None, tables=own)
    # A table aside may hold guesses or widths: it comes last, and only if it says label.
    aside = rejoined(aside) if is_whole else _of_labels(aside, train)
    for of, others in ((part, ()), (None, train.names if train else ())):
        tables = [one for one in aside if one.part == of]
        labels, reasons = labels_of(tables, names, others=others, there=there, must_be_named=True)
        if labels is not None:
            return replace(with_labels(node, images, labels, left_out), tables=own)
        why += reasons
    why = [
        f"{shown(one.name)} may have guesses, by its name: call it {part}_labels.csv if it has "
        f"the labels of the {part} images"
        for one in guesses
    ] + why
    why += [
        f"{shown(one.name)} is for the {one.part} images, by its name"
        for one in (*shared, *aside)
        if one.part not in (None, part) and not one.split
    ]
    if masks:
        why.append(f"{len(masks):,} files, which are masks, by their names")
    return replace(rest, why_no_table=why)


def _of_labels(aside: Sequence[Table], train: PartClasses | None) -> list[Table]:
    """Return the tables aside that may label a part beside train, by their folders.

    Those are in the folder of the table of train, or in one for labels: others may have guesses.
    """
    table = train.labels.table if train is not None and train.labels is not None else ""
    same = table.rpartition("/")[0]
    folders = {one.name: one.name.rpartition("/")[0] for one in aside}
    return [
        one
        for one in aside
        if train is None
        or (same and folders[one.name] == same)
        or _LABEL_FOLDER.fullmatch(folders[one.name].rpartition("/")[2])
    ]


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
    without = {
        name: [file for file in group if file.name not in masks] for name, group in files.items()
    }
    counted = {MASK: len(in_folders), MASK_FILE: len(in_files)}
    return (
        {name: group for name, group in without.items() if group or not files[name]},
        masks,
        {reason: count for reason, count in counted.items() if count},
    )


def with_labels(
    node: Node,
    images: Sequence[TreeFile],
    labels: TableLabels,
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> PartClasses:
    """Return the classes of images by their labels in a table, or in their names."""
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
    if labels.guessed:
        where += (
            f"; it is not UTF-8, and is read as {GUESS}, such as {shown(labels.guessed)}: if that "
            "is wrong, save it as UTF-8"
        )
    if doubtful := [name for name in files if name.casefold() in MAY_BE_NONE]:
        words = listed(map(shown, doubtful))
        where += f"; as classes of their own, too: {words} (leave cells empty that have none)"
    above = [PurePosixPath(file.name).parts[:-1] for file in images]
    around = "/".join(
        same[0]
        for same in itertools.takewhile(
            lambda parts: len(set(parts)) == 1, zip(*above, strict=False)
        )
    )
    return PartClasses(
        dict(files),
        dict.fromkeys(files, around),
        outside,
        NOT_IN_TABLE,
        [f"the labels of {count:,} images are from {where}"],
        {reason: count for reason, count in counts.items() if count},
        labels,
    )
