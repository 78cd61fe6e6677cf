"""The files of a folder or an archive, each accounted for: usable, left out, or broken."""

from __future__ import annotations

import contextlib
import functools
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, Self

from tunecnn.errors import InputError, reason, text_of
from tunecnn.files import NOTHING_THERE, expanded
from tunecnn.words import shown

HIDDEN = "hidden"
SYSTEM = "system file"
CACHE_SUFFIX = ".tunecnn-cache"
"""Suffix of the folder with the decoded images of a tree, which lies beside it."""
_SYSTEM_NAMES = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini",
     "system volume information"}
)  # fmt: skip
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
_LARGEST_MEMBER = 1 << 30  # bytes of one unpacked file; more is an error or an attack
_DEEPEST = 64  # folders in one another; more is an error or an attack
_COMPRESSIONS = frozenset(
    getattr(zipfile, name)
    for name in ("ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA", "ZIP_ZSTANDARD")
    if hasattr(zipfile, name)  # the last one is new in Python 3.14
)
_MOST_LINKS = 40  # links to links, as in Linux
_TOO_DEEP = f"lies in more than {_DEEPEST} folders"
_GONE = "it is no longer in the archive"


class TreeFile(NamedTuple):
    """A file of a tree; a tuple, since trees with many files make many of them.

    Attributes:
        name: path below the root, with `/`; bytes that are not UTF-8 are escaped as by `os`.
        state: size, times and inode; a change of the file changes one of them.
        changed: time of the last change, in nanoseconds; 0 if the file system does not tell.
    """

    name: str
    state: tuple[int, ...] = ()
    changed: int = 0


@dataclass(frozen=True)
class Unreadable:
    """What stands for the content of a file that cannot be read, with the reason."""

    reason: str


Source = Path | bytes | Unreadable
"""Where the content of a file is: its path, or the content itself."""


@dataclass
class Listing:
    """All entries of a tree.

    Attributes:
        files: files that may be images, sorted by name.
        folders: folders that are neither hidden nor the system's.
        left_out: number of files that are not considered, by reason.
        broken: entries that cannot be read, such as broken links, with the reason.
        guessed: name whose encoding is not known, of an archive that does not say it; or empty.
    """

    files: list[TreeFile] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)
    guessed: str = ""


class Tree(Protocol):
    """A folder or an archive with images."""

    root: Path

    def list(self) -> Listing:
        """List all files."""

    def contents(self, names: Iterable[str]) -> Iterator[Source]:
        """Yield, for each file, the path to read it from, or its content."""


