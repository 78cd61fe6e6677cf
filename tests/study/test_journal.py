from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import optuna
import pytest

from tests.support.scripted import finish, metrics, run_out
from tunecnn.errors import RunError
from tunecnn.space.space import SearchSpace
from tunecnn.study.journal import JOURNAL, SEAL, Journal, from_line
from tunecnn.study.records import read_records
from tunecnn.trial.messages import Outcome, TrialEnd


@pytest.fixture
def journal(open_study, tmp_path):
    """The journal of a study of which two trials have ended, and one is under way."""
    study = open_study()
    finish(study, study.next_trial(), 0.5)
    finish(study, study.next_trial(), 0.6)
    study.next_trial()
    return tmp_path / JOURNAL


def cut(path: Path, lines: slice) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[lines]))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_optunas_own_reader_understands_the_file(journal):
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.load_study(
        study_name="tunecnn", storage=optuna.storages.JournalStorage(backend)
    )
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert study.best_value == 0.6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: flip(path, 40), "line 1 cannot be read"),
        (lambda path: flip(path, path.stat().st_size - 3), "line 45 cannot be read"),
        (lambda path: cut(path, slice(0, 20)), "of the 35 lines that had been written, the last"),
        (lambda path: cut(path, slice(0, 0)), "of the 35 lines that had been written, the last"),
        (lambda path: path.write_bytes(path.read_bytes() + b"{}\n"), "line 46 cannot be read"),
        (lambda path: path.with_name(SEAL).unlink(), "its study.seal is missing"),
        (lambda path: flip(path.with_name(SEAL), 5), "its study.seal cannot be read"),
        (lambda path: path.with_name(SEAL).write_bytes(b""), "its study.seal cannot be read"),
    ],
)
def test_damage_is_refused_by_name(damage, message, journal, open_study):
    count = len(journal.read_bytes().splitlines())
    damage(journal)
    message = message.replace("45", str(count)).replace("46", str(count + 1))
    sealed = from_line(journal.with_name(SEAL).read_bytes()) if "35" in message else None
    if sealed is not None:
        message = message.replace("35", str(sealed.number))
    for read in (lambda: read_records(journal.parent), open_study):
        with pytest.raises(RunError) as caught:
            read()
        assert str(caught.value) == (
            f"{journal} is damaged: {message}"
            + (" ones are missing" if sealed is not None else "")
            + f"; `tunecnn repair {journal.parent}` saves what can be read"
        )


def test_a_sealed_line_without_its_end_is_damaged_and_not_being_written(journal, open_study):
    sealed = from_line(journal.with_name(SEAL).read_bytes())
    cut(journal, slice(0, sealed.number))
    flip(journal, journal.stat().st_size - 1)
    for read in (lambda: read_records(journal.parent), open_study):
        with pytest.raises(RunError, match=f"of the {sealed.number} lines .* ones are missing"):
            read()


def test_a_line_that_is_missing_or_there_twice_is_noticed(journal, open_study):
    lines = journal.read_bytes().splitlines(keepends=True)
    for changed in (lines[:5] + lines[6:] + lines[-1:] * 9, lines[:5] + lines[4:]):
        journal.write_bytes(b"".join(changed))
        with pytest.raises(RunError, match=r"damaged: line 6 says that it is [57]"):
            open_study()


def test_a_run_that_was_killed_before_its_first_trial_is_no_damage(open_study, tmp_path):
    open_study()
    cut(tmp_path / JOURNAL, slice(0, 1))
    run_out(open_study())
    (tmp_path / JOURNAL).unlink()
    (tmp_path / SEAL).unlink()
    assert open_study().started == 0


def test_a_note_of_optunas_dashboard_hides_neither_the_time_nor_a_torn_group(journal, open_study):
    """It is typed after the writer was killed."""
    lines = journal.read_bytes().splitlines(keepends=True)
    note = b'{"op_code":2,"worker_id":"x","study_id":0,"user_attr":{"note":"?"}}\n'
    group = next(i for i in range(len(lines) - 2, 0, -1) if b'"more":true' not in lines[i])
    for kept, torn in ((lines, False), (lines[: group + 3], True)):
        journal.write_bytes(b"".join([*kept, note]))
        os.utime(journal, (1e9, 1e9))
        opened = Journal(journal, writable=True)
        assert opened.last_time > 1.7e9
        assert opened.dropped_line is torn
    assert journal.read_bytes() == b"".join(lines[: group + 1])


TORN = """
dataset: digits
epochs: 3
trials: 8
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
  net.width: {choice: [0.1, 0.2, 1.0]}
constraints: ["params <= 150_000"]
random_baseline: 0.3
start: [{net.width: 0.1}]
sampler: tpe
pruner: {promotion: {min_epochs: 1, factor: 2}}
"""


def train_all(study):
    """Train the trials that are left, each to accuracies of its own; return what is stored."""
    while (trial := study.next_trial()) is not None:
        study.go_on_from(trial, 0)
        study.place(trial.number, "desk", "cpu", "fp32", 1.0)
        for epoch in range(1, 4):
            accuracy = trial.number * 37 % 17 / 20 + epoch / 100
            if study.report(trial.number, metrics(epoch, accuracy), is_last=epoch == 3):
                break
        else:
            study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=3))
    study.stop_paused()
    return [
        (record.number, record.outcome, record.source, dict(record.values))
        for record in study.records
    ]


def test_a_writer_may_be_killed_in_the_middle_of_any_write(open_study, tmp_path, monkeypatch):
    """What makes sense only together is there whole, or not at all, and the run goes on the same."""
    space, journal = SearchSpace.from_text(TORN), tmp_path / JOURNAL
    states, before = [], [0]
    sync = os.fsync

    def seen(descriptor):
        data, seal = journal.read_bytes(), journal.with_name(SEAL).read_bytes()
        ends = [i for i in range(before[0], len(data)) if data[i : i + 1] == b"\n"]
        states.extend((data[: end + cut], seal) for end in ends for cut in (-20, 1))
        before[0] = len(data)
        sync(descriptor)

    study = open_study(space)
    before[0] = journal.stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", seen)
        whole = train_all(study)
    assert {outcome for _, outcome, *_ in whole} >= {"complete", "pruned", "infeasible"}
    assert len(states) > 200
    for data, seal in states[:: len(states) // 50]:
        journal.write_bytes(data)
        journal.with_name(SEAL).write_bytes(seal)
        read_records(tmp_path, space=space)
        assert train_all(open_study(space)) == whole


def test_a_write_that_failed_leaves_no_half_line_for_the_next(tmp_path, monkeypatch):
    """The disk is full for the first half of a line, and has room again afterwards."""
    path = tmp_path / JOURNAL
    log = {"op_code": 8, "trial_id": 0}
    journal = Journal(path, writable=True)
    journal.append_logs([log])
    list(journal.read_logs(0))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append_logs([{**log, "trial_id": 1}])
    journal.append_logs([{**log, "trial_id": 2}])
    assert [line["trial_id"] for line in map(json.loads, path.open())] == [0, 2]
    assert [log["trial_id"] for log in Journal(path).read_logs(0)] == [0, 2]
