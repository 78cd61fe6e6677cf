"""Doubts about class folders: whether others around or in them, or a table's labels, are meant."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from tunecnn.data.folder.labels import TableLabels, labels_of, names_most
from tunecnn.data.folder.node import MASKS, NO_CLASS, Node, may_be_image
from tunecnn.data.folder.table import (
    LABELS,
    Table,
    first_column,
    is_list,
    label_of,
    may_have_labels,
)
from tunecnn.data.folder.tree import TreeFile
from tunecnn.data.parts import Part, part_in, part_of
from tunecnn.errors import InputError
from tunecnn.words import listed, shown

_NO_WORDS = frozenset(
    {"part", "batch", "fold", "chunk", "shard", "dir", "image", "images", "img", "imgs", "photo",
     "photos", "picture", "pictures", "data", "dataset", "set", "original", "originals", "cropped",
     "resized", "thumbnail", "thumbnails", "thumbs"}
)  # fmt: skip
"""Words that say nothing of what images show."""
_KIND_OF_CLASS = re.compile("class|label|categor|grade|type|stage|level", re.IGNORECASE)


def check_depth(
    files: Mapping[str, Sequence[TreeFile]], nodes: Sequence[Node], *, has_groups: bool
) -> list[str]:
    """Check that the folders around or in the classes cannot be the classes themselves.

    Args:
        files: files of each class of the training images.
        nodes: folder of each class that has files, if the classes are folders.
        has_groups: whether the folders below a class are said to be groups of images.

    Returns:
        A note, if the classes have nothing but folders in them, which may be others' classes.

    Raises:
        InputError: if the classes are shards of the images, such as `part_1` and `part_2`; if one
            has folders of parts in it, or with the names of all others; or, without groups, if
            most names of folders in the classes are in two classes or more, and are words, or
            the numbers from 0 or 1 on, or the classes themselves, or are only numbered; or if
            words stand in folders such as `part1`, or in those of their first letters; or if two
            classes are parts of one, such as `cat_train` and `cat_test`.
    """
    full = [name for name, group in files.items() if group]
    classes = dict(zip(full, nodes, strict=True)) if nodes else {}
    _check_parts_inside(classes)
    _check_copies(classes)
    _check_divided(classes)
    names = _check_inner_folders(classes, has_groups=has_groups)
    if are_shards([*classes]) and not has_groups:
        raise InputError(
            f"imagefolder: are {listed(map(shown, classes))} classes? Their names do not say what "
            "the images show, and no table has their labels. Call them by what they show, or put "
            "a table labels.csv beside them, with the columns file and label; a file is named by "
            "its path if another one has its name"
        )
    deep = [node for node in nodes if len(node.folders) > 1 and not _has_own_images(node)]
    if any(map(_has_own_images, nodes)) and deep:
        below = [shown(name) for node in deep for name in node.folders]
        return [
            f"{listed(shown(node.name) for node in deep)} is one class, with all that is in "
            f"its folders {listed(below)}"
        ]
    if len(names) >= max(2, 2 * len(classes)) and _are_words(names):
        return [
            f"the classes are {listed(map(shown, classes))}, and not the {len(names):,} folders "
            f"in them, {listed(map(shown, names))}"
        ]
    return []


def _has_own_images(node: Node) -> bool:
    return any(map(may_be_image, node.files))


def _check_parts_inside(classes: Mapping[str, Node]) -> None:
    """Check that no class has folders of parts in it, such as `train` and `test`."""
    has_others = sum(bool(node.folders) for node in classes.values()) > 1
    for name, node in classes.items():
        if (around := _around_parts(node, beside_folders=has_others)) is not None:
            others = listed(shown(other) for other in classes if other != name)
            raise InputError(
                f"imagefolder: there are folders of parts, such as train and test, in "
                f"{shown(around)}, and beside {shown(name)} there are images in {others}; give "
                f"the folder {shown(node.name)}, or move {others} away"
            )


def _check_copies(classes: Mapping[str, Node]) -> None:
    """Check that no class is a copy of all others, each in a folder of its own."""
    flat = {name for name, node in classes.items() if _has_own_images(node)}
    copies = [
        node
        for name, node in classes.items()
        if set(classes) - {name}
        == flat - {name}
        == {one for one, inner in node.folders.items() if inner.has_images()}
    ]
    if len(copies) == 1 and len(classes) > 2:
        raise InputError(
            f"imagefolder: the class folder {shown(copies[0].name)} has folders with the names of "
            "all other classes; it may be a copy of them: move it away"
        )


def _check_divided(classes: Collection[str]) -> None:
    """Check that no two classes are parts of one, such as `cat_train` and `cat_test`."""
    by_rest: dict[str, dict[Part, str]] = defaultdict(dict)
    for name in classes:
        words = [word for word in re.split(r"[\W_]+", name) if word]
        parts = [part for word in words if (part := part_of(word)) is not None]
        rest = "_".join(word for word in words if part_of(word) is None)
        if rest and len(parts) == 1:
            by_rest[rest][parts[0]] = name
    for names in by_rest.values():
        if "train" in names and len(names) > 1:
            raise InputError(
                f"imagefolder: are {listed(map(shown, sorted(names.values())))} two classes, or "
                "the parts of one? For parts, put the images into train/<class>/ and "
                "test/<class>/; for classes, give them names without train and test"
            )


def _check_inner_folders(classes: Mapping[str, Node], *, has_groups: bool) -> list[str]:
    """Check that the folders in the classes are not the classes.

    Returns:
        The names of the folders in the classes that may be classes; empty without such ones.
    """
    inner = [] if has_groups else _folders_in([*classes.values()])
    uses = Counter(name for names in inner for name in names)
    shared = sorted(name for name, count in uses.items() if count > 1)
    if len(shared) > len(uses) / 2:
        have_letters = any(re.search(r"[^\W\d]", name) for name in shared)  # unlike dates
        are_meant = (
            _are_words(shared)
            or _are_first_numbers(shared)
            or shared == sorted(classes)
            or (_are_numbered([*classes]) and have_letters and not _are_numbered(shared))
        )
        names = shared
    else:
        are_initials = all(
            len(name) == 1 and {one[0].casefold() for one in node.folders} == {name.casefold()}
            for name, node in classes.items()
        )
        are_meant = are_shards([*classes]) or (are_initials and _are_words(sorted(uses)))
        names = sorted(uses)
    if len(names) < 2 or any(map(NO_CLASS.fullmatch, names)):
        return []
    if are_meant:
        raise InputError(
            f"imagefolder: are the classes the {len(classes):,} folders "
            f"{listed(map(shown, classes))}, or the {len(names):,} in them, "
            f"{listed(map(shown, names))}? To use the outer ones, move the images out of the "
            "inner ones, or write groups: folder if those of an inner folder belong together; to "
            "use the inner ones, merge the outer folders"
        )
    return names


def _around_parts(node: Node, *, beside_folders: bool) -> str | None:
    """Return the folder in or below a class that has folders of parts; None if there is none.

    They are those for the training images and for others, or one for those of each class, unless
    other classes have folders too: then `train` may be a kind of what is there.
    """
    full = {name: inner for name, inner in node.folders.items() if inner.has_images()}
    parts = {part_in(name) for name in full}
    trains = [inner for name, inner in full.items() if part_in(name) == "train"]
    has_classes = any(one.has_images() for train in trains for one in train.folders.values())
    is_only = has_classes and not beside_folders
    if trains and None not in parts and (len(parts) > 1 or is_only):
        return node.name
    below = (_around_parts(one, beside_folders=beside_folders) for one in full.values())
    return next(filter(None, below), None)


def _folders_in(classes: Sequence[Node]) -> list[set[str]]:
    """Return the names of the folders with images in each class; none if one has images itself.

    Of a single folder, such as `images`, or the class's name again, those in it count as well, and
    not itself if all classes have a single one.
    """
    if any(map(may_be_image, itertools.chain(*(node.files for node in classes)))):
        return []
    inner = [
        {
            name: one
            for name, one in node.folders.items()
            if one.has_images() and name.casefold() not in MASKS
        }
        for node in classes
    ]
    if inner and all(len(folders) == 1 for folders in inner):
        return _folders_in([one for folders in inner for one in folders.values()])
    return [
        set(folders).union(*(_folders_in([*folders.values()]) if len(folders) == 1 else ()))
        for folders in inner
    ]


def _are_words(names: Sequence[str]) -> bool:
    """Return whether at least half of some names have no digits in them."""
    return 2 * sum(not re.search(r"\d", name) for name in names) >= len(names)


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


def are_shards(names: Sequence[str]) -> bool:
    """Return whether folders hold some of the images, or forms of them, and are no classes.

    Such are `images_001` and `images_002`, `cat_images_1` and `cat_images_2`, or `images` and
    `thumbnails`.
    """
    if len(names) < 2:
        return False
    words = [re.findall(r"[a-z]+", name.casefold()) for name in names]
    say_nothing = all(
        some and all(word in _NO_WORDS or part_of(word) for word in some) for some in words
    )
    return say_nothing or (all(map(NO_CLASS.fullmatch, names)) and _stem(names) != "")


def _stem(names: Sequence[str]) -> str:
    """Return the beginning of several names that differ only in a number or letter; else "" ."""
    stems = {re.sub(r"([\s_-]*\d+|(?<![A-Z])[A-Z]|[\s_-][a-z])$", "", name) for name in names}
    return stems.pop() if len(names) > 1 and len(stems) == 1 else ""


def are_only_numbered(tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]) -> bool:
    """Return whether folders such as `part_1` have the images of one table with their labels."""
    names = [file.name for group in files.values() for file in group]
    if not are_shards([folder for folder, group in files.items() if group]):
        return False
    return labels_of(tables, names, must_be_named=True)[0] is not None


def check_beside_folders(
    tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]
) -> list[str]:
    """Check that no table says that folders are no classes.

    Returns:
        A note on each table that names the images, and may have their labels in a column whose
        name does not tell.

    Raises:
        InputError: if a table has several labels in one folder, or fewer labels than there are
            folders, or there is one and the folders differ only in a number. Of folders that do
            so, such as `subject1`, a column whose name does not tell may have the labels, or a
            table those of the folders themselves.
    """
    images = [file.name for group in files.values() for file in group]
    notes = list[str]()
    for table in tables:
        if is_list(table.name):  # of the files of a part, whatever else is on its lines
            continue
        try:
            whole = replace(table, undivided="")
            labels, _ = labels_of([whole], images, must_be_named=True)
        except InputError:  # several labels for one image, such as one for each object in it
            continue
        if labels is None:
            _check_labels_of_folders(table, files)
            is_of_images = names_most([table], images)
            if is_of_images and (are_shards([*files]) or all(map(NO_CLASS.fullmatch, files))):
                raise InputError(
                    f"imagefolder: are {listed(map(shown, files))} classes? {shown(table.name)} "
                    "names the images, but has no column called label or class. Call the column "
                    "with the labels label, and put all images into one folder"
                )
            if _stem([folder for folder, group in files.items() if group]):
                labels = _guessed(whole, images)
            if labels is None and is_of_images and may_have_labels(table):
                notes.append(
                    f"{shown(table.name)} names the images, but has no column called label or "
                    "class, so the folders are the classes"
                )
        if labels is None:
            continue
        by_folder = {
            folder: {labels.by_file[file.name] for file in group if file.name in labels.by_file}
            for folder, group in files.items()
        }
        different = set().union(*by_folder.values())
        several = {folder: found for folder, found in by_folder.items() if len(found) > 1}
        if several or 1 < len(different) < sum(map(bool, by_folder.values())):
            folder, found = min(several.items()) if several else ("all folders", different)
            raise InputError(
                f"imagefolder: are the classes the {len(files):,} folders or the labels of "
                f"{shown(table.name)}? It has {listed(map(shown, sorted(found)))} for images in "
                f"{shown(folder)}. Move the table away to use the folders; to use the table, put "
                f"all images into one folder{_under_other_names(images)}"
            )
    return notes


def _check_labels_of_folders(table: Table, folders: Collection[str]) -> None:
    """Check that a table does not label most of some numbered folders, such as `patient1`.

    Of others, it may describe the classes.

    Raises:
        InputError: if it does, with fewer labels than there are folders.
    """
    if not _stem([*folders]):
        return
    columns = list(table.rows[0]) if table.rows else []
    column = first_column(LABELS, columns)
    for name in columns if column else ():
        labels = {
            cell: label
            for row in table.rows
            if column
            and name != column
            and (cell := row.get(name, "").strip()) in folders
            and (label := label_of(row, column))
        }
        if 2 * len(labels) > len(folders) and 1 < len({*labels.values()}) < len(labels):
            first, *_ = labels.items()
            raise InputError(
                f"imagefolder: are the classes the {len(folders):,} folders or the labels of "
                f"{shown(table.name)}? It has the label {shown(first[1])} for {shown(first[0])}. "
                "Move the table away to use the folders; to use the labels, put the folders of "
                "each label into one that is called so, and write groups: folder if the images of "
                "a folder belong together"
            )


def _under_other_names(images: Sequence[str]) -> str:
    """Say that images of one name cannot lie in one folder, if there are some."""
    lasts = Counter(image.rpartition("/")[2] for image in images)
    if max(lasts.values()) == 1:
        return ""
    return ", each under a name of its own, and write these names into the table"


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
