"""The layout of a tree: which file belongs to which part and class, and what is left out.

Understood, where the meaning is clear: `{train,val,test}/<class>/**` with the usual names of the
parts in any case; without `test` or `val`; `<class>/**` alone; `<class>/{train,test}/**`; files
with a CSV table of labels beside them; each also below folders that hold nothing else. Everything
else is refused with a picture of what is there.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tunecnn.data.folder.labels import (
    Labels,
    Part,
    Table,
    is_table,
    labels_of,
    names_most,
    part_in,
    part_of,
    read_tables,
)
from tunecnn.data.folder.masks import MASK, MASK_FILE, MASKS, beside_images, in_mask_folders
from tunecnn.data.folder.node import NO_CLASS, Node, labels_in_names, may_be_image
from tunecnn.data.folder.tree import Tree, TreeFile, shown
from tunecnn.errors import InputError

OUTSIDE = "outside the class folders"
UNLABELLED = "test image without a label"
NOT_IN_TABLE = "not in the table of labels"
TABLE = "a table"


@dataclass
class Layout:
    """The images of a tree by part and class.

    Attributes:
        classes: names of the classes, in the order of their labels.
        files: for each part that the tree has, the files of each class, in the order of `classes`.
        train_folders: folder of each class of the training images, in the order of `classes`; with
            a table of labels, the one around all training images.
        left_out: number of files that are not used, by reason.
        broken: entries that cannot be used, with the reason.
        notes: sentences about what was inferred.
    """

    classes: tuple[str, ...] = ()
    files: dict[Part, list[list[TreeFile]]] = field(default_factory=dict)
    train_folders: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_layout(tree: Tree, *, has_groups: bool = False) -> Layout:
    """List a tree, and find the part and the class of each file.

    Args:
        tree: the tree.
        has_groups: whether the folders below a class are said to be groups of images.

    Raises:
        InputError: if the tree has no layout that is understood.
    """
    listing = tree.list()
    layout = Layout(left_out=listing.left_out.copy(), broken=dict(listing.broken))
    node = Node.of(listing)
    shared: list[TreeFile] = []
    for name, only in node.wrappers():
        shared += node.files
        layout.notes.append(f"everything is in {shown(name)}/")
        layout.left_out[OUTSIDE] += node.loose_files_above(name)
        node = only
    node = node.inside_out()
    shared += node.files
    tables = read_tables(tree, (file.name for file in shared if is_table(file.name)))
    there = {file.name for file in listing.files}
    parts, notes = _parts(tree.root, node)
    layout.notes += notes
    found: dict[Part, _Classes] = {}
    if "train" in parts:
        for part in sorted(parts, key=lambda part: part != "train"):
            found[part] = _classes_of(tree, parts[part], part, tables, found.get("train"), there)
        found = {part: found[part] for part in parts}
        layout.left_out[OUTSIDE] += _count_outside(node, parts.values())
    elif parts:
        raise _not_understood(tree.root, node, f"has {_listed(parts)} but no train folder")
    else:
        found = _by_tables_of_parts(node, tables) or {
            "train": _classes_of(tree, node, "train", tables, None, there, is_whole=True)
        }
    if not has_groups and found["train"].inner:
        _check_depth(found["train"])
    _merge(tree.root, node, found, layout)
    layout.left_out += Counter()  # drops the zeros
    return layout


def _parts(root: Path, node: Node) -> tuple[dict[Part, Node], list[str]]:
    """Return the folders of the parts, and notes on those whose names only contain one.

    A folder such as `seg_train` or `test1` is one if there are folders for the training images
    and for others.

    Raises:
        InputError: if a part has two folders.
    """
    named: dict[Part, list[Node]] = defaultdict(list)
    alike: dict[Part, list[Node]] = defaultdict(list)
    for name, inner in node.folders.items():
        if (part := part_of(name)) is not None:
            named[part].append(inner)
        elif (part := part_in(name)) is not None and inner.all_files():
            alike[part].append(inner)
    notes = []
    if named["train"]:
        for part, folders in list(alike.items()):
            if not _suits(folders[0], named["train"][0]):
                notes.append(
                    f"{shown(folders[0].name)}/ has other classes than train, so it is not used"
                )
                del alike[part]
    named = {part: folders for part, folders in named.items() if folders}
    both = {**alike, **named}
    if not ("train" in both and len(both) > 1):
        both, notes = named, []
    may_be_classes = both and (not named or len(both) == 1)
    if may_be_classes and _are_classes(
        node, [one for folders in both.values() for one in folders]
    ):
        return {}, []
    for part, folders in both.items():
        if len(folders) > 1:
            names = f"{folders[0].name} and {folders[1].name}"
            raise _not_understood(root, node, f"has two folders of {part} images, {names}")
    notes += [f"{shown(folders[0].name)}/ has the {part} images"
              for part, folders in both.items() if part not in named]  # fmt: skip
    return {part: folders[0] for part, folders in both.items()}, notes


def _suits(folder: Node, train: Node) -> bool:
    """Return whether a folder may be a part beside `train`: flat, or with the same classes."""
    for _, only in folder.wrappers(of_a_part=True):
        folder = only
    classes = {name.casefold() for name in train.folders}
    return not folder.folders or {name.casefold() for name in folder.folders} == classes


def _are_classes(node: Node, parts: Sequence[Node]) -> bool:
    """Return whether folders such as `train` are classes, such as `bus`, `car` and `train`.

    Then other folders with images stand beside them, and they have images, but neither folders
    nor labels for them.
    """
    others = [inner for inner in node.folders.values() if inner not in parts]
    return (
        any(any(map(may_be_image, inner.all_files())) for inner in others)
        and not any(inner.folders or inner.has_labels() for inner in parts)
        and not any(NO_CLASS.fullmatch(inner.name.rpartition("/")[2]) for inner in parts)
        and not any(is_table(file.name) for file in node.files)
    )


@dataclass
class _Classes:
    """The classes of a part, their folders, and the files that belong to none.

    `inner` has the names of the folders in each class, if all have the same and nothing else.
    """

    files: dict[str, list[TreeFile]]
    folders: dict[str, str]
    outside: Sequence[TreeFile] = ()
    reason: str = OUTSIDE
    notes: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    labels: Labels | None = None
    why_no_table: Sequence[str] = ()
    inner: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """Paths of the files."""
        return [file.name for group in self.files.values() for file in group]


def _classes_of(
    tree: Tree,
    node: Node,
    part: Part,
    shared: Sequence[Table],
    train: _Classes | None,
    there: Collection[str],
    *,
    is_whole: bool = False,
) -> _Classes:
    """Return the classes of a part: its folders, or else its files with a table of labels.

    Args:
        tree: the tree.
        node: folder of the part.
        part: the part.
        shared: tables beside the folders of the parts.
        train: classes of the training images; None if these are asked for.
        there: paths of all files of the tree.
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
    folders = {name: folder.name for name, folder in inner.folders.items()}
    masks, mask_files = in_mask_folders(inner), beside_images(inner)
    left_out = {reason: len(some) for reason, some in ((MASK, masks), (MASK_FILE, mask_files))
                if some}  # fmt: skip
    masks |= mask_files
    without = {name: [file for file in group if file.name not in masks]
               for name, group in files.items()}  # fmt: skip
    files = {name: group for name, group in without.items() if group or not files[name]}
    used = {file.name for group in files.values() for file in group}
    outside = [file for file in node.all_files() if file.name not in used | masks]
    known = {table.name for table in shared}
    own = read_tables(tree, {file.name for file in (*node.files, *inner.files)
                             if is_table(file.name)} - known)  # fmt: skip
    # Images of all parts often have the same names, such as 0001.png: a table that is named after
    # another part says nothing of these, and one that is named after none means those of train.
    of_part = [*own, *(one for one in shared if one.part == part)]
    of_all = [one for one in shared if one.part is None]
    if sum(map(bool, files.values())) > 1:
        _check_beside_folders([*of_part, *of_all], files)
        notes = [f"{len(masks):,} files are masks, by their names"] if masks else []
        same = _same_folders([inner.folders[name] for name, group in files.items() if group])
        return _Classes(files, folders, outside, notes=notes, left_out=left_out, inner=same)
    images = [file for file in node.all_files() if may_be_image(file) and file.name not in masks]
    names, why = [file.name for file in images], list[str]()
    for tables, others in ((of_part, ()), (of_all, train.names if train else ())):
        labels, reasons = labels_of(
            tables,
            names,
            others=others,
            there=there,
            column=train.labels.column if train and train.labels else None,
            must_be_named=train is not None and train.labels is None,
        )
        if labels is not None:
            return _with_labels(node, images, labels, left_out)
        why += reasons
    if not node.folders and (in_names := labels_in_names(images)):
        first = images[0].name.rpartition("/")[2]
        classes = _with_labels(node, images, Labels("the file names", "", in_names))
        notes = [f"the labels are in the names of the files: {shown(first)}"]
        return replace(classes, notes=notes, labels=None)
    return _Classes(files, folders, outside, left_out=left_out, why_no_table=why)


