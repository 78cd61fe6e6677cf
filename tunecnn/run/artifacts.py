"""Files of trials in a run's folder: checkpoints, weights and validation predictions."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path

from tunecnn.files import read_own, write_atomically
from tunecnn.trial.messages import Checkpoint, TrialEnd


class Artifacts:
    """Store of the checkpoints, weights and validation predictions of a run's trials.

    The newest two checkpoints of each running trial are kept. The name of each has its trial, its
    epoch and the CRC-32 of the run's id and its content.

    Args:
        folder: folder of the run; subfolders are created when they are needed.
        warn: function that is called with a warning for each damaged checkpoint.
        run_id: id of the run, without which its checkpoints are not accepted.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None], run_id: str = "") -> None:
        self._id = zlib.crc32(run_id.encode())
        self.folder = folder
        self._checkpoints = folder / "checkpoints"
        self._warn = warn

    def write_files(
        self, number: int, checkpoint: Checkpoint | None = None, end: TrialEnd | None = None
    ) -> None:
        """Write the files of a trial that came with an update of its worker.

        Args:
            number: number of the trial.
            checkpoint: its state; the checkpoint before it is kept too.
            end: its end, whose weights and validation predictions are written if it has them; then
                no checkpoint is written, since none is needed any more.
        """
        files: dict[Path, bytes | None] = {}
        if end is not None:
            files[weights_path(self.folder, number)] = end.weights
            files[validation_path(self.folder, number)] = end.predictions
        elif checkpoint is not None:
            files[self._checkpoint_path(number, checkpoint)] = checkpoint.data
        for path, content in files.items():
            if content is not None:
                write_atomically(path, content)
        if checkpoint is not None and end is None:
            self._drop_others(number, self._checkpoint_path(number, checkpoint))

    def _drop_others(self, number: int, newest: Path) -> None:
        """Keep the checkpoint that was just written, and the one before it.

        Later ones are of a training that could not go on from them, and began again.
        """
        epoch = _epoch_of(newest)
        before = [path for path in self._checkpoints_of(number) if _epoch_of(path) < epoch]
        for path in self._checkpoints_of(number):
            if path != newest and path not in before[-1:]:
                _remove(path)

    def newest_checkpoint(self, number: int) -> Checkpoint | None:
        """Read the newest undamaged checkpoint of a trial; None if there is none."""
        for path in reversed(self._checkpoints_of(number)):
            crc = path.stem.rpartition("-")[2]
            with contextlib.suppress(OSError):  # a stranger's link, or a disk that cannot be read
                data = read_own(path)
                if f"{zlib.crc32(data, self._id):08x}" == crc and _epoch_of(path) > 0:
                    return Checkpoint(_epoch_of(path), data)
            self._warn(f"{path} is damaged; trial {number} goes on from before it")
        return None

    def drop_checkpoints(self, number: int) -> None:
        """Remove the checkpoints of a trial that has ended, including partly written ones."""
        partly = self._checkpoints.glob(f".trial-{number:05d}-*.partial")
        for path in [*self._checkpoints_of(number), *partly]:
            _remove(path)

    def drop_weights(self, number: int, *, keep_predictions: bool = False) -> None:
        """Remove the weights of a trial, and its predictions for the validation images."""
        _remove(weights_path(self.folder, number))
        if not keep_predictions:
            _remove(validation_path(self.folder, number))

    def trials_with_weights(self) -> list[int]:
        """Return the numbers of the trials whose weights are kept."""
        numbers = []
        for path in weights_path(self.folder, 0).parent.glob("*"):
            number = path.stem.removeprefix("trial-")
            if number.isdecimal() and path == weights_path(self.folder, int(number)):
                numbers.append(int(number))
            elif not path.name.startswith("."):
                self._warn(f"{path} is not the name of a trial's weights; it is left alone")
        return sorted(numbers)

    def _checkpoint_path(self, number: int, checkpoint: Checkpoint) -> Path:
        crc = zlib.crc32(checkpoint.data, self._id)
        name = f"trial-{number:05d}-epoch-{checkpoint.epoch:05d}-{crc:08x}.safetensors"
        return self._checkpoints / name

    def _checkpoints_of(self, number: int) -> list[Path]:
        found = self._checkpoints.glob(f"trial-{number:05d}-epoch-*.safetensors")
        return sorted(found, key=lambda path: (_epoch_of(path), path.name))


def _epoch_of(path: Path) -> int:
    """Return the epoch in the name of a checkpoint; -1 for a stranger's file."""
    digits = path.stem.rpartition("-")[0].rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def _remove(path: Path) -> None:
    """Remove a file that is no longer needed; one that cannot be removed only takes space."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def weights_path(folder: Path, number: int) -> Path:
    """Return the path of the weights of a trial."""
    return folder / "weights" / f"trial-{number:05d}.safetensors"


def validation_path(folder: Path, number: int) -> Path:
    """Return the path of a trial's predictions for the validation images."""
    return folder / "validation" / f"trial-{number:05d}.npy"
