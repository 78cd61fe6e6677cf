"""The journal of a run: Optuna's log of operations, one per line, with checks against damage.

The lines have the format of Optuna's journal files, so that Optuna Dashboard can read them.
Each line has additional keys: its number, and the CRC-32 of the preceding part of the line. The
first line also has the version of tunecnn that wrote the file, and the id of the run.
Operations that make sense only together, such as those of a proposal, are written at once: each
of their lines but the last one says that there are more, the last one when they were written,
and a group without its last line, of a writer that was killed, is removed like an incomplete
line. Lines that Optuna itself appended, such as a note typed in its dashboard, have none of
these keys: they are left out when the journal is read, but kept in the file. Next to the
journal is its seal file, which has the length of the journal when a trial last ended, so that a
truncated journal is detected too. The writer holds the run's lock, so the journal needs no lock
of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend

from tunecnn.errors import RunError
from tunecnn.files import check_stamp, read_own, stamp, write_atomically
from tunecnn.process import interrupts_held
from tunecnn.words import command

JOURNAL = "study.journal"
SEAL = "study.seal"
SCHEMA = 1
CREATE_TRIAL = 4  # Optuna's code of the operation
_TAIL = len(',"crc":"00000000"}\n')


class DamagedError(RunError):
    """The journal is damaged: it differs from what was written."""

    def __init__(self, journal: Path, text: str) -> None:
        super().__init__(
            f"{journal} is damaged: {text}; `{command('repair', journal.parent)}` saves what can "
            "be read"
        )


@dataclass(frozen=True)
class Line:
    """One line of a journal.

    Attributes:
        number: its number, counted from 1.
        log: its operation.
        has_more: whether the next line belongs to it.
        time: when it was written, in seconds since 1970; 0 if that was not recorded.
    """

    number: int
    log: dict[str, Any]
    has_more: bool = False
    time: int = 0


def to_line(number: int, log: dict[str, Any], *, has_more: bool = False, at: float = 0) -> bytes:
    """Return an operation as a line of the journal, written at a time."""
    log = {**log, "line": number, **({"more": True} if has_more else {})}
    log |= {"time": round(at)} if at else {}
    body = json.dumps(log, separators=(",", ":")).encode()[:-1]
    return body + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def from_line(raw: bytes) -> Line | None:
    """Parse a line of the journal or its seal; return None if it is damaged."""
    body, tail = raw[:-_TAIL], raw[-_TAIL:]
    if tail != f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode():
        return None
    log = _from_json(body + b"}")
    number, has_more, at = log.pop("line", None), log.pop("more", False), log.pop("time", 0)
    if not isinstance(number, int) or number < 0:
        return None
    if not isinstance(at, int) or not 0 <= at < 2**33:
        return None
    return Line(number, log, bool(has_more), at)


def is_foreign(raw: bytes) -> bool:
    """Return whether a line is an operation that Optuna itself appended."""
    log = _from_json(raw)
    return "op_code" in log and "worker_id" in log and not log.keys() & {"line", "crc"}


def _from_json(data: bytes) -> dict[str, Any]:
    """Parse a mapping; a checksum is no proof of one, since a stranger can write it too."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def read_seal(journal: Path) -> Line | None:
    """Read the seal of a journal; return None if it is missing or damaged.

    The number of the returned line is that of the last sealed line of the journal.
    """
    try:
        sealed = from_line(read_own(journal.with_name(SEAL)))
    except OSError:
        return None
    length = sealed.log.get("bytes") if sealed is not None else None
    return sealed if isinstance(length, int) and length >= 0 else None


