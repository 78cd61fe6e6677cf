"""`run.json`: typed values of a run that are not in its study."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunecnn.data.images import Dataset
from tunecnn.data.sheet import DataSheet
from tunecnn.errors import RunError
from tunecnn.files import check_stamp, read_own, sha256, stamp
from tunecnn.trial.config import Natural
from tunecnn.words import all_in_utf8, first_error

SCHEMA = 3
KEEP_WEIGHTS = 3
_CHECKSUM = "checksum"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Share = Annotated[float, Field(ge=0, le=1)]
"""A share in [0, 1]."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number of cores or GPUs, which may be a fraction."""


class DatasetRecord(_Model):
    """The images of a run.

    Attributes:
        name: name of the data set.
        fingerprint: hash of all images, labels and class names.
        split_fingerprint: hash of the split into training and validation images.
        train: number of training images.
        validation: number of validation images.
        test: number of test images.
        input_shape: channels, height and width of an image.
        classes: class names by label.
        sheet: what was known about the images before any training.
    """

    name: str
    fingerprint: str
    split_fingerprint: str
    train: Annotated[Natural, Field(ge=1)]
    validation: Annotated[Natural, Field(ge=1)]
    test: Natural
    input_shape: tuple[Natural, Natural, Natural]
    classes: tuple[str, ...]
    sheet: DataSheet

    @model_validator(mode="after")
    def _check_sheet(self) -> Self:
        for part in ("train", "validation", "test"):
            size, counts = getattr(self, part), self.sheet.counts.get(part, ())
            if len(counts) != len(self.classes) or min(counts) < 0 or sum(counts) != size:
                raise ValueError(f"its sheet does not count the {part} images")
            if not min(1, size) <= self.different(part) <= size:
                raise ValueError(f"its sheet does not count the different {part} images")
        return self

    def different(self, part: str) -> int:
        """Return the number of different images of `train`, `validation` or `test`.

        An accuracy over copies of an image says no more than one over the image itself.
        """
        count: int = getattr(self, part)
        return self.sheet.different.get(part, count)

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the record of a loaded data set."""
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
            sheet=dataset.sheet,
        )


class CodeRecord(_Model):
    """The code of the networks that a run trains, whose copy is in the run's folder `code`.

    Attributes:
        hash: hash of the files.
        files: names of the files, relative to the folder.
        source: folder from which they were copied.
    """

    hash: str
    files: tuple[str, ...]
    source: str


class NodeRecord(_Model):
    """A machine on which trials ran: its name, cores and GPUs."""

    name: str
    cpus: Amount
    gpus: Amount = 0


class EngineRecord(_Model):
    """Engine and hardware on which a session's trials ran.

    Attributes:
        engine: type of the engine: `ray`, or `local` for the process itself.
        nodes: machines of the cluster.
        threads: number of torch threads per trial.
        slots: number of trials that might run at once.
        cpus_per_trial: number of cores per trial; None without a cluster.
        gpus_per_trial: number of GPUs per trial; None without a cluster.
    """

    engine: Literal["ray", "local"]
    nodes: tuple[NodeRecord, ...]
    threads: Natural
    slots: Natural
    cpus_per_trial: Amount | None = None
    gpus_per_trial: Amount | None = None


class Session(_Model):
    """One process that worked on a run, from its start to its end.

    Attributes:
        command: command line, without the command of `--on-end` and credentials.
        started: start time in UTC.
        engine: engine and hardware on which its trials ran.
        versions: versions of Python and of the packages on which results can depend.
        source: hash of the source of tunecnn.
        repeated: options that a session which carries on needs again, without credentials.
        ended: end time in UTC; that of its last sign for a session that was killed, once another
            has begun; None for one that was killed or still runs.
        ending: `done` or `interrupted`; None for a session that was killed or still runs.
        used_up: limit of the budget that kept further trials from starting, in words.
        shut_out: reason why trials no longer ran on a node, by the node's name.
    """

    command: str
    started: AwareDatetime
    engine: EngineRecord
    versions: dict[str, str]
    source: str
    repeated: tuple[str, ...] = ()
    ended: AwareDatetime | None = None
    ending: Literal["done", "interrupted"] | None = None
    used_up: str = ""
    shut_out: dict[str, str] = {}


class Evaluation(_Model):
    """One evaluation of a trial on the test images.

    Attributes:
        trial: number of the trial.
        time: time of the evaluation in UTC.
        images: number of test images.
        accuracy: share of correctly classified test images, in [0, 1].
        loss: mean cross-entropy.
        predictions_sha256: hash of the file with the predicted class of each image.
        confirmation: name of the confirmation to which the trial belongs; empty for a trial of the
            run itself.
    """

    trial: Natural
    time: AwareDatetime
    images: Natural
    accuracy: Share
    loss: float
    predictions_sha256: str
    confirmation: str = ""


class SearchJob(_Model):
    """The run is a search."""

    type: Literal["search"] = "search"


class ReproductionJob(_Model):
    """The run is a reproduction of the published results on the data set `against`, if any."""

    type: Literal["reproduction"] = "reproduction"
    against: str | None


class CandidateRecord(_Model):
    """A configuration that a confirmation trains again.

    Attributes:
        name: name of the candidate, such as `trial 15`.
        is_baseline: whether it is the baseline.
        search_accuracy: validation accuracy in the search; None if it was not trained to its end.
        values: settings in which the candidates differ.
    """

    name: str
    is_baseline: bool
    search_accuracy: Share | None
    values: dict[str, int | float | bool | str]

    def is_trial(self, number: int) -> bool:
        """Return whether it is a trial of the search.

        The names of its twins follow in brackets, and a config file may be called `trial 3` too.
        """
        name = self.name.partition(" (")[0]
        return self.search_accuracy is not None and name == f"trial {number}"


class ScaleRecord(_Model):
    """How much a search trains a trial: the number of epochs, and that of training images."""

    epochs: Annotated[Natural, Field(ge=1)]
    train: Annotated[Natural, Field(ge=1)]


class ConfirmationJob(_Model):
    """The run trains candidates of a search again, with new seeds.

    Attributes:
        candidates: the candidates, in the order of their trials.
        search: id of the search.
        searched_with: epochs and images of the search, if these are other ones, so that
            accuracies in the search are not comparable; else None.
    """

    type: Literal["confirmation"] = "confirmation"
    search: str
    searched_with: ScaleRecord | None = None
    candidates: tuple[CandidateRecord, ...]

    def index_of(self, trial: int) -> int:
        """Return which candidate a trial is of: for each seed, there is one of each in order."""
        return trial % len(self.candidates)

    def candidate_of(self, trial: int) -> CandidateRecord:
        """Return the candidate that a trial is of."""
        return self.candidates[self.index_of(trial)]

    def repeat_of(self, trial: int) -> int:
        """Return the number of a trial's seed, from 0."""
        return trial // len(self.candidates)


