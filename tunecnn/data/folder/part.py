"""The classes of one part of a tree: its folders, or its files with a table of their labels."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from tunecnn.data.folder.labels import TableLabels, labels_of, names_most
from tunecnn.data.folder.masks import (
    MASK,
    MASK_FILE,
    beside_images,
    in_mask_folders,
    without_suffix,
)
from tunecnn.data.folder.names import Paths
from tunecnn.data.folder.node import MASKS, NO_CLASS, Node, classes_in_names, may_be_image
from tunecnn.data.folder.rows import GUESS
from tunecnn.data.folder.table import (
    LABELS,
    MAY_BE_NONE,
    Table,
    first_column,
    is_list,
    is_table,
    label_of,
    may_have_labels,
    may_say_something,
    rejoined,
)
from tunecnn.data.folder.tables import read_tables
from tunecnn.data.folder.tree import Tree, TreeFile
from tunecnn.data.parts import Part, part_in, part_of
from tunecnn.errors import InputError
from tunecnn.words import listed, shown

OUTSIDE = "outside the class folders"
NOT_IN_TABLE = "not in the table of labels"
TABLE = "a table"
_LABEL_FOLDER = re.compile("labels?|annotations?|ground[ _-]?truths?|gt", re.IGNORECASE)
_TRUTH = re.compile("truth|solution|answer|label|gt|key", re.IGNORECASE)
_NO_WORDS = frozenset(
    {"part", "batch", "fold", "chunk", "shard", "dir", "image", "images", "img", "imgs", "photo",
     "photos", "picture", "pictures", "data", "dataset", "set", "original", "originals", "cropped",
     "resized", "thumbnail", "thumbnails", "thumbs"}
)  # fmt: skip
"""Words that say nothing of what images show."""
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
    files = {name: folder.all_files() for name, folder in inner.folders.items()
             if not (may_have_others and folder.is_for_something_else())}  # fmt: skip
    known = {name for table in shared for name in (table.name, *table.also)}
    own = read_tables(tree, {file.name for file in (*node.files, *inner.files)
                             if may_say_something(file.name)} - known, there)  # fmt: skip
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
    rest = PartClasses(files, folders, outside, left_out=left_out)
    if sum(map(bool, files.values())) > 1 and not _are_only_numbered([*of_part, *of_all], files):
        notes = _check_beside_folders([*of_part, *of_all], files)
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
            return with_labels(node, images, labels, left_out)
        why += reasons
    if in_names:
        first = images[0].name.rpartition("/")[2]
        classes = with_labels(node, images, TableLabels("the file names", "", in_names))
        notes = [f"the labels are in the names of the files: {shown(first)}"]
        return replace(classes, notes=notes, labels=None)
    # A table aside may hold guesses or widths: it comes last, and only if it says label.
    aside = rejoined(aside) if is_whole else _of_labels(aside, train)
    for of, others in ((part, ()), (None, train.names if train else ())):
        tables = [one for one in aside if one.part == of]
        labels, reasons = labels_of(tables, names, others=others, there=there, must_be_named=True)
        if labels is not None:
            return with_labels(node, images, labels, left_out)
        why += reasons
    why = [f"{shown(one.name)} may have guesses, by its name: call it {part}_labels.csv if it has "
           f"the labels of the {part} images" for one in guesses] + why  # fmt: skip
    why += [f"{shown(one.name)} is for the {one.part} images, by its name"
            for one in (*shared, *aside)
            if one.part not in (None, part) and not one.split]  # fmt: skip
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
    without = {name: [file for file in group if file.name not in masks]
               for name, group in files.items()}  # fmt: skip
    counted = {MASK: len(in_folders), MASK_FILE: len(in_files)}
    return (
        {name: group for name, group in without.items() if group or not files[name]},
        masks,
        {reason: count for reason, count in counted.items() if count},
    )


def check_depth(train: PartClasses, *, has_groups: bool) -> list[str]:
    """Check that the folders around or in the classes cannot be the classes themselves.

    Args:
        train: classes of the training images.
        has_groups: whether the folders below a class are said to be groups of images.

    Returns:
        A note, if the classes have nothing but folders in them, which may be others' classes.

    Raises:
        InputError: if the classes are shards of the images, such as `part_1` and `part_2`; if one
            has folders of parts in it, or with the names of all others; or, without groups, if
            most names of folders in the classes are in two classes or more, and are words, or
            the numbers from 0 or 1 on, or the classes themselves, or are only numbered; or if
            words stand in folders such as `part1`, or in those of their first letters.
    """
    outer = [name for name, group in train.files.items() if group and train.nodes]
    full = [node for node in train.nodes if node.folders]
    for name, node in zip(outer, train.nodes, strict=True):
        if (around := _around_parts(node, beside_folders=len(full) > 1)) is not None:
            others = listed(shown(other) for other in outer if other != name)
            raise InputError(
                f"imagefolder: there are folders of parts, such as train and test, in "
                f"{shown(around)}, and beside {shown(name)} there are images in {others}; give "
                f"the folder {shown(node.name)}, or move {others} away"
            )
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
    if both := _divided_classes(outer):
        raise InputError(
            f"imagefolder: are {listed(map(shown, both))} two classes, or the parts of one? For "
            "parts, put the images into train/<class>/ and test/<class>/; for classes, give them "
            "names without train and test"
        )
    inner = [] if has_groups else _folders_in(train.nodes)
    classes = Counter(name for names in inner for name in names)
    shared = sorted(name for name, count in classes.items() if count > 1)
    if len(shared) > len(classes) / 2:
        have_letters = any(re.search(r"[^\W\d]", name) for name in shared)  # unlike dates
        are_meant = (
            _are_words(shared)
            or _are_first_numbers(shared)
            or shared == sorted(outer)
            or (_are_numbered(outer) and have_letters and not _are_numbered(shared))
        )
        names = shared
    else:
        are_initials = all(len(name) == 1 and {one[0].casefold() for one in node.folders}
                           == {name.casefold()}
                           for name, node in zip(outer, train.nodes, strict=True))  # fmt: skip
        are_meant = are_shards(outer) or (are_initials and _are_words(sorted(classes)))
        names = sorted(classes)
    may_be_classes = len(names) > 1 and not any(map(NO_CLASS.fullmatch, names))
    if are_meant and may_be_classes:
        raise InputError(
            f"imagefolder: are the classes the {len(outer):,} folders {listed(map(shown, outer))},"
            f" or the {len(names):,} in them, {listed(map(shown, names))}? To use the outer "
            "ones, move the images out of the inner ones, or write groups: folder if those of an "
            "inner folder belong together; to use the inner ones, merge the outer folders"
        )
    if are_shards(outer) and not has_groups:
        raise InputError(
            f"imagefolder: are {listed(map(shown, outer))} classes? Their names do not say what "
            "the images show, and no table has their labels. Call them by what they show, or put "
            "a table labels.csv beside them, with the columns file and label; a file is named by "
            "its path if another one has its name"
        )
    deep = [node for node in full if len(node.folders) > 1 and node.name not in flat
            and not any(map(may_be_image, node.files))]  # fmt: skip
    if flat and deep:
        below = [shown(name) for node in deep for name in node.folders]
        return [f"{listed(shown(node.name) for node in deep)} is one class, with all that is in "
                f"its folders {listed(below)}"]  # fmt: skip
    if may_be_classes and len(names) >= 2 * len(outer) and _are_words(names):
        return [
            f"the classes are {listed(map(shown, outer))}, and not the {len(names):,} folders in "
            f"them, {listed(map(shown, names))}"
        ]
    return []


def _divided_classes(classes: Sequence[str]) -> list[str]:
    """Return two classes such as `cat_train` and `cat_test`; none if no class is so divided."""
    by_rest: dict[str, dict[Part, str]] = defaultdict(dict)
    for name in classes:
        words = [word for word in re.split(r"[\W_]+", name) if word]
        parts = [part for word in words if (part := part_of(word)) is not None]
        rest = "_".join(word for word in words if part_of(word) is None)
        if rest and len(parts) == 1:
            by_rest[rest][parts[0]] = name
    return next((sorted(names.values()) for names in by_rest.values()
                 if "train" in names and len(names) > 1), [])  # fmt: skip


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
    inner = [{name: one for name, one in node.folders.items()
              if one.has_images() and name.casefold() not in MASKS}
             for node in classes]  # fmt: skip
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
    say_nothing = all(some and all(word in _NO_WORDS or part_of(word) for word in some)
                      for some in words)  # fmt: skip
    return say_nothing or (all(map(NO_CLASS.fullmatch, names)) and _stem(names) != "")


def _stem(names: Sequence[str]) -> str:
    """Return the beginning of several names that differ only in a number or letter; else "" ."""
    stems = {re.sub(r"([\s_-]*\d+|(?<![A-Z])[A-Z]|[\s_-][a-z])$", "", name) for name in names}
    return stems.pop() if len(names) > 1 and len(stems) == 1 else ""


def _are_only_numbered(tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]) -> bool:
    """Return whether folders such as `part_1` have the images of one table with their labels."""
    names = [file.name for group in files.values() for file in group]
    if not are_shards([folder for folder, group in files.items() if group]):
        return False
    return labels_of(tables, names, must_be_named=True)[0] is not None


def _check_beside_folders(
    tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]
) -> list[str]:
    """Check that no table says that folders are no classes.

    Returns:
        A note on each table that names the images, and may have their labels in a column whose
        name does not tell.

    Raises:
        InputError: if a table has several labels in one folder, or fewer labels than there are
            folders, or there is one and the folders differ only in a number. Of folders that do
            so, such as `subject1`, a column whose name does not tell may have the labels.
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
                f"all images into one folder{_under_other_names(images)}"
            )
    return notes


def _check_labels_of_folders(table: Table, folders: Collection[str]) -> None:
    """Check that a table does not label most of some folders themselves, such as `patient1`.

    Raises:
        InputError: if it does, with fewer labels than there are folders.
    """
    columns = list(table.rows[0]) if table.rows else []
    column = first_column(LABELS, columns)
    for name in columns if column else ():
        labels = {
            cell: label_of(row, column)
            for row in table.rows
            if column and name != column and (cell := row.get(name, "").strip()) in folders
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