def _same_folders(classes: Sequence[Node]) -> Sequence[str]:
    """Return the names of the folders in each class, if all have the same and no other images."""
    names = {
        frozenset(name for name, inner in node.folders.items()
                  if inner.all_files() and name.casefold() not in MASKS)
        for node in classes
    }  # fmt: skip
    if len(names) > 1 or any(map(may_be_image, (file for node in classes for file in node.files))):
        return ()
    return sorted(names.pop())


def _check_depth(train: _Classes) -> None:
    """Check that the folders in the classes cannot be the classes themselves.

    Raises:
        InputError: if each class has the same two or more, and their names are words without
            digits, or the numbers from 0 or 1 on, unlike `camera1` or 2019.
    """
    inner = train.inner
    first_numbers = [{str(number + first) for number in range(len(inner))} for first in (0, 1)]
    are_words = not any(re.search(r"\d", name) or NO_CLASS.fullmatch(name) for name in inner)
    if len(inner) < 2 or not (are_words or set(inner) in first_numbers):
        return
    outer = [name for name, group in train.files.items() if group]
    raise InputError(
        f"imagefolder: are the classes the {len(outer):,} folders {_listed(map(shown, outer))}, "
        f"or the {len(inner):,} in each of them, {_listed(map(shown, inner))}? To use the outer "
        "ones, move the images out of the inner ones, or write groups: folder if those of an "
        "inner folder belong together; to use the inner ones, merge the outer folders"
    )


