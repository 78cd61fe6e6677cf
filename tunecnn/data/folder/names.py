"""Names of files as people write them in tables, and the files that they stand for."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath


class Paths:
    """Paths of all files of a tree: what a path in a table may stand for.

    Args:
        files: the paths, below the root.
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        self.files = frozenset(files)

    @functools.cached_property
    def _ends(self) -> frozenset[str]:
        """The ends of the paths that are paths themselves, such as `b/c.png` of `a/b/c.png`."""
        return frozenset(folded(end) for file in self.files for end in _ends(file) if "/" in end)

    def has_end(self, path: str) -> bool:
        """Return whether a file has this path, or one that ends with it."""
        return "/" in path and folded(path) in self._ends


class Files:
    """Finds the file that a cell of a table names: by path, the end of its path, name or stem.

    What two files may be called stands for neither. A name that no file has stands for that whose
    name differs only in case or in the form of accents: macOS and archives change these.

    Args:
        files: paths of the files below the root.
        others: files that come first: a name that one of them has stands for none of `files`.
        there: paths of all files of the tree: a path of one of them stands for no other.
    """

    def __init__(
        self, files: Iterable[str], others: Iterable[str] = (), there: Paths | None = None
    ) -> None:
        self._there = there or Paths()
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
        lasts = (file.rpartition("/")[2] for file in self._files)
        return {folded(end) for last in lasts for end in _ends(last)}

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
        keys = []
        for key in (*_paths(path, folder), *[last] * (last != path and not whole)):
            found = self._by_name.get(key)
            if found is not None and (found == key or key not in self._there.files):
                return found
            if key in self._there.files and "/" in key:
                return None
            keys.append(key)
            if self._there.has_end(key):  # in another case, perhaps, of a file of these
                break
        return next(
            (self._by_form[form] for form in map(folded, keys) if form in self._by_form), None
        )


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
    """Return the only file of each path, end of a path, name and stem."""
    found: dict[str, str] = {}
    taken = {form(key) for file in others for key in _ends(file) if key != file}
    for file in files:
        for key in map(form, _ends(file)):
            if found.setdefault(key, file) != file:
                taken.add(key)
    for key in taken:
        found.pop(key, None)
    uses = Counter(map(form, files))
    return found | {key: file for file in files if uses[key := form(file)] == 1}


def folded(name: str) -> str:
    """Return a name without differences of case and of the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _ends(file: str) -> Iterator[str]:
    """Yield a path and its ends, down to the name of the file, each also without its suffix."""
    parts = file.split("/")
    stem = PurePosixPath(file).stem
    for start in range(len(parts)):
        yield "/".join(parts[start:])
        if stem != parts[-1]:
            yield "/".join((*parts[start:-1], stem))
