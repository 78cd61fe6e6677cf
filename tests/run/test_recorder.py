from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.scripted import ScriptedRun, metrics
from tests.support.searching import Silent
from tunecnn.errors import RunError
from tunecnn.process import Interrupts
from tunecnn.run.artifacts import Artifacts, weights_path
from tunecnn.run.budget import Spending
from tunecnn.run.recorder import Limits, Recorder
from tunecnn.space.strategy import Budget
from tunecnn.study.study import Study
from tunecnn.summary.run_types import summarize
from tunecnn.trial.messages import Checkpoint, EpochMetrics, Outcome, TrialEnd, TrialUpdate


def report(accuracy: float, ended: bool = True) -> TrialUpdate:
    outcome = (
        TrialEnd(Outcome.COMPLETE, kept_epoch=1, weights=str(accuracy).encode()) if ended else None
    )
    return TrialUpdate((metrics(1, accuracy),), outcome)


NO_LIMIT = Spending(Budget(), "val_accuracy", 1.0, 0.0, ())


def recorder_of(
    study: Study,
    tmp_path: Path,
    warnings: list[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **limits: float,
) -> Recorder:
    warnings = [] if warnings is None else warnings
    artifacts = Artifacts(tmp_path, warnings.append)
    lease = SimpleNamespace(check=lambda: None, end=lambda: None)  # nobody else is there
    return Recorder(
        study, artifacts, Silent(), NO_LIMIT, Limits(**limits), Interrupts(), lease, clock=clock
    )


@pytest.fixture
def one_epoch(open_study):
    return lambda: open_study(
        "dataset: digits\nepochs: 1\ntrials: 9\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\n"
    )


def test_the_weights_of_the_best_few_are_kept_also_across_a_resume(one_epoch, tmp_path):
    accuracies = [0.5, 0.9, 0.7, 0.8, 0.6, 0.95, 0.1]
    for part in (accuracies[:4], accuracies[4:]):
        recorder = recorder_of(one_epoch(), tmp_path)
        for accuracy in part:
            trial = recorder.next_trial()
            assert not recorder.take(trial.number, report(accuracy))
    kept = {float(path.read_bytes()) for path in (tmp_path / "weights").iterdir()}
    assert kept == set(sorted(accuracies)[-3:])
    assert weights_path(tmp_path, 5).read_bytes() == b"0.95"


@pytest.mark.parametrize(("limit", "left"), [(1, 1), (4, 4), (100, 6)])
def test_as_many_weights_are_kept_as_are_wanted(limit, left, one_epoch, tmp_path):
    recorder = recorder_of(one_epoch(), tmp_path, keep_weights=limit)
    for accuracy in (0.5, 0.9, 0.7, 0.8, 0.6, 0.95):
        recorder.take(recorder.next_trial().number, report(accuracy))
    assert len(list((tmp_path / "weights").iterdir())) == left


def test_the_weights_are_those_of_the_values_that_the_summary_ranks_first(one_epoch, tmp_path):
    """By their mean over several seeds: the luckiest trials were of other values."""
    recorder = recorder_of(one_epoch(), tmp_path)
    lucky = iter([0.95, 0.93, 0.91, *[0.1] * 9])
    steady = set()
    while (trial := recorder.next_trial()) is not None:
        is_steady = trial.config.net["width"] == 1.0
        recorder.take(trial.number, report(0.8 if is_steady else next(lucky)))
        steady |= {trial.number} if is_steady else set()
    kept = {int(path.stem.partition("-")[2]) for path in (tmp_path / "weights").iterdir()}
    assert len(steady) > 2
    assert kept & steady


def test_of_equal_accuracies_the_lower_loss_keeps_its_weights(one_epoch, tmp_path):
    recorder = recorder_of(one_epoch(), tmp_path)
    for number in range(5):
        recorder.next_trial()
        same = EpochMetrics(1, 0.5, 0.5, 1.0 - number / 10, 0.9, 1.0)
        outcome = TrialEnd(Outcome.COMPLETE, kept_epoch=1, weights=b"w")
        recorder.take(number, TrialUpdate((same,), outcome))
    kept = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert kept == [f"trial-0000{n}.safetensors" for n in (2, 3, 4)]


@pytest.mark.parametrize("start", ["", "start: [baseline]\n"])
def test_the_predictions_of_the_baseline_are_kept_wherever_it_comes_from(
    start, open_study, tmp_path
):
    """A grid has it among its points; the summary compares the best trial with it."""
    study = open_study(
        "dataset: digits\nepochs: 1\ntrials: 4\nsampler: grid\n"
        f"parameters: {{net.width: {{choice: [0.5, 0.75, 1.0, 2.0]}}}}\n{start}"
    )
    recorder, widths = recorder_of(study, tmp_path, keep_weights=1), {}
    while (trial := recorder.next_trial()) is not None:
        width = trial.config.net["width"]
        widths[width] = trial.number
        end = TrialEnd(Outcome.COMPLETE, kept_epoch=1, weights=b"w", predictions=b"p")
        accuracy = 0.9 if width == 2.0 else 0.5 - width / 10
        recorder.take(trial.number, TrialUpdate((metrics(1, accuracy),), end))
    kept = {path.name.partition(".")[0] for path in (tmp_path / "validation").iterdir()}
    assert kept == {f"trial-{widths[width]:05d}" for width in (1.0, 2.0)}
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [
        f"trial-{widths[2.0]:05d}.safetensors"
    ]


def test_of_a_trial_that_pauses_nothing_is_kept_that_came_after(open_study, tmp_path):
    study = open_study(
        "dataset: digits\nepochs: 3\ntrials: 4\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\npruner: {promotion: {min_epochs: 1, factor: 3}}\n"
    )
    recorder = recorder_of(study, tmp_path)
    too_far = TrialUpdate(epochs_until(3).epochs, report(0.5).end)
    for update in (epochs_until(1, checkpoint=True), too_far):
        number = recorder.next_trial().number
        assert not recorder.take(number, update)
        assert study.record(number).outcome is Outcome.PAUSED
    assert [path.name[:11] for path in (tmp_path / "checkpoints").iterdir()] == ["trial-00000"]
    assert not (tmp_path / "weights").exists()


def test_a_cluster_whose_workers_all_die_is_given_up(one_epoch, tmp_path):
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    dead = []
    while (trial := recorder.next_trial()) is not None:
        dead.append(trial.number)
        recorder.worker_died(trial.number, "No module named 'tunecnn'", max_failures=2)
    assert dead == [0, 0, 0, 1]  # the first may be at fault itself
    assert str(recorder.failure) == (
        "the workers of 2 trials died before any had finished an epoch: No module named 'tunecnn'; "
        f"when the reason is gone, carry on with: tunecnn search --resume {tmp_path}"
    )
    assert study.record(1).outcome == "running"  # and waits when the session has ended


@pytest.mark.parametrize("most", [0, 2])
def test_a_trial_that_always_kills_its_worker_takes_no_other_with_it(most, one_epoch, tmp_path):
    """Not even in the first epoch of all, which may take an hour."""
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    first, *others = (recorder.next_trial() for _ in range(3))
    for _ in range(most + 1):
        recorder.worker_died(first.number, "SIGSEGV", max_failures=most)
        if study.record(first.number).outcome == "waiting":
            assert recorder.next_trial().number == first.number
    assert (recorder.failure, study.record(first.number).outcome) == (None, "error")
    assert set(recorder.running) >= {one.number for one in others}


def test_an_update_of_a_trial_that_does_not_run_changes_nothing(one_epoch, tmp_path):
    recorder = recorder_of(one_epoch(), tmp_path)
    assert not recorder.take(7, report(0.5))
    assert recorder.failure is None


def test_a_dead_worker_is_forgiven_so_often_and_no_more(one_epoch, tmp_path):
    recorder = recorder_of(one_epoch(), tmp_path)
    recorder.take(recorder.next_trial().number, report(0.5))
    for _ in range(3):
        assert recorder.next_trial().number == 1
        recorder.worker_died(1, "killed", max_failures=2)
    assert recorder.next_trial().number == 2


def test_a_run_that_cannot_be_written_ends_and_says_so(one_epoch, tmp_path, monkeypatch):
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    trial = recorder.next_trial()

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study, "report", full)
    assert not recorder.take(trial.number, report(0.5))
    assert isinstance(recorder.failure, RunError)
    assert "No space left on device" in str(recorder.failure)
    assert recorder.next_trial() is None


