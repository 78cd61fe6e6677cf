"""Files of trials in a run's folder: checkpoints of those under way, weights of those complete."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from tunecnn.files import write_atomically
from tunecnn.messages import Checkpoint

_KEPT = 2


class CheckpointFiles:
    """A folder with the newest two checkpoints of each trial.

    Each is named for its trial, its epoch, and the CRC-32 of its content.

    Args:
        folder: is made when there is something to put into it.
        warn: is told of a checkpoint that is damaged.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._warn = warn

    def write(self, number: int, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of a trial, and the one before."""
        crc = zlib.crc32(checkpoint.data)
        name = f"trial-{number:05d}-epoch-{checkpoint.epoch:05d}-{crc:08x}.safetensors"
        write_atomically(self._folder / name, checkpoint.data)
        for path in self._of(number)[:-_KEPT]:
            path.unlink(missing_ok=True)

    def newest(self, number: int) -> Checkpoint | None:
        """Read the newest checkpoint of a trial that is whole, if there is one."""
        for path in reversed(self._of(number)):
            _, epoch, crc = path.stem.rsplit("-", 2)
            data = path.read_bytes()
            if f"{zlib.crc32(data):08x}" == crc:
                return Checkpoint(int(epoch), data)
            self._warn(f"{path} is damaged; trial {number} goes on from before it")
        return None

    def drop(self, number: int) -> None:
        """Remove what there is of a trial that has ended, a half-written one too."""
        for path in [*self._of(number), *self._folder.glob(f".trial-{number:05d}-*.partial")]:
            path.unlink(missing_ok=True)

    def _of(self, number: int) -> list[Path]:
        return sorted(self._folder.glob(f"trial-{number:05d}-epoch-*.safetensors"))


def weights_path(weights_dir: Path, number: int) -> Path:
    """Return where the weights of a trial are kept."""
    return weights_dir / f"trial-{number:05d}.safetensors"
