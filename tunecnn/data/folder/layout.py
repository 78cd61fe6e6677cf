"""The layout of a tree: which file belongs to which part and class, and what is left out.

Understood, where the meaning is clear: `{train,val,test}/<class>/**` with the usual names of the
parts in any case; without `test` or `val`; `<class>/**` alone; `<class>/{train,test}/**`; files
with a CSV table of labels beside them; each also below folders that hold nothing else. Everything
else is refused with a picture of what is there.
"""

from __future__ import annotations

import csv
import functools
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from tunecnn.data.folder.table import rows_of
from tunecnn.data.folder.tree import Listing, Tree, TreeFile, Unreadable, shown, suffix_of
from tunecnn.errors import InputError

Part = Literal["train", "validation", "test"]
PART_NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
OUTSIDE = "outside the class folders"
UNLABELLED = "test image without a label"
NOT_IN_CSV = "not in the table of labels"
_ID_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_id", "img", "name", "id")
_LABEL_COLUMNS = ("label", "class", "category", "target", "breed", "species", "diagnosis", "y")


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


def find_layout(tree: Tree) -> Layout:
    """List a tree, and find the part and the class of each file.

    Raises:
        InputError: if the tree has no layout that is understood.
    """
    listing = tree.list()
    layout = Layout(left_out=listing.left_out.copy(), broken=dict(listing.broken))
    node = _Node.of(listing)
    above: list[TreeFile] = []
    for name, only in node.wrappers():
        above += node.files
        layout.notes.append(f"everything is in {shown(name)}/")
        layout.left_out[OUTSIDE] += node.loose_files_above(name)
        node = only
    node = node.inside_out()
    parts = {} if node.has_classes_named_as_parts() else _parts(tree.root, node)
    found: dict[Part, _Classes]
    if "train" in parts:
        found = {part: _classes_of(tree, folder, node, part, above)
                 for part, folder in parts.items()}  # fmt: skip
        layout.left_out[OUTSIDE] += _count_outside(node, parts.values())
    elif parts:
        raise _not_understood(tree.root, node, f"has {_listed(parts)} but no train folder")
    else:
        found = {"train": _classes_of(tree, node, node, "train", above)}
    _merge(tree.root, node, found, layout)
    layout.left_out += Counter()  # drops the zeros
    return layout


@dataclass
class _Node:
    """A folder of a tree: its own files, and the folders in it."""

    name: str = ""
    files: list[TreeFile] = field(default_factory=list)
    folders: dict[str, _Node] = field(default_factory=dict)

    @classmethod
    def of(cls, listing: Listing) -> _Node:
        root = cls()
        nodes = {"": root}

        def node_of(path: str) -> _Node:
            if path not in nodes:
                above, _, last = path.rpartition("/")
                nodes[path] = node_of(above).folders.setdefault(last, cls(path))
            return nodes[path]

        for folder in sorted(listing.folders):
            node_of(folder)
        for file in listing.files:
            node_of(file.name.rpartition("/")[0]).files.append(file)
        return root

    def all_files(self) -> list[TreeFile]:
        """Return the files in this folder and all folders below, sorted by name."""
        return self._all_files

    @functools.cached_property
    def _all_files(self) -> list[TreeFile]:
        below = (inner.all_files() for inner in self.folders.values())
        return sorted([*self.files, *itertools.chain.from_iterable(below)])

    def is_for_something_else(self) -> bool:
        """Whether there are files in the folder, but none that may be an image."""
        files = self.all_files()
        return bool(files) and not any(map(_may_be_image, files))

    def wrappers(self, *, of_a_part: bool = False) -> list[tuple[str, _Node]]:
        """Return the folders around everything else: each is the only one with files above it.

        A folder of a class is none: it has files of its own, or stands beside others.

        Args:
            of_a_part: whether this is the folder of a part, so that `train` in it is no part.
        """
        full = [name for name, inner in self.folders.items() if inner.all_files()]
        if (
            len(full) != 1
            or (_part_of(full[0]) and not of_a_part)
            or any(map(_may_be_image, self.files))
        ):
            return []
        only = self.folders[full[0]]
        if not only.folders or any(map(_may_be_image, only.files)):
            return []
        return [(only.name, only), *only.wrappers(of_a_part=of_a_part)]

    def loose_files_above(self, name: str) -> int:
        """Return the number of files in this folder that are not in the named one."""
        return len(self.all_files()) - len(self.folders[name.rpartition("/")[2]].all_files())

    def inside_out(self) -> _Node:
        """Turn `<class>/<part>` into `<part>/<class>`; other trees are returned unchanged."""
        full = [inner for inner in self.folders.values() if inner.all_files()]
        is_inverse = len(full) > 1 and all(
            inner.folders and not inner.files and all(map(_part_of, inner.folders))
            for inner in full
        )
        if not is_inverse:
            return self
        turned = _Node(self.name, self.files)
        for inner in full:
            last = inner.name.rpartition("/")[2]
            for part, folder in inner.folders.items():
                turned.folders.setdefault(part, _Node(part)).folders[last] = folder
        return turned

    def has_classes_named_as_parts(self) -> bool:
        """Whether `train`, `dev` and so on are classes, such as `bus`, `car` and `train`.

        Then other folders with images stand beside them, they have images and no folders, and
        there is no table of labels.
        """
        parts = [inner for name, inner in self.folders.items() if _part_of(name)]
        others = [inner for name, inner in self.folders.items() if not _part_of(name)]
        return (
            any(any(map(_may_be_image, inner.all_files())) for inner in others)
            and not any(inner.folders for inner in parts)
            and not any(_tables([*self.files, *inner.files]) for inner in parts)
        )


