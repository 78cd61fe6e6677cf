"""The checkpoints of the trials under way, in a run's folder: the newest one of each trial."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tunecnn.files import write_atomically
from tunecnn.metrics import Checkpoint


class CheckpointFiles:
    """A folder of checkpoints, each named for its trial and epoch.

    Args:
        folder: is made when there is something to put into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint of a trial instead of those before."""
        before = self._of(number)
        name = f"trial-{number:05d}-epoch-{checkpoint.epoch:05d}.safetensors"
        write_atomically(self._folder / name, checkpoint.data)
        for path in before:
            if path.name != name:
                path.unlink(missing_ok=True)

    def newest(self, number: int) -> Checkpoint | None:
        """Read the newest checkpoint of a trial, if it has one that can be read."""
        for path in reversed(self._of(number)):
            with contextlib.suppress(OSError):
                return Checkpoint(int(path.stem.rpartition("-")[2]), path.read_bytes())
        return None

    def drop(self, number: int) -> None:
        """Remove what there is of a trial that has ended, a half-written one too."""
        for path in [*self._of(number), *self._folder.glob(f".trial-{number:05d}-*.partial")]:
            path.unlink(missing_ok=True)

    def _of(self, number: int) -> list[Path]:
        return sorted(self._folder.glob(f"trial-{number:05d}-epoch-*.safetensors"))