def epochs_until(last: int, *, first: int = 1, checkpoint: bool = False) -> TrialUpdate:
    epochs = tuple(metrics(epoch, epoch / 10) for epoch in range(first, last + 1))
    saved = Checkpoint(last, f"state {last}".encode()) if checkpoint else None
    return TrialUpdate(epochs, None, saved)


@pytest.fixture
def nine_epochs(open_study):
    return lambda: open_study(
        "dataset: digits\nepochs: 9\ntrials: 1\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\n"
    )


def test_a_trial_goes_on_from_its_newest_checkpoint_with_the_epochs_that_led_to_it(
    nine_epochs, tmp_path
):
    recorder = recorder_of(nine_epochs(), tmp_path)
    assert recorder.next_trial().checkpoint is None
    recorder.take(0, epochs_until(2, checkpoint=True))
    recorder.take(0, epochs_until(4, first=3, checkpoint=True))
    recorder.take(0, epochs_until(6, first=5))
    for _ in range(2):  # also when the next attempt dies before it has a checkpoint of its own
        study = nine_epochs()
        recorder = recorder_of(study, tmp_path)
        assert recorder.next_trial().checkpoint == Checkpoint(4, b"state 4")
        recorder.take(0, epochs_until(5, first=5))
    assert [m.epoch for m in study.record(0).epochs] == [1, 2, 3, 4, 5]
    recorder.take(0, epochs_until(6, first=6, checkpoint=True))
    study = nine_epochs()
    recorder = recorder_of(study, tmp_path)
    assert recorder.next_trial().checkpoint == Checkpoint(6, b"state 6")
    assert [m.epoch for m in study.record(0).epochs] == [1, 2, 3, 4, 5, 6]