def open_tree(path: Path) -> Tree:
    """Open a folder, or a zip or tar archive.

    Raises:
        InputError: if there is none at the path, or it cannot be read.
    """
    root = expanded(path)
    if root.is_dir():
        return _Folder(root)
    if root.is_file() and root.name.lower().endswith(_ARCHIVES):
        return _Archive(root)
    why = "; nor is it a zip or tar archive" if root.exists() else f": {NOTHING_THERE}"
    raise InputError(f"imagefolder: {shown(root)} is not a folder{why}")


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, with its dot; empty without one."""
    return PurePosixPath(name).suffix.lower()


def reason_to_ignore(name: str) -> str | None:
    """Return why an entry with this name is never an image or a class, or None if it may be."""
    if name.casefold() in _SYSTEM_NAMES or name.startswith("._") or name.endswith(CACHE_SUFFIX):
        return SYSTEM
    return HIDDEN if name.startswith(".") else None


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def list(self) -> Listing:
        listing = Listing()
        status = self.root.stat()
        self._walk(listing, "", None, ((status.st_dev, status.st_ino),))
        listing.files.sort()
        return listing

    def contents(self, names: Iterable[str]) -> Iterator[Source]:
        return (self.root / name for name in names)

    def _walk(
        self, listing: Listing, below: str, ignored: str | None, above: tuple[tuple[int, int], ...]
    ) -> None:
        """List a folder; all files below an ignored one count as left out for its reason.

        Args:
            listing: listing to add to.
            below: path of the folder below the root, empty or with a `/` at its end.
            ignored: reason why the folder is ignored, or None.
            above: device and inode of the folders above, to detect links that go in circles.

        Raises:
            InputError: if the folder cannot be read, and is not ignored.
        """
        try:
            with os.scandir(self.root / below) as entries:
                found = list(entries)
        except OSError as error:
            if ignored:
                listing.left_out[ignored] += 1
                return
            raise InputError(  # what is in it may be a class, or a part of the images
                f"imagefolder: the folder {shown(self.root / below)} cannot be read: "
                f"{reason(error)}"
            ) from error
        for entry in found:
            name = below + entry.name
            why_not = ignored or reason_to_ignore(entry.name)
            try:
                status = entry.stat()
            except OSError as error:
                if why_not:
                    listing.left_out[why_not] += 1
                else:
                    what = "a broken link" if entry.is_symlink() else "cannot be read"
                    listing.broken[name] = f"{what}: {reason(error)}"
                continue
            if stat.S_ISDIR(status.st_mode):
                here = (status.st_dev, status.st_ino)
                if here in above:
                    listing.broken[name] = "a link to a folder that contains it"
                    continue
                if len(above) >= _DEEPEST:
                    listing.broken[name] = _TOO_DEEP
                    continue
                if not why_not:
                    listing.folders.add(name)
                self._walk(listing, f"{name}/", why_not, (*above, here))
            elif why_not:
                listing.left_out[why_not] += 1
            elif not stat.S_ISREG(status.st_mode):
                listing.broken[name] = "not a regular file"
            else:
                listing.files.append(_tree_file(name, status))


def _tree_file(name: str, status: os.stat_result) -> TreeFile:
    changed = max(status.st_mtime_ns, status.st_ctime_ns) if status.st_ino else 0
    state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return TreeFile(name, state, changed)


class _TarMember(tarfile.TarInfo):
    """A member of a tar archive whose header is whole.

    By default, `tarfile` takes a damaged header, or none, for the end of the archive, and the
    members after it would be missing without a word.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; one of zeros is the mark of the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError(f"it is damaged or cut: {error}") from error


_UTF8 = 0x800
"""Flag of a member of a zip archive whose name is in UTF-8."""


