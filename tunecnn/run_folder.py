"""A run's folder: which files there are, how they are written whole, and checked when read."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunecnn.checkpoint_files import weights_path
from tunecnn.errors import InputError, RunError
from tunecnn.files import sha256, write_atomically
from tunecnn.frames import predictions_frame, to_parquet
from tunecnn.images import Labels
from tunecnn.lock import run_lock
from tunecnn.records import TrialRecord
from tunecnn.space import SearchSpace

if TYPE_CHECKING:
    import pandas as pd

_CHECKSUM = "checksum"


class RunFolder:
    """Where a run keeps its files.

    Attributes:
        path: the folder.
        space_file: the space as it was given.
        info_file: what is not in the study: commands, data, versions, hardware, times.
        weights: folder of the best trials' weights.
        checkpoints: folder of the checkpoints of trials under way.
        predictions: folder of what the tested trials said of each test image.
        ray: folder of Ray's own files, which may be deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.space_file = path / "space.yaml"
        self.info_file = path / "run.json"
        self.weights = path / "weights"
        self.checkpoints = path / "checkpoints"
        self.predictions = path / "predictions"
        self.ray = path / "ray"

    @classmethod
    def create(cls, path: Path, space_text: str, info: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run, which is there with both of its files or not at all.

        Raises:
            InputError: if there is something at the path already, or it cannot be made.
        """
        cls.check_free(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.mkdir(parents=True)
            folder = cls(partial)
            write_atomically(folder.space_file, space_text)
            folder.write_info({**info, "space_sha256": sha256(space_text)})
            partial.rename(path)  # which fails if another process was faster
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            cls.check_free(path)
            raise _cannot_make(path, error.strerror) from error
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a path at which no run can begin; a user should not wait for Ray to hear of it.

        Raises:
            InputError: if there is something already, or no folder that could hold it.
        """
        try:
            is_taken, is_run = path.exists(), (path / "run.json").exists()
            above = next(folder for folder in path.absolute().parents if folder.exists())
        except OSError as error:
            raise _cannot_make(path, error.strerror) from error
        if is_taken:
            what = "a run" if is_run else "something"
            raise InputError(
                f"there is {what} at {path} already; give another --name, or carry on with "
                f"--resume {path}"
            )
        if not above.is_dir():
            raise _cannot_make(path, f"{above} is not a folder")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the folder of an existing run.

        Raises:
            InputError: if there is none.
        """
        folder = cls(path)
        if not folder.info_file.is_file():
            raise InputError(
                f"{path} is not the folder of a run: it has no {folder.info_file.name}"
            )
        return folder

    def read_info(self) -> dict[str, Any]:
        """Read `run.json`.

        Raises:
            RunError: if it is not as it was written.
        """
        try:
            info: dict[str, Any] = json.loads(self.info_file.read_text(encoding="utf-8"))
            noted = info.pop(_CHECKSUM)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise RunError(f"{self.info_file} cannot be read: {error}") from error
        if noted != _checksum(info):
            raise RunError(f"{self.info_file} is damaged: it is not as tunecnn wrote it")
        return info

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        whole = {_CHECKSUM: _checksum(info), **info}
        write_atomically(self.info_file, json.dumps(whole, indent=2) + "\n")

    def read_space(self) -> SearchSpace:
        """Read the space as the run uses it: the file with what the command line changed.

        Raises:
            RunError: if the file is not what the run was begun with.
        """
        info = self.read_info()
        try:
            text = self.space_file.read_bytes()
        except OSError as error:
            raise RunError(f"{self.space_file} cannot be read: {error.strerror}") from error
        if sha256(text) != info["space_sha256"]:
            raise RunError(
                f"{self.space_file} is not the space that the run was begun with; put it back, or "
                f"begin another run: tunecnn search --space {self.space_file} --from {self.path}"
            )
        return SearchSpace.from_yaml(self.space_file).override(**info["overrides"])

    def read_weights(self, record: TrialRecord) -> bytes:
        """Read the weights that a complete trial kept, as safetensors.

        Raises:
            RunError: if they are not there, or not as they were written.
        """
        path = weights_path(self.weights, record.number)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"the weights {path} cannot be read: {error.strerror}") from error
        if sha256(content) != record.weights:
            raise RunError(f"the weights {path} are damaged: they are not those of the trial")
        return content

    def predictions_of(self, trial: int) -> Path:
        """Return the file of what a trial said of each test image."""
        return self.predictions / f"trial-{trial:05d}.parquet"

    def write_look(
        self, trial: int, labels: Labels, predicted: Labels, accuracy: float, loss: float
    ) -> None:
        """Keep what a trial said of each test image, and note that it was looked at.

        Args:
            trial: its number.
            labels: of the test images.
            predicted: the class that the trial gave each.
            accuracy: share of them that are right, in [0, 1].
            loss: mean cross-entropy.
        """
        frame = predictions_frame(trial, labels, predicted)
        content = to_parquet(frame)
        write_atomically(self.predictions_of(trial), content)
        info = self.read_info()
        look = {"trial": trial, "time": now(), "images": len(frame), "accuracy": accuracy,
                "loss": loss, "predictions_sha256": sha256(content)}  # fmt: skip
        self.write_info({**info, "test_looks": [*info["test_looks"], look]})

    def read_predictions(self, look: Mapping[str, Any]) -> pd.DataFrame:
        """Read what a trial said of each test image when it was looked at.

        Raises:
            RunError: if it is not there, or not as it was written.
        """
        import pandas as pd

        path = self.predictions_of(look["trial"])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"the predictions {path} cannot be read: {error.strerror}") from error
        if sha256(content) != look["predictions_sha256"]:
            raise RunError(f"the predictions {path} are damaged: they are not those of the look")
        return pd.read_parquet(io.BytesIO(content))

    def lock(self, *, take_over: bool = False) -> AbstractContextManager[str]:
        """Be the only writer of the run for a while; see `tunecnn.lock.run_lock`."""
        return run_lock(self.path, take_over=take_over)


def _cannot_make(path: Path, reason: str | None) -> InputError:
    return InputError(f"cannot make the run's folder {path}: {reason}")


def now() -> str:
    """Return the time as text, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _checksum(info: Mapping[str, Any]) -> str:
    return sha256(json.dumps(info, sort_keys=True))
