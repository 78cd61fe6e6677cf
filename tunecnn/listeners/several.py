"""One listener that calls several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tunecnn.run.listener import Listener


class Several(Listener):
    """Calls listeners in their order, with every event of `Listener`.

    Args:
        listeners: listeners to call.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)


def _forward(event: str) -> Callable[..., None]:
    def call_each(self: Several, *given: Any) -> None:
        for one in self._listeners:
            getattr(one, event)(*given)

    return call_each


# Written out, one of them would be forgotten with the next event, and lost for all listeners.
for _event in (name for name in vars(Listener) if name.startswith("on_")):
    setattr(Several, _event, _forward(_event))
