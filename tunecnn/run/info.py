"""`run.json`: what a run notes that is not in its study, as typed values."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunecnn.data.images import Dataset
from tunecnn.errors import RunError
from tunecnn.files import check_stamp, sha256, stamp

SCHEMA = 2
_CHECKSUM = "checksum"
_PACKAGES = ("tunecnn", "torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn", "pandas")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetRecord(_Model):
    """The images of a run.

    Attributes:
        name: of the data set.
        fingerprint: hash of all images, labels and class names.
        split_fingerprint: hash of which images train and which validate.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        input_shape: channels, height and width of an image.
        classes: names, by label.
    """

    name: str
    fingerprint: str
    split_fingerprint: str
    train: int
    validation: int
    test: int
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Describe a data set that was loaded."""
        data = dataset.trial_data
        return cls(
            name=data.name,
            fingerprint=dataset.fingerprint,
            split_fingerprint=dataset.split_fingerprint,
            train=len(data.train),
            validation=len(data.validation),
            test=len(dataset.test),
            input_shape=data.input_shape,
            classes=data.classes,
        )


class NodeRecord(_Model):
    """A machine on which trials ran: its name, cores and GPUs."""

    name: str
    cpus: float
    gpus: float = 0


class EngineRecord(_Model):
    """Where a session's trials ran.

    Attributes:
        engine: `ray`, or `local` for the process itself.
        nodes: machines of the cluster.
        threads: of torch, for each trial.
        slots: trials that ran at once.
        cpus_per_trial: cores that a trial took; None without a cluster.
        gpus_per_trial: GPUs that a trial took; None without a cluster.
    """

    engine: Literal["ray", "local"]
    nodes: tuple[NodeRecord, ...]
    threads: int
    slots: int
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None


class Session(_Model):
    """One process that worked on a run, from its start to its end.

    Attributes:
        command: as it was typed.
        started: time in UTC.
        engine: where its trials ran.
        versions: of Python and of the packages that results can depend on.
        ended: time in UTC; None for a session that was killed, or still runs.
        ending: `done` or `interrupted`; None likewise.
        used_up: which limit of the budget kept further trials from starting, in words.
    """

    command: str
    started: datetime
    engine: EngineRecord
    versions: dict[str, str]
    ended: datetime | None = None
    ending: Literal["done", "interrupted"] | None = None
    used_up: str = ""


class Evaluation(_Model):
    """One evaluation of a trial on the test images.

    Attributes:
        trial: its number.
        time: in UTC.
        images: number of test images.
        accuracy: share of them classified right, in [0, 1].
        loss: mean cross-entropy.
        predictions_sha256: hash of the file with the class that was predicted for each image.
        confirmation: name of the confirmation to which the trial belongs; empty for the run's own.
    """

    trial: int
    time: datetime
    images: int
    accuracy: float
    loss: float
    predictions_sha256: str
    confirmation: str = ""


class SearchJob(_Model):
    """The run is a search."""

    type: Literal["search"] = "search"


class ReproductionJob(_Model):
    """The run is a reproduction of what was published on the data set `against`, if any."""

    type: Literal["reproduction"] = "reproduction"
    against: str | None


class CandidateRecord(_Model):
    """A configuration that a confirmation trains again.

    Attributes:
        name: such as `trial 15`.
        is_baseline: whether it is the baseline.
        search_accuracy: validation accuracy in the search; None if it was not trained to its end.
        values: settings in which the candidates differ.
    """

    name: str
    is_baseline: bool
    search_accuracy: float | None
    values: dict[str, int | float | bool | str]


class ConfirmationJob(_Model):
    """The run trains candidates of a search again, with new seeds."""

    type: Literal["confirmation"] = "confirmation"
    candidates: tuple[CandidateRecord, ...]


Job = Annotated[SearchJob | ReproductionJob | ConfirmationJob, Field(discriminator="type")]
"""What a run is for. All trials of every job but a search are tested at its end."""


class RunInfo(_Model):
    """The content of `run.json`.

    Attributes:
        space: name of the space.
        space_sha256: hash of the space file.
        changes: keys of the space that the command line changed.
        data_dir: folder of the data files; None for the default one.
        dataset: the images.
        processor: of the machine that started the run.
        job: what the run is for.
        evaluations: on the test images.
        sessions: processes that worked on the run, in order.
    """

    space: str
    space_sha256: str
    changes: dict[str, Any]
    data_dir: str | None
    dataset: DatasetRecord
    processor: str
    job: Job
    evaluations: tuple[Evaluation, ...] = ()
    sessions: tuple[Session, ...] = ()

    @property
    def is_tested(self) -> bool:
        """Whether the trials of the run are tested at its end."""
        return self.job.type != "search"

    @property
    def last_session(self) -> Session:
        """The session that started last."""
        return self.sessions[-1]

    @property
    def wall_seconds(self) -> float:
        """Duration of all sessions; one that was killed has no end, so it counts for nothing."""
        return sum(
            (session.ended - session.started).total_seconds()
            for session in self.sessions
            if session.ended is not None
        )

    def with_changes(self, **fields: object) -> Self:
        """Return a copy with some fields replaced."""
        return self.model_copy(update=fields)

    def with_session(self, **fields: object) -> Self:
        """Return a copy with some fields of the last session replaced."""
        *earlier, last = self.sessions
        return self.with_changes(sessions=(*earlier, last.model_copy(update=fields)))

    def to_json(self) -> str:
        """Write the content of the file, with its schema number and a checksum."""
        values = {**stamp(SCHEMA), **self.model_dump(mode="json")}
        return json.dumps({_CHECKSUM: _checksum(values), **values}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            RunError: if it cannot be read, was written by another version, or is damaged.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            recorded = values.pop(_CHECKSUM, None)
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}") from error
        check_stamp(path, values, SCHEMA)
        if recorded != _checksum(values):
            raise RunError(f"{path} is damaged: it is not as tunecnn wrote it")
        content = {key: value for key, value in values.items() if key not in stamp(SCHEMA)}
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RunError(f"{path} is damaged: {where}: {first['msg']}") from error


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results can depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def processor() -> str:
    """Return what the system says of this machine's processor.

    Its name and, where the system has them, its family and model: some clouds name all alike.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8").partition("\n\n")[0]
        fields = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in first.splitlines())
        }
        if "model name" in fields:
            numbers = [f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields]
            return ", ".join([fields["model name"], *numbers])
    return platform.processor() or platform.machine()


def _checksum(values: dict[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True))
