"""Lock of a run: it allows one writer at a time, and records which process that is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter

from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import drop_partials, read_own, write_atomically
from tunecnn.process import seconds_since_boot

LEASE_SECONDS = 30.0
"""Time after which a holder that no longer renews its lease is taken for dead."""

_RENEW_SECONDS = 5.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """The process that writes a run.

    Attributes:
        process: id of the process.
        host: name of its machine, or of its container.
        since: time when it took the lock, in UTC.
        machine: id of the start of its machine and of its process namespace, so of all processes
            among which its id is unique; empty if the system tells no such id.
        started: start time of the process in seconds since 1970: a later process can have the
            same id.
        token: random text that no other holder has.
    """

    process: Annotated[int, Field(ge=0, le=2**31)]
    host: str
    since: str
    machine: str = ""
    started: float = 0.0
    token: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def here(cls) -> Self:
        """Return this process as a holder."""
        return cls(
            process=os.getpid(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=_machine(),
            started=psutil.Process().create_time(),
        )

    @classmethod
    def read(cls, file: Path) -> Holder | None:
        """Read the recorded holder; None if it cannot be read."""
        try:
            return cls.read_strictly(file)
        except OSError:
            return None

    @classmethod
    def read_strictly(cls, file: Path) -> Holder | None:
        """Read the recorded holder; None if the file is gone, or holds none.

        Raises:
            OSError: if the file cannot be read, which says nothing of what it holds.
        """
        try:
            return _HOLDER.validate_json(read_own(file))
        except (FileNotFoundError, ValueError):
            return None

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine and in this namespace: its id can be looked up."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def has_ended(self) -> bool:
        """Whether its process no longer runs, if it is here; a zombie does not run."""
        try:
            process = psutil.Process(self.process)
            same = abs(process.create_time() - self.started) < 1.0
            return not same or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


_HOLDER = TypeAdapter(Holder)


class TakenOverError(RunError):
    """Another process writes the run now."""


class Lease:
    """The right to write a run, which is renewed for as long as this process lives.

    Attributes:
        left: holder whose lock was taken over, in words; empty if there was none.
    """

    def __init__(self, file: Path, left: str) -> None:
        self._file = file
        self._me = Holder.here()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_again, daemon=True)
        self.left = left
        write_atomically(file, json.dumps(asdict(self._me)))
        self._renewed = seconds_since_boot()
        self._thread.start()

    def check(self) -> None:
        """Check, after a pause in which the lease may have run out, that it is still ours.

        Raises:
            RunError: if another process writes the run now, or may, since the folder does not
                answer.
        """
        if seconds_since_boot() - self._renewed > LEASE_SECONDS / 2:
            self._renew()
        silent = seconds_since_boot() - self._renewed
        if silent > LEASE_SECONDS and not self._ended.is_set():
            raise RunError(
                f"the lock of {self._file.parent} could not be renewed for {silent:.0f} s, so "
                "another process may write the run; all that was recorded is kept"
            )
        if self._ended.is_set():
            holder = Holder.read(self._file) or "another process"
            raise TakenOverError(
                f"the run was taken over by {holder}, since this process had stopped for too "
                "long; nothing more is written here"
            )

    def end(self) -> None:
        """Give the right back."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self._is_ours():
                self._file.unlink(missing_ok=True)

    def _renew_again(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            self._renew()

    def _renew(self) -> None:
        with contextlib.suppress(OSError):  # such as a hiccup of NFS: tried again soon
            if not self._is_ours():
                self._ended.set()
                return
            os.utime(self._file)
            self._renewed = seconds_since_boot()

    def _is_ours(self) -> bool:
        holder = Holder.read_strictly(self._file)
        return holder is not None and holder.token == self._me.token


@contextlib.contextmanager
def run_lock(folder: Path, *, take_over: bool = False, wait: bool = False) -> Iterator[Lease]:
    """Lock a run for writing for as long as the context lasts.

    When a process dies, the system releases its lock on the same machine. On a file system that
    several machines share, it may not see the locks of other machines. So the holder is recorded
    in a file as well, and renews the file's time. On its own machine the holder is looked up among
    the processes; elsewhere it has ended once its file is no longer renewed.

    Args:
        folder: folder of the run.
        take_over: whether to write even if another process is recorded as the holder.
        wait: whether to wait until a holder on another machine can be taken for dead, as a job
            does that was put back into a scheduler's queue.

    Raises:
        InputError: if another process is, or may be, writing.
    """
    deadline = time.monotonic() + (LEASE_SECONDS + _RENEW_SECONDS if wait else 0)
    lock, left = _acquire(folder, deadline, take_over=take_over)
    try:
        lease = Lease(folder / ".holder", left)
        for pattern in (".*.partial", "*/.*.partial"):
            drop_partials(folder, pattern, (folder / ".holder").stat().st_mtime)
        try:
            yield lease
        finally:
            lease.end()
            (folder / ".lock").unlink(missing_ok=True)
    finally:
        lock.release()


def _acquire(folder: Path, deadline: float, *, take_over: bool) -> tuple[FileLock, str]:
    """Acquire the system's lock, and check the recorded holder; return who left it, in words."""
    lock = FileLock(folder / ".lock")
    while True:
        refusal = ""
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = Holder.read(folder / ".holder") or "another process"
            refusal = f"the run {folder} is being written by {holder}"
        except OSError as error:
            raise InputError(f"the run {folder} cannot be written: {reason(error)}") from error
        else:
            left, refusal = _left(folder, take_over=take_over)
            if not refusal:
                return lock, left
            lock.release()
        if time.monotonic() >= deadline:
            raise InputError(refusal)
        time.sleep(_LOOK_SECONDS)


def _left(folder: Path, *, take_over: bool) -> tuple[str, str]:
    """Return the holder that left a run without releasing it, and why it must not be written."""
    file = folder / ".holder"
    if not file.exists():
        return "", ""
    holder = Holder.read(file)
    words = str(holder or "another process")
    if take_over or (holder is not None and holder.is_here and holder.has_ended):
        return words, ""
    if holder is not None and holder.is_here:
        return words, f"the run {folder} is being written by {words}"
    silent = _silence(file)
    if silent > LEASE_SECONDS:
        return words, ""
    return words, (
        f"the run {folder} was being written by {words}, {silent:.0f} s ago. If that process has "
        f"ended, its lease runs out in {LEASE_SECONDS - silent:.0f} s: try again then (search "
        "--resume-or-start waits for it), or add --take-over"
    )


def writer_in_words(folder: Path) -> str:
    """Return what has become of the process that writes a run: `running` or `killed`.

    It is `running or killed` if that cannot be known here, as of a process on another machine.
    """
    holder = Holder.read(folder / ".holder")
    if holder is None or not holder.is_here:
        return "running or killed"
    return "killed" if holder.has_ended else "running"


def _silence(file: Path) -> float:
    """Return the seconds since a file was renewed, by the clock of its file system.

    Raises:
        InputError: if nothing can be written beside it.
    """
    probe = file.with_name(f".now.{uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    except OSError as error:
        raise InputError(f"the run {file.parent} cannot be written: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    try:
        return max(0.0, now - file.stat().st_mtime)
    except OSError:  # its process has just released it
        return 0.0


def _machine() -> str:
    """Return an id of the processes among which a process id is unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: the name and the start of the machine have to do
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"