class _Archive:
    """A zip or tar archive, read in place: nothing is unpacked to the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._is_zip = root.name.lower().endswith(".zip")
        self._links: dict[str, str] = {}
        self._guessed = ""

    def list(self) -> Listing:
        listing = Listing()
        try:
            status = self.root.stat()
            for name, size, problem in self._of_zip() if self._is_zip else self._of_tar():
                self._add(listing, name, size, problem, status)
        except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError,
                NotImplementedError, zlib.error, lzma.LZMAError) as error:  # fmt: skip
            raise InputError(f"imagefolder: {shown(self.root)} cannot be read: {error}") from error
        # Of two members with one name, the later is the one that would be unpacked.
        listing.files = sorted({file.name: file for file in listing.files}.values())
        listing.guessed = self._guessed
        return listing

    def _of_zip(self) -> Iterator[tuple[str, int, str]]:
        """Yield the name and the size of each file, and an empty problem.

        Raises:
            InputError: if a file is encrypted, or compressed in a way that Python cannot read.
        """
        with zipfile.ZipFile(self.root) as archive:
            for info in archive.infolist():
                name, problem = _zip_name(info), ""
                if info.flag_bits & 1:
                    problem = "is encrypted"
                elif info.compress_type not in _COMPRESSIONS:
                    problem = (
                        f"is compressed by a method (number {info.compress_type}) that "
                        "Python cannot read"
                    )
                if problem:
                    raise InputError(
                        f"imagefolder: {shown(self.root)}: {shown(name)} {problem}; unpack the "
                        "archive, and give its folder"
                    )
                if not info.flag_bits & _UTF8 and name == _plain(info.filename):
                    self._guessed = self._guessed or (name if not name.isascii() else "")
                if not info.is_dir():
                    yield name, info.file_size, ""

    def _of_tar(self) -> Iterator[tuple[str, int, str]]:
        """Yield the name and the size of each file, and why it cannot be used, if it cannot."""
        with tarfile.open(self.root, tarinfo=_TarMember) as archive:
            members = {_plain(member.name): member for member in archive}
        self._links = {}
        for name, member in members.items():
            if member.isdir():
                continue
            target = _target(name, members)
            if target is None:
                yield name, 0, "a link to nothing in the archive"
            elif not members[target].isfile():
                is_folder = members[target].isdir()
                yield name, 0, "a link to a folder" if is_folder else "not a regular file"
            else:
                if target != name:
                    self._links[name] = target
                yield name, members[target].size, ""

    def _add(
        self, listing: Listing, name: str, size: int, problem: str, status: os.stat_result
    ) -> None:
        *folders, last = parts = name.split("/")
        if parts[0] == "..":
            listing.broken[name] = "lies outside of the archive"
            return
        reasons = filter(None, map(reason_to_ignore, parts))
        if reason := next(reasons, None):
            listing.left_out[reason] += 1
            return
        if len(folders) > _DEEPEST:
            listing.broken["/".join(parts[:4])] = _TOO_DEEP
            return
        for depth in range(len(folders)):
            listing.folders.add("/".join(folders[: depth + 1]))
        if problem:
            listing.broken[name] = problem
            return
        if size > _LARGEST_MEMBER:
            listing.broken[name] = f"unpacks to {size:,} bytes"
            return
        archive = _tree_file(last, status)
        listing.files.append(TreeFile("/".join(parts), (size, *archive.state), archive.changed))

    def contents(self, names: Iterable[str]) -> Iterator[Source]:
        if self._is_zip:
            with zipfile.ZipFile(self.root) as archive:
                stored = {_zip_name(info): info for info in archive.infolist()}
                for name in names:
                    yield _content(partial(archive.read, stored[name]))
            return
        wanted = [self._links.get(name, name) for name in names]
        if not wanted:
            return
        yield from (self._unpacked if self._is_packed else self._in_place)(wanted)

    @functools.cached_property
    def _is_packed(self) -> bool:
        """Whether the tar archive is compressed, so that it cannot be read from the middle."""
        try:
            tarfile.open(self.root, "r:").close()
        except tarfile.ReadError:
            return True
        return False

    def _in_place(self, wanted: Sequence[str]) -> Iterator[Source]:
        with tarfile.open(self.root, "r:", tarinfo=_TarMember) as tar:
            files = {_plain(member.name): member for member in tar if member.isfile()}
            for name in wanted:
                file = tar.extractfile(files[name]) if name in files else None
                yield _content(file.read) if file else Unreadable(_GONE)

    def _unpacked(self, wanted: Sequence[str]) -> Iterator[Source]:
        """Yield the files of a compressed archive, all of which are in memory at first."""
        uses, held = Counter(wanted), dict[str, bytes | Unreadable]()
        with tarfile.open(self.root, tarinfo=_TarMember) as tar:
            for member in tar:
                name = _plain(member.name)
                if name in uses and member.isfile() and (file := tar.extractfile(member)):
                    held[name] = _content(file.read)
        for name in wanted:
            uses[name] -= 1
            content = held.get(name, Unreadable(_GONE))
            if not uses[name]:
                held.pop(name, None)
            yield content


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the path of a member; some archivers write UTF-8 without saying so."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return _plain(name)


def _plain(name: str) -> str:
    if "/" not in name:  # some archivers of Windows write backslashes
        name = name.replace("\\", "/")
    return posixpath.normpath(name.strip("/"))


def _target(name: str, members: Mapping[str, tarfile.TarInfo]) -> str | None:
    """Return the member that a link stands for, through other links; None if there is none."""
    for _ in range(_MOST_LINKS):
        member = members.get(name)
        if member is None:
            return None
        if member.islnk():
            name = _plain(member.linkname)
        elif member.issym():
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        else:
            return name
    return None


def _content(read: Callable[[], bytes]) -> bytes | Unreadable:
    """Read a member of an archive."""
    try:
        return read()
    except Exception as error:  # zlib.error, BadZipFile, OSError, ...
        return Unreadable(f"it is damaged: {text_of(error)}")
