"""Folder of a run: its files are written atomically, and checked when they are read."""

from __future__ import annotations

import glob
import io
import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tunecnn.documents import SpaceError, loc_name
from tunecnn.errors import InputError, RunError, TunecnnError, reason
from tunecnn.files import (
    drop_partials,
    expanded,
    nearest_existing,
    partial_of,
    read_own,
    sha256,
    sync_folder,
    write_atomically,
)
from tunecnn.models.code import NetworkCode
from tunecnn.run.artifacts import validation_path, weights_path
from tunecnn.run.frames import predictions_frame, to_parquet
from tunecnn.run.info import Evaluation, RunInfo, now
from tunecnn.run.lock import Lease, run_lock
from tunecnn.space.space import SearchSpace
from tunecnn.study.journal import JOURNAL, SEAL
from tunecnn.study.records import TrialRecord
from tunecnn.words import command

if TYPE_CHECKING:
    import pandas as pd

    from tunecnn.data.images import Labels

_INFO = "run.json"
_NAMES = (
    *("space.yaml", _INFO, JOURNAL, SEAL, ".holder", ".lock"),
    *("code", "configs", "checkpoints", "weights", "validation", "predictions", "figures"),
    *("confirmations", "ray", "trackers", "tensorboard"),
)
"""Names in a run's folder that are read, or below which files are written."""


class RunFolder:
    """Folder in which a run keeps its files.

    Attributes:
        path: path of the folder.
        space_file: file of the space, without the changes by the command line.
        info_file: file of what is not in the study: commands, data, versions, hardware, times.
        code: folder of the networks' code, if they are in files.
        predictions: folder of the tested trials' predictions for the test images.
        ray: folder of Ray's own files, which may be deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.space_file = path / "space.yaml"
        self.info_file = path / _INFO
        self.code = path / "code"
        self.predictions = path / "predictions"
        self.ray = path / "ray"

    @classmethod
    def create(
        cls, path: Path, space_text: str, info: RunInfo, code: NetworkCode | None = None
    ) -> RunFolder:
        """Create the folder of a new run atomically, with space, code and `run.json` in it.

        Raises:
            InputError: if the path already exists, or the folder cannot be created.
        """
        cls.check_free(path)
        partial = partial_of(path)
        try:
            partial.mkdir(parents=True)
            drop_partials(path.parent, f".{glob.escape(path.name)}.*.partial", time.time())
            folder = cls(partial)
            write_atomically(folder.space_file, space_text)
            if code is not None:
                code.write(folder.code)
            folder.write_info(info)
            partial.rename(path)  # fails if another process was faster
            sync_folder(path.parent)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            cls.check_free(path)
            raise _cannot_make(path, reason(error)) from error
        return cls(path)

    @staticmethod
    def is_run(path: Path) -> bool:
        """Return whether a folder is that of a run; not where that cannot be seen."""
        return os.path.exists(path / _INFO)  # noqa: PTH110

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Check that a run can be created at a path, before Ray is started.

        Raises:
            InputError: if the path already exists, or lies below something that is not a folder.
        """
        try:
            is_taken, is_run = path.exists(), cls.is_run(path)
            above = nearest_existing(path.absolute().parent)
        except OSError as error:
            raise _cannot_make(path, reason(error)) from error
        if is_taken:
            what = "a run" if is_run else "something"
            resume = f", or carry on with: {resume_command(path)}" if is_run else ""
            raise InputError(f"there is {what} at {path} already; give another --name{resume}")
        if not above.is_dir():
            raise _cannot_make(path, f"{above} is not a folder")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the folder of an existing run.

        Raises:
            InputError: if it is not the folder of a run.
            RunError: if one of its files or folders is a symbolic link.
        """
        path = expanded(path)
        folder = cls(path)
        for name in _NAMES:
            if (path / name).is_symlink():
                raise RunError(
                    f"{path / name} is a symbolic link, and tunecnn follows none inside a run: "
                    "put the file or folder itself there"
                )
        if not folder.info_file.exists():
            raise InputError(
                f"{path} is not the folder of a run: it has no {folder.info_file.name}"
            )
        if not folder.info_file.is_file():
            raise RunError(f"{folder.info_file} is not a regular file")
        return folder

    def read_info(self) -> RunInfo:
        """Read `run.json`.

        Raises:
            RunError: if it is damaged, or was written by another version.
        """
        return RunInfo.read(self.info_file)

    def write_info(self, info: RunInfo) -> None:
        """Write `run.json`."""
        write_atomically(self.info_file, info.to_json())

    def read_space(self, info: RunInfo) -> SearchSpace:
        """Read the space of the run: the file with the changes by the command line.

        Args:
            info: the content of `run.json`.

        Raises:
            RunError: if the file cannot be read, or has changed since the run was started, or the
                code that has the networks' arguments and their defaults has.
        """
        self.read_code(info)
        try:
            content = read_own(self.space_file)
        except OSError as error:
            raise RunError(f"{self.space_file} cannot be read: {reason(error)}") from error
        if sha256(content) != info.space_sha256:
            raise RunError(
                f"{self.space_file} is not the space that the run was started with; put it back, "
                f"or {self._as_another}"
            )
        text = content.decode("utf-8-sig")
        try:
            return SearchSpace.from_text(text, str(self.space_file), self.code, info.changes)
        except SpaceError as error:
            wrong = [one for one in error.mistakes if one.loc[:1] and one.loc[0] in info.changes]
            if not wrong:
                raise
            first = f"{loc_name(wrong[0].loc)}{wrong[0].text}"
            raise RunError(f"{self.info_file} is damaged: its changes: {first}") from error

    def read_code(self, info: RunInfo) -> NetworkCode | None:
        """Read the code of the networks of the run; None if they are in no file.

        Raises:
            RunError: if it cannot be read, or is not that of the start of the run.
        """
        if info.code is None:
            return None
        try:
            code = NetworkCode.read(self.code, map(Path, info.code.files))
        except InputError as error:
            raise RunError(str(error)) from error
        if code.hash != info.code.hash:
            raise RunError(
                f"{self.code} is not the code that the run was started with; put it back, or "
                f"{self._as_another}"
            )
        return code

    def weights_path(self, record: TrialRecord) -> Path:
        """Return the path of the weights of a trial, whether they are kept or not."""
        return weights_path(self.path, record.number)

    def read_weights(self, record: TrialRecord) -> bytes:
        """Read the kept weights of a complete trial, as safetensors.

        Raises:
            RunError: if they cannot be read, or are damaged.
        """
        return _checked("weights", self.weights_path(record), record.weights, "the trial")

    def read_validation(self, record: TrialRecord) -> bytes | None:
        """Read the predictions of a trial for the validation images; None if it keeps none.

        Raises:
            RunError: if they cannot be read, or are damaged.
        """
        path = validation_path(self.path, record.number)
        if not record.predictions or not path.exists():
            return None
        return _checked("predictions", path, record.predictions, "the trial")

    def predictions_of(self, trial: int) -> Path:
        """Return the path of a trial's predictions for the test images."""
        return self.predictions / f"trial-{trial:05d}.parquet"

    def write_evaluation(
        self, trial: int, accuracy: float, loss: float, labels: Labels, predicted: Labels
    ) -> None:
        """Record the evaluation of a trial on the test images, with its predictions in a file.

        Args:
            trial: number of the trial.
            accuracy: share of correctly classified images, in [0, 1].
            loss: mean cross-entropy.
            labels: true class of each image.
            predicted: predicted class of each image.
        """
        content = to_parquet(predictions_frame(trial, labels, predicted))
        write_atomically(self.predictions_of(trial), content)
        info = self.read_info()
        evaluation = Evaluation(
            trial=trial,
            time=now(),
            images=len(labels),
            accuracy=accuracy,
            loss=loss,
            predictions_sha256=sha256(content),
        )
        self.write_info(info.with_changes(evaluations=(*info.evaluations, evaluation)))

    def read_predictions(self, evaluation: Evaluation) -> pd.DataFrame:
        """Read a trial's predictions for the test images, in the columns of `predictions_frame`.

        Raises:
            RunError: if the file cannot be read, or is damaged.
        """
        import pandas as pd

        content = _checked(
            "predictions",
            self.predictions_of(evaluation.trial),
            evaluation.predictions_sha256,
            "the evaluation",
            f"; put them back, or remove the run {self.path} and train it again",
        )
        return pd.read_parquet(io.BytesIO(content))

    @property
    def _as_another(self) -> str:
        """How to search with the run's files as they are now."""
        if not self.code.is_dir():
            return f"start another run: {command('search --space', self.space_file)}"
        return (
            f"start another run: copy it and what is in {self.code} into one folder, and "
            f"{command('search --space', Path('FOLDER') / self.space_file.name)}"
        )

    def lock(
        self, *, take_over: bool = False, wait: bool = False
    ) -> AbstractContextManager[Lease]:
        """Lock the run for writing; see `tunecnn.run.lock.run_lock`."""
        return run_lock(self.path, take_over=take_over, wait=wait)


