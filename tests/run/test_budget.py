from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.support.scripted import metrics
from tests.support.searching import TEXT, Silent, begin, carry_on
from tunecnn import load_run
from tunecnn.run.budget import Spending
from tunecnn.space.strategy import Budget


def spending(budget: Budget, devices: float = 1.0, wall: float = 0.0):
    times = iter(range(0, 1_000_000, 1800))  # half an hour between two looks at the clock
    return Spending(budget, "val_accuracy", devices, wall, (), clock=lambda: float(next(times)))


def test_nothing_is_used_up_without_a_limit():
    assert spending(Budget()).used_up == ""


def test_hours_are_those_of_all_sessions():
    ours = spending(Budget(hours=2), wall=3600.0)
    assert ours.used_up == ""  # one and a half
    assert ours.used_up == "2 of 2 hours are used up"


def test_device_hours_are_those_of_all_trials_together():
    ours = spending(Budget(device_hours=0.001), devices=2.0)
    ours.epoch(metrics(1, 0.5))  # 1.5 s
    assert ours.used_up == ""
    ours.epoch(metrics(2, 0.5))
    assert ours.used_up == "0.00167 of 0.001 device-hours are used up"


def test_a_target_is_reached_by_a_complete_trial():
    ours = spending(Budget(accuracy=0.9))
    ours.complete(metrics(1, 0.89))
    assert ours.used_up == ""
    ours.complete(metrics(2, 0.9))
    assert ours.used_up == "a trial reached 90.00% validation accuracy"


def test_a_target_is_one_of_what_the_search_ranks_by():
    budget = Budget(accuracy=0.9)
    ours = Spending(budget, "val_balanced_accuracy", 1.0, 0.0, ())
    one = dataclasses.replace(metrics(1, 0.95), val_balanced_accuracy=0.5)
    ours.complete(one)
    assert ours.used_up == ""
    ours.complete(dataclasses.replace(one, val_balanced_accuracy=0.91))
    assert ours.used_up == "a trial reached 91.00% balanced validation accuracy"


def test_a_budget_that_ends_before_the_first_trial_is_no_failure(tmp_path):
    result = begin(tmp_path, TEXT + "budget: {hours: 1.0e-9}\n")
    assert result.ending == "done"
    assert result.summary.verdict.startswith(
        "No trial has been trained to its end yet (ended: 0), so none is ranked. No further "
        "trial was started, since"
    )


def test_a_search_whose_budget_is_used_up_is_done_says_so_and_can_be_given_more(tmp_path):
    text = TEXT.replace("trials: 3", "trials: 6") + "budget: {accuracy: 0.05}\n"
    result = begin(tmp_path, text)
    assert result.ending == "done"
    assert load_run(result.folder).trials["state"].tolist() == ["COMPLETE"]
    assert "No further trial was started, since a trial reached" in result.summary.verdict
    assert (
        "6 trials or a trial with an accuracy of 5.00%"
        in (result.folder / "summary.md").read_text()
    )
    again = carry_on(result.folder, Silent(), budget={"accuracy": 1.0})
    assert again.ending == "done"
    assert len(load_run(result.folder).complete) == 6
    assert "No further trial" not in again.summary.verdict


@pytest.mark.parametrize("devices", [1.0, 8.0])
def test_earlier_sessions_count_with_the_devices_that_they_had(devices, scripted_run):
    records = load_run(scripted_run).records
    ours = Spending(Budget(device_hours=1e-6), "val_accuracy", devices, 0.0, records)
    seconds = 1.5 * sum(len(record.epochs) for record in records)
    assert f"{seconds / 3600:.3g} of 1e-06 device-hours" in ours.used_up
    older = [dataclasses.replace(record, devices=None) for record in records]  # not recorded
    ours = Spending(Budget(device_hours=1e-6), "val_accuracy", devices, 0.0, older)
    assert f"{devices * seconds / 3600:.3g} of 1e-06 device-hours" in ours.used_up


def test_work_that_was_lost_and_done_again_was_spent_twice(open_study):
    study = open_study()
    trial = study.next_trial()
    for _ in range(2):
        study.report(trial.number, metrics(1, 0.5))
        study.requeue(trial.number)  # its worker died before a checkpoint
        trial = study.next_trial()
    (record, *_) = study.records
    assert (len(record.epochs), record.spent) == (1, 3.0)
    ours = Spending(Budget(device_hours=1e-6), "val_accuracy", 1.0, 0.0, [record])
    assert f"{3 / 3600:.3g} of 1e-06 device-hours" in ours.used_up


def test_what_a_trial_takes_is_recorded_with_it(tmp_path):
    run = load_run(begin(tmp_path, threads=2).folder)
    cores_or_gpus = 1.0 if torch.cuda.is_available() else 2.0
    assert [record.devices for record in run.records] == [cores_or_gpus] * 3
