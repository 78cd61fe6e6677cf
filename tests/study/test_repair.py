from __future__ import annotations

import json
import time

import optuna
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.scripted import SPACE, ScriptedRun, run_out
from tunecnn import load_run
from tunecnn.errors import RunError
from tunecnn.models.counting import CostCounter
from tunecnn.run.folder import RunFolder
from tunecnn.study.journal import JOURNAL, SEAL, Journal, from_line, to_line
from tunecnn.study.records import quiet_optuna, read_records
from tunecnn.study.storage import StudyStorage
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
    assert (
        len(study.running) + sum(r.state in ("COMPLETE", "PRUNED", "FAIL") for r in study.records)
        == 6
    )


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


PAUSING = """
name: pausing
dataset: digits
epochs: 9
trials: 4
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
sampler: random
pruner: {promotion: {min_epochs: 3, factor: 2}}
"""


@pytest.mark.parametrize(
    ("trial", "wanted"),
    [
        (0, lambda log: "epoch:1:2" in log.get("user_attr", {}) and log["trial_id"] == 0),
        (1, lambda log: "param_name" in log and log["trial_id"] == 1),
        (0, lambda log: "attempts" in log.get("user_attr", {}) and log["trial_id"] == 0),
        (0, lambda log: "params" in log.get("user_attr", {}) and log["trial_id"] == 0),
        (0, lambda log: "epoch:1:3" in log.get("user_attr", {}) and log["trial_id"] == 0),
    ],
)
def test_a_trial_that_has_not_ended_is_trained_again_too_if_it_lost_something(
    trial, wanted, tmp_path
):
    """A paused one was promoted without one of its epochs, a running one had other values."""
    scripted = ScriptedRun(tmp_path / "run", PAUSING)
    scripted.train([0.5, 0.6, 0.7])
    scripted.train([0.4])
    damage(scripted.path, wanted=wanted)
    assert repair(scripted.path).again == (trial,)
    records = load_run(scripted.path).records
    assert [len(record.epochs) for record in records] == [3 * (trial != 0), trial != 1]
    assert records[trial].state == "WAITING"


def rewrite(run, *, wanted, values) -> None:
    """Give the lines of which something is wanted other values, with right checksums."""
    journal = run / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    for i, raw in enumerate(lines):
        line = from_line(raw)
        if wanted(line.log):
            lines[i] = to_line(
                line.number, {**line.log, **values}, has_more=line.has_more, at=line.time
            )
    journal.write_bytes(b"".join(lines))


def test_nonsense_in_the_creation_of_a_trial_does_not_survive(scripted_run):
    rewrite(
        scripted_run,
        wanted=lambda log: log.get("trial") == 0,
        values={"user_attrs": {"proposal": True}},
    )
    with pytest.raises(RunError, match="study.journal is damaged"):
        read_records(scripted_run)
    assert repair(scripted_run).again == (0,)
    assert read_records(scripted_run)[0].state == "WAITING"
    carry_on(scripted_run)


def test_a_trial_that_had_just_begun_is_prepared_anew_without_its_config(tmp_path):
    run = ScriptedRun(tmp_path / "run")
    run.study.next_trial()
    lines = (run.path / JOURNAL).read_bytes().splitlines(keepends=True)
    at = next(i for i, raw in enumerate(lines) if b'"config"' in raw)
    lines[at] = b"?" * (len(lines[at]) - 1) + b"\n"
    (run.path / JOURNAL).write_bytes(b"".join(lines))
    repair(run.path)
    task = run.reopen().next_trial()
    assert (task.number, task.config.architecture) == (0, "proposed")


