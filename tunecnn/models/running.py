"""What a run hears of somebody's network: its errors by name, and no print among the results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tunecnn.errors import RunError, TunecnnError
from tunecnn.models.code import NetworkCode


def prints_aside(code: NetworkCode | None) -> contextlib.AbstractContextManager[object]:
    """Send what the code of a network prints to stderr: stdout has results only."""
    return contextlib.redirect_stdout(sys.stderr) if code else contextlib.nullcontext()


@contextlib.contextmanager
def running_network(what: str, error_type: type[TunecnnError] = RunError) -> Iterator[None]:
    """Run a network, which may be somebody's: what it prints is no result, its errors are named.

    Args:
        what: what failed, for the message, such as `the network of model.safetensors failed`.
        error_type: type of the error that its errors become.

    Raises:
        TunecnnError: whatever it raises, with the line of its code.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except TunecnnError:
        raise
    except (Exception, SystemExit) as error:
        from tunecnn.models.building import describe  # late: this imports torch

        raise error_type(f"{what}: {describe(error)}") from error
