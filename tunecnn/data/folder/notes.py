"""Notes on what a reader of a tree should know: what may be meant, and is not used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from tunecnn.data.folder.labels import is_renaming, names_most, said_of, too_few_named
from tunecnn.data.folder.names import folded
from tunecnn.data.folder.node import Node, may_be_image
from tunecnn.data.folder.part import PartClasses
from tunecnn.data.folder.table import (
    GROUPS,
    LABELS,
    Table,
    first_column,
    is_list,
    plain,
    rejoined,
)
from tunecnn.data.folder.tree import Listing
from tunecnn.data.parts import Part, is_split_name, part_in, part_of
from tunecnn.words import listed, shown


def unused_folders(node: Node, parts: Mapping[Part, Node], train: PartClasses) -> Iterator[str]:
    """Yield a note on each folder beside those of the parts that has the same classes."""
    classes = {folded(name) for name, files in train.files.items() if files}
    used = [part.name for part in parts.values()]
    for inner in node.folders.values() if used else ():
        if (
            inner.name not in used
            and inner.has_images()
            and {folded(name) for name in inner.folders} == classes
        ):
            yield (
                f"{shown(inner.name)}/ has the classes of train, but its name is that of no part "
                "or of one that is there, so it is not used"
            )


def unread_lists(listing: Listing) -> Iterator[str]:
    """Yield a note on files that may say which images train or test, but not in a known form."""
    stems = {PurePosixPath(file.name).stem for file in listing.files if may_be_image(file)}
    names = [
        file.name
        for file in listing.files
        if file.name.lower().endswith((".txt", ".json", ".mat", ".lst", ".xml", ".pkl"))
        and (part_in(stem := PurePosixPath(file.name).stem) or is_split_name(stem))
        and stem not in stems  # which may be what an image shows
        and not is_list(file.name)
    ]
    if names:
        yield (
            f"{listed(map(shown, names))} may say which images train or test, but cannot be read: "
            "write lists of files, train.txt and test.txt, or a column split into a table"
        )


def unused_tables(
    tables: Sequence[Table], found: Mapping[Part, PartClasses], notes: Iterable[str]
) -> Iterator[str]:
    """Yield a note on each table that may label or divide images, and is not used.

    Args:
        tables: tables beside the parts; those in the folder of one are in `found`.
        found: the images of each part.
        notes: what is said of the images already.
    """
    said = "\n".join(notes)
    everything = [name for classes in found.values() for name in classes.names]
    of_part: dict[Part | None, Sequence[str]] = {part: one.names for part, one in found.items()}
    of_images = [(table, of_part.get(table.part, everything)) for table in tables]
    of_images += [(table, classes.names) for classes in found.values() for table in classes.tables]
    says = {
        table.name
        for table, _ in of_images
        if table.rows
        and (table.part or table.undivided or first_column(LABELS, list(table.rows[0])))
    }
    images: dict[str, Sequence[str]] = {}
    for table, names in of_images:  # one that a column divides is several
        images[table.name] = everything if table.name in images else names
    for table in rejoined([table for table, _ in of_images]):
        if re.search(rf"(?<![\w./-]){re.escape(shown(table.name))}(?![\w/-])", said):
            continue
        if table.problem and not table.is_guess:
            which = "divides nothing" if is_list(table.name) else "is not used"
            yield f"{shown(table.name)} {table.problem}, so it {which}"
        elif table.name in says and (why := too_few_named(table, images[table.name])):
            yield f"{why}, so it is not used"


def parts_in_names(train: PartClasses) -> Iterator[str]:
    """Yield a note if the names of files say which of them train, such as `test_0001.png`."""
    example: dict[Part, str] = {}
    for name in train.names:
        words = re.split(r"[\W_]+", PurePosixPath(name).stem)
        parts = {part for word in (words[0], words[-1]) if (part := part_of(word)) is not None}
        if len(parts) != 1:
            return
        example.setdefault(parts.pop(), name)
    if "train" in example and len(example) > 1:
        yield (
            f"the files have names of parts in theirs, such as "
            f"{listed(map(shown, example.values()))}, which divide nothing: write lists of files, "
            "train.txt and test.txt, to use them"
        )


def groups_in(tables: Sequence[Table], train: PartClasses) -> Iterator[str]:
    """Yield a note if a table or folders say which images are of one patient, say."""
    images = train.names
    classes = {file.name: name for name, group in train.files.items() for file in group}
    way = "belong together, say so: groups: "
    for table in rejoined([*tables, *train.tables]):
        columns = [name for name in (table.rows[0] if table.rows else ()) if plain(name) in GROUPS]
        if not columns or not names_most([table], images):
            continue
        for name in columns:
            by_file = said_of(table, name, images)
            values = set(by_file.values()) - {""}
            are_classes = is_renaming({(one, classes[file]) for file, one in by_file.items()})
            if len(values) > 1 and 2 * len(values) <= len(by_file) and not are_classes:
                yield (
                    f"if the images with one {shown(name)} in {shown(table.title)} {way}FILE, a "
                    "table with the columns file and group"
                )
    folders = [name for node in train.nodes for name in node.folders]
    words = {re.sub(r"[\W\d_]", "", name).casefold() for name in folders}
    if folders and words <= GROUPS:
        yield f"if the images in a folder such as {shown(folders[0])} {way}folder"
