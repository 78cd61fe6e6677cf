"""Repair of a damaged journal: recovers the lines that can be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tunecnn.errors import RunError
from tunecnn.files import check_stamp, read_own, stamp, write_atomically
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import OBJECTIVES
from tunecnn.study.journal import (
    CREATE_TRIAL,
    JOURNAL,
    SCHEMA,
    SEAL,
    Line,
    check_run,
    from_line,
    read_seal,
    to_line,
)
from tunecnn.study.queue import given_trials
from tunecnn.study.records import (
    NONSENSE,
    STUDY_NAME,
    Types,
    check_values,
    quiet_optuna,
    read_records,
    to_record,
    types_of,
)
from tunecnn.trial.messages import Outcome

_CREATE_STUDY, _DELETE_STUDY, _SET_STATE = 0, 1, 6  # Optuna's codes of the operations
_OF_STUDY = ("op_code", "study_name", "directions")
_WORKER = {"worker_id": "tunecnn-repair"}
_MOST_LINES = 10**7
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


def repair_journal(journal: Path, space: SearchSpace, run_id: str) -> Repair:
    """Write a new journal from the readable lines of a damaged one, and keep the old file.

    A trial that has lost its end, config, values or epochs is put back into the queue. All trials
    keep their numbers, and start points and points of a grid their values.

    Args:
        journal: path of the journal; the caller must hold the run's lock.
        space: space of the run.
        run_id: id of the run.

    Raises:
        RunError: if another version wrote the journal, or it is that of another run.
    """
    data, sealed = read_own(journal), read_seal(journal)
    creation = _creation(space)
    found, lost = _salvage(journal, data, sealed, run_id, creation)
    if data.endswith(b"\n") and _can_be_read(journal, run_id, space):
        return Repair(len(found), (), (), None)
    given = list(itertools.islice(given_trials(space), space.trials))
    logs, senseless = _replayable(_with_creations(found, creation, given))
    lost = sorted({*lost, *senseless})
    again = _incomplete(logs, space)
    logs = [log for log in logs if log.get("trial_id") not in again]
    waiting = {"op_code": _SET_STATE, **_WORKER, "state": TrialState.WAITING, "values": None}
    logs += [{**waiting, "trial_id": number} for number in again]
    if again and (still := _incomplete(logs, space)):  # what they were created with is nonsense
        created = (index for index, log in enumerate(logs) if log["op_code"] == CREATE_TRIAL)
        for number, index in enumerate(list(created)):
            if number in still:
                logs[index] = _waiting(number, given)
    old = _keep(journal, data)
    logs[0] |= {**stamp(SCHEMA), "run": run_id}
    lines = [to_line(number, log) for number, log in enumerate(logs, 1)]
    # The last sign of a session that was killed, up to which its hours count.
    read = (from_line(raw + b"\n") for raw in data.split(b"\n"))
    last_time = max((one.time for one in read if one), default=0) or journal.stat().st_mtime
    lines[-1] = to_line(len(logs), logs[-1], at=last_time)
    write_atomically(journal, b"".join(lines))
    length = {"bytes": sum(map(len, lines)), "run": run_id}
    write_atomically(journal.with_name(SEAL), to_line(len(lines), length))
    return Repair(len(found), tuple(lost), again, old)


def _salvage(
    journal: Path, data: bytes, sealed: Line | None, run_id: str, creation: Log
) -> tuple[dict[int, Log], list[int]]:
    """Return the readable operations by the numbers of their lines, and those of the lost lines.

    A number beyond all that the file can hold is nonsense, whatever its checksum. The seal tells
    how much it held before it lost its end.
    """
    raws = data.split(b"\n")
    lines = _closed([from_line(raw + b"\n") for raw in raws])
    if sealed and sealed.number > min(sealed.log["bytes"], _MOST_LINES):
        sealed = None
    most = len(raws) + (sealed.number if sealed else 0)
    found = {
        line.number: line.log
        for line in lines
        if line is not None and 1 <= line.number <= most and _is_operation(line.log, most)
    }
    if 1 in found and found[1].keys() >= stamp(SCHEMA).keys():
        check_stamp(journal, found[1], SCHEMA)
        check_run(journal, Line(1, found[1]), run_id)
    else:
        found.pop(1, None)  # no version writes a first line without its stamp
    if any(found.get(1, creation).get(key) != creation[key] for key in _OF_STUDY):
        del found[1]
    # There is one study, which nothing creates again or deletes.
    found = {
        number: log
        for number, log in found.items()
        if number == 1 or log["op_code"] not in (_CREATE_STUDY, _DELETE_STUDY)
    }
    last = max([0, *found, *([sealed.number] if sealed else [])])
    lost = [number for number in range(1, last + 1) if number not in found]
    return {number: found[number] for number in sorted(found)}, lost


def _closed(lines: list[Line | None]) -> list[Line | None]:
    """Return the lines without the last group if its end is missing."""
    last = len(lines)
    while last and ((line := lines[last - 1]) is None or line.has_more):
        last -= 1
    return lines[:last]


def _is_operation(log: Log, most: int) -> bool:
    """Return whether an operation names a trial, if any, that a file of `most` lines can have."""
    number = log.get("trial" if log.get("op_code") == CREATE_TRIAL else "trial_id", 0)
    return isinstance(log.get("op_code"), int) and isinstance(number, int) and 0 <= number < most


def _can_be_read(journal: Path, run_id: str, space: SearchSpace) -> bool:
    try:
        read_records(journal.parent, run_id, space)
    except RunError:
        return False
    return True


def _replayable(logs: Iterable[tuple[int, Log]]) -> tuple[list[Log], list[int]]:
    """Return the operations that Optuna can replay, and the numbers of the others' lines."""
    rest, senseless = list(logs), list[int]()
    while True:
        replay = _Replay()
        good, bad = list[tuple[int, Log]](), list[int]()
        for number, log in rest:
            if replay.accepts(log):
                good.append((number, log))
            else:
                bad.append(number)
        if not bad:
            return [log for _, log in good], senseless
        # Once more without them: one that failed half-way may have let a later one pass.
        rest, senseless = good, [*senseless, *bad]


