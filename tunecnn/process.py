"""Setup of a tunecnn process: signal handlers, Python's garbage collector, and its clock."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Self

from tunecnn.errors import TunecnnError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NEW_OBJECTS = 200_000


def collect_garbage_seldom() -> None:
    """Run the garbage collector after 200,000 new objects, and not at all when the process ends.

    By default Python searches for cycles after every 700 new objects. Imports make millions of
    lasting objects, so these searches are a quarter of the import time. When a process ends,
    Python searches all objects twice more, for memory that the system frees anyway. Only for
    tunecnn's own processes; the collector of a notebook is unchanged.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)


class Interrupted(KeyboardInterrupt):
    """The exception that a signal raises in `Interrupts`.

    It is a separate class, because after a plain `KeyboardInterrupt` during the execution of a
    string (the creation of a dataclass is enough) CPython ends with SIGINT, even if the exception
    was caught.
    """


class EndedAtOnceError(TunecnnError):
    """A session was ended before it could write its summary; its records are kept."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("ended at once; everything recorded so far is kept")
        self.exit_code = exit_code


def usable_cores() -> int:
    """Return how many cores this process may use, as `taskset` or a scheduler allows."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def seconds_since_boot() -> float:
    """Return a time that no one can set, and that goes on while the machine is suspended."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Interrupts:
    """Handlers of the signals by which the user or the cluster's scheduler ends a session.

    Inside the context, the first signal raises `KeyboardInterrupt`; inside `deferred` it is only
    recorded, so that the code there can finish cleanly. A second signal raises too, at once or at
    the end of `interrupts_held`.

    Raises:
        EndedAtOnceError: in place of an uncaught `KeyboardInterrupt`.

    Attributes:
        requested: number of the first signal; 0 before it.
        forced: whether there was a second signal.
    """

    def __init__(self) -> None:
        self.requested = 0
        self.forced = False
        self._deferring = False

    def __enter__(self) -> Self:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:  # signal handlers can be set in the main thread only
            self._before = [signal.signal(number, self._take) for number in _SIGNALS]
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._main:
            for number, handler in zip(_SIGNALS, self._before, strict=True):
                signal.signal(number, handler)
        if isinstance(error, KeyboardInterrupt) and self.requested:
            raise EndedAtOnceError(self.exit_code) from error

    @contextlib.contextmanager
    def deferred(self, defer: bool = True) -> Iterator[None]:
        """Only record the first signal; with `defer=False` inside such a context, let it raise."""
        before, self._deferring = self._deferring, defer
        try:
            yield
        finally:
            self._deferring = before

    @property
    def exit_code(self) -> int:
        """The exit code of an interrupted command: 130 or 143."""
        return 128 + (self.requested or signal.SIGINT)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.forced = bool(self.requested)
        self.requested = self.requested or number
        if self.forced or not self._deferring:
            if _held.depth:
                _held.late = True
            else:
                raise Interrupted


class _Held:
    """How many `interrupts_held` contexts are open, and whether a signal came inside them."""

    depth = 0
    late = False


_held = _Held()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Let an interrupt wait, a second one too, until what takes milliseconds is done."""
    if threading.current_thread() is not threading.main_thread():  # where none is raised
        yield
        return
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1
        if _held.late and not _held.depth:
            _held.late = False
            raise Interrupted
