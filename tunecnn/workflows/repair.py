"""The repair of a run whose journal is damaged."""

from __future__ import annotations

from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder
from tunecnn.study.journal import JOURNAL
from tunecnn.study.repair import Repair, repair_journal


def repair(path: Path) -> Repair:
    """Save what can be read of the journal of a run, so that the run can go on.

    Args:
        path: folder of the run.

    Raises:
        InputError: if there is no such run, it has no journal, or another process holds it.
        RunError: if `run.json` or the space are damaged too, or another version wrote them.
    """
    folder = RunFolder.open(path)
    space = folder.read_space(folder.read_info())
    journal = path / JOURNAL
    if not journal.is_file():
        raise InputError(f"{path} has no {JOURNAL}: there is nothing to repair")
    with folder.lock():
        return repair_journal(journal, space)
