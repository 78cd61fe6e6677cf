from __future__ import annotations

import pytest

from tests.conftest import metrics
from tests.test_search import Silent
from tunecnn.errors import RunError
from tunecnn.metrics import EpochMetrics, Outcome, Report
from tunecnn.recorder import KEEP_WEIGHTS, Recorder, weights_path


def report(accuracy: float, ended: bool = True) -> Report:
    outcome = Outcome("complete", kept_epoch=1, weights=str(accuracy).encode()) if ended else None
    return Report((metrics(1, accuracy),), outcome, "desk", "cpu")


@pytest.fixture
def one_epoch(open_study):
    return lambda: open_study(
        "dataset: digits\nepochs: 1\ntrials: 9\nparameters: {width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\n"
    )


def test_the_weights_of_the_best_few_are_kept_also_across_a_resume(one_epoch, tmp_path):
    accuracies = [0.5, 0.9, 0.7, 0.8, 0.6, 0.95, 0.1]
    for part in (accuracies[:4], accuracies[4:]):
        recorder = Recorder(one_epoch(), tmp_path / "w", Silent())
        for accuracy in part:
            trial = recorder.next_trial()
            assert not recorder.report(trial.number, report(accuracy))
    kept = {float(path.read_bytes()) for path in (tmp_path / "w").iterdir()}
    assert kept == set(sorted(accuracies)[-KEEP_WEIGHTS:])
    assert weights_path(tmp_path / "w", 5).read_bytes() == b"0.95"


def test_of_equal_accuracies_the_lower_loss_keeps_its_weights(one_epoch, tmp_path):
    recorder = Recorder(one_epoch(), tmp_path / "w", Silent())
    for number in range(5):
        recorder.next_trial()
        same = EpochMetrics(1, 0.5, 0.5, 1.0 - number / 10, 0.9, 1.0)
        outcome = Outcome("complete", kept_epoch=1, weights=b"w")
        recorder.report(number, Report((same,), outcome, "desk", "cpu"))
    kept = sorted(path.name for path in (tmp_path / "w").iterdir())
    assert kept == [f"trial-0000{n}.safetensors" for n in (2, 3, 4)]


def test_a_cluster_whose_workers_all_die_is_given_up(one_epoch, tmp_path):
    recorder = Recorder(one_epoch(), tmp_path / "w", Silent())
    for _ in range(3):
        trial = recorder.next_trial()
        recorder.worker_died(trial.number, "No module named 'tunecnn'", max_attempts=3)
    assert recorder.next_trial() is None
    assert "3 workers died before their first epoch: No module" in str(recorder.failure)


def test_a_report_of_a_trial_that_is_not_under_way_changes_nothing(one_epoch, tmp_path):
    recorder = Recorder(one_epoch(), tmp_path / "w", Silent())
    assert not recorder.report(7, report(0.5))
    assert recorder.failure is None


def test_a_dead_worker_is_forgiven_so_often_and_no_more(one_epoch, tmp_path):
    recorder = Recorder(one_epoch(), tmp_path / "w", Silent())
    recorder.report(recorder.next_trial().number, report(0.5))
    for _ in range(3):
        assert recorder.next_trial().number == 1
        recorder.worker_died(1, "killed", max_attempts=3)
    assert recorder.next_trial().number == 2


def test_a_run_that_cannot_be_written_ends_and_says_so(one_epoch, tmp_path, monkeypatch):
    study = one_epoch()
    recorder = Recorder(study, tmp_path / "w", Silent())
    trial = recorder.next_trial()

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study, "report", full)
    assert not recorder.report(trial.number, report(0.5))
    assert isinstance(recorder.failure, RunError)
    assert "No space left on device" in str(recorder.failure)
    assert recorder.next_trial() is None
