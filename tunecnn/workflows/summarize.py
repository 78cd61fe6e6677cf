"""The summary of a run, written again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from tunecnn.errors import InputError, RunError, reason
from tunecnn.files import nearest_existing
from tunecnn.run.run import Run
from tunecnn.words import command

if TYPE_CHECKING:
    from tunecnn.summary.formats import Format
    from tunecnn.summary.run_types import RunSummary


def summarize(path: Path, formats: Collection[Format] = (), out: Path | None = None) -> RunSummary:
    """Write the summary of a run into its folder, or into another.

    Args:
        path: folder of the run.
        formats: formats of the pictures besides SVG.
        out: folder to write to; None for that of the run.

    Raises:
        InputError: if `out` cannot be a folder.
        RunError: if the run cannot be read, or its summary cannot be written.
    """
    run = Run(path)
    run.check_begun()
    if out is not None and not (above := nearest_existing(out)).is_dir():
        raise InputError(f"--out {out}: {above} is not a folder")

    from tunecnn.summary.render import write_summary

    try:
        return write_summary(run, formats, out)
    except OSError as error:
        file = error.filename2 or error.filename  # the second one is that of a rename
        raise RunError(
            f"the summary of {path} cannot be written ({f'{file}: ' * bool(file)}"
            f"{reason(error)}); all its trials are safe in its journal; write it "
            f"elsewhere: {command('summarize', path)} --out FOLDER"
        ) from error
