"""SIGINT and SIGTERM: the first asks a session to end, the second ends it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Self

from tunecnn.errors import TunecnnError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """What a signal raises here.

    A class of its own, because after a plain `KeyboardInterrupt` that came by while a string was
    executed (a dataclass being made is enough) CPython ends with SIGINT, whatever caught it.
    """


class EndedAtOnceError(TunecnnError):
    """A session was ended before it could write its summary; what it had recorded is kept."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("ended at once; nothing that had been reported is lost")
        self.exit_code = exit_code


class Interrupts:
    """What to do when the user, or the cluster's scheduler, wants a session to end.

    While it is entered, the first signal raises `KeyboardInterrupt`; within `deferred` it is only
    noted, so that whoever is at work can come to a good end. A second one always raises.

    Raises:
        EndedAtOnceError: instead of a `KeyboardInterrupt` that nobody caught.

    Attributes:
        asked: number of the first signal; 0 before it.
        insisted: whether there was a second.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.insisted = False
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
        if isinstance(error, KeyboardInterrupt) and self.asked:
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
        return 128 + (self.asked or signal.SIGINT)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.insisted = bool(self.asked)
        self.asked = self.asked or number
        if self.insisted or not self._deferring:
            raise Interrupted
