from __future__ import annotations

import optuna
import pytest

from tests.support.scripted import SPACE, ScriptedRun, metrics
from tunecnn import load_run
from tunecnn.errors import RunError
from tunecnn.study.mirror import Mirror
from tunecnn.trial.messages import Outcome, TrialEnd


def copied(mirror: Mirror) -> optuna.Study:
    (summary,) = optuna.get_all_study_summaries(mirror.storage)
    return optuna.load_study(study_name=summary.study_name, storage=mirror.storage)


def test_the_copy_has_every_trial_under_names_that_people_know(scripted_run):
    run = load_run(scripted_run)
    study = copied(Mirror(run.path, run.name, run.space.objectives, run.info.id))
    assert study.study_name == "scripted"
    assert study.metric_names == ["val_accuracy"]
    assert [trial.state.name for trial in study.trials] == [r.state for r in run.records]
    assert study.best_trial.number == 3
    for trial, record in zip(study.trials, run.records, strict=True):
        assert trial.params == pytest.approx(dict(record.values))
        assert trial.user_attrs["outcome"] == record.outcome.words
        assert all(len(str(text)) < 220 for text in trial.user_attrs.values())
        assert set(trial.intermediate_values) <= {one.epoch for one in record.epochs}
        assert abs((trial.datetime_complete - record.ended).total_seconds()) < 1
    assert study.trials[4].user_attrs["outcome"] == "diverged"


def test_the_copy_follows_a_run_epoch_by_epoch(tmp_path):
    run = ScriptedRun(tmp_path / "live")
    mirror = Mirror(run.path, "live", ["val_accuracy"])
    study = copied(mirror)
    assert [trial.state.name for trial in study.trials] == ["WAITING"]  # the baseline
    task = run.study.next_trial()
    for epoch in range(1, 4):
        run.study.report(task.number, metrics(epoch, epoch / 10))
        mirror.follow()
        assert study.trials[0].state.name == "RUNNING"
        assert study.trials[0].intermediate_values[epoch] == epoch / 10
        assert study.trials[0].params["net.width"] == 1.0
    run.study.report(task.number, metrics(4, 0.4))
    run.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
    run.study.next_trial()
    mirror.follow()
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
    assert study.best_value == 0.4


def test_nothing_done_to_the_copy_reaches_the_run(scripted_run):
    before = {path: path.read_bytes() for path in scripted_run.rglob("*") if path.is_file()}
    mirror = Mirror(scripted_run, "scripted", ["val_accuracy"])
    study = copied(mirror)
    study.set_user_attr("note", "typed by a reader")
    study.enqueue_trial({"net.width": 0.5})
    mirror.follow()
    assert {
        path: path.read_bytes() for path in scripted_run.rglob("*") if path.is_file()
    } == before


def test_a_trial_that_a_reader_adds_hides_no_number_of_the_run(tmp_path):
    run = ScriptedRun(tmp_path / "live")
    run.study.next_trial()
    mirror = Mirror(run.path, "live", ["val_accuracy"])
    study = copied(mirror)
    study.enqueue_trial({"net.width": 0.5})
    run.study.next_trial()
    mirror.follow()
    assert [t.user_attrs.get("number in the run") for t in study.trials] == [None, None, 1]
    assert study.trials[2].user_attrs["outcome"] == "running"


def test_a_copy_that_a_reader_has_deleted_says_so(scripted_run):
    mirror = Mirror(scripted_run, "scripted", ["val_accuracy"])
    optuna.delete_study(study_name="scripted", storage=mirror.storage)
    with pytest.raises(RunError, match="the copy has been deleted"):
        mirror.follow()


def test_infeasible_trials_break_a_constraint_in_the_copy(tmp_path):
    text = SPACE + "constraints: [params <= 100000]\n"
    run = ScriptedRun(tmp_path / "small", text.replace("start: [baseline]\n", ""))
    run.study.next_trial()
    study = copied(Mirror(run.path, "small", ["val_accuracy"]))
    infeasible = [t for t in study.trials if t.user_attrs["outcome"] == Outcome.INFEASIBLE.words]
    assert infeasible
    for trial in study.trials:
        assert (max(trial.system_attrs["constraints"]) > 0) == (trial in infeasible)