def _check_beside_folders(
    tables: Sequence[Table], files: Mapping[str, Sequence[TreeFile]]
) -> None:
    """Check that no table says that folders are no classes.

    Raises:
        InputError: if a table has several labels in one folder, or fewer labels than there are
            folders, or there is one and the folders differ only in a number.
    """
    images = [file.name for group in files.values() for file in group]
    for table in tables:
        try:
            labels, _ = labels_of([table], images, must_be_named=True)
        except InputError:  # several labels for one image, such as one for each object in it
            continue
        if labels is None:
            if all(map(NO_CLASS.fullmatch, files)) and names_most(table, images):
                raise InputError(
                    f"imagefolder: are {_listed(map(shown, files))} classes? {shown(table.name)} "
                    "names the images, but has no column called label or class. Call the column "
                    "with the labels label, and put all images into one folder; or move the table "
                    "away, to use the folders"
                )
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
                f"{shown(table.name)}? It has {_listed(map(shown, sorted(found)))} for images in "
                f"{shown(folder)}. Move the table away to use the folders; to use the table, put "
                "all images into one folder"
            )


def _by_tables_of_parts(node: Node, tables: Sequence[Table]) -> dict[Part, _Classes]:
    """Return the parts of images that lie together, by tables such as `train.csv` and `test.csv`.

    Raises:
        InputError: if two tables name one image.
    """
    images = list(filter(may_be_image, node.all_files()))
    names = [file.name for file in images]
    found: dict[Part, _Classes] = {}
    column = None
    folders = [
        inner for inner in node.folders.values() if any(map(may_be_image, inner.all_files()))
    ]
    for part in ("train", "validation", "test"):
        own = [table for table in tables if table.part == part]
        labels, _ = labels_of(
            own, names, column=column, must_be_named=len(folders) > 1, of_rows=True
        )
        if part == "train" and labels is None:
            return {}
        if labels is None:
            continue
        column = labels.column
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


def _with_labels(
    node: Node,
    images: Sequence[TreeFile],
    labels: Labels,
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> _Classes:
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
        where += f"; {labels.unknown:,} of its rows name no file that is here"
    above = [PurePosixPath(file.name).parts[:-1] for file in images]
    around = "/".join(same[0] for same in itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*above, strict=False)))  # fmt: skip
    return _Classes(
        dict(files),
        dict.fromkeys(files, around),
        outside,
        NOT_IN_TABLE,
        [f"the labels of {count:,} images are from {where}"],
        {reason: count for reason, count in counts.items() if count},
        labels,
    )


def _count_outside(node: Node, parts: Iterable[Node]) -> int:
    inside = sum(len(part.all_files()) for part in parts)
    return len(node.all_files()) - inside


