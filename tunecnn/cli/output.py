"""Output of the commands about a run: its progress and its result."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tunecnn.console import PlainConsole, print_json

if TYPE_CHECKING:
    from tunecnn.summary.run_types import RunSummary
    from tunecnn.workflows.session import RunResult

INTERRUPTED = 130  # exit code


def listening_to_user(*, quiet: bool, json_lines: bool) -> Any:
    """Return a function that opens the listener which displays a run.

    With `json_lines`, warnings of this process are events from here on.
    """
    if json_lines:
        warnings.showwarning = _print_warning_event

    def open_listener(study: Any, folder: Path) -> Any:
        if json_lines:
            from tunecnn.listeners.json_lines import JsonLines

            return nullcontext(JsonLines())
        if quiet:
            from tunecnn.run.listener import Listener

            return nullcontext(Listener())
        from tunecnn.listeners.terminal import Terminal

        return Terminal.of_run(study, folder, PlainConsole()).shown()

    return open_listener


def _print_warning_event(message: Warning | str, *details: object, **more: object) -> None:
    print_json({"event": "warning", "text": str(message)})


def print_note(text: str, *, json_lines: bool) -> None:
    """Print a statement about a run before it begins, beside its result or as an event."""
    if json_lines:
        print_json({"event": "note", "text": text})
    else:
        print(text, file=sys.stderr)


def end(result: RunResult, *, quiet: bool, json_lines: bool) -> None:
    """Print the result of a run; exit with the code of the signal if it was interrupted."""
    print_result(result.folder, result.ending, result.summary, quiet=quiet, json_lines=json_lines)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def print_result(
    folder: Path,
    ending: str,
    summary: RunSummary,
    *,
    quiet: bool,
    json_lines: bool,
    written: Path | None = None,
) -> None:
    """Print the verdict of a run and the path of its summary, in its folder if not elsewhere."""
    from tunecnn.analysis.search import SearchSummary
    from tunecnn.run.folder import resume_command

    path = (written or folder) / "summary.md"
    if json_lines:
        print_json(
            {"event": ending, "run": str(folder), **summary.to_json(), "summary": str(path)}
        )
        return
    if quiet:
        print(path)
        return
    console = PlainConsole()
    console.print()
    console.print(summary.headline, style="bold")
    for caveat in summary.caveats:
        console.print(f"- {caveat}")
    if isinstance(summary, SearchSummary) and summary.command:
        console.print(f"\ntrain it again: {summary.command}", soft_wrap=True)
    if ending == "interrupted":
        text = f"interrupted; carry on with: {resume_command(folder)}"
        console.print(text, soft_wrap=True)
    console.print(f"summary: {path}", soft_wrap=True)
