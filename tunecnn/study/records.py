"""Records of the trials of a study, read from the journal of a run without changing it."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from tunecnn.errors import RunError, TunecnnError, text_of
from tunecnn.space.space import SearchSpace
from tunecnn.study.halving import is_paused
from tunecnn.study.journal import JOURNAL, SEAL, DamagedError, Journal
from tunecnn.study.origin import Source
from tunecnn.study.storage import StudyStorage
from tunecnn.trial.config import REPEATS, Natural, Scalar
from tunecnn.trial.messages import EpochMetrics, Outcome
from tunecnn.words import command, in_utf8

STUDY_NAME = "tunecnn"


def in_zone(time: datetime) -> datetime:
    """Return a time of a record with its zone: Optuna writes the local time without it."""
    return time.astimezone()


@dataclass(frozen=True)
class TrialRecord:
    """Everything that the study stores about one trial.

    Attributes:
        number: number of the trial, counted from 0.
        state: Optuna's state of the trial: `COMPLETE`, `PRUNED`, `FAIL`, `RUNNING` or `WAITING`.
        values: values of the searched parameters by dotted name; empty before sampling.
        config: flat mapping of the trial's `TrialConfig`; empty before sampling.
        params: number of trainable parameters of the network; None before sampling.
        macs: number of multiply-accumulates of one forward pass of one image; None before
            sampling.
        epochs: metrics of each epoch, in order: those of the last attempt, preceded by those up
            to the checkpoint from which it continued.
        spent: seconds of all its epochs, also of those that were lost and trained again.
        kept_epoch: epoch whose weights a complete trial keeps.
        weights: SHA-256 of the weights that a complete trial keeps; empty if it keeps none.
        predictions: SHA-256 of its predictions for the validation images; empty if it keeps none.
        outcome: outcome of the trial, or `running`, `paused` or `waiting`.
        reason: text about every outcome except `complete`; empty for a trial that has not ended.
        source: `random_baseline` for a trial of the random baseline, else `search`.
        proposal: who chose its values: `start` for a start point, `grid`, `random`, or `model` for
            the sampler's model of the earlier trials; empty before sampling.
        paused: whether the trial is, or was at its end, paused by the pruner.
        attempts: number of times the training was started.
        node: name of the machine that trained the trial last.
        device: type and name of the device, such as `cuda: NVIDIA H100 80GB HBM3`.
        precision: arithmetic, such as `fp32`, `bf16` or `fp32 with TF32`.
        devices: number of GPUs, or of cores without GPUs, that its latest attempt takes; None if
            that was not recorded.
        started: local time at which its latest attempt began, without its zone.
        ended: local time at which the trial ended, without its zone.
    """

    number: int
    state: str
    values: Mapping[str, Scalar]
    config: Mapping[str, Scalar]
    params: int | None
    macs: int | None
    epochs: Sequence[EpochMetrics]
    spent: float
    kept_epoch: int | None
    weights: str
    predictions: str
    outcome: Outcome
    reason: str
    source: str
    proposal: str
    paused: bool
    attempts: int
    node: str
    device: str
    precision: str
    devices: float | None
    started: datetime | None
    ended: datetime | None

    @property
    def is_complete(self) -> bool:
        """Whether the trial was trained to its end."""
        return self.outcome is Outcome.COMPLETE

    @property
    def counts(self) -> bool:
        """Whether it is one of the requested trials that have ended.

        In the place of a proposal that breaks a constraint another one was made.
        """
        return self.outcome.has_ended and self.outcome is not Outcome.INFEASIBLE

    @property
    def seconds(self) -> float:
        """Training time in seconds."""
        return sum(one.seconds for one in self.epochs)

    @property
    def was_paused(self) -> bool:
        """Whether a pruned trial was paused before, so that its end is no news."""
        return self.outcome is Outcome.PRUNED and self.paused

    @property
    def settings(self) -> tuple[tuple[str, Scalar], ...]:
        """The values without the seeds: trials that share them repeat one configuration."""
        return tuple(
            sorted((name, one) for name, one in self.values.items() if name not in REPEATS)
        )

    def has_settings(self, point: Mapping[str, Scalar]) -> bool:
        """Return whether the trial has these values, such as those of the baseline."""
        return dict(self.settings) == point

    @property
    def kept(self) -> EpochMetrics | None:
        """Metrics of the kept epoch of a complete trial, or of the last epoch of any other."""
        if self.kept_epoch is not None:
            return self.epochs[self.kept_epoch - 1]
        return self.epochs[-1] if self.epochs else None


class Ranking:
    """The trials that were trained to their end, best first by the first objective.

    Trials with the same values are seeds of one configuration: they are ranked by their mean. Else
    one that was tried often would be ranked by its luckiest seed. Of equal means, the trial with
    the higher value comes first, then the lower loss, then the lower number.

    Args:
        metric: `val_accuracy` or `val_balanced_accuracy`.
        records: trials of the study; those that are not complete have no rank.

    Attributes:
        best: the first one; None if no trial is complete.
    """

    def __init__(self, metric: str, records: Iterable[TrialRecord] = ()) -> None:
        self._metric = metric
        self._alike: defaultdict[tuple[object, ...], list[TrialRecord]] = defaultdict(list)
        self.best: TrialRecord | None = None
        for record in records:
            self.add(record)

    def add(self, record: TrialRecord) -> None:
        """Add a trial that has ended."""
        if not record.is_complete:
            return
        alike = self._alike[record.settings]
        alike.append(record)
        if self.best is None or len(alike) == 1:
            self.best = min(filter(None, (self.best, record)), key=self.key)
        else:  # a mean has changed
            self.best = min(chain.from_iterable(self._alike.values()), key=self.key)

    def seeds(self, record: TrialRecord) -> int:
        """Return the number of trials with the values of one."""
        return len(self._alike[record.settings])

    def mean(self, record: TrialRecord) -> float:
        """Return the mean of the metric over the trials with the values of one."""
        values = [self._value(one) for one in self._alike[record.settings]]
        # Rounded: sums of equal accuracies differ in their last digits, and would decide ties.
        return round(math.fsum(values) / len(values), 12)

    def key(self, record: TrialRecord) -> tuple[float, float, float, int]:
        """Return the key by which a trial is sorted, best first."""
        assert record.kept is not None
        loss = record.kept.val_loss
        return -self.mean(record), -self._value(record), loss, record.number

    def ranked(self) -> list[TrialRecord]:
        """Return the trials, best first."""
        return sorted(chain.from_iterable(self._alike.values()), key=self.key)

    def _value(self, record: TrialRecord) -> float:
        return float(getattr(record.kept, self._metric))


def read_records(
    folder: Path, run_id: str | None = None, space: SearchSpace | None = None
) -> list[TrialRecord]:
    """Read all trials of a run's journal, by number, without writing to it.

    Args:
        folder: folder of the run.
        run_id: id of the run, which its journal must have; None if it is not known.
        space: space of the run, whose values the trials must have; None if it is not known.

    Raises:
        RunError: if there is no journal, it is damaged, or it is that of another run.
    """
    path = folder / JOURNAL
    check_journal(path)
    with open_storage(Journal(path, run_id=run_id), path) as storage:
        study = optuna.load_study(study_name=STUDY_NAME, storage=storage)
        records = [to_record(trial) for trial in study.get_trials(deepcopy=False)]
        if space is not None:
            types = types_of(space)
            for record in records:
                check_values(record, types)
        return records


def read_reports(folder: Path, run_id: str | None = None) -> list[tuple[int, int]]:
    """Read the (trial, epoch) of each epoch of a run's journal, in the order of their reports.

    An epoch that was trained again, after its worker died, stands where it was reported first.

    Args:
        folder: folder of the run.
        run_id: id of the run, which its journal must have; None if it is not known.

    Raises:
        RunError: if the journal is damaged, or it is that of another run.
    """
    found: dict[tuple[int, int], None] = {}
    check_journal(folder / JOURNAL)
    for log in Journal(folder / JOURNAL, run_id=run_id).read_logs(0):
        for key in log.get("user_attr", ()):
            if key.startswith(_EPOCH):
                found[log["trial_id"], int(key.rpartition(":")[2])] = None
    return list(found)


Types = Mapping[str, set[type]]
"""Types of the values of each searched parameter."""


def types_of(space: SearchSpace) -> Types:
    """Return the types of the values of a space."""
    return {
        name: {_type_of(value) for value in parameter.ends()}
        for name, parameter in space.searched.items()
    }


def check_values(record: TrialRecord, types: Types) -> None:
    """Check that the values of a trial are of the types that its space has.

    Raises:
        TypeError: if one is not.
    """
    for name, value in record.values.items():
        if name in types and _type_of(value) not in types[name]:
            raise TypeError(f"trial {record.number} has {name} = {value!r:.40}")


def _type_of(value: Scalar) -> type:
    """Return the type of a value; whole numbers and floats are one."""
    return type(value) if isinstance(value, bool | str) else float


def check_journal(path: Path) -> None:
    """Check that the journal of a run which has begun is there.

    Raises:
        RunError: if it is missing, or empty and without its seal.
    """
    if path.is_file() and (path.stat().st_size or path.with_name(SEAL).is_file()):
        return
    raise RunError(
        f"{path} has been {'emptied' if path.is_file() else 'removed'}, and with it all trials "
        f"of the run; put it back from a copy, or begin them anew after "
        f"`{command('repair', path.parent)}`"
    )


@contextlib.contextmanager
def open_storage(journal: Journal, path: Path) -> Iterator[StudyStorage]:
    """Open the storage of a journal, from which to create or load its study.

    Raises:
        RunError: if the journal is damaged.
    """
    try:
        with quiet_optuna():
            yield StudyStorage(journal)
    except TunecnnError:
        raise
    except NONSENSE as error:
        raise DamagedError(
            path, f"it cannot be replayed ({type(error).__name__}: {text_of(error)})"
        ) from error


NONSENSE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
)
"""What replaying raises if lines can be read, but are not what tunecnn writes."""


def to_record(trial: FrozenTrial) -> TrialRecord:
    """Convert an Optuna trial to a record.

    Raises:
        NONSENSE: if its attributes are not what tunecnn writes.
    """
    fixed = _Attributes.model_validate(trial.user_attrs)
    _PARAMS.validate_python(trial.params, strict=True)
    record = TrialRecord(
        number=trial.number,
        state=trial.state.name,
        values=rounded(trial.params),
        config=fixed.config,
        params=fixed.params,
        macs=fixed.macs,
        epochs=_epochs(trial.user_attrs),
        spent=_spent(trial.user_attrs),
        # Before its end is there, as beside a session that writes both, it keeps none.
        kept_epoch=fixed.kept_epoch if trial.state == TrialState.COMPLETE else None,
        weights=fixed.weights,
        predictions=fixed.predictions,
        outcome=_outcome(trial),
        reason=fixed.reason,
        source=fixed.source,
        proposal=fixed.proposal,
        paused=bool(fixed.paused_after),
        attempts=fixed.attempts,
        node=fixed.where.get("node", ""),
        device=fixed.where.get("device", ""),
        precision=fixed.where.get("precision", ""),
        devices=fixed.devices,
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )
    if record.kept_epoch is not None and not 1 <= record.kept_epoch <= len(record.epochs):
        raise ValueError(f"trial {trial.number} has no epoch {record.kept_epoch}")
    if record.is_complete != (record.state == TrialState.COMPLETE.name):
        raise ValueError(
            f"trial {trial.number} is {record.state}, and its outcome {record.outcome}"
        )
    if record.is_complete and None in (record.kept, record.params):
        raise ValueError(f"trial {trial.number} is complete without an epoch or its parameters")
    return record


_Text = Annotated[str, AfterValidator(in_utf8)]  # an error can name a file that is not in it
_Values = dict[str, Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | bool | str]


class _Attributes(BaseModel):
    """The attributes of a trial that have fixed names; those of its epochs have not."""

    model_config = ConfigDict(strict=True, extra="ignore")
    config: _Values = {}
    where: dict[_Text, _Text] = {}
    devices: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    attempts: Natural = 0
    kept_epoch: Natural | None = None
    params: Natural | None = None
    macs: Natural | None = None
    paused_after: Natural = 0
    weights: _Text = ""
    predictions: _Text = ""
    reason: _Text = ""
    source: _Text = Source.SEARCH
    proposal: _Text = ""

    @field_validator("config")
    @classmethod
    def _check(cls, config: dict[str, Any]) -> dict[str, Any]:
        types = {"seed": int, "architecture": str, "dataset": str}
        if wrong := [
            n for n, kind in types.items() if not isinstance(config.get(n, kind()), kind)
        ]:
            raise ValueError(f"its config has {wrong[0]} = {config[wrong[0]]!r:.40}")
        return config


_PARAMS = TypeAdapter(_Values)


def _outcome(trial: FrozenTrial) -> Outcome:
    if trial.state.is_finished():
        return Outcome(trial.user_attrs.get("outcome", Outcome.ERROR))
    if trial.state == TrialState.WAITING:
        return Outcome.WAITING
    return Outcome.PAUSED if is_paused(trial) else Outcome.RUNNING


def epoch_attr(metrics: EpochMetrics) -> dict[str, Any]:
    """Return the attribute of an epoch; a loss that is not finite is None, as JSON has no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in vars(metrics).items()}


