"""Names of files as people write them in tables, and the files that they stand for."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath


class Files:
    """Finds the file that a cell of a table names: by path, file name or stem.

    A name that two files have stands for neither. One that no file has stands for that whose name
    differs only in case or in the form of accents: macOS and archives change these.

    Args:
        files: paths of the files below the root.
        others: files that come first: a name that one of them has stands for none of `files`.
        there: paths of all files of the tree: one of them stands for itself only.
    """

    def __init__(
        self, files: Iterable[str], others: Iterable[str] = (), there: Collection[str] = ()
    ) -> None:
        self._there = there
        self._files, self._others = list(files), list(others)

    @functools.cached_property
    def _by_name(self) -> Mapping[str, str]:
        return _unambiguous(self._files, self._others, lambda key: key)

    @functools.cached_property
    def _by_form(self) -> Mapping[str, str]:
        return _unambiguous(self._files, self._others, folded)

    @functools.cached_property
    def _lasts(self) -> set[str]:
        """Names and stems of the files, in one form: most cells of a table have none of them."""
        return {folded(key.rpartition("/")[2]) for file in self._files for key in _keys(file)}

    def find(self, cell: str, folder: str = "", *, whole: bool = False) -> str | None:
        """Return the file that a cell names; None if there is none.

        Args:
            cell: path, below the root, the table's folder, one around that, or of another machine,
                with slashes or backslashes; file name; or stem.
            folder: folder of the table.
            whole: whether a path stands for no file in another folder.
        """
        path = slashed(cell)
        last = path.rpartition("/")[2]
        if not last or folded(last) not in self._lasts:
            return None
        keys = [*_paths(path, folder)]
        if last != path and not whole:
            keys.append(last)
        for key in keys:
            if (found := self._by_name.get(key)) is not None:
                return found
            if "/" in key and key in self._there:
                return None
        return next((self._by_form[form] for form in map(folded, keys) if form in self._by_form),
                    None)  # fmt: skip


def _paths(path: str, folder: str) -> Iterator[str]:
    """Yield what a path in a table may mean below the root, the longest first.

    It may begin on another machine, and lead on from the table's folder or from one around that.
    """
    folders = [folder, *map(str, PurePosixPath(folder).parents)] if folder else []
    above = path.count("/")
    for index in range(max(above, 1)):
        end = path.split("/", index)[-1]
        yield from (f"{one}/{end}" for one in folders if one != ".")
        yield end


def slashed(cell: str) -> str:
    """Return a path in a cell of a table with slashes, and without a dot before them."""
    path = cell.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path


def _unambiguous(
    files: Sequence[str], others: Sequence[str], form: Callable[[str], str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    taken = {form(key) for file in others for key in _keys(file) if key != file}
    for file in files:
        for key in map(form, _keys(file)):
            if found.setdefault(key, file) != file:
                taken.add(key)
    for key in taken:
        found.pop(key, None)
    return found


def folded(name: str) -> str:
    """Return a name without differences of case and of the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _keys(file: str) -> set[str]:
    return {PurePosixPath(file).stem, file.rpartition("/")[2], file}
