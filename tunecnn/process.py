"""What a process of tunecnn sets up: its signals, and Python's garbage collector."""

from __future__ import annotations

import atexit
import contextlib
import gc
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

from tunecnn.errors import TunecnnError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NEW_OBJECTS = 200_000


def collect_garbage_seldom() -> None:
    """Run the garbage collector after 200,000 new objects, and not at all when the process ends.

    By default Python searches for cycles after every 700 new objects. Imports make millions that
    stay, so the search is a quarter of the time that they take; and when a process ends, Python
    searches all of them twice more, for memory that the system takes back anyway. For processes
    that are tunecnn's own; a notebook's collector is left as it is.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)


class Interrupted(KeyboardInterrupt):
    """What a signal raises here.

    A class of its own, because after a plain `KeyboardInterrupt` that came by while a string was
    executed (a dataclass being made is enough) CPython ends with SIGINT, whatever caught it.
    """


class EndedAtOnceError(TunecnnError):
    """A session was ended before it could write its summary; what it had recorded is kept."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("ended at once; nothing that had been recorded is lost")
        self.exit_code = exit_code


class Interrupts:
    """What to do when the user, or the cluster's scheduler, wants a session to end.

    While it is entered, the first signal raises `KeyboardInterrupt`; within `deferred` it is only
    noted, so that whoever is at work can come to a good end. A second one always raises.

    Raises:
        EndedAtOnceError: instead of a `KeyboardInterrupt` that nobody caught.

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
        if self._main:  # no other thread may
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
        """Let the first signal be noted only; or not so, within another such context."""
        before, self._deferring = self._deferring, defer
        try:
            yield
        finally:
            self._deferring = before

    @property
    def exit_code(self) -> int:
        """What the command is to end with if it was interrupted: 130 or 143."""
        return 128 + (self.requested or signal.SIGINT)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.forced = bool(self.requested)
        self.requested = self.requested or number
        if self.forced or not self._deferring:
            raise Interrupted