def test_an_epoch_under_the_key_of_another_is_damage_that_can_be_repaired(scripted_run):
    lines = [from_line(raw) for raw in (scripted_run / JOURNAL).read_bytes().splitlines(True)]
    metrics = next(
        line.log["user_attr"]["epoch:1:1"]
        for line in lines
        if "epoch:1:1" in line.log.get("user_attr", {})
    )
    rewrite(
        scripted_run,
        wanted=lambda log: "epoch:1:2" in log.get("user_attr", {}),
        values={"user_attr": {"epoch:1:2": {**metrics, "seconds": 1.0625 + 2**-20}}},
    )
    with pytest.raises(RunError, match="an epoch was reported twice"):
        read_records(scripted_run)
    assert repair(scripted_run).again
    assert not load_run(scripted_run).epochs.duplicated(["trial", "epoch"]).any()
    carry_on(scripted_run)


def test_many_senseless_lines_take_no_longer_than_one(tmp_path):
    run = ScriptedRun(tmp_path / "long", SPACE.replace("trials: 6", "trials: 100"))
    run_out(run.study)
    rewrite(
        run.path,
        wanted=lambda log: "epoch:1:1" in log.get("user_attr", {}),
        values={"user_attr": 3},
    )
    start = time.monotonic()
    assert len(repair(run.path).lost) >= 100
    assert time.monotonic() - start < 5  # a second; one pass for each took twenty
    assert len(read_records(run.path)) == 100


def test_a_journal_that_lost_its_end_goes_on_with_the_rest(scripted_run):
    journal = scripted_run / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    third = next(i for i, line in enumerate(lines) if is_end_of(3)(json.loads(line)))
    journal.write_bytes(b"".join(lines[:third]) + lines[third][:20])
    repaired = repair(scripted_run)
    group = next(i for i in range(third - 1, 0, -1) if b'"more":true' not in lines[i])
    assert repaired.lost == tuple(range(group + 2, len(lines) + 1))
    assert repaired.again == ()  # it has all its epochs, and was running
    assert [r.state for r in read_records(scripted_run)][:3] == ["COMPLETE", "COMPLETE", "PRUNED"]
    carry_on(scripted_run)


@pytest.mark.parametrize("kept", [0, 20])
def test_a_journal_of_which_nothing_is_left_has_lost_all_lines(kept, scripted_run):
    journal = scripted_run / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content[:kept])
    assert repair(scripted_run).lost == tuple(range(1, content.count(b"\n") + 1))
    assert read_records(scripted_run) == []


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


def foreign(**fields) -> bytes:
    """Return a line as Optuna's own storage appends it."""
    return json.dumps({"worker_id": "dashboard", "study_id": 0, **fields}).encode() + b"\n"


NOTE = foreign(op_code=2, user_attr={"note": "nice"})


def test_a_note_typed_in_the_dashboard_is_left_out_and_kept_in_the_file(scripted_run):
    before = read_records(scripted_run)
    with (scripted_run / JOURNAL).open("ab") as stream:
        stream.write(NOTE + foreign(op_code=4, state=0))
    with pytest.warns(UserWarning, match="lines that tunecnn did not write"):
        assert read_records(scripted_run) == before
    with pytest.warns(UserWarning, match="lines that tunecnn did not write"):
        assert repair(scripted_run).old is None
    with pytest.warns(UserWarning, match="lines that tunecnn did not write"):
        carry_on(scripted_run)
    assert NOTE in (scripted_run / JOURNAL).read_bytes()


def test_a_note_during_a_run_is_kept(tmp_path):
    path = tmp_path / JOURNAL
    journal = Journal(path, writable=True)
    storage = StudyStorage(journal)
    with quiet_optuna():
        study = optuna.create_study(storage=storage)
        with path.open("ab") as stream:
            stream.write(NOTE)
        with pytest.warns(UserWarning, match="lines that tunecnn did not write"):
            study.ask()
    study.ask()
    assert path.read_bytes().count(NOTE) == 1
    with pytest.warns(UserWarning, match="lines that tunecnn did not write"):
        assert len(StudyStorage(Journal(path)).get_all_trials(0)) == 2


