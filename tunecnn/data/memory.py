"""Check that data fits into memory before any of it is taken: a file can claim any size."""

from __future__ import annotations

from tunecnn.errors import InputError
from tunecnn.words import bytes_in_words


def check_fits(size: int, what: str) -> None:
    """Check that so many bytes can be read.

    Args:
        size: number of bytes when unpacked.
        what: name of the file or data, for the message.

    Raises:
        InputError: if they are more than the free memory of this machine.
    """
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        raise InputError(
            f"{what} holds {bytes_in_words(size)} unpacked, and only {bytes_in_words(free)} of "
            "memory are free"
        )
