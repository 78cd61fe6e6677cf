"""`read_imagefolder`: a folder or archive of the user's images as arrays, through the cache."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress as ProgressBar

from tunecnn.console import PlainConsole
from tunecnn.data.folder.cache import Cache, Entry, Key, key_of
from tunecnn.data.folder.decoding import Progress, decode
from tunecnn.data.folder.layout import Layout, find_layout
from tunecnn.data.folder.names import Files, Paths
from tunecnn.data.folder.node import instead_of
from tunecnn.data.folder.pixels import BadImageError, NotAnImageError, read_pixels
from tunecnn.data.folder.rows import rows_of
from tunecnn.data.folder.table import first_column, stands_for_none
from tunecnn.data.folder.tree import Tree, TreeFile, open_tree, suffix_of
from tunecnn.data.images import Arrays, Images, Labels, Reading, useless_scale
from tunecnn.data.options import ImageOptions
from tunecnn.data.parts import Part
from tunecnn.errors import InputError, reason
from tunecnn.files import read_regular
from tunecnn.words import bytes_in_words, shown

_PARTS: tuple[Part, ...] = ("train", "validation", "test")
_MOST_SHOWN = 8
_FIRST = 20  # files that are tried to learn the size of the images


def read_imagefolder(
    folder: Path, options: ImageOptions | None = None, data_dir: Path | None = None
) -> Arrays:
    """Read the images of a folder or archive, from the cache if nothing has changed.

    The images are grey if all of them are, else RGB. The test images are empty if the tree has
    none.

    Args:
        folder: path of the folder or archive.
        options: size, background, scale and groups.
        data_dir: folder for the cache if it cannot be next to `folder`.

    Raises:
        InputError: if the tree cannot be used; the message has all mistakes of all files.
    """
    options = options or ImageOptions()
    tree = open_tree(folder)
    layout = find_layout(tree, has_groups=options.groups is not None)
    files = [file for part in _PARTS for group in layout.files.get(part, ()) for file in group]
    # Groups are no part of the pixels, so a change of the groups needs no decoding.
    key = key_of(tree, layout, replace(options, groups=None))
    cache = Cache(tree, data_dir)
    entry = cache.load(key)
    if entry is None:
        entry = _decoded(tree, layout, files, options, cache, key)
    return _arrays(layout, files, entry, options)


def _decoded(
    tree: Tree,
    layout: Layout,
    files: Sequence[TreeFile],
    options: ImageOptions,
    cache: Cache,
    key: Key,
) -> Entry:
    """Decode all files, check them together, and keep them in the cache."""
    names = [file.name for file in files]
    _check_memory(tree, names, options)
    with _progress(tree, len(names)) as progress:
        found = decode(tree, names, options, progress)
    bad = {**layout.broken, **found.bad}
    mistakes = [] if options.skip_bad else _bad_files(bad, len(names))
    if len(found.sizes) > 1:
        mistakes.append(_mixed_sizes(found.sizes))
    unused = [int(index) for index in np.flatnonzero(~found.used)]
    if not mistakes:
        mistakes += _empty_classes(layout, found.used)
    if why := useless_scale([found.pixels], options.scale):
        mistakes.append(why)
    if mistakes:
        raise InputError(f"imagefolder: {shown(tree.root)}: " + "\n".join(mistakes))
    record = {"unused": unused, "others": found.others, "changed": found.done, "bad": bad}
    return cache.save(key, Entry(found.pixels, record))


def _arrays(
    layout: Layout,
    files: Sequence[TreeFile],
    entry: Entry,
    options: ImageOptions,
) -> Arrays:
    record, unused = entry.record, set(entry.record["unused"])
    parts: dict[Part, Images] = {}
    names: list[str] = []
    start = index = 0
    for part in _PARTS:
        labels = []
        for label, group in enumerate(layout.files.get(part, ())):
            for file in group:
                if index not in unused:
                    labels.append(label)
                    names.append(file.name)
                index += 1
        end = start + len(labels)
        parts[part] = Images(entry.pixels[start:end], np.array(labels, np.int64))
        start = end
    notes = list(layout.notes)
    groups = None
    if options.groups is not None:
        there = Paths(file.name for file in files)
        groups = _groups(layout, names, parts["train"].labels, options.groups, there)
        notes.append(f"the training images are in {len(np.unique(groups)):,} groups")
    has_validation = "validation" in layout.files
    if has_validation:
        notes.append("the tree's own validation images validate")
    return Arrays(
        parts["train"],
        parts["test"],
        layout.classes,
        parts["validation"] if has_validation else None,
        groups,
        Reading(
            used=len(names),
            left_out=dict(_left_out(layout, record)),
            changed=record["changed"],
            bad={shown(name): reason for name, reason in record["bad"].items()},
            files=tuple(map(shown, names)),
        ),
        tuple(notes),
    )


def _left_out(layout: Layout, record: Mapping[str, Any]) -> Counter[str]:
    left_out = Counter(layout.left_out)
    if others := record["others"]:
        suffixes = sorted({suffix_of(name) or "no suffix" for name in others})
        few = ", ".join(map(shown, suffixes[:4])) + (", ..." if len(suffixes) > 4 else "")
        left_out[f"not an image ({few})"] += len(others)
    if record["bad"]:
        left_out["cannot be read (--skip-bad)"] += len(record["bad"])
    return left_out


def _bad_files(bad: Mapping[str, str], total: int) -> list[str]:
    if not bad:
        return []
    lines = [f"  {shown(name)}: {reason}" for name, reason in list(bad.items())[:_MOST_SHOWN]]
    if len(bad) > _MOST_SHOWN:
        lines.append(f"  and {len(bad) - _MOST_SHOWN:,} more")
    count = "1 file" if len(bad) == 1 else f"{len(bad):,} files"
    return [
        f"{count} of {total:,} cannot be used:\n"
        + "\n".join(lines)
        + "\nMend or move them, or add --skip-bad to leave them out."
    ]


def _mixed_sizes(sizes: Counter[tuple[int, int]]) -> str:
    smallest, largest = min(sizes, key=_area), max(sizes, key=_area)
    (common, count), *_ = sizes.most_common(1)
    return (
        f"the images have {len(sizes):,} different sizes, from {_size(smallest)} to "
        f"{_size(largest)} pixels; the commonest is {_size(common)} ({count:,} of "
        f"{sizes.total():,}). Give one size: size: 32 in the space or --size 32, with fit: crop, "
        "pad or stretch."
    )


def _area(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    return size[0] * size[1], size


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _empty_classes(layout: Layout, used: Sequence[bool] | Labels | Any) -> list[str]:
    """Return a mistake for each class of a part whose files are all unusable."""
    mistakes, start = [], 0
    for part in _PARTS:
        for name, group in zip(layout.classes, layout.files.get(part, ()), strict=False):
            if group and not np.any(used[start : start + len(group)]):
                instead = f"; {text}" if (text := instead_of(group)) else ""
                mistakes.append(
                    f"no {part} image of {shown(name)}: none of its {len(group):,} files is an "
                    f"image that can be used{instead}"
                )
            start += len(group)
    return mistakes


def _check_memory(tree: Tree, names: Sequence[str], options: ImageOptions) -> None:
    """Raise an InputError if the pixels of all images would not fit into memory."""
    import psutil

    first = names[:_FIRST]
    for source, name in zip(tree.contents(first), first, strict=True):
        try:
            pixels, _ = read_pixels(source, name, options)
        except (BadImageError, NotAnImageError):
            continue
        needed = len(names) * pixels.nbytes
        memory = psutil.virtual_memory().total
        if needed > 0.8 * memory:
            height, width, channels = pixels.shape
            raise InputError(
                f"imagefolder: {shown(tree.root)}: {len(names):,} images of "
                f"{height}x{width}x{channels} take {bytes_in_words(needed)}, and this machine has "
                f"{bytes_in_words(memory)} of memory; give a smaller size, such as size: 32"
            )
        return


@contextlib.contextmanager
def _progress(tree: Tree, total: int) -> Iterator[Progress]:
    """Show a bar on a terminal while images are decoded."""
    console = PlainConsole(stderr=True)
    with ProgressBar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"decoding {shown(tree.root.name)}", total=total)
        yield lambda count: bar.advance(task, count)


def _groups(
    layout: Layout, names: Sequence[str], labels: Labels, groups: str, there: Paths
) -> Labels:
    """Return the group of each training image.

    Args:
        layout: layout of the tree.
        names: names of the images, those for training first.
        labels: class of each training image, shape (n,).
        groups: `folder`, or path of a table.
        there: names of the images of all parts.

    Raises:
        InputError: if the table of groups cannot be read, or lacks an image.
    """
    names = names[: len(labels)]
    if groups == "folder":
        keys = [
            _folder_group(layout.train_folders[label], name)
            for name, label in zip(names, labels, strict=True)
        ]
    else:
        keys = _table_groups(Path(groups), names, there)
    _, numbers = np.unique(np.array(keys, dtype=str), return_inverse=True)
    return numbers.astype(np.int64)


def _folder_group(class_folder: str, name: str) -> str:
    """Return the folder of a class's folder that an image lies in; without one, its own name.

    Folders of one name are one group in all classes: the images of a patient may be in several.
    """
    below = name.removeprefix(f"{class_folder}/")
    folder, slash, _ = below.partition("/")
    return shown(f"{folder}/" if slash else name)


def _table_groups(path: Path, names: Sequence[str], there: Paths) -> list[str]:
    try:
        rows = rows_of(read_regular(path))
    except (OSError, csv.Error) as error:
        raise InputError(f"groups: {path} cannot be read: {reason(error)}") from error
    columns = list(rows[0]) if rows else []
    of_file, of_group = first_column(("file",), columns), first_column(("group",), columns)
    if of_file is None or of_group is None:
        raise InputError(f"groups: {path} needs the columns file and group")
    files = Files(names, there=there)
    found: dict[str, str] = {}
    for row in rows:
        file, group = files.find(row.get(of_file, "")), row.get(of_group, "").strip()
        if file is None or stands_for_none(group):
            continue
        if found.setdefault(file, group) != group:
            raise InputError(
                f"groups: {path} has two groups for {shown(file)}: {shown(found[file])} and "
                f"{shown(group)}; an image is in one"
            )
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(
            f"groups: {path} has no group for {len(missing):,} of {len(names):,} training images, "
            f"such as {shown(missing[0])}; a file is named by its path below the folder, or by a "
            "file name that only one image has"
        )
    return [found[name] for name in names]
