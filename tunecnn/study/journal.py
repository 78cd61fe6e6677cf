"""The journal of a run: Optuna's log of operations, one line each, of which none can go unnoticed.

The lines are those of Optuna's own journal files, so that its dashboard can read them. Each has
two keys more: its number and the CRC-32 of all before it in the line; the first line also says
which tunecnn wrote the file. Beside the journal lies its
seal, which says how long it was when a trial last ended: a file that lost its end is noticed too.
Whoever writes has the run's lock, so the file needs none of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend

from tunecnn.errors import RunError
from tunecnn.files import check_stamp, stamp, write_atomically

JOURNAL = "study.journal"
SEAL = "study.seal"
SCHEMA = 1
CREATE_TRIAL = 4  # Optuna's code of the operation
_TAIL = len(',"crc":"00000000"}\n')


class DamagedError(RunError):
    """The journal is not what was written."""

    def __init__(self, journal: Path, text: str) -> None:
        super().__init__(
            f"{journal} is damaged: {text}; `tunecnn repair {journal.parent}` saves what can be "
            "read"
        )


@dataclass(frozen=True)
class Line:
    """One line of a journal: its number, from 1, and the operation in it."""

    number: int
    log: dict[str, Any]


def to_line(number: int, log: dict[str, Any]) -> bytes:
    """Write an operation as a line."""
    body = json.dumps({**log, "line": number}, separators=(",", ":")).encode()[:-1]
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def from_line(raw: bytes) -> Line | None:
    """Read a line; None if it is not as it was written."""
    body, tail = raw[:-_TAIL], raw[-_TAIL:]
    if tail != f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode():
        return None
    log = json.loads(body + b"}")
    return Line(log.pop("line"), log)


def read_seal(journal: Path) -> Line | None:
    """Read the seal of a journal, with its last line's number; None if there is no whole one."""
    seal = journal.with_name(SEAL)
    return from_line(seal.read_bytes()) if seal.is_file() else None


class Journal(BaseJournalBackend):
    """The file in which Optuna keeps a study.

    Args:
        path: of the file.
        writable: make it if it is not there, and cut off a last line that is not whole.

    Attributes:
        dropped_line: whether such a line was cut off.

    Raises:
        RunError: if another version wrote the file, a line is damaged, or its end is missing.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._path = path
        self._lines, self._end, self._trials = 0, 0, 0
        self._together = self._seal_is_due = False
        with path.open("ab+" if writable else "rb") as stream:
            self._check_stamp(stream)
            self._check_seal(stream)
            if writable and not stream.seek(0, os.SEEK_END):
                self.seal()  # before the first line, so that no journal is ever without
            self.dropped_line = writable and _drop_torn_line(stream)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the operations from one on, as far as their lines are whole."""
        if log_number_from != self._lines:
            self._lines, self._end, self._trials = 0, 0, 0
        with self._path.open("rb") as stream:
            stream.seek(self._end)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return  # it is being written
                line = from_line(raw)
                if line is None or line.number != self._lines + 1:
                    what = "cannot be read" if line is None else f"says that it is {line.number}"
                    raise DamagedError(self._path, f"line {self._lines + 1} {what}")
                self._lines += 1
                self._end += len(raw)
                self._trials += line.log["op_code"] == CREATE_TRIAL
                if self._lines > log_number_from:
                    yield line.log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write operations; they are on disk when this returns, or `together` does."""
        data, trials = b"", self._trials
        for number, log in enumerate(logs, self._lines + 1):
            if number == 1:
                log = {**log, **stamp(SCHEMA)}
            if log["op_code"] == CREATE_TRIAL:
                # Optuna numbers trials by their order; `tunecnn repair` cannot.
                data += to_line(number, {**log, "trial": trials})
                trials += 1
            else:
                data += to_line(number, log)
        with self._path.open("r+b") as stream:
            stream.seek(self._end)
            stream.truncate()  # what an earlier write left that failed: the disk was full, say
            stream.write(data)
            stream.flush()
            if not self._together:
                os.fsync(stream.fileno())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Put what is written within on disk at the end: once, which is most of its cost."""
        if self._together:
            yield
            return
        self._together, lines = True, self._lines
        try:
            yield
        finally:
            self._together = False
            if self._lines > lines:
                with self._path.open("r+b") as stream:
                    os.fsync(stream.fileno())
            if self._seal_is_due:
                self.seal()

    def seal(self) -> None:
        """Note how long the journal is: it cannot lose its end unnoticed any more."""
        self._seal_is_due = self._together  # never before what it speaks of is on disk
        if self._seal_is_due:
            return
        write_atomically(self._path.with_name(SEAL), to_line(self._lines, {"bytes": self._end}))

    def _check_stamp(self, stream: BinaryIO) -> None:
        stream.seek(0)
        first = from_line(stream.readline())
        if first is not None:
            check_stamp(self._path, first.log, SCHEMA)

    def _check_seal(self, stream: BinaryIO) -> None:
        length = os.fstat(stream.fileno()).st_size
        if not self._path.with_name(SEAL).is_file():
            if length:
                raise DamagedError(self._path, f"its {SEAL} is missing")
            return
        sealed = read_seal(self._path)
        if sealed is None:
            raise DamagedError(self._path, f"its {SEAL} cannot be read")
        if not sealed.number:
            return
        stream.seek(sealed.log["bytes"] - 1)
        if b"\n" not in stream.read():  # a last line without its end passes for one being written
            raise DamagedError(
                self._path,
                f"of the {sealed.number} lines that had been written, the last ones are missing",
            )


def _drop_torn_line(stream: BinaryIO) -> bool:
    """Cut off what a killed writer did not finish; tell if there was anything."""
    stream.seek(0)
    data = stream.read()
    whole = data.rfind(b"\n") + 1
    if whole == len(data):
        return False
    stream.truncate(whole)
    return True
