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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tunecnn.data.folder.division import by_tables_of_parts, divided, parts_within
from tunecnn.data.folder.doubts import check_depth
from tunecnn.data.folder.labels import NONE_BESIDE_0
from tunecnn.data.folder.names import Paths, folded
from tunecnn.data.folder.node import NO_CLASS, Node, instead_of
from tunecnn.data.folder.notes import (
    groups_in,
    parts_in_names,
    unread_lists,
    unused_folders,
    unused_tables,
)
from tunecnn.data.folder.part import OUTSIDE, PartClasses, classes_of
from tunecnn.data.folder.table import (
    is_table,
    may_say_something,
)
from tunecnn.data.folder.tables import read_tables
from tunecnn.data.folder.tree import Listing, Tree, TreeFile
from tunecnn.data.parts import PART_NAMES, Part, names_only_part, part_in, part_of
from tunecnn.errors import InputError
from tunecnn.words import count_in_words, listed, shown

UNLABELLED = "test image without a label"
RUN = "of a run of tunecnn"
RUN_JOURNAL = "study.journal"
"""File that only the folder of a run has: `tunecnn.study.journal.JOURNAL`."""
_UNKNOWN = frozenset({"unknown", "unlabelled", "unlabeled", "all", "none", "dummy"})


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
    listing = _without_runs(tree.list())
    layout = Layout(left_out=listing.left_out.copy(), broken=dict(listing.broken))
    if listing.guessed:
        layout.notes.append(
            "the archive does not say the encoding of its names, which are read as the one of old "
            f"archives (CP437), such as {shown(listing.guessed)}; if they are wrong, pack it anew"
        )
    node = Node.of(listing)
    shared: list[TreeFile] = []
    aside: set[str] = set()
    for name, only in node.wrappers():
        shared += node.files
        aside |= _tables_aside(node)
        layout.notes.append(f"everything is in {shown(name)}/")
        layout.left_out[OUTSIDE] += node.loose_files_above(name)
        node = only
    node = node.inside_out()
    shared += node.files
    aside |= _tables_aside(node)
    there = Paths(file.name for file in listing.files)
    beside = {file.name for file in shared if may_say_something(file.name)}
    tables, others = read_tables(tree, beside, there), read_tables(tree, aside, there)
    parts, notes = _parts(tree.root, node)
    layout.notes += notes
    found: dict[Part, PartClasses] = {}
    if "train" in parts:
        if len(parts) > 1:  # the folders are the parts, whatever a column says
            tables = [replace(table, undivided="") for table in tables]
        for part in sorted(parts, key=lambda part: part != "train"):
            found[part] = classes_of(
                tree,
                parts[part],
                part,
                tables,
                found.get("train"),
                there,
                aside=others,
            )
        found = parts_within(
            {part: found[part] for part in parts}, parts["train"], [*tables, *others]
        )
        layout.left_out[OUTSIDE] += _count_outside(node, parts.values())
    elif parts:
        which = listed(shown(_last(one)) for one in parts.values())
        way = f"put the other folders into train, or call {which} otherwise, if that is a class"
        raise _not_understood(tree.root, node, f"has {listed(parts)} but no train folder ({way})")
    else:
        found = (
            by_tables_of_parts(node, tables)
            or by_tables_of_parts(node, others, must_be_named=True)
            or divided(
                classes_of(tree, node, "train", tables, None, there, aside=others, is_whole=True),
                [*tables, *others],
            )
        )
    train = found["train"]
    layout.notes += check_depth(train.files, train.nodes, has_groups=has_groups)
    layout.notes += unused_folders(node, parts, found["train"])
    if found.keys() == {"train"}:
        layout.notes += unread_lists(listing)
        layout.notes += parts_in_names(found["train"])
    if not has_groups and len(found) < len(PART_NAMES):
        layout.notes += groups_in([*tables, *others], found["train"])
    parts_found = dict(found)
    _merge(tree.root, node, found, layout)
    layout.notes += list(unused_tables([*tables, *others], parts_found, layout.notes))
    layout.left_out += Counter()  # drops the zeros
    return layout