Job = Annotated[SearchJob | ReproductionJob | ConfirmationJob, Field(discriminator="type")]
"""Purpose of a run. The trials of every job except a search are tested at its end."""


class RunInfo(_Model):
    """The content of `run.json`.

    Attributes:
        id: random id, which the run's journal has as well.
        space: name of the space.
        space_sha256: hash of the space file.
        changes: values of the space that the command line or Python code has changed, by key.
        data_dir: folder of the data files; None for the default one.
        dataset: record of the images.
        code: record of the networks' code; None if they are in no file.
        processor: processor of the machine that started the run.
        keep_weights: number of the best trials of a search whose weights are kept.
        job: purpose of the run.
        evaluations: evaluations on the test images.
        sessions: processes that worked on the run, in order.
    """

    id: str
    space: str
    space_sha256: str
    changes: dict[str, Any]
    data_dir: str | None
    dataset: DatasetRecord
    code: CodeRecord | None = None
    processor: str
    keep_weights: Annotated[Natural, Field(ge=1)] = KEEP_WEIGHTS
    job: Job
    evaluations: tuple[Evaluation, ...] = ()
    sessions: tuple[Session, ...] = ()

    @property
    def is_tested(self) -> bool:
        """Whether the trials of the run are tested at its end."""
        return self.job.type != "search"

    @property
    def own_evaluations(self) -> list[Evaluation]:
        """The evaluations of the run's own trials, without those of its confirmations."""
        return [one for one in self.evaluations if not one.confirmation]

    @property
    def last_session(self) -> Session:
        """The session that started last.

        Raises:
            RunError: if there is none yet.
        """
        if not self.sessions:
            raise RunError("the run has not begun: it has no session yet")
        return self.sessions[-1]

    @property
    def wall_seconds(self) -> float:
        """Total duration of all sessions in seconds; one that has no end yet counts 0."""
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
        """Return the content of the file, with its schema number and a checksum."""
        values = {**stamp(SCHEMA), **self.model_dump(mode="json")}
        return json.dumps({_CHECKSUM: _checksum(values), **values}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            RunError: if it cannot be read, was written by another version, or is damaged.
        """
        try:
            values: dict[str, Any] = json.loads(read_own(path))
            recorded = values.pop(_CHECKSUM, None)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise RunError(
                f"{path} cannot be read: {error}; put a copy of it back, if there is one: what "
                "the run has trained is in its journal, configs and weights, and no command reads "
                "these without it"
            ) from error
        check_stamp(path, values, SCHEMA)
        if recorded != _checksum(values):
            raise RunError(f"{path} is damaged: its checksum does not match")
        # Paths keep the bytes that name them; all else is only shown.
        content = {
            key: value if key in ("changes", "data_dir") else all_in_utf8(value)
            for key, value in values.items()
            if key not in stamp(SCHEMA)
        }
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {first_error(error)}") from error


def now() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _checksum(values: dict[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True))