class _Replay:
    """Operations as Optuna replays them."""

    def __init__(self) -> None:
        self._backend = _InMemory([])
        with quiet_optuna():
            self._storage = JournalStorage(self._backend)

    def accepts(self, log: Log) -> bool:
        """Replay one more operation; return whether it makes sense after the others."""
        self._backend.logs.append(log)
        try:
            with quiet_optuna():
                self._storage.get_all_studies()
        except NONSENSE:
            return False  # Optuna has passed it, and goes on behind it
        return True


def _creation(space: SearchSpace) -> Log:
    """Return the operation that creates the study."""
    directions = [StudyDirection[OBJECTIVES[name].upper()] for name in space.objectives]
    study = {"study_name": STUDY_NAME, "directions": directions}
    return {"op_code": _CREATE_STUDY, **_WORKER, **study}


def _waiting(number: int, given: Sequence[Log]) -> Log:
    """Return the operation that creates a trial which waits to be trained.

    Nothing is known of it, but where the space gives its values: there it has them again, as a
    trial of a confirmation is known by its number.
    """
    state = {"datetime_start": None, "state": TrialState.WAITING}
    log = {"op_code": CREATE_TRIAL, **_WORKER, "study_id": 0, **state, "trial": number}
    if number >= len(given):
        return log
    nothing: Log = {name: {} for name in ("distributions", "params", "intermediate_values")}
    return {**log, "value": None, "values": None, **nothing, **given[number]}


def _with_creations(
    found: Mapping[int, Log], creation: Log, given: Sequence[Log]
) -> Iterator[tuple[int, Log]]:
    """Restore lost creations of the study and of trials: Optuna numbers trials by their order.

    Yields:
        The number of the line, 0 for one that was lost, and its operation.
    """
    if 1 not in found:
        yield 0, creation
    trials = 0
    for line, log in found.items():
        is_creation = log["op_code"] == CREATE_TRIAL
        needed = log.get("trial", trials) if is_creation else log.get("trial_id", -1) + 1
        for number in range(trials, needed):
            yield 0, _waiting(number, given)
        trials = max(trials, needed) + is_creation
        yield line, log


class _InMemory(BaseJournalBackend):
    """A journal backend over a list of operations, which Optuna itself does not extend."""

    def __init__(self, logs: list[Log]) -> None:
        self.logs = logs

    def read_logs(self, log_number_from: int) -> list[Log]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[Log]) -> None:
        raise NotImplementedError


def _incomplete(logs: list[Log], space: SearchSpace) -> tuple[int, ...]:
    """Return the numbers of the trials whose stored data are incomplete."""
    with quiet_optuna():
        trials = JournalStorage(_InMemory(logs)).get_all_trials(0)
    types = types_of(space)
    return tuple(trial.number for trial in trials if not _is_whole(trial, space, types))


def _is_whole(trial: FrozenTrial, space: SearchSpace, types: Types) -> bool:
    try:
        record = to_record(trial)
        check_values(record, types)
    except NONSENSE:
        return False
    if record.outcome is Outcome.INFEASIBLE:
        return True
    config = dict(record.config)
    sampled = space.only_active({name: config[name] for name in space.searched if name in config})
    epochs = [metrics.epoch for metrics in record.epochs]
    is_ended = trial.state.is_finished()
    if ("outcome" in trial.user_attrs) != is_ended:
        return False  # with an outcome, its end is lost
    if not config:
        return not is_ended and not epochs
    if sampled.keys() != record.values.keys() or epochs != list(range(1, len(epochs) + 1)):
        return False
    if not trial.intermediate_values.keys() <= set(epochs) or (epochs and record.params is None):
        return False
    if not record.is_complete:
        return True
    kept = record.kept if record.kept_epoch in epochs else None
    return kept is not None and trial.values[:1] == [getattr(kept, space.metric)]


def _keep(journal: Path, data: bytes) -> Path:
    """Save the damaged journal under an unused name."""
    number = 1
    while (old := journal.with_name(f"{JOURNAL}.damaged-{number}")).exists():
        number += 1
    write_atomically(old, data)
    return old
