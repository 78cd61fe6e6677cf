"""Repair of a damaged journal: recovers the lines that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunecnn.files import check_stamp, stamp, write_atomically
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import OBJECTIVES
from tunecnn.study.journal import (
    CREATE_TRIAL,
    JOURNAL,
    SCHEMA,
    SEAL,
    Line,
    from_line,
    read_seal,
    to_line,
)
from tunecnn.study.records import STUDY_NAME, quiet_optuna, to_record
from tunecnn.trial.messages import Outcome

_CREATE_STUDY, _SET_STATE = 0, 6  # Optuna's codes of the operations
_WORKER = {"worker_id": "tunecnn-repair"}
Log = dict[str, Any]


@dataclass(frozen=True)
class Repair:
    """Result of a repair.

    Attributes:
        lines: number of lines that could be read.
        lost: numbers of the lines that were damaged or missing.
        again: numbers of the trials with too little data left; they wait to be trained again.
        old: path of the damaged journal; None if there was nothing to repair.
    """

    lines: int
    lost: tuple[int, ...]
    again: tuple[int, ...]
    old: Path | None


def repair_journal(journal: Path, space: SearchSpace) -> Repair:
    """Write a new journal from the readable lines of a damaged one, and keep the old file.

    A trial that has lost its end, config, values or epochs is put back into the queue. All trials
    keep their numbers.

    Args:
        journal: path of the journal; the caller must hold the run's lock.
        space: space of the run.

    Raises:
        RunError: if another version wrote the journal.
    """
    data, sealed = journal.read_bytes(), read_seal(journal)
    found, lost = _salvage(journal, data, sealed)
    if not lost and data.endswith(b"\n") and sealed is not None:
        return Repair(len(found), (), (), None)
    logs = list(_with_creations(found, space))
    again = _incomplete(logs, space)
    logs = [log for log in logs if log.get("trial_id") not in again]
    waiting = {"op_code": _SET_STATE, **_WORKER, "state": TrialState.WAITING, "values": None}
    logs += [{**waiting, "trial_id": number} for number in again]
    old = _keep(journal, data)
    logs[0] |= stamp(SCHEMA)
    lines = [to_line(number, log) for number, log in enumerate(logs, 1)]
    write_atomically(journal, b"".join(lines))
    length = {"bytes": sum(map(len, lines))}
    write_atomically(journal.with_name(SEAL), to_line(len(lines), length))
    return Repair(len(found), tuple(lost), again, old)


def _salvage(journal: Path, data: bytes, sealed: Line | None) -> tuple[list[Log], list[int]]:
    """Return the readable operations, in order, and the numbers of the lost lines."""
    lines = [from_line(raw + b"\n") for raw in data.split(b"\n")]
    found = {line.number: line.log for line in lines if line is not None}
    if 1 in found:
        check_stamp(journal, found[1], SCHEMA)
    last = max([0, *found, *([sealed.number] if sealed else [])])
    lost = [number for number in range(1, last + 1) if number not in found]
    return [found[number] for number in sorted(found)], lost


def _with_creations(logs: list[Log], space: SearchSpace) -> Iterator[Log]:
    """Restore lost creations of the study and of trials: Optuna numbers trials by their order."""
    directions = [StudyDirection[OBJECTIVES[name].upper()] for name in space.objectives]
    if not logs or logs[0]["op_code"] != _CREATE_STUDY:
        study = {"study_name": STUDY_NAME, "directions": directions}
        yield {"op_code": _CREATE_STUDY, **_WORKER, **study}
    blank = {"study_id": 0, "datetime_start": None, "state": TrialState.WAITING}
    trials = 0
    for log in logs:
        is_creation = log["op_code"] == CREATE_TRIAL
        needed = log["trial"] if is_creation else log.get("trial_id", -1) + 1
        for number in range(trials, needed):
            yield {"op_code": CREATE_TRIAL, **_WORKER, **blank, "trial": number}
        trials = max(trials, needed) + is_creation
        yield log


class _InMemory(BaseJournalBackend):
    """A read-only journal backend over a list of operations."""

    def __init__(self, logs: list[Log]) -> None:
        self._logs = logs

    def read_logs(self, log_number_from: int) -> list[Log]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[Log]) -> None:
        raise NotImplementedError


def _incomplete(logs: list[Log], space: SearchSpace) -> tuple[int, ...]:
    """Return the numbers of the trials whose stored data are incomplete."""
    with quiet_optuna():
        trials = JournalStorage(_InMemory(logs)).get_all_trials(0)
    return tuple(trial.number for trial in trials if not _is_whole(trial, space))


def _is_whole(trial: FrozenTrial, space: SearchSpace) -> bool:
    record = to_record(trial)
    if not trial.state.is_finished():
        return "outcome" not in trial.user_attrs  # with an outcome, its end is lost
    if record.outcome is Outcome.INFEASIBLE:
        return True
    config = dict(record.config)
    sampled = space.only_active({name: config[name] for name in space.searched if name in config})
    epochs = [metrics.epoch for metrics in record.epochs]
    if "outcome" not in trial.user_attrs or not config or sampled.keys() != record.values.keys():
        return False
    if epochs != list(range(1, len(epochs) + 1)):
        return False
    if record.state != "COMPLETE":
        return True
    kept = record.kept if record.kept_epoch in epochs else None
    return kept is not None and trial.values[0] == getattr(kept, space.metric)


def _keep(journal: Path, data: bytes) -> Path:
    """Save the damaged journal under an unused name."""
    number = 1
    while (old := journal.with_name(f"{JOURNAL}.damaged-{number}")).exists():
        number += 1
    write_atomically(old, data)
    return old
