"""`CostCounter`: what networks cost, counted without importing their code into this process.

Published networks are counted by arithmetic. Others are built by a process of its own, so code
that raises, prints, hangs or exits does no harm to the search.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self

from tunecnn.errors import InputError
from tunecnn.models.architecture import is_published
from tunecnn.models.code import NetworkCode
from tunecnn.models.designs import Cost, InputShape, count

SECONDS = 60.0
"""Time limit for the import of a network's code, and for each build of it."""


class _LostError(InputError):
    """The process has ended without an answer."""


class CostCounter:
    """Counts the cost of networks for images of one shape; results are cached.

    Use it in a `with` statement, which ends its process.

    Args:
        code: code of the networks; None if they are in no file.
        input_shape: channels, height and width of one image; `set_images` can give it later.
        classes: number of classes.
        seconds: time limit for the import of a network's code, and for each build of it.
    """

    def __init__(
        self,
        code: NetworkCode | None,
        input_shape: InputShape = (0, 0, 0),
        classes: int = 0,
        seconds: float = SECONDS,
    ) -> None:
        self._code = code
        self._input_shape = input_shape
        self._classes = classes
        self._seconds = seconds
        self._is_ready = False
        self._found: dict[str, Cost | InputError] = {}
        self._unusable: dict[str, InputError] = {}  # networks whose code cannot be imported
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = (
            None  # of a process that is killed
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def set_images(self, input_shape: InputShape, classes: int) -> None:
        """Set the shape of the images and the number of classes."""
        self._input_shape, self._classes = input_shape, classes

    def start(self) -> None:
        """Start the process, which imports torch while the caller does something else."""
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `_end`
            self._scratch = tempfile.TemporaryDirectory(prefix="tunecnn-count-")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tunecnn.models.counting_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Workers do not have the current folder on their path either.
                env={**os.environ, "TMPDIR": self._scratch.name, "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # a Ctrl-C in the terminal is for this process alone
            )

    def cost(self, name: str, given: Mapping[str, Any]) -> Cost:
        """Return what a network costs.

        Args:
            name: name of the network, as in a space.
            given: its arguments.

        Raises:
            InputError: if it cannot be built with these arguments for images of this shape.
        """
        if is_published(name):
            return count(name, self._input_shape, self._classes, **given)
        key = json.dumps([name, sorted(given.items())])
        if key not in self._found:
            try:
                self._found[key] = self._answered(name, given)
            except InputError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, InputError):
            raise found
        return found

    def _answered(self, name: str, given: Mapping[str, Any]) -> Cost:
        """Ask the process; if it was killed, ask once more in a new one.

        The answer counts for the rest of the run.
        """
        if name in self._unusable:
            raise self._unusable[name]
        try:
            return self._ask(name, given)
        except _LostError:
            return self._ask(name, given, is_last=True)

    def _ask(self, name: str, given: Mapping[str, Any], *, is_last: bool = False) -> Cost:
        module, _, attribute = name.partition(":")
        self._started()
        try:
            self._answer({"name": name}, f"the import of {module}")
        except InputError as error:
            if is_last or not isinstance(error, _LostError):
                self._unusable[name] = error
            raise
        request = {
            "name": name,
            "given": given,
            "input_shape": self._input_shape,
            "classes": self._classes,
        }
        values = ", ".join(f"{key} = {value!r}" for key, value in given.items())
        answer = self._answer(request, f"a build of {attribute} with {values or 'its defaults'}")
        return Cost(**answer["cost"])

    def _started(self) -> None:
        self.start()
        if not self._is_ready:
            code = {"code": self._code.to_json() if self._code else None}
            self._answer(code, "the import of torch", max(self._seconds, SECONDS))
            self._is_ready = True

    def _answer(
        self, request: Mapping[str, Any], what: str, seconds: float | None = None
    ) -> dict[str, Any]:
        """Send a request and wait for its answer, both one line of JSON."""
        process, limit = self._process, seconds or self._seconds
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = _read_line(process.stdout, limit)
        except TimeoutError:
            self._end()
            raise InputError(f"{what} did not end within {limit:g} s") from None
        except OSError:
            line = b""
        if not line:
            said = self._last_words()
            self._end()
            raise _LostError(f"{what} ended its process{said}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read()[-4_000:].decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def _end(self) -> None:
        process, self._process, self._is_ready = self._process, None, False
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            process.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def _read_line(stream: IO[bytes], seconds: float) -> bytes:
    """Read one line from a pipe; an empty one if the other side has ended."""
    end, parts = time.monotonic() + seconds, list[bytes]()
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            if not ready.select(max(0.0, end - time.monotonic())):
                raise TimeoutError
            part = stream.raw.read(65536)  # type: ignore[attr-defined]
            if not part:
                return b""
            parts.append(part)
    return b"".join(parts)