def _part_of(name: str) -> Part | None:
    folded = name.casefold()
    return next((part for part, names in PART_NAMES.items() if folded in names), None)


def _may_be_image(file: TreeFile) -> bool:
    last = file.name.rpartition("/")[2]
    return suffix_of(last) not in _NEVER_IMAGES and last.casefold() not in _NEVER_NAMES


_NEVER_IMAGES = frozenset(
    {".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".zip", ".tar",
     ".gz", ".py", ".ipynb", ".log", ".rst", ".npy", ".npz", ".mat", ".parquet", ".tsv", ".sh"}
)  # fmt: skip
_NEVER_NAMES = frozenset(
    {"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation",
     "makefile", "dockerfile", "md5sums", "sha256sums"}
)  # fmt: skip


def _parts(root: Path, node: _Node) -> dict[Part, _Node]:
    """Return the folders of the parts.

    Raises:
        InputError: if a part has two folders.
    """
    found: dict[Part, _Node] = {}
    for name, inner in node.folders.items():
        part = _part_of(name)
        if part is None:
            continue
        if part in found:
            raise _not_understood(
                root,
                node,
                f"has two folders of {part} images, {found[part].name} and {inner.name}",
            )
        found[part] = inner
    return found


@dataclass
class _Classes:
    """The classes of a part, their folders, and the files that belong to none."""

    files: dict[str, list[TreeFile]]
    folders: dict[str, str]
    outside: Sequence[TreeFile] = ()
    reason: str = OUTSIDE
    note: str = ""


def _classes_of(
    tree: Tree, node: _Node, root: _Node, part: Part, above: Sequence[TreeFile]
) -> _Classes:
    """Return the classes of a part: its folders, or else its files with a table of labels.

    Args:
        tree: the tree.
        node: folder of the part.
        root: folder of all parts.
        part: the part.
        above: files around the root.

    Raises:
        InputError: if a table gives an image several labels, or contradicts the folders.
    """
    inner = node
    for _, only in node.wrappers(of_a_part=node is not root):
        inner = only
    files = {name: folder.all_files() for name, folder in inner.folders.items()
             if inner is not root or not folder.is_for_something_else()}  # fmt: skip
    folders = {name: folder.name for name, folder in inner.folders.items()}
    used = {file.name for group in files.values() for file in group}
    outside = [file for file in node.all_files() if file.name not in used]
    shared = _tables([*root.files, *above])
    own = _tables(node.files) - shared
    tables = [*_by_length(own), *_for_part(shared, part)]
    images = [file for file in node.all_files() if file.name not in own | shared]
    if sum(map(bool, files.values())) > 1:
        return _Classes(files, folders, outside, note=_beside_folders(tree, tables, files))
    problem = None
    for name in tables:
        try:
            labels = _read_labels(tree, name, images)
        except InputError as error:
            problem = problem or error
            continue
        if labels is not None:
            return _with_labels(images, labels, name)
    if problem is not None:
        raise problem
    if not node.folders and (labels := _labels_in_names(images)):
        classes = _with_labels(images, labels, "the file names")
        first = images[0].name.rpartition("/")[2]
        return replace(classes, note=f"the labels are in the names of the files: {shown(first)}")
    return _Classes(files, folders, outside)