def _merge(root: Path, node: Node, found: dict[Part, _Classes], layout: Layout) -> None:
    """Match the classes of the parts, and fill in the layout.

    Raises:
        InputError: if there are fewer than two classes, or the classes of the parts differ.
    """
    test = found.get("test")
    if test is not None and (unlabelled := _unlabelled(test, found["train"])):
        layout.left_out[UNLABELLED] += len(unlabelled)
        layout.left_out.update(found.pop("test").left_out)
        layout.notes.append("the test images have no labels, so they are not used")
    for part, classes in found.items():
        layout.left_out[classes.reason] += len(classes.outside)
        layout.left_out.update(classes.left_out)
        layout.notes += classes.notes
        _check_names(root, part, classes)
    names = sorted(found["train"].files, key=_order(found["train"].files))
    if len(names) < 2:
        few = f"{len(names)} class folder{'' if len(names) == 1 else 's'}"
        why = found["train"].why_no_table
        raise _not_understood(root, node, f"has {few}, and at least 2 are needed", why)
    layout.classes = tuple(unicodedata.normalize("NFC", name) for name in names)
    keys = {_key(name): i for i, name in enumerate(names)}
    for part, classes in found.items():
        groups: list[list[TreeFile]] = [[] for _ in names]
        extra = []
        for name, files in classes.files.items():
            if (label := keys.get(_key(name))) is None:
                extra.append(name)
                continue
            if name != names[label]:
                layout.notes.append(
                    f"{shown(name)} of {part} is the class {shown(layout.classes[label])}"
                )
            groups[label] = files
        if extra:
            raise InputError(
                f"imagefolder: the {part} images have classes that train lacks: "
                f"{', '.join(map(shown, sorted(extra)))}; their folders would have to be in train "
                "too, or be moved away"
            )
        if empty := [shown(name) for name, group in zip(names, groups, strict=True) if not group]:
            unused = f" (not used: {classes.why_no_table[0]})" if classes.why_no_table else ""
            raise InputError(
                f"imagefolder: no {part} image of {_listed(empty)}{unused}: each class needs at "
                f"least one in each folder of {shown(root)}; add one, or move the class away"
            )
        layout.files[part] = groups
        if part == "train":
            layout.train_folders = [classes.folders[name] for name in names]


def _unlabelled(test: _Classes, train: _Classes) -> Sequence[TreeFile]:
    """Return the test images if they have no labels: all are in no folder, or in no class."""
    full = [name for name, group in test.files.items() if group]
    if not full:
        return test.outside
    known = set(map(_key, train.files))
    if len(full) == 1 and test.labels is None and len(known) > 1 and _key(full[0]) not in known:
        return [*test.outside, *test.files[full[0]]]
    return ()


def _key(name: str) -> str:
    """Return a class name without differences of case and of the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _check_names(root: Path, part: str, classes: _Classes) -> None:
    """Raise an InputError for a class name that is not text, or two that differ only in form."""
    seen: dict[str, str] = {}
    for name in classes.files:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"imagefolder: the name of the class folder {shown(name)} in {shown(root)} is not "
                "UTF-8; rename it"
            ) from None
        if (other := seen.setdefault(_key(name), name)) != name:
            if classes.labels is not None:
                raise InputError(
                    f"imagefolder: {shown(classes.labels.table)} has the labels {shown(other)} "
                    f"and {shown(name)}, which differ only in case or accents; write them alike"
                )
            raise InputError(
                f"imagefolder: the {part} images have two class folders, {shown(other)} and "
                f"{shown(name)}, that differ only in case or accents; rename or merge them"
            )


def _order(names: Iterable[str]) -> Callable[[str], tuple[int, str, str]]:
    """Return the sort key of class names: by number if all of them are numbers, else as text."""
    are_numbers = all(name.isascii() and name.isdigit() for name in names)

    def key(name: str) -> tuple[int, str, str]:
        digits = name.lstrip("0") if are_numbers else ""  # of any length, unlike those of int()
        return len(digits), digits, unicodedata.normalize("NFC", name)

    return key


def _not_understood(root: Path, node: Node, what: str, tables: Sequence[str] = ()) -> InputError:
    there = shown(node.name) + "/" if node.name else ""
    lines = [
        f"  {there}{shown(name)}/   {len(inner.all_files()):,} files"
        + (f" in {len(inner.folders):,} folders" if inner.folders else _few(inner.files))
        for name, inner in itertools.islice(sorted(node.folders.items()), 8)
    ]
    if len(node.folders) > 8:
        lines.append(f"  and {len(node.folders) - 8:,} more folders")
    if node.files:
        lines.append(f"  {there or './'}   {len(node.files):,} files{_few(node.files)}")
    lines += [f"  not used: {why}" for why in tables[:3]]
    seen = "\n".join(lines) or "  nothing"
    return InputError(
        f"imagefolder: {shown(root)} {what}. It has:\n{seen}\n"
        "Expected: one folder per class with its images, such as cat/ and dog/, alone or below "
        "train/, val/ and test/; or images with a table labels.csv beside them (columns: file, "
        "label)."
    )


def _few(files: Sequence[TreeFile]) -> str:
    names = ", ".join(shown(file.name.rpartition("/")[2]) for file in files[:2])
    return f": {names}{', ...' if len(files) > 2 else ''}" if names else ""


def _listed(names: Iterable[object]) -> str:
    shown_names = [str(name) for name in names]
    more = f" and {len(shown_names) - 5} more" if len(shown_names) > 5 else ""
    return ", ".join(shown_names[:5]) + more