def test_of_the_paused_trials_the_better_half_keeps_its_checkpoints(open_study, tmp_path):
    study = open_study(
        "dataset: digits\nepochs: 3\ntrials: 40\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\npruner: {promotion: {min_epochs: 2, factor: 39}}\n"
    )
    recorder, accuracies = recorder_of(study, tmp_path), {}
    for index in range(30):
        number = recorder.next_trial().number
        accuracies[number] = 0.5 + (index * 7 % 30) / 100
        epochs = tuple(metrics(epoch, accuracies[number]) for epoch in (1, 2))
        recorder.take(number, TrialUpdate(epochs, None, Checkpoint(2, b"checkpoint")))
    assert {*study.paused} == {*accuracies}
    ranked = sorted(accuracies, key=accuracies.__getitem__, reverse=True)
    assert sorted(study.unlikely) == sorted(ranked[15:])
    kept = {int(path.name[6:11]) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {*ranked[:15]}


def test_a_trial_that_ends_leaves_no_checkpoint(nine_epochs, tmp_path):
    recorder = recorder_of(nine_epochs(), tmp_path)
    recorder.next_trial()
    recorder.take(0, epochs_until(2, checkpoint=True))
    assert list((tmp_path / "checkpoints").iterdir())
    recorder.take(0, TrialUpdate((), TrialEnd(Outcome.ERROR, reason="x")))
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(("damaged", "goes_on_from"), [(1, 2), (2, None)])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(
    damaged, goes_on_from, nine_epochs, tmp_path
):
    recorder = recorder_of(nine_epochs(), tmp_path)
    recorder.next_trial()
    recorder.take(0, epochs_until(2, checkpoint=True))
    recorder.take(0, epochs_until(4, first=3, checkpoint=True))
    files = sorted((tmp_path / "checkpoints").iterdir())
    assert len(files) == 2
    for file in files[-damaged:]:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    warnings: list[str] = []
    study = nine_epochs()
    checkpoint = recorder_of(study, tmp_path, warnings).next_trial().checkpoint
    assert (checkpoint.epoch if checkpoint else None) == goes_on_from
    assert len(warnings) == damaged
    assert warnings[0] == f"{files[1]} is damaged; trial 0 goes on from before it"
    assert not goes_on_from or [m.epoch for m in study.record(0).epochs] == [1, 2]


def test_a_checkpoint_whose_epochs_the_journal_does_not_hold_is_not_used(nine_epochs, tmp_path):
    study = nine_epochs()
    recorder_of(study, tmp_path).next_trial()
    Artifacts(tmp_path, print).write_files(0, Checkpoint(3, b"from nowhere"))
    study = nine_epochs()
    recorder = recorder_of(study, tmp_path)
    assert recorder.next_trial().checkpoint is None
    recorder.take(0, epochs_until(1))
    assert [m.epoch for m in study.record(0).epochs] == [1]


def test_a_training_that_began_again_keeps_its_own_checkpoints(nine_epochs, tmp_path):
    """Those of later epochs came first in their order, and each new one was removed at once."""
    study = nine_epochs()
    recorder_of(study, tmp_path).next_trial()
    for epoch in (6, 7):
        Artifacts(tmp_path, print).write_files(0, Checkpoint(epoch, b"of a lost journal"))
    recorder = recorder_of(nine_epochs(), tmp_path)
    assert recorder.next_trial().checkpoint is None
    for epoch in (1, 2, 3):
        recorder.take(0, epochs_until(epoch, first=epoch, checkpoint=True))
    study = nine_epochs()
    assert recorder_of(study, tmp_path).next_trial().checkpoint == Checkpoint(3, b"state 3")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_checkpoints_are_in_the_order_of_their_epochs_however_many_digits_they_have(tmp_path):
    files = Artifacts(tmp_path, print)
    for epoch in (99_998, 99_999, 100_000, 100_001):
        files.write_files(0, Checkpoint(epoch, b"%d" % epoch))
    assert files.newest_checkpoint(0) == Checkpoint(100_001, b"100001")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_an_attempt_killed_before_it_began_costs_no_epoch(nine_epochs, tmp_path):
    recorder = recorder_of(nine_epochs(), tmp_path)
    recorder.next_trial()
    recorder.take(0, epochs_until(3, checkpoint=True))
    nine_epochs().next_trial()  # killed before the checkpoint was read
    study = nine_epochs()
    assert recorder_of(study, tmp_path).next_trial().checkpoint == Checkpoint(3, b"state 3")
    assert [m.epoch for m in study.record(0).epochs] == [1, 2, 3]


def test_a_checkpoint_that_the_worker_cannot_use_costs_the_checkpoint_and_not_the_trial(
    nine_epochs, tmp_path
):
    recorder = recorder_of(nine_epochs(), tmp_path)
    recorder.next_trial()
    recorder.take(0, epochs_until(3, checkpoint=True))
    study = nine_epochs()
    recorder = recorder_of(study, tmp_path)
    assert recorder.next_trial().checkpoint is not None
    damaged = TrialUpdate((), None, bad_checkpoint="a checkpoint is damaged")
    assert not recorder.take(0, damaged)
    assert recorder.next_trial().checkpoint is None
    recorder.take(0, epochs_until(1))
    assert [m.epoch for m in study.record(0).epochs] == [1]
    assert not list((tmp_path / "checkpoints").iterdir())


NO_MEMORY = TrialUpdate((), TrialEnd(Outcome.OUT_OF_MEMORY, reason="CUDA out of memory"))


def test_a_trial_that_ran_out_of_memory_beside_others_is_tried_again_alone_at_the_end(
    one_epoch, tmp_path
):
    recorder = recorder_of(one_epoch(), tmp_path)
    first, second = recorder.next_trial(), recorder.next_trial()
    assert not recorder.take(first.number, NO_MEMORY)
    assert recorder.running == (second.number,)
    others = [recorder.next_trial().number for _ in range(7)]
    assert recorder.next_trial() is None
    for number in (second.number, *others):
        assert recorder.next_trial() is None  # not while another runs
        recorder.take(number, report(0.5))
    assert recorder.next_trial().number == first.number
    assert recorder.next_trial() is None
    recorder.take(first.number, report(0.9))
    assert one_epoch().record(first.number).state == "COMPLETE"


def test_what_runs_out_of_memory_alone_is_infeasible(one_epoch, tmp_path):
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    recorder.take(recorder.next_trial().number, NO_MEMORY)
    assert study.record(0).outcome == "out_of_memory"
    assert recorder.next_trial().number == 1


def test_a_worker_that_was_killed_for_memory_is_no_failure_of_the_cluster(one_epoch, tmp_path):
    """Ray's memory monitor kills it; the same attempt again would end in the same way."""
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    first, second = recorder.next_trial(), recorder.next_trial()
    reason = "Worker exit detail: killed due to the node running low on memory."
    recorder.worker_died(first.number, reason, max_failures=2)
    assert recorder.running == (second.number,)  # it waits until it can run alone
    recorder.take(second.number, report(0.5))
    while (trial := recorder.next_trial()).number != first.number:
        recorder.take(trial.number, report(0.5))
    recorder.worker_died(first.number, reason, max_failures=2)
    assert study.record(first.number).outcome == "out_of_memory"
    assert study.record(first.number).reason == reason


def test_a_trial_that_takes_too_long_is_given_up(nine_epochs, tmp_path):
    now = 0.0
    study = nine_epochs()
    recorder = recorder_of(study, tmp_path, clock=lambda: now, trial_timeout=60)
    number = recorder.next_trial().number
    assert not recorder.give_up_overdue()
    now = 1000.0  # so long it waited for a place
    assert not recorder.give_up_overdue()
    recorder.started(number)
    now = 1059.0
    assert not recorder.give_up_overdue()
    assert recorder.take(number, report(0.5, ended=False))
    now = 1061.0
    assert not recorder.take(number, TrialUpdate((metrics(2, 0.6),), None))
    record = study.record(number)
    assert (record.state, record.outcome) == ("FAIL", "timeout")
    assert record.reason == "not finished after 60 s (--trial-timeout)"
    assert not recorder.give_up_overdue()  # it has ended


def test_a_postponed_trial_is_still_alone_after_a_resume(one_epoch, tmp_path):
    recorder = recorder_of(one_epoch(), tmp_path)
    recorder.next_trial(), recorder.next_trial()
    recorder.take(0, NO_MEMORY)
    study = one_epoch()
    recorder = recorder_of(study, tmp_path)
    numbers = [recorder.next_trial().number for _ in range(8)]
    assert 0 not in numbers
    for number in numbers:
        recorder.take(number, report(0.5))
    assert recorder.next_trial().number == 0
    recorder.take(0, NO_MEMORY)
    assert study.record(0).outcome == "out_of_memory"
    assert study.finished


def said(
    recorder: Recorder, number: int, accuracies: list[float], outcome: TrialEnd | None = None
):
    """Report epochs one by one, and how the trial ended, as long as it goes on."""
    for epoch, accuracy in enumerate(accuracies, 1):
        loss = math.nan if math.isnan(accuracy) else 0.5
        figures = metrics(epoch, 0.1 if math.isnan(accuracy) else accuracy, loss)
        last = outcome if epoch == len(accuracies) else None
        if not recorder.take(number, TrialUpdate((figures,), last)):
            return


COMPLETE = TrialEnd(Outcome.COMPLETE, kept_epoch=9, weights=b"w")
NOT_FINITE = TrialEnd(Outcome.DIVERGED, reason="the loss is not finite")
NAN = math.nan
OUTCOMES = {
    # what happens: (what the trial does, state in the study, ending, epochs that count, words)
    "complete": (lambda r, n: said(r, n, [0.5] * 9, COMPLETE),
                 "COMPLETE", "complete", 9, "trained to the end"),
    "pruned at the first rung": (lambda r, n: said(r, n, [0.1] * 9, COMPLETE),
                                 "PRUNED", "pruned", 1, "stopped early by the pruner"),
    "pruned at the second rung": (lambda r, n: said(r, n, [0.9] + [0.1] * 8, COMPLETE),
                                  "PRUNED", "pruned", 3, "stopped early by the pruner"),
    "not finite from the start": (lambda r, n: said(r, n, [NAN], NOT_FINITE),
                                  "FAIL", "diverged", 1, "diverged"),
    "not finite later": (lambda r, n: said(r, n, [0.9, 0.9, NAN], NOT_FINITE),
                         "PRUNED", "diverged", 3, "diverged"),
    "out of memory, alone": (lambda r, n: r.take(n, NO_MEMORY),
                             "PRUNED", "out_of_memory", 0, "out of memory"),
    "an error in the training": (lambda r, n: r.take(n, FAILED),
                                 "FAIL", "error", 0, "failed with an error"),
    "a worker that dies once": (lambda r, n: (r.worker_died(n, "killed", 2), r.next_trial(),
                                              said(r, n, [0.9] * 9, COMPLETE)),
                                "COMPLETE", "complete", 9, "trained to the end"),
    "a worker that always dies": (lambda r, n: [(r.worker_died(n, "killed", 1), r.next_trial())
                                                for _ in range(2)],
                                  "FAIL", "error", 0, "failed with an error"),
    "one that hangs": (lambda r, n: hang(r, n), "FAIL", "timeout", 0, "took too long"),
}  # fmt: skip
FAILED = TrialUpdate((), TrialEnd(Outcome.ERROR, reason="ValueError in x.py:1: bad"))


def hang(recorder: Recorder, number: int) -> None:
    recorder.started(number)
    assert recorder.give_up_overdue() == [number]


@pytest.mark.parametrize("what", OUTCOMES)
def test_what_study_frame_and_summary_say_of_each_way_to_end(what, tmp_path):
    happens, state, ending, epochs, words = OUTCOMES[what]
    text = (
        "dataset: digits\nepochs: 9\ntrials: 2\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "start: [{net.width: 0.5}, {net.width: 1.0}]\nsampler: random\npruner: {halving: {factor: 3}}\n"
    )
    scripted = ScriptedRun(tmp_path / "run", text)
    minutes = itertools.count(0, 61)  # that pass between two questions for the time
    clock = lambda: float(next(minutes))  # noqa: E731
    recorder = recorder_of(scripted.study, tmp_path, clock=clock, trial_timeout=60)
    said(recorder, recorder.next_trial().number, [0.5] * 9, COMPLETE)
    happens(recorder, recorder.next_trial().number)
    assert recorder.next_trial() is None
    run = scripted.load()
    row = run.trials.iloc[1]
    assert (row["state"], row["outcome"], row["epochs"]) == (state, ending, epochs)
    assert not {"RUNNING", "WAITING"} & set(run.trials["state"])
    summary = summarize(run)
    assert words in summary.outcomes
    assert len(run.ranked) == 1 + (ending == "complete")
    if ending in ("diverged", "out_of_memory", "error", "timeout"):
        assert summary.failures == {1: row["reason"]}
        assert row["reason"]


def test_where_every_trial_diverges_none_is_ranked(tmp_path):
    text = (
        "dataset: digits\nepochs: 9\ntrials: 2\nparameters: {net.width: {choice: [0.5, 1.0]}}\n"
        "sampler: random\n"
    )
    scripted = ScriptedRun(tmp_path / "run", text)
    recorder = recorder_of(scripted.study, tmp_path)
    while (trial := recorder.next_trial()) is not None:
        said(recorder, trial.number, [NAN], NOT_FINITE)
    summary = summarize(scripted.load())
    assert summary.outcomes == {"diverged": 2}
    assert summary.best is None
    assert "none is ranked" in summary.verdict