class Journal(BaseJournalBackend):
    """The file in which Optuna stores a study.

    Args:
        path: path of the file.
        writable: whether to create a missing file and to remove an incomplete last line or group.
        run_id: id of the run; None for that of the first line, whichever it is.

    Attributes:
        dropped_line: whether an incomplete last line or group was removed.
        last_time: when the last line was written, in seconds since 1970, as it was found by a
            writer; 0 if that was not recorded.

    Raises:
        RunError: if the file has another schema, is that of another run or is truncated, or if
            its seal is missing or damaged.
    """

    def __init__(self, path: Path, *, writable: bool = False, run_id: str | None = None) -> None:
        self._path, self._run_id = path, run_id
        self._foreign_seen = False
        self._lines, self._trials = 0, 0  # that have been read
        self._end, self._at = 0, 0  # where the last group that was read ends, and its last line
        self._pending: list[Line] = []  # of a group that is not written yet
        self._together = self._seal_is_due = False
        with path.open("ab+" if writable else "rb") as stream:
            self._check_stamp(stream)
            self._check_seal(stream)
            if writable and not stream.seek(0, os.SEEK_END):
                self.seal()  # before the first line, so that every journal has one
            self.dropped_line, self.last_time = False, 0
            if writable:
                whole, self.last_time = _whole(stream)
                self.dropped_line = whole < stream.seek(0, os.SEEK_END)
                stream.truncate(whole)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the operations after the first `log_number_from`, up to an incomplete group.

        Raises:
            RunError: if a line is damaged.
        """
        if log_number_from != self._lines:
            self._lines, self._trials, self._end, self._at = 0, 0, 0, 0
        # Lines that are pending come after all others that there are.
        for line in self._pending or self._written():
            if line.number <= self._lines:
                continue  # it has been read while it was pending
            self._lines += 1
            self._trials += line.log["op_code"] == CREATE_TRIAL
            if self._lines > log_number_from:
                yield line.log

    def _written(self) -> Iterator[Line]:
        """Yield the lines of the file that have not been read, up to an incomplete group."""
        group, size, last = list[Line](), 0, self._at
        with self._path.open("rb") as stream:
            stream.seek(self._end)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return  # it is being written
                size += len(raw)
                line = from_line(raw)
                if line is None and is_foreign(raw):
                    self._warn_of_foreign()
                    if not group:
                        self._end, size = self._end + size, 0
                    continue
                if line is not None and not isinstance(line.log.get("op_code"), int):
                    line = None
                if line is None or line.number != last + 1:
                    what = "cannot be read" if line is None else f"says that it is {line.number}"
                    raise DamagedError(self._path, f"line {last + 1} {what}")
                last += 1
                group.append(line)
                if not line.has_more:
                    self._end, self._at = self._end + size, last
                    yield from group
                    group, size = [], 0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations; they are on disk when this, or the enclosing `together`, returns."""
        before, trials = len(self._pending), self._trials
        last = self._pending[-1].number if self._pending else self._lines
        for number, log in enumerate(logs, last + 1):
            if number == 1:
                log = {**log, **stamp(SCHEMA), "run": self._run_id or ""}
            if log["op_code"] == CREATE_TRIAL:
                # Optuna derives the number of a trial from the order of the lines, but
                # `tunecnn repair` cannot rely on it.
                log, trials = {**log, "trial": trials}, trials + 1
            self._pending.append(Line(number, json.loads(json.dumps(log))))
        if not self._together:
            try:
                self._write()
            except OSError:
                del self._pending[before:]  # Optuna has not replayed them
                raise

    def _write(self) -> None:
        """Write the pending lines as one group."""
        *others, last = self._pending
        data = b"".join(to_line(line.number, line.log, has_more=True) for line in others)
        data += to_line(last.number, last.log, at=time.time())
        with self._path.open("r+b") as stream:
            stream.seek(self._end)
            for raw in stream:
                if not raw.endswith(b"\n") or not is_foreign(raw):
                    break
                self._end += len(raw)  # kept, since whoever wrote it relies on it
                self._warn_of_foreign()
            stream.seek(self._end)
            stream.truncate()  # remains of an earlier write that failed, e.g. on a full disk
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        self._pending.clear()
        if last.number == self._lines:  # Optuna has read them while they were pending
            self._end, self._at = self._end + len(data), last.number

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write all operations of this context at its end, whole or not at all.

        After an exception, those before it are written: Optuna has them already.
        """
        if self._together:
            yield
            return
        self._together = True
        with interrupts_held():  # half of them would be written as a whole
            try:
                yield
            finally:
                self._together = False
                if self._pending:
                    self._write()
                if self._seal_is_due:
                    self.seal()

    def seal(self) -> None:
        """Store the length of the journal in its seal, so that truncation is detected."""
        self._seal_is_due = self._together  # never before the sealed lines are on disk
        if self._seal_is_due:
            return
        length = {"bytes": self._end, "run": self._run_id or ""}
        write_atomically(self._path.with_name(SEAL), to_line(self._lines, length))

    def _warn_of_foreign(self) -> None:
        if not self._foreign_seen:
            self._foreign_seen = True
            warnings.warn(
                f"{self._path} has lines that tunecnn did not write, such as notes typed in "
                "Optuna's dashboard; they are left out",
                stacklevel=2,
            )

    def _check_stamp(self, stream: BinaryIO) -> None:
        stream.seek(0)
        first = _first_line(stream)
        if first is None:
            return
        check_stamp(self._path, first.log, SCHEMA)
        check_run(self._path, first, self._run_id)
        self._run_id = first.log.get("run", "")

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
        if self._run_id is not None and sealed.log.get("run", "") != self._run_id:
            raise DamagedError(self._path, f"its {SEAL} is that of another run")
        stream.seek(max(0, min(sealed.log["bytes"], length + 1) - 1))
        if b"\n" not in stream.read():  # an incomplete last line may still be in writing
            raise DamagedError(
                self._path,
                f"of the {sealed.number} lines that had been written, the last ones are missing",
            )


def _first_line(raws: Iterable[bytes]) -> Line | None:
    """Return the first line of tunecnn; None if there is none, or it is damaged."""
    return next((from_line(raw) for raw in raws if not is_foreign(raw)), None)


def check_run(journal: Path, first: Line, run_id: str | None) -> None:
    """Check that a journal is that of its run.

    Args:
        journal: path of the journal, for the message.
        first: first line of the journal.
        run_id: id of the run; None if it is not known.

    Raises:
        RunError: if it is that of another run.
    """
    if run_id is not None and first.log.get("run", "") != run_id:
        raise RunError(
            f"{journal} and run.json beside it are of different runs; put back the one that was "
            "replaced"
        )


def _whole(stream: BinaryIO) -> tuple[int, int]:
    """Return the length without the incomplete last line or group, and when that was written."""
    written = int(os.fstat(stream.fileno()).st_mtime)  # unless a line says more
    stream.seek(0)
    data = stream.read()
    whole = end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        line = from_line(data[start:end])
        if line is None and not is_foreign(data[start:end]):
            break  # it is damaged, and refused when it is read
        if line is not None and not line.has_more:
            return whole, line.time or written
        if line is not None:
            whole = start
        end = start
    return whole, written
