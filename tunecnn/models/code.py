"""`NetworkCode`: the files of somebody's networks, with a hash, as they travel to the workers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import read_regular, stays_below

_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class NetworkCode:
    """The files of the networks that a run trains.

    Attributes:
        files: content by path, relative to a folder.
    """

    files: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path, names: Iterable[Path]) -> NetworkCode:
        """Read files of a folder.

        Raises:
            InputError: if one cannot be read, or they are too large.
        """
        names = list(names)
        for name in names:
            _check_name(str(name))
        try:
            files = {name.as_posix(): read_regular(folder / name) for name in names}
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {reason(error)}") from error
        size = sum(map(len, files.values()))
        if size > _MAX_BYTES:
            raise InputError(
                f"the code of the networks has {size:,} bytes, and the limit is {_MAX_BYTES:,}; "
                "name only what they need in code:, and load large files, such as weights, by an "
                "absolute path that all nodes have"
            )
        return cls(files)

    @cached_property
    def hash(self) -> str:
        """Hash of the names and contents of all files, 16 hexadecimal digits."""
        found = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            found.update(f"{name}\0{len(content)}\0".encode() + content)
        return found.hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write the files into a folder.

        Raises:
            RunError: if a name leads out of the folder.
        """
        for name, content in self.files.items():
            _check_name(name)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def to_json(self) -> dict[str, str]:
        """Return the files as text, in base64, by name."""
        return {name: base64.b64encode(one).decode() for name, one in self.files.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, str]) -> NetworkCode:
        """Return the files from what `to_json` returned.

        Raises:
            ValueError: if they are damaged.
        """
        return cls({name: base64.b64decode(text, validate=True) for name, text in values.items()})


def _check_name(name: str) -> None:
    if not stays_below(name):
        raise RunError(f"{name!r} is not a name of a file of code")