def _epochs(attrs: Mapping[str, Any]) -> list[EpochMetrics]:
    """Collect the epochs of a trial, from its last attempt back to its first."""
    epochs: list[EpochMetrics] = []
    before = math.inf  # epochs after an attempt's last checkpoint were repeated by the next
    attempts = {int(name.split(":")[1]) for name in attrs if name.startswith(_OF_ATTEMPT)}
    for attempt in sorted(attempts, reverse=True):
        if not 1 <= attempt <= attrs.get("attempts", 0):
            continue
        prefix, begin = epoch_key(attempt, ""), attrs.get(start_key(attempt), 0)
        reported = [
            EpochMetrics.from_dict(attrs[name]) for name in attrs if name.startswith(prefix)
        ]
        for metrics in reported:
            if epoch_key(attempt, metrics.epoch) not in attrs:
                raise ValueError(f"epoch {metrics.epoch} is that of another key")
        if len({metrics.epoch for metrics in reported}) < len(reported):
            raise ValueError("an epoch was reported twice")
        epochs += [metrics for metrics in reported if begin < metrics.epoch <= before]
        before = min(before, begin)
        if not before:
            break
    return sorted(epochs, key=lambda metrics: metrics.epoch)


def _spent(attrs: Mapping[str, Any]) -> float:
    return sum(
        EpochMetrics.from_dict(attrs[name]).seconds for name in attrs if name.startswith(_EPOCH)
    )


_EPOCH = "epoch:"
_OF_ATTEMPT = ("begin:", _EPOCH)


def start_key(attempt: int) -> str:
    """Return the key of the epoch after which an attempt continued."""
    return f"begin:{attempt}"


def epoch_key(attempt: int, epoch: int | str) -> str:
    """Return the key of the metrics of an epoch."""
    return f"{_EPOCH}{attempt}:{epoch}"


def rounded(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Round floats to 12 digits: 0.30000000000000004, six steps of 0.05, becomes 0.3."""
    return {
        name: float(f"{value:.12g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log below errors; tunecnn prints what the user needs.

    Inside another such context it costs nothing: setting a level empties the cache of each logger
    of the process, and Ray, torch and MLflow bring thousands.
    """
    before = optuna.logging.get_verbosity()
    if before >= optuna.logging.ERROR:
        yield
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
