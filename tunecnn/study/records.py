"""What the study holds of each trial, read from the journal of a run, which it never changes.

With `tunecnn.study.journal` and `tunecnn.study.study` this is all that imports optuna.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunecnn.errors import RunError
from tunecnn.study.journal import JOURNAL, DamagedError, Journal
from tunecnn.study.storage import StudyStorage
from tunecnn.trial.config import Scalar
from tunecnn.trial.messages import EpochMetrics, Outcome

STUDY_NAME = "tunecnn"
STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")
"""Optuna's words for the state of a trial."""


@dataclass(frozen=True)
class TrialRecord:
    """All that the study holds of one trial: what was requested, what happened, what came out.

    Attributes:
        number: counted from 0.
        state: one of `STATES`.
        values: the searched parameters, by dotted name; empty before the trial was drawn.
        config: the flat mapping of its `TrialConfig`; empty before the trial was drawn.
        params: trainable numbers in its network; None before the trial was drawn.
        macs: multiply-accumulates of one forward pass of one image; None likewise.
        epochs: figures of each epoch, in order: those that its last attempt reported, and before
            them those that led to the checkpoint from which it went on.
        kept_epoch: the epoch whose weights a complete trial keeps.
        weights: SHA-256 of the weights that a complete trial keeps; empty if it keeps none.
        outcome: how it ended, or where it stands.
        reason: in words, for every outcome but `complete`; empty for a trial that has not ended.
        source: `random_baseline` for a trial drawn at random beside the search, else `search`.
        attempts: how often its training was started.
        node: name of the machine that trained it last.
        device: such as `cpu` or `cuda`.
        started: when the trial was drawn.
        ended: when it ended.
    """

    number: int
    state: str
    values: Mapping[str, Scalar]
    config: Mapping[str, Scalar]
    params: int | None
    macs: int | None
    epochs: Sequence[EpochMetrics]
    kept_epoch: int | None
    weights: str
    outcome: Outcome
    reason: str
    source: str
    attempts: int
    node: str
    device: str
    started: datetime | None
    ended: datetime | None

    @property
    def rank(self) -> tuple[float, float, int]:
        """Sorts complete trials, the best first: validation accuracy, then loss, then number."""
        assert self.kept is not None
        return -self.kept.val_accuracy, self.kept.val_loss, self.number

    @property
    def kept(self) -> EpochMetrics | None:
        """Figures of the epoch that counts: the kept one of a complete trial, else the last."""
        if self.kept_epoch is not None:
            return self.epochs[self.kept_epoch - 1]
        return self.epochs[-1] if self.epochs else None


def read_records(folder: Path) -> list[TrialRecord]:
    """Read all trials of a run's journal, in order, without writing to it.

    Raises:
        RunError: if there is no journal, or it is damaged.
    """
    return [to_record(trial) for trial in _read_study(folder).get_trials(deepcopy=False)]


def _read_study(folder: Path) -> optuna.Study:
    path = folder / JOURNAL
    if not path.is_file():
        raise RunError(f"{folder} is not the folder of a run: it has no {JOURNAL}")
    with open_storage(Journal(path), path) as storage:
        return optuna.load_study(study_name=STUDY_NAME, storage=storage)


@contextlib.contextmanager
def open_storage(journal: Journal, path: Path) -> Iterator[StudyStorage]:
    """Replay a journal, to make or load its study.

    Raises:
        RunError: if it is damaged.
    """
    try:
        with quiet_optuna():
            yield StudyStorage(journal)
    except (ValueError, KeyError, AssertionError) as error:
        raise DamagedError(path, f"Optuna cannot replay it ({error})") from error


def to_record(trial: FrozenTrial) -> TrialRecord:
    """Translate one of Optuna's trials."""
    attrs = trial.user_attrs
    where = attrs.get("where", {})
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        values=clean(trial.params),
        config=attrs.get("config", {}),
        params=attrs.get("params"),
        macs=attrs.get("macs"),
        epochs=_epochs(attrs),
        kept_epoch=attrs.get("kept_epoch"),
        weights=attrs.get("weights", ""),
        outcome=_outcome(trial),
        reason=attrs.get("reason", ""),
        source=attrs.get("source", "search"),
        attempts=attrs.get("attempts", 0),
        node=where.get("node", ""),
        device=where.get("device", ""),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )


def _outcome(trial: FrozenTrial) -> Outcome:
    if trial.state.is_finished():
        return Outcome(trial.user_attrs.get("outcome", Outcome.ERROR))
    return Outcome.RUNNING if trial.state == TrialState.RUNNING else Outcome.WAITING


def _epochs(attrs: Mapping[str, Any]) -> list[EpochMetrics]:
    """Put the epochs of a trial together, from its last attempt back to its first."""
    epochs: list[EpochMetrics] = []
    before = math.inf  # what an attempt reported after the checkpoint it left was done again
    for attempt in range(attrs.get("attempts", 0), 0, -1):
        prefix, begin = epoch_key(attempt, ""), attrs.get(start_key(attempt), 0)
        reported = [EpochMetrics.from_dict(attrs[name]) for name in attrs
                    if name.startswith(prefix)]  # fmt: skip
        if not reported and start_key(attempt) not in attrs:
            continue  # it was killed before it had started
        epochs += [metrics for metrics in reported if begin < metrics.epoch <= before]
        before = min(before, begin)
        if not before:
            break
    return sorted(epochs, key=lambda metrics: metrics.epoch)


def start_key(attempt: int) -> str:
    """Return the name under which it is kept after which epoch an attempt went on."""
    return f"begin:{attempt}"


def epoch_key(attempt: int, epoch: int | str) -> str:
    """Return the name under which the figures of an epoch are kept."""
    return f"epoch:{attempt}:{epoch}"


def clean(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Write 0.30000000000000004, a step of 0.05 six times, as 0.3."""
    return {
        name: float(f"{value:.12g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own log lines away from the user; what matters is said by tunecnn."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