def test_a_journal_of_another_run_is_refused(scripted_run):
    with pytest.raises(RunError, match=r"study.journal and run.json beside it are of different"):
        read_records(scripted_run, "another")
    info = RunFolder.open(scripted_run).read_info()
    RunFolder.open(scripted_run).write_info(info.with_changes(id="another"))
    for read in (load_run, repair):
        with pytest.raises(RunError, match=r"are of different runs; put back the one that was"):
            read(scripted_run)


@st.composite
def nonsense(draw) -> dict:
    """Return an operation with a right checksum that tunecnn did not write."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=4,
    )
    names = ["worker_id", "trial_id", "trial", "study_id", "state", "values", "user_attr", "step",
             "param_name", "distribution", "datetime_start", "intermediate_value"]  # fmt: skip
    log = {
        name: draw(anything | st.integers(0, 7))
        for name in draw(st.lists(st.sampled_from(names), unique=True))
    }
    attrs = ["attempts", "config", "kept_epoch", "where", "epoch:1:1", "epoch:x", "begin:1",
             "outcome", "reason", "weights"]  # fmt: skip
    if draw(st.booleans()):
        log |= {
            "op_code": 8,
            "worker_id": "w",
            "trial_id": draw(st.integers(0, 7)),
            "user_attr": {draw(st.sampled_from(attrs)): draw(anything | st.just(10**9))},
        }
    else:
        log["op_code"] = draw(anything | st.integers(0, 11))
    return log


@settings(
    max_examples=40,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_wherever_reading_fails_repair_makes_it_readable(scripted_run, data):
    """Any lines may be replaced by noise or by nonsense with a right checksum, anywhere."""
    for path in scripted_run.glob(f"{JOURNAL}.damaged-*"):
        path.unlink()
    journal, seal = scripted_run / JOURNAL, scripted_run / SEAL
    kept = journal.read_bytes(), seal.read_bytes()
    try:
        lines = kept[0].splitlines(keepends=True)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(lines)))
            number = data.draw(st.sampled_from([at + 1, at, 0, 10**9]))
            new = data.draw(
                st.builds(to_line, st.just(number), nonsense())
                | st.binary(max_size=20).map(lambda noise: noise.replace(b"\n", b"") + b"\n")
            )
            lines[at : at + data.draw(st.integers(0, 1))] = [new]
        journal.write_bytes(b"".join(lines))
        if data.draw(st.booleans()):
            seal.write_bytes(
                to_line(data.draw(st.sampled_from([0, 5, 10**12])), data.draw(nonsense()))
            )
        try:
            load_run(scripted_run)
        except RunError:
            assert repair(scripted_run).old is not None
            load_run(scripted_run)
    finally:
        journal.write_bytes(kept[0])
        seal.write_bytes(kept[1])


GIVEN = """
name: given
dataset: digits
epochs: 1
trials: 6
parameters:
  net.dropout_dense: {choice: [0.1, 0.2, 0.3]}
  seed: {choice: [1, 2]}
sampler: grid
"""
START = """start:
  - {net.dropout_dense: 0.3, seed: 2}
  - {net.dropout_dense: 0.1, seed: 1}
"""


@pytest.mark.parametrize("text", [GIVEN, GIVEN + START], ids=["grid", "start points"])
def test_a_given_trial_that_lost_its_creation_has_its_values_again(text, tmp_path):
    """As its number says what it is: a candidate of a confirmation, a seed of a reproduction."""
    whole = ScriptedRun(tmp_path / "whole", text)
    whole.train_all(lambda task: 0.5)
    values = [record.values for record in load_run(whole.path).records]
    assert len({tuple(one.items()) for one in values}) == 6
    for number in (0, 1, 4):
        scripted = ScriptedRun(tmp_path / f"run{number}", text)
        scripted.train_all(lambda task: 0.5)
        damage(
            scripted.path,
            wanted=lambda log, lost=number: (
                log.get("trial") == lost
                or (log.get("trial_id") == lost and ("param_name" in log or log["op_code"] == 6))
            ),
        )
        assert repair(scripted.path).again == (number,)
        study = scripted.reopen()
        run_out(study, epochs=1)
        assert [record.values for record in study.records] == values
