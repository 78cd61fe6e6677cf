from __future__ import annotations

from tunecnn.listeners.several import Several
from tunecnn.run.listener import Listener


def test_each_of_several_listeners_hears_every_event():
    """An event that is added to `Listener` and forgotten in `Several` would be lost for all."""
    events = [name for name in vars(Listener) if name.startswith("on_")]
    assert len(events) > 5

    class Heard(Listener):
        def __init__(self) -> None:
            self.calls: list[tuple] = []

        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *given: self.calls.append((name, *given))
            return super().__getattribute__(name)

    listeners = [Heard(), Heard()]
    both = Several(listeners)
    expected = []
    for name in events:
        given = [f"value {i}" for i in range(Listener.__dict__[name].__code__.co_argcount - 1)]
        getattr(both, name)(*given)
        expected.append((name, *given))
    assert listeners[0].calls == listeners[1].calls == expected