def _without_runs(listing: Listing) -> Listing:
    """Leave out the folders of tunecnn's own runs, which have pictures in them."""
    runs = {
        above
        for file in listing.files
        for above, _, last in [file.name.rpartition("/")]
        if above and last == RUN_JOURNAL
    }
    if not runs:
        return listing
    files = [file for file in listing.files if runs.isdisjoint(_around(file.name))]
    full = {folder for file in files for folder in _around(file.name)}
    around = {folder for run in runs for folder in (run, *_around(run))}
    folders = {
        name
        for name in listing.folders
        if name in full or (name not in around and runs.isdisjoint(_around(name)))
    }
    left_out = listing.left_out + Counter({RUN: len(listing.files) - len(files)})
    return Listing(files, folders, left_out, listing.broken, listing.guessed)


def _around(name: str) -> Iterator[str]:
    """Yield the folders around a file or folder."""
    while name := name.rpartition("/")[0]:
        yield name


def _tables_aside(node: Node) -> set[str]:
    """Return the tables in folders without images, such as `annotations`."""
    return {
        file.name
        for inner in node.folders.values()
        if inner.is_for_something_else()
        for file in inner.all_files()
        if may_say_something(file.name)
    }


def _parts(root: Path, node: Node) -> tuple[dict[Part, Node], list[str]]:
    """Return the folders of the parts, and notes on those whose names only contain one.

    A folder such as `seg_train` or `test1` is one if there are folders for the training images
    and for others.

    Raises:
        InputError: if a part has two folders.
    """
    named: dict[Part, list[Node]] = defaultdict(list)
    alike: dict[Part, list[Node]] = defaultdict(list)
    notes, empty = list[str](), list[str]()
    for name, inner in node.folders.items():
        if part_in(name) and any(_is_opposite(name, other) for other in node.folders):
            continue  # valid and invalid are classes
        if (part := part_of(name)) is not None:
            if inner.all_files() or part == "train":
                named[part].append(inner)
            else:
                empty.append(f"{shown(inner.name)}/ is empty, so it is not used")
        elif (part := part_in(name)) is not None and inner.has_images():
            alike[part].append(inner)
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
        # A `test_set` beside classes is no class, though a `test_tube` may be one.
        only = {
            part: some
            for part, folders in alike.items()
            if (some := [one for one in folders if names_only_part(_last(one))])
        }
        both, notes = {**only, **named}, []
    may_be_classes = "train" in both and (not named or len(both) == 1)
    if may_be_classes and _are_classes(
        node, [one for folders in both.values() for one in folders]
    ):
        return {}, []
    for part, folders in both.items():
        if len(folders) > 1:
            names = f"{folders[0].name} and {folders[1].name}"
            raise _not_understood(root, node, f"has two folders of {part} images, {names}")
    notes += [
        f"{shown(folders[0].name)}/ has the {part} images"
        for part, folders in both.items()
        if part not in named
    ]
    return {part: folders[0] for part, folders in both.items()}, [*empty, *notes]


def _suits(folder: Node, train: Node) -> bool:
    """Return whether a folder may be a part beside `train`: flat, or with the same classes."""
    for _, only in folder.wrappers(of_a_part=True):
        folder = only
    classes = {name.casefold() for name in train.folders}
    return not folder.folders or {name.casefold() for name in folder.folders} == classes


def _is_opposite(name: str, other: str) -> bool:
    """Return whether one name is the other with a word such as `not` or `in` before it."""
    return (
        re.fullmatch(rf"(in|un|not|non)[ _-]?{re.escape(name)}", other, re.IGNORECASE) is not None
    )


def _last(node: Node) -> str:
    """Return the name of a folder without those around it."""
    return node.name.rpartition("/")[2]


def _are_classes(node: Node, parts: Sequence[Node]) -> bool:
    """Return whether a folder called `train` is a class, beside `bus` and `car`.

    Then other folders with images stand beside them, and they have images, but neither folders
    nor labels for them.
    """
    others = [inner for inner in node.folders.values() if inner not in parts]
    return (
        any(inner.has_images() for inner in others)
        and not any(inner.folders or inner.has_labels() for inner in parts)
        and not any(NO_CLASS.fullmatch(_last(inner)) for inner in parts)
        and not any(is_table(file.name) for file in node.files)
    )


def _count_outside(node: Node, parts: Iterable[Node]) -> int:
    inside = sum(len(part.all_files()) for part in parts)
    return len(node.all_files()) - inside


