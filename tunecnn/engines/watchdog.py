"""Ends a session whose Ray cluster is gone, with a word, before Ray itself ends the process."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from tunecnn.console import as_error
from tunecnn.engines.address import answers

_INTERVAL_SECONDS = 2.0
_WARN_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A process of Ray without which a session cannot go on.

    Attributes:
        name: what it is, for users.
        address: host on which it listens.
        port: port on which it listens.
        patience: seconds for which it may be gone. Ray ends this process after 60 s without the
            head, and some ten seconds after the process on this node has ended.
    """

    name: str
    address: str
    port: int
    patience: float


class Watchdog:
    """A thread that knocks at the parts of a cluster; a context manager.

    Args:
        parts: what has to answer.
        leave: function that ends the process.
        knock: function that says whether something answers at an address and port.
        interval: seconds between two rounds.
    """

    def __init__(
        self,
        parts: Mapping[str, Process],
        leave: Callable[[], None] | None = None,
        knock: Callable[[str, int], bool] = answers,
        interval: float = _INTERVAL_SECONDS,
    ) -> None:
        self._parts = parts
        self._leave = leave or _leave_at_once
        self._knock = knock
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.on_warning: Callable[[str], None] = lambda text: None
        """Is called when a part does not answer, and when it answers again."""
        self.on_loss: Callable[[str], str] = lambda reason: reason
        """Is called before the process ends, with the reason; returns what to tell the user."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        gone: dict[str, float] = {}
        warned: set[str] = set()
        while not self._stopped.wait(self._interval):
            for key, part in self._parts.items():
                if self._knock(part.address, part.port):
                    gone.pop(key, None)
                    if key in warned:
                        warned.discard(key)
                        self.on_warning(f"{part.name} answers again")
                    continue
                silent = time.monotonic() - gone.setdefault(key, time.monotonic())
                where = f"{part.name} ({part.address}:{part.port})"
                if silent >= part.patience and not self._stopped.is_set():
                    text = self.on_loss(f"{where} has not answered for {silent:.0f} s")
                    print(as_error(text), file=sys.stderr, flush=True)
                    self._leave()
                    return
                if silent >= _WARN_SECONDS and key not in warned:
                    warned.add(key)
                    left = f"waiting up to {part.patience:.0f} s for it"
                    self.on_warning(f"{where} does not answer; {left}")


def _leave_at_once() -> None:
    """End this process; its main thread may wait inside Ray for something that never comes."""
    sys.stdout.flush()
    os._exit(1)