def _tables(files: Iterable[TreeFile]) -> set[str]:
    return {file.name for file in files if file.name.lower().endswith((".csv", ".tsv"))}


def _beside_folders(
    tree: Tree, tables: Iterable[str], files: Mapping[str, Sequence[TreeFile]]
) -> str:
    """Return what tables say of images whose folders are taken for their classes.

    Raises:
        InputError: if a table has several labels in one folder: these folders are no classes.
    """
    images = [file for group in files.values() for file in group]
    for name in tables:
        try:
            labels = _read_labels(tree, name, images, must_be_named=True)
        except InputError:  # several labels for one image, such as one for each object in it
            continue
        if labels is None:
            continue
        by_folder = {folder: {labels[file.name] for file in group if file.name in labels}
                     for folder, group in files.items()}  # fmt: skip
        several = {folder: found for folder, found in by_folder.items() if len(found) > 1}
        if several:
            folder, found = min(several.items())
            raise InputError(
                f"imagefolder: are the classes the {len(files):,} folders or the labels of "
                f"{shown(name)}? It has {_listed(map(shown, sorted(found)))} for images in "
                f"{shown(folder)}/. Move the table away to use the folders; to use the table, put "
                "all images into one folder"
            )
        if len(set().union(*by_folder.values())) < sum(map(bool, by_folder.values())):
            return f"{shown(name)} has fewer labels than there are folders, which are the classes"
    return ""


def _by_length(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (len(name), name))


def _for_part(tables: Iterable[str], part: Part) -> list[str]:
    """Return the tables beside the folders of the parts that may be about one of them.

    Those that are named after the part come first. A table that is named after another part is
    none: images of all parts often have the same names, such as `0001.png`.
    """
    named = {name: _part_of_table(name) for name in tables}
    after, others = (_by_length(name for name in named if named[name] == one)
                     for one in (part, None))  # fmt: skip
    return [*after, *others]


def _part_of_table(name: str) -> Part | None:
    """Return the part whose name is in that of a table, such as `trainLabels.csv`.

    A table that names two parts, such as `train_val.csv`, is that of neither alone.
    """
    stem = PurePosixPath(name).stem
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", stem)
    found = {part for part in map(_part_of, words) if part is not None}
    return found.pop() if len(found) == 1 else None


def _labels_in_names(images: Sequence[TreeFile]) -> dict[str, str]:
    """Return the labels in names such as `cat.0.jpg`; none unless all names have this form."""
    labels = {}
    for file in filter(_may_be_image, images):
        match = re.fullmatch(r"([^.\d]+)\.\d+\.\w+", file.name.rpartition("/")[2])
        if match is None:
            return {}
        labels[file.name] = match[1]
    return labels


def _with_labels(images: Sequence[TreeFile], labels: Mapping[str, str], table: str) -> _Classes:
    files: dict[str, list[TreeFile]] = defaultdict(list)
    for file in images:
        if file.name in labels:
            files[labels[file.name]].append(file)
    outside = [file for file in images if file.name not in labels]
    count = len(images) - len(outside)
    note = f"the labels of {count:,} images are from {shown(table)}"
    above = [PurePosixPath(file.name).parts[:-1] for file in images]
    around = "/".join(same[0] for same in itertools.takewhile(
        lambda parts: len(set(parts)) == 1, zip(*above, strict=False)))  # fmt: skip
    return _Classes(dict(files), dict.fromkeys(files, around), outside, NOT_IN_CSV, note)