def _merge(root: Path, node: Node, found: dict[Part, PartClasses], layout: Layout) -> None:
    """Match the classes of the parts, and fill in the layout.

    Raises:
        InputError: if there are fewer than two classes, or the classes of the parts differ.
    """
    test = found.get("test")
    if test is not None and (unlabelled := _unlabelled(test, found["train"])):
        layout.left_out[UNLABELLED] += len(unlabelled)
        layout.left_out.update(found.pop("test").left_out)
        because = f" ({test.why_no_table[0]})" if test.why_no_table else ""
        layout.notes.append(f"the test images have no labels{because}, so they are not used")
    for part, classes in found.items():
        layout.left_out[classes.reason] += len(classes.outside)
        layout.left_out.update(classes.left_out)
        layout.notes += classes.notes
        _check_names(root, part, classes)
    names = sorted(found["train"].files, key=_order(found["train"].files))
    if len(names) < 2:
        few = count_in_words(len(names), "class folder")
        why = found["train"].why_no_table
        raise _not_understood(root, node, f"has {few}, and at least 2 are needed", why)
    layout.classes = tuple(unicodedata.normalize("NFC", name) for name in names)
    are_numbers = all(name.isdecimal() for one in found.values() for name in one.files) and len(
        {name.lstrip("0") for name in names}
    ) == len(names)

    def key_of(name: str) -> str:
        return name.lstrip("0") if are_numbers else folded(name).strip()  # 7 may be 00007

    keys = {key_of(name): i for i, name in enumerate(names)}
    for part, classes in found.items():
        groups: list[list[TreeFile]] = [[] for _ in names]
        extra = []
        unused = f" (not used: {classes.why_no_table[0]})" if classes.why_no_table else ""
        for name, files in classes.files.items():
            if (label := keys.get(key_of(name))) is None:
                extra.append(name)
                continue
            if name != names[label]:
                layout.notes.append(
                    f"{shown(name)} of {part} is the class {shown(layout.classes[label])}"
                )
            if groups[label]:
                raise InputError(
                    f"imagefolder: the {part} images have two classes, {shown(name)} and another, "
                    f"that are {shown(names[label])} of train; write them alike"
                )
            groups[label] = files
        if extra and all(map(NO_CLASS.fullmatch, extra)):
            raise InputError(
                f"imagefolder: the {part} images have no labels: they are in "
                f"{listed(map(shown, extra))}, which is no class of train, and no table with a "
                f"line file,label for each is beside them{unused}. Sort them into folders of "
                "classes, add such a table, or move them away"
            )
        if extra:
            few = listed(repr(one) if one != one.strip() else shown(one) for one in sorted(extra))
            way = "their folders would have to be in train too, or be moved away"
            if classes.labels is not None:
                table = shown(classes.labels.table)
                way = f"they are in {table}: write the names of train, such as {shown(names[0])}"
            raise InputError(
                f"imagefolder: the {part} images have classes that train lacks: {few}; {way}"
            )
        empty = [shown(name) for name, group in zip(names, groups, strict=True) if not group]
        may_lack = part != "train" and any(groups) and not unused  # a rare class, say
        if empty and not may_lack:
            raise InputError(
                f"imagefolder: no {part} image of {listed(empty)}{unused}; add one, or move the "
                f"class away in each folder of {shown(root)}"
            )
        layout.files[part] = groups
        if part == "train":
            layout.train_folders = [classes.folders[name] for name in names]


def _unlabelled(test: PartClasses, train: PartClasses) -> Sequence[TreeFile]:
    """Return the test images if they have no labels: in no folder, or in `test` or `unknown`."""
    full = [name for name, group in test.files.items() if group]
    if not full:
        return test.outside
    if full == [NONE_BESIDE_0] and NONE_BESIDE_0 not in train.files:  # as in hidden labels
        return [*test.outside, *test.files[NONE_BESIDE_0]]
    if len(full) > 1 or test.labels is not None or folded(full[0]) in map(folded, train.files):
        return ()
    (name,) = full
    is_none = part_of(name) or NO_CLASS.fullmatch(name) or name.casefold() in _UNKNOWN
    return [*test.outside, *test.files[name]] if is_none else ()


def _check_names(root: Path, part: str, classes: PartClasses) -> None:
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
        if (other := seen.setdefault(folded(name), name)) != name:
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
    if instead := instead_of(node.all_files()):
        lines.append(f"  {instead}")
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
