"""The repair of a run whose journal is damaged."""

from __future__ import annotations

from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder
from tunecnn.study.journal import JOURNAL
from tunecnn.study.repair import Repair, repair_journal


def repair(path: Path) -> Repair:
    """Recover the readable lines of the journal of a run, so that the run can be resumed.

    Args:
        path: folder of the run.

    Raises:
        InputError: if there is no such run, it has not begun, or another process holds its lock.
        RunError: if `run.json` or the space is damaged too, or was written by another version.
    """
    folder = RunFolder.open(path)
    info = folder.read_info()
    space = folder.read_space(info)
    journal = path / JOURNAL
    if not journal.is_file() and not info.sessions:
        raise InputError(f"{path} has no {JOURNAL} yet: there is nothing to repair")
    with folder.lock():
        if not journal.exists():
            journal.touch()
        return repair_journal(journal, space, info.id)
