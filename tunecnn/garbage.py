"""Python's collector of garbage, set for processes that import much and end at once.

Python looks for cycles after every 700 new objects. Imports make millions that stay, so the search
is a quarter of the time that they take; and when a process ends, Python looks through all of them
twice more, for memory that the system takes back anyway.
"""

from __future__ import annotations

import atexit
import gc

_NEW_OBJECTS = 200_000


def collect_seldom() -> None:
    """Look for garbage after 200,000 new objects, and not at all when the process ends.

    For processes that are tunecnn's own; a notebook's collector is left as it is.
    """
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
