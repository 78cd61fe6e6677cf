"""One writer of a run at a time, and who it is."""

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
    """Be the only writer of a run for as long as the context lasts.

    The system gives the lock of a process that has died to the next one on the same machine. On a
    file system that machines share, it may not know of those on another: so the holder is written
    down, and one on another machine is believed to live.

    Args:
        folder: of the run.
        take_over: write although another process is noted as the holder.

    Yields:
        Whose lock was taken over, in words; empty if nobody had left one.

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
                f"the run {folder} was being written by {left}, and it cannot be seen from here "
                "that it has ended; if it has, add --take-over"
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
    """Read who is noted as the holder; None if that cannot be read."""
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
    """Tell whether a holder was a process of this machine that is there no more."""
    if holder is None or holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is there, and not ours to signal
    return False