def _read_labels(
    tree: Tree, table: str, images: Sequence[TreeFile], *, must_be_named: bool = False
) -> dict[str, str] | None:
    """Read a CSV table of labels; None if it is not one of these images.

    One column must have names of files, with or without suffix, and another one the labels; it
    has one of their usual names, or is the only other one unless it `must_be_named`.

    Raises:
        InputError: if a file has several labels there.
    """
    rows = read_table(tree, table)
    if not rows or "submission" in table.lower():
        return None
    columns = {name.strip().casefold(): name for name in rows[0]}
    keys = file_by_name(file.name for file in images)
    for candidate in _ID_COLUMNS:
        name = columns.get(candidate)
        if name is None:
            continue
        matched = [(keys.get(row[name].strip()), row) for row in rows if row.get(name)]
        known = [(file, row) for file, row in matched if file is not None]
        others = [other for other in columns.values() if other != name]
        label = next((columns[c] for c in _LABEL_COLUMNS if c in columns and columns[c] != name),
                     others[0] if len(others) == 1 and not must_be_named else None)  # fmt: skip
        if label is None or not known or len(known) < len(images) / 2:
            continue
        found: dict[str, set[str]] = defaultdict(set)
        for file, row in known:
            if row.get(label):
                found[file].add(row[label].strip())
        if several := {file: names for file, names in found.items() if len(names) > 1}:
            file, names = min(several.items())
            raise InputError(
                f"imagefolder: {shown(table)} has several labels for {len(several):,} of "
                f"{len(found):,} files, such as {shown(file)}: "
                f"{_listed(map(shown, sorted(names)))}; an image has one class, so leave one of "
                "them"
            )
        return {file: names.pop() for file, names in found.items()}
    return None


def read_table(tree: Tree, name: str) -> list[dict[str, str]]:
    """Read a CSV file of a tree as rows by column; return no rows if it is not one."""
    (source,) = tree.contents([name])
    try:
        if isinstance(source, Unreadable):
            return []
        return rows_of(source if isinstance(source, bytes) else source.read_bytes())
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def file_by_name(files: Iterable[str]) -> dict[str, str]:
    """Return the file of each name that a table may use: its path, file name or stem.

    A name that two files have stands for neither.
    """
    found: dict[str, str] = {}
    ambiguous = set()
    for file in files:
        last = file.rpartition("/")[2]
        for key in {PurePosixPath(file).stem, last, file}:
            if found.setdefault(key, file) != file:
                ambiguous.add(key)
    return {key: file for key, file in found.items() if key not in ambiguous}


def _count_outside(node: _Node, parts: Iterable[_Node]) -> int:
    inside = sum(len(part.all_files()) for part in parts)
    return len(node.all_files()) - inside


def _merge(root: Path, node: _Node, found: dict[Part, _Classes], layout: Layout) -> None:
    """Match the classes of the parts, and fill in the layout.

    Raises:
        InputError: if there are fewer than two classes, or the classes of the parts differ.
    """
    test = found.get("test")
    if test is not None and not any(test.files.values()) and test.outside:
        layout.left_out[UNLABELLED] += len(found.pop("test").outside)
        layout.notes.append("the test images have no labels, so they are not used")
    for part, classes in found.items():
        layout.left_out[classes.reason] += len(classes.outside)
        if classes.note:
            layout.notes.append(classes.note)
        _check_names(root, part, classes.files)
    names = sorted(found["train"].files, key=_order(found["train"].files))
    if len(names) < 2:
        few = f"{len(names)} class folder{'' if len(names) == 1 else 's'}"
        raise _not_understood(root, node, f"has {few}, and at least 2 are needed")
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
            raise InputError(
                f"imagefolder: no {part} image of {_listed(empty)}: each class needs at least one "
                f"in each folder of {shown(root)}; add one, or move the class away"
            )
        layout.files[part] = groups
        if part == "train":
            layout.train_folders = [classes.folders[name] for name in names]


def _key(name: str) -> str:
    """Return a class name without differences of case and of the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _check_names(root: Path, part: str, names: Iterable[str]) -> None:
    """Raise an InputError for a class name that is not text, or two that differ only in form."""
    seen: dict[str, str] = {}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"imagefolder: the name of the class folder {shown(name)} in {shown(root)} is not "
                "UTF-8; rename it"
            ) from None
        if (other := seen.setdefault(_key(name), name)) != name:
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


def _not_understood(root: Path, node: _Node, what: str) -> InputError:
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
