from __future__ import annotations

import json

import pytest

from tunecnn.errors import RunError
from tunecnn.models.counting import CostCounter
from tunecnn.run.folder import RunFolder
from tunecnn.study.journal import JOURNAL, SEAL, from_line
from tunecnn.study.records import read_records
from tunecnn.study.study import Study
from tunecnn.workflows.repair import repair


def damage(run, *, wanted) -> list[int]:
    """Overwrite the lines of which something is wanted with dashes; return their numbers."""
    journal = run / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    hit = [i for i, line in enumerate(lines) if wanted(json.loads(line))]
    for i in hit:
        lines[i] = b"-" * (len(lines[i]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    return [i + 1 for i in hit]


def carry_on(run) -> None:
    """Open the study again: what waits is drawn first, and ends as the study allows."""
    folder = RunFolder.open(run)
    study = Study(run, folder.read_space(folder.read_info()), CostCounter(None, (1, 8, 8), 10))
    while study.next_trial() is not None:
        pass
    assert len(study.running) + sum(r.state in ("COMPLETE", "PRUNED", "FAIL") for r in
                                    study.records) == 6  # fmt: skip


def is_end_of(number):
    return lambda log: log.get("trial_id") == number and log["op_code"] == 6 and log["state"] == 1


@pytest.mark.parametrize(
    ("wanted", "again"),
    [
        (lambda log: log["op_code"] == 0, ()),  # the study itself
        (lambda log: log.get("trial") == 1, ()),  # that there is a trial 1
        (lambda log: "epoch:1:2" in log.get("user_attr", {}) and log["trial_id"] == 1, (1,)),
        (lambda log: "config" in log.get("user_attr", {}) and log["trial_id"] == 3, (3,)),
        (lambda log: log.get("param_name") == "net.width" and log["trial_id"] == 0, (0,)),
        (lambda log: "kept_epoch" in log.get("user_attr", {}) and log["trial_id"] == 3, (3,)),
        (is_end_of(1), (1,)),
        (lambda log: log.get("step") == 2 and log["trial_id"] == 1, ()),  # only the pruner's
    ],
)
def test_what_can_be_read_is_saved_and_the_rest_trained_again(wanted, again, scripted_run):
    before = read_records(scripted_run)
    damaged = (scripted_run / JOURNAL).read_bytes()
    lost = damage(scripted_run, wanted=wanted)
    damaged = (scripted_run / JOURNAL).read_bytes()
    with pytest.raises(RunError, match=rf"line {lost[0]} cannot be read"):
        read_records(scripted_run)
    repaired = repair(scripted_run)
    assert repaired.lost == tuple(lost)
    assert repaired.again == again
    assert repaired.old.read_bytes() == damaged
    after = read_records(scripted_run)
    assert [record.number for record in after] == [record.number for record in before]
    for old, new in zip(before, after, strict=True):
        if old.number in again:
            assert new.state == "WAITING"
        else:
            assert (new.state, new.values, new.epochs) == (old.state, old.values, old.epochs)
    carry_on(scripted_run)


def test_a_journal_that_lost_its_end_goes_on_with_the_rest(scripted_run):
    journal = scripted_run / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    third = next(i for i, line in enumerate(lines) if is_end_of(3)(json.loads(line)))
    journal.write_bytes(b"".join(lines[:third]) + lines[third][:20])
    repaired = repair(scripted_run)
    assert repaired.lost == tuple(range(third + 1, len(lines) + 1))
    assert repaired.again == (3,)
    assert [r.state for r in read_records(scripted_run)][:3] == ["COMPLETE", "COMPLETE", "PRUNED"]
    carry_on(scripted_run)


def test_a_whole_journal_is_left_alone(scripted_run):
    before = (scripted_run / JOURNAL).read_bytes()
    repaired = repair(scripted_run)
    assert (repaired.lost, repaired.again, repaired.old) == ((), (), None)
    assert (scripted_run / JOURNAL).read_bytes() == before
    assert len(list(scripted_run.glob(f"{JOURNAL}*"))) == 1


def test_a_lost_seal_is_made_again(scripted_run):
    (scripted_run / SEAL).unlink()
    repair(scripted_run)
    assert (
        from_line((scripted_run / SEAL).read_bytes()).log["bytes"]
        == (scripted_run / JOURNAL).stat().st_size
    )
    assert len(read_records(scripted_run)) == 6