def _checked(what: str, path: Path, digest: str, owner: str, advice: str = "") -> bytes:
    """Read a file, and check that it is the one that was written.

    Args:
        what: what it has, in the plural.
        path: the file.
        digest: SHA-256 of its content.
        owner: what it belongs to.
        advice: what to do if it cannot be read.
    """
    try:
        content = read_own(path)
    except OSError as error:
        raise RunError(f"the {what} {path} cannot be read: {reason(error)}{advice}") from error
    if sha256(content) != digest:
        raise RunError(f"the {what} {path} are damaged: they are not those of {owner}")
    return content


def resume_command(run: Path) -> str:
    """Return the command that carries on with a run as its last session did."""
    try:
        sessions = RunFolder(run).read_info().sessions
    except TunecnnError:  # it says so when it is resumed
        sessions = ()
    return command("search --resume", run, *(sessions[-1].repeated if sessions else ()))


def cannot_be_written(run: Path, error: OSError) -> RunError:
    """Return the error of a run whose disk is full or gone, with what to do."""
    return RunError(
        f"{error.filename or run} cannot be written ({reason(error)}); the trials in the journal "
        f"of {run} are safe; when it can be written again, carry on with: "
        f"{resume_command(run)}"
    )


def _cannot_make(path: Path, problem: str) -> InputError:
    return InputError(f"cannot make the run's folder {path}: {problem}")
