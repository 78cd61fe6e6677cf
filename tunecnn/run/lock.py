"""Lock of a run: it allows one writer at a time, and records which process that is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunecnn.errors import InputError
from tunecnn.files import write_atomically


@contextlib.contextmanager
def run_lock(folder: Path, *, take_over: bool = False) -> Iterator[str]:
    """Lock a run for writing for as long as the context lasts.

    When a process dies, the system releases its lock on the same machine. On a file system that
    several machines share, it may not see the locks of other machines: so the holder is recorded
    in a file, and a holder on another machine is assumed to be alive.

    Args:
        folder: folder of the run.
        take_over: whether to write even if another process is recorded as the holder.

    Yields:
        Holder whose lock was taken over, in words; empty if there was none.

    Raises:
        InputError: if another process is, or may be, writing.
    """
    holder_file = folder / ".holder"
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"the run {folder} is being written by {_in_words(_read(holder_file))}"
        ) from error
    except OSError as error:
        raise InputError(f"the run {folder} cannot be written: {error.strerror}") from error
    try:
        holder = _read(holder_file)
        left = _in_words(holder) if holder_file.is_file() else ""
        if left and not take_over and not _has_died(holder):
            raise InputError(
                f"the run {folder} was being written by {left}, and it is not known whether that "
                "process has ended; if it has, add --take-over"
            )
        me = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomically(holder_file, json.dumps(me))
        try:
            yield left
        finally:
            holder_file.unlink(missing_ok=True)
            (folder / ".lock").unlink(missing_ok=True)
    finally:
        lock.release()


def _read(file: Path) -> dict[str, Any] | None:
    """Read the recorded holder; None if it cannot be read."""
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
        return {
            "process": int(holder["process"]),
            "host": holder["host"],
            "since": holder["since"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_words(holder: dict[str, Any] | None) -> str:
    if holder is None:
        return "another process"
    return f"process {holder['process']} on {holder['host']} since {holder['since']}"


def _has_died(holder: dict[str, Any] | None) -> bool:
    """Tell whether a holder was a process of this machine that no longer exists."""
    if holder is None or holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it exists, but we may not signal it
    return False
