from __future__ import annotations

import math

import pytest

from tests.support.scripted import SPACE, finish, metrics, run_out
from tunecnn.errors import RunError
from tunecnn.space.space import SearchSpace
from tunecnn.study.distributions import grid
from tunecnn.study.journal import JOURNAL
from tunecnn.study.records import read_records
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

NAN = float("nan")


def test_as_many_trials_as_asked_for_are_handed_out_and_the_baseline_comes_first(open_study):
    study = open_study()
    first = study.next_trial()
    assert (first.config.net["dropout_dense"], first.config.net["width"]) == (0.5, 1.0)
    others = [study.next_trial() for _ in range(5)]
    assert None not in others
    assert study.next_trial() is None
    assert not study.finished
    for trial in (first, *others):
        finish(study, trial, 0.5)
    assert study.finished


def test_the_seed_of_a_trial_is_its_own_and_is_kept(open_study, tmp_path):
    study = open_study()
    seeds = [study.next_trial().config.seed for _ in range(6)]
    assert len(set(seeds)) == 6
    assert [record.config["seed"] for record in read_records(tmp_path)] == seeds


def test_a_study_opened_again_repeats_what_was_under_way_and_nothing_else(open_study, tmp_path):
    study = open_study()
    done, lost = study.next_trial(), study.next_trial()
    finish(study, done, 0.8)
    study.report(lost.number, metrics(1, 0.9))
    before = read_records(tmp_path)

    study = open_study()  # as after a kill: nothing was told of the second
    again = study.next_trial()
    assert again == lost
    finish(study, again, 0.9)
    run_out(study)
    after = read_records(tmp_path)
    assert len(after) == 6
    assert after[0] == before[0]
    assert after[1].attempts == 2
    assert after[1].values == before[1].values
    assert all(record.state in ("COMPLETE", "PRUNED") for record in after)


def test_a_resumed_study_does_not_draw_the_same_values_again(open_study, tmp_path):
    for _ in range(6):
        study = open_study()
        finish(study, study.next_trial(), 0.5)
    rates = [tuple(record.values.items()) for record in read_records(tmp_path)]
    assert len(set(rates)) > 3


def test_a_weak_trial_is_pruned_but_never_the_baseline(open_study, tmp_path):
    study = open_study()
    report, strong, weak = (study.next_trial() for _ in range(3))
    assert not finish(study, strong, 0.9)
    assert finish(study, weak, 0.1)
    assert not finish(study, report, 0.05)
    states = [record.state for record in read_records(tmp_path)]
    assert states[:3] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert read_records(tmp_path)[2].reason == "stopped after epoch 1 by the pruner"


@pytest.mark.parametrize(
    ("script", "outcome", "state", "ending", "accuracy"),
    [
        ([0.5, 0.6], TrialEnd(Outcome.COMPLETE, kept_epoch=1), "COMPLETE", "complete", 0.5),
        ([0.5, NAN], TrialEnd(Outcome.DIVERGED, reason="nan"), "PRUNED", "diverged", 0.5),
        ([NAN], TrialEnd(Outcome.DIVERGED, reason="nan"), "FAIL", "diverged", 0.5),
        ([], TrialEnd(Outcome.OUT_OF_MEMORY, reason="oom"), "PRUNED", "out_of_memory", None),
        ([0.5], TrialEnd(Outcome.ERROR, reason="ValueError"), "FAIL", "error", 0.5),
    ],
)
def test_every_ending_is_told_as_what_it_is(
    script, outcome, state, ending, accuracy, open_study, tmp_path
):
    study = open_study()
    study.next_trial()
    for epoch, value in enumerate(script, start=1):
        loss = NAN if value != value else 0.5
        study.report(0, EpochMetrics(epoch, loss, 0.5, 0.5, 0.5 if value != value else value, 1.0))
    study.finish(0, outcome)
    (record,) = read_records(tmp_path)
    assert (record.state, record.outcome, record.reason) == (state, ending, outcome.reason)
    assert (record.kept.val_accuracy if record.kept else None) == accuracy


def test_a_proposal_that_breaks_a_constraint_costs_nothing_and_does_not_count(
    open_study, tmp_path
):
    study = open_study(
        "dataset: digits\nepochs: 2\ntrials: 3\nsampler: random\nconstraints: "
        "[params <= 100_000]\nparameters: {net.width: {choice: [0.25, 2.0]}}\n"
        "start: [{net.width: 2.0}]\n"
    )
    while (trial := study.next_trial()) is not None:
        assert trial.config.net["width"] == 0.25
        finish(study, trial, 0.5, epochs=2)
    records = read_records(tmp_path)
    assert sum(record.outcome == "complete" for record in records) == 3
    assert records[0].outcome == "infeasible"
    assert records[0].reason == "breaks params <= 100,000 by 590,890"
    assert not records[0].epochs


def test_constraints_that_leave_nothing_are_said(open_study):
    study = open_study(
        "dataset: digits\nsampler: random\nconstraints: [params <= 10]\n"
        "parameters: {net.width: {float: [0.5, 1.0]}}\nepochs: 1\n"
    )
    with pytest.raises(
        RunError,
        match=r"200 proposals in a row could not be tried \(the last one: breaks params <= 10.*resume the run",
    ):
        study.next_trial()


def test_values_that_cannot_be_together_are_infeasible_and_another_is_drawn(open_study, tmp_path):
    study = open_study(
        "dataset: digits\nepochs: 1\ntrials: 3\nsampler: random\nparameters: "
        "{net.width: {choice: [0.25, 1.0]}, net.width_conv1: {choice: [1, 32]}}\n"
        "start: [{net.width: 0.25, net.width_conv1: 1}]\n"
    )
    run_out(study, epochs=1)
    records = read_records(tmp_path)
    assert records[0].outcome == "infeasible"
    assert "rounds to 0" in records[0].reason
    assert sum(record.outcome == "complete" for record in records) == 3


def test_no_point_of_a_grid_takes_the_place_of_a_trial_that_is_given(open_study, tmp_path):
    """As in a confirmation, whose trials have their candidates by their numbers."""
    study = open_study(
        "dataset: digits\nepochs: 1\ntrials: 2\nsampler: grid\nparameters: "
        "{net.width: {choice: [0.25, 1.0]}, net.width_conv1: {choice: [1, 32]}, "
        "seed: {choice: [5]}}\nstart: [{net.width: 0.25, net.width_conv1: 1, seed: 5}, "
        "{net.width: 1.0, net.width_conv1: 32, seed: 5}]\n"
    )
    run_out(study, epochs=1)
    assert study.finished
    assert [record.outcome for record in read_records(tmp_path)] == ["infeasible", "complete"]


def test_a_grid_is_walked_past_any_number_of_points_that_break_a_constraint(open_study, tmp_path):
    dropouts = ", ".join(f"{i / 1000}" for i in range(250))
    study = open_study(
        "dataset: digits\nepochs: 1\ntrials: 750\nsampler: grid\nconstraints: [params <= 100_000]\n"
        f"parameters: {{net.width: {{choice: [2.0, 0.5]}}, net.dropout_dense: {{choice: [{dropouts}]}}}}\n"
    )
    assert study.next_trial().config.net["width"] == 0.5
    assert study.sampled == 251


def test_a_walk_past_many_points_ends_when_no_trial_is_wanted(open_study):
    dropouts = ", ".join(f"{i / 1000}" for i in range(250))
    study = open_study(
        "dataset: digits\nepochs: 1\ntrials: 250\nsampler: grid\nconstraints: [params <= 10]\n"
        f"parameters: {{net.dropout_dense: {{choice: [{dropouts}]}}}}\n"
    )
    asked = iter(range(1000))
    assert study.next_trial(lambda: next(asked) == 5) is None
    assert study.sampled == 5


def test_a_grid_with_conditions_ends_with_its_last_point(open_study):
    """Not when all combinations of values, most of them the same, have been looked at."""
    levels = ", ".join(f"{i / 100}" for i in range(1, 41))
    text = "name: many\ndataset: digits\nepochs: 1\ntrials: 300\nsampler: grid\nparameters:\n"
    text += "  optimizer: {choice: [sgd, adamw, muon]}\n"
    for setting, optimizer in (("momentum", "sgd"), ("beta1", "adamw"), ("beta2", "adamw")):
        text += f"  {setting}: {{choice: [{levels}], when: {{optimizer: {optimizer}}}}}\n"
    text = text.replace("beta2: {choice: [" + levels, "beta2: {choice: [0.9, 0.99, 0.999")
    space = SearchSpace.from_text(text)
    assert space.count() == 40 + 40 * 3 + 1
    points = [tuple(one.items()) for one in grid(space)]
    assert len(set(points)) == len(points) == 161
    shuffled = [tuple(one.items()) for one in grid(space.override(trials=20))]
    assert shuffled != points
    assert set(shuffled) == set(points)


def test_a_grid_goes_on_past_points_that_break_a_constraint_and_past_a_kill(open_study, tmp_path):
    text = (
        "dataset: digits\nepochs: 1\ntrials: 4\nsampler: grid\nconstraints: "
        "[params <= 100_000]\nparameters: {net.width: {choice: [2.0, 1.5, 0.5, 0.25]}}\n"
    )
    study = open_study(text)
    first = study.next_trial()
    study = open_study(text)  # as after a kill
    assert study.next_trial() == first
    finish(study, first, 0.5, epochs=1)
    finish(study, study.next_trial(), 0.5, epochs=1)
    assert study.finished
    trained = [r.values["net.width"] for r in read_records(tmp_path) if r.outcome == "complete"]
    assert trained == [0.5, 0.25]


def test_start_points_that_a_killed_run_had_not_queued_are_queued_on_resume(open_study, tmp_path):
    points = "[{net.width: 0.5, net.dropout_dense: 0.1}, {net.width: 1.0, net.dropout_dense: 0.2}]"
    text = SPACE.replace("start: [baseline]", f"start: {points}")
    open_study(text)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    second = next(i for i, line in enumerate(lines) if b'"net.dropout_dense":0.2' in line)
    (tmp_path / JOURNAL).write_bytes(b"".join(lines[:second]))
    study = open_study(text)
    drawn = [study.next_trial().config for _ in range(2)]
    assert [config.net["dropout_dense"] for config in drawn] == [0.1, 0.2]


def test_a_start_point_that_is_given_twice_takes_the_place_of_no_other(open_study):
    points = "[baseline, {net.width: 1.0}, {net.width: 0.25}]"
    study = open_study(
        "dataset: digits\nsampler: random\ntrials: 2\nepochs: 1\n"
        f"parameters: {{net.width: {{choice: [0.25, 0.5, 1.0]}}}}\nstart: {points}\n"
    )
    assert [study.next_trial().config.net["width"] for _ in range(2)] == [1.0, 0.25]


def test_epochs_of_an_interrupted_attempt_are_not_those_of_the_next(open_study, tmp_path):
    study = open_study()
    study.next_trial()
    for epoch in (1, 2, 3):
        study.report(0, metrics(epoch, 0.9))
    study = open_study()
    study.next_trial()
    study.report(0, metrics(1, 0.4))
    study.finish(0, TrialEnd(Outcome.ERROR, reason="ValueError"))
    (record,) = read_records(tmp_path)
    assert [m.val_accuracy for m in record.epochs] == [0.4]
    assert record.attempts == 2


def test_a_trial_that_stops_by_itself_is_complete_whatever_the_pruner_says(open_study, tmp_path):
    study = open_study()
    study.next_trial()
    strong, weak = study.next_trial(), study.next_trial()
    finish(study, strong, 0.9)
    assert not study.report(weak.number, metrics(1, 0.1), is_last=True)
    study.finish(weak.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    assert read_records(tmp_path)[2].state == "COMPLETE"


def test_a_grid_is_walked_once_and_ends_by_itself(open_study, tmp_path):
    study = open_study(
        "dataset: digits\ntrials: 50\nepochs: 1\nsampler: grid\nparameters: "
        "{net.width: {choice: [0.5, 1.0]}, net.dropout_dense: {float: [0.0, 0.2], step: 0.1}}\n"
    )
    while (trial := study.next_trial()) is not None:
        finish(study, trial, 0.5, epochs=1)
    assert study.finished
    values = {tuple(record.values.values()) for record in read_records(tmp_path)}
    assert values == {(w, d) for w in (0.5, 1.0) for d in (0.0, 0.1, 0.2)}


def test_both_bounds_of_a_range_are_reached(open_study, tmp_path):
    study = open_study(
        "dataset: digits\ntrials: 60\nepochs: 1\nsampler: random\nparameters: "
        "{net.dropout_dense: {float: [0.0, 0.3], step: 0.1}, net.dense_units: {int: [3, 6]}}\n"
    )
    run_out(study, epochs=1)
    records = read_records(tmp_path)
    assert {record.values["net.dropout_dense"] for record in records} == {0.0, 0.1, 0.2, 0.3}
    assert {record.values["net.dense_units"] for record in records} == {3, 4, 5, 6}


def test_tpe_finds_the_better_side_of_a_range(open_study, tmp_path):
    space = SearchSpace.from_text(
        "dataset: digits\ntrials: 40\nepochs: 1\nsampler: tpe\n"
        "parameters: {net.width: {float: [0.5, 2.0]}}\n"
    )
    study = open_study(space)
    while (trial := study.next_trial()) is not None:
        finish(study, trial, 1 - abs(trial.config.net["width"] - 1.7) / 2, epochs=1)
    late = [record.values["net.width"] for record in read_records(tmp_path)[20:]]
    assert sum(abs(width - 1.7) < 0.25 for width in late) > len(late) / 2


@pytest.mark.parametrize("torn", [b'{"op_code":5,"wor', b'{"op_code":5}'])
def test_a_torn_last_line_is_dropped_and_said(torn, open_study, tmp_path):
    study = open_study()
    finish(study, study.next_trial(), 0.5)
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(torn)
    before = read_records(tmp_path)
    study = open_study()
    assert study.dropped_line
    run_out(study)
    assert read_records(tmp_path)[0] == before[0]
    assert not open_study().dropped_line


SAMPLED = (
    "dataset: digits\nepochs: 1\ntrials: 14\nparameters:\n"
    "  learning_rate: {float: [1e-4, 1e-2], log: true}\n  net.dropout_dense: {float: [0.0, 0.5]}\n"
    "  net.width: {choice: [0.5, 1.0]}\nsampler: "
)


@pytest.mark.parametrize(
    "name",
    [
        "tpe",
        "random",
        "qmc",
        pytest.param("{gp: {startup_trials: 4}}", marks=pytest.mark.slow),
        "{cmaes: {startup_trials: 2}}",
    ],
)
def test_every_sampler_proposes_in_the_space_also_across_a_resume(name, open_study, recwarn):
    values = []
    for part in (7, 14):
        study = open_study(SAMPLED + name)
        while study.started < part:
            trial = study.next_trial()
            finish(study, trial, 0.9 - abs(trial.config.net["dropout_dense"] - 0.2), epochs=1)
            values.append(trial.config.net["dropout_dense"])
    assert len(set(values)) == 14
    assert all(0 <= value <= 0.5 for value in values)
    assert not [str(w.message) for w in recwarn.list if "xperimental" in str(w.message)]


TWO_OBJECTIVES = """
dataset: digits
epochs: 2
trials: 40
objectives: [val_accuracy, params]
parameters:
  net.width: {float: [0.25, 2.0], step: 0.25}
  net.dropout_dense: {float: [0.0, 0.5], step: 0.1}
sampler:
"""


@pytest.mark.parametrize("sampler", ["{nsga2: {population: 8}}", "tpe", "gp", "random", "qmc"])
def test_two_objectives_are_told_whatever_ends_a_trial(sampler, open_study, recwarn):
    study = open_study(TWO_OBJECTIVES.replace("40", "14").rstrip() + f" {sampler}\n")
    while (trial := study.next_trial()) is not None:
        n = trial.number
        assert study.report(n, metrics(1, 0.5)) is False
        if n % 5 == 1:
            study.finish(n, TrialEnd(Outcome.OUT_OF_MEMORY, reason="no room"))
        elif n % 5 == 3:
            study.report(n, metrics(2, 0.1, math.nan))
            study.finish(n, TrialEnd(Outcome.DIVERGED, reason="nan"))
        else:
            study.report(n, metrics(2, 0.5 + trial.config.net["width"] / 8), is_last=True)
            study.finish(n, TrialEnd(Outcome.COMPLETE, kept_epoch=2))
    assert [record.state for record in study.records[:5]] == [
        "COMPLETE",
        "PRUNED",
        "COMPLETE",
        "PRUNED",
        "COMPLETE",
    ]
    assert not [str(w.message) for w in recwarn.list if "xperimental" in str(w.message)]


def test_nsga2_learns_which_setting_costs_nothing(open_study):
    study = open_study(TWO_OBJECTIVES.rstrip() + " {nsga2: {population: 6}}\n")
    dropouts = []
    while (trial := study.next_trial()) is not None:
        dropouts.append(trial.config.net["dropout_dense"])
        accuracy = 0.5 + trial.config.net["width"] / 8 - dropouts[-1] / 2
        study.report(trial.number, metrics(1, accuracy))
        study.report(trial.number, metrics(2, accuracy), is_last=True)
        study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=2))
    assert sum(dropouts[-10:]) < sum(dropouts[:10])


def test_sobol_points_are_spread_evenly(open_study):
    study = open_study((SAMPLED + "qmc").replace("trials: 14", "trials: 16"))
    rates = []
    while (trial := study.next_trial()) is not None:
        rates.append(trial.config.net["dropout_dense"])
        finish(study, trial, 0.5, epochs=1)
    quarters = [int(rate / 0.5 * 4) for rate in rates]
    assert all(3 <= quarters.count(quarter) <= 5 for quarter in range(4))


@pytest.mark.parametrize(
    ("pruner", "curves", "stopped"),
    [
        ("{median: {startup_trials: 2}}", [[0.5, 0.6], [0.6, 0.7], [0.2, 0.9]], [2]),
        ("{percentile: {percentile: 40, startup_trials: 2}}", [[0.5, 0.6], [0.6, 0.7], [0.51, 0.9]],
         [2]),
        ("{median: {startup_trials: 2, warmup_epochs: 2}}",
         [[0.5, 0.6, 0.7, 0.8], [0.6, 0.7, 0.8, 0.9], [0.2, 0.2, 0.9, 0.9], [0.2, 0.2, 0.2, 0.9]],
         [3]),
        ("{percentile: {percentile: 40, startup_trials: 2, warmup_epochs: 1}}",
         [[0.5, 0.6, 0.7], [0.6, 0.7, 0.8], [0.1, 0.9, 0.9], [0.1, 0.1, 0.9]], [3]),
        ("{patient: {patience: 2}}",
         [[0.5, 0.6, 0.7, 0.8, 0.9], [0.9, 0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1],
          [0.5, 0.4, 0.6, 0.5, 0.7]], [1, 2]),
        ("{patient: {patience: 2, min_delta: 0.05}}",
         [[0.50, 0.51, 0.52, 0.53, 0.54], [0.5, 0.6, 0.7, 0.8, 0.9]], [0]),
        ("{halving: {factor: 2}}", [[0.5, 0.6, 0.7], [0.4, 0.9, 0.9]], [1]),
        ("none", [[0.5, 0.6], [0.1, 0.1]], []),
    ],
)  # fmt: skip
def test_every_pruner_stops_what_it_says(pruner, curves, stopped, open_study):
    epochs = len(curves[0])
    study = open_study(
        f"dataset: digits\nepochs: {epochs}\ntrials: {len(curves)}\nsampler: random\n"
        f"parameters: {{net.dropout_dense: {{float: [0.0, 0.5]}}}}\npruner: {pruner}"
    )
    pruned = []
    for number, curve in enumerate(curves):
        assert study.next_trial().number == number
        for epoch, accuracy in enumerate(curve, start=1):
            if study.report(number, metrics(epoch, accuracy), is_last=epoch == epochs):
                pruned.append(number)
                break
        else:
            study.finish(number, TrialEnd(Outcome.COMPLETE, kept_epoch=epochs))
    assert pruned == stopped


def test_hyperband_stops_some_and_lets_some_go_on(open_study):
    study = open_study(
        "dataset: digits\nepochs: 9\ntrials: 40\nsampler: random\n"
        "parameters: {net.dropout_dense: {float: [0.0, 0.5]}}\npruner: hyperband"
    )
    pruned = complete = 0
    while (trial := study.next_trial()) is not None:
        if finish(study, trial, trial.config.net["dropout_dense"], epochs=9):
            pruned += 1
        else:
            complete += 1
    assert pruned > 5
    assert complete > 5


CONDITIONS = """
dataset: digits
epochs: 1
trials: 30
parameters:
  nesterov: {choice: [true, false], when: {momentum: [0.5, 0.9]}}
  momentum: {choice: [0.0, 0.5, 0.9], when: {optimizer: sgd}}
  optimizer: {choice: [sgd, adamw]}
"""


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "cmaes", "qmc"])
def test_what_does_not_exist_beside_other_values_is_not_drawn(sampler, open_study):
    study = open_study(f"{CONDITIONS}sampler: {sampler}\n".replace("30", "14"))
    while (trial := study.next_trial()) is not None:
        study.report(trial.number, metrics(1, 0.5 + trial.number / 100), is_last=True)
        study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    drawn = [record.values for record in study.records]
    assert {frozenset(values) for values in drawn} >= {
        frozenset({"optimizer"}),
        frozenset({"optimizer", "momentum", "nesterov"}),
    }
    for values in drawn:
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        assert ("nesterov" in values) == (values.get("momentum", 0.0) > 0)


def test_sobol_points_leave_no_parameter_of_some_trials_at_one_value(open_study):
    study = open_study("""
dataset: digits
epochs: 1
trials: 24
parameters:
  optimizer: {choice: [adamw, sgd]}
  momentum: {float: [0.5, 0.95], when: {optimizer: sgd}}
  beta1: {float: [0.8, 0.95], when: {optimizer: adamw}}
sampler: qmc
""")
    while (trial := study.next_trial()) is not None:
        finish(study, trial, 0.5, epochs=1)
    for name in ("momentum", "beta1"):
        values = [record.values[name] for record in study.records if name in record.values]
        assert len(set(values)) == len(values) > 5


@pytest.mark.parametrize("start", ["[baseline]", "[{optimizer: sgd}, {net.width: 0.5}]"])
def test_a_start_point_of_a_grid_is_not_trained_again(start, open_study):
    study = open_study(f"""
dataset: digits
epochs: 1
trials: 30
parameters:
  seed: {{choice: [1, 2, 3]}}
  net.width: {{choice: [0.5, 1.0]}}
  optimizer: {{choice: [muon, sgd]}}
start: {start}
sampler: grid
""")
    drawn = []
    while (trial := study.next_trial()) is not None:
        finish(study, trial, 0.5, epochs=1)
        drawn.append(tuple(sorted(study.record(trial.number).values.items())))
    assert len(drawn) == len(set(drawn)) == 12


@pytest.mark.parametrize("seed", range(12))
def test_a_point_of_a_grid_that_a_start_point_has_completed_is_not_trained_again(seed, open_study):
    """0.6, drawn as 0.6000000000000001, was another one."""
    study = open_study(f"""
dataset: digits
epochs: 1
trials: 40
seed: {seed}
parameters:
  net.dropout_dense: {{float: [0.0, 0.7], step: 0.1}}
  net.dropout_block1: {{float: [0.0, 0.3], step: 0.1}}
start: [{{net.dropout_block1: 0.1}}]
sampler: grid
""")
    run_out(study, epochs=1)
    assert len(study.records) == 32


def test_a_grid_has_each_configuration_with_conditions_once(open_study):
    study = open_study(f"{CONDITIONS}sampler: grid\n")
    drawn = []
    while (trial := study.next_trial()) is not None:
        study.report(trial.number, metrics(1, 0.5), is_last=True)
        study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
        drawn.append(tuple(sorted(study.record(trial.number).values.items())))
    assert len(drawn) == len(set(drawn)) == 1 + 1 + 2 * 2


def test_no_question_to_a_study_changes_it(open_study, tmp_path):
    """A grid that a budget has stopped was given its next point by `finished`."""
    study = open_study(
        "dataset: digits\ntrials: 50\nepochs: 1\nsampler: grid\nparameters: "
        "{net.width: {choice: [0.5, 1.0, 2.0]}}\n"
    )
    finish(study, study.next_trial(), 0.5, epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = [name for name, value in vars(type(study)).items() if isinstance(value, property)]
    assert {"finished", "started", "records", "running"} <= set(asked)
    for name in asked:
        getattr(study, name)
    study.record(0)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [record.state for record in study.records] == ["COMPLETE"]


def test_a_grid_larger_than_its_trials_is_drawn_from_at_random_by_seed(open_study, tmp_path):
    """In order, the first parameter would never leave its first value."""
    text = (
        "dataset: digits\nepochs: 1\ntrials: 8\nsampler: grid\nseed: 3\nparameters:\n"
        "  net.width: {choice: [0.25, 0.5, 0.75, 1.0]}\n"
        "  net.dropout_dense: {float: [0.0, 0.6], step: 0.05}\n"
    )
    study = open_study(text)
    points = []
    while (trial := study.next_trial()) is not None:
        points.append((trial.config.net["width"], trial.config.net["dropout_dense"]))
        finish(study, trial, 0.5, epochs=1)
        study = open_study(text) if trial.number == 3 else study  # as after a kill
    assert len(set(points)) == len(points) == 8
    assert len({width for width, _ in points}) > 2


def test_a_postponed_trial_pauses_at_the_rungs_as_others_do(open_study):
    study = open_study(
        "dataset: digits\nepochs: 9\ntrials: 2\nparameters: {learning_rate: {float: [1e-4, 1e-2]}}\n"
        "pruner: {promotion: {min_epochs: 1, factor: 2}}\n"
    )
    first, second = study.next_trial(), study.next_trial()
    assert study.postpone(second.number)
    study.finish(first.number, TrialEnd(Outcome.ERROR, reason="x"))
    again = study.next_trial()
    assert again.number == second.number
    assert again.rungs == second.rungs != ()


def test_two_trials_that_run_out_of_memory_together_are_both_tried_alone(open_study):
    study = open_study(
        "dataset: digits\ntrials: 2\nparameters: {learning_rate: {float: [1e-4, 1e-2]}}\n"
    )
    first, second = study.next_trial(), study.next_trial()
    assert study.postpone(first.number)
    assert study.postpone(second.number)
    for trial in (first, second):
        assert study.next_trial().number == trial.number
        assert study.next_trial() is None
        assert not study.postpone(trial.number)
        study.finish(trial.number, TrialEnd(Outcome.OUT_OF_MEMORY, reason="x"))


def test_a_condition_holds_for_the_steps_that_floats_miss(open_study, tmp_path):
    """Three steps of 0.1 are 0.30000000000000004."""
    text = SPACE.replace("trials: 6", "trials: 24").replace(
        "{choice: [0.5, 1.0]}", "{choice: [0.5, 1.0], when: {net.dropout_dense: [0.3, 0.4]}}"
    )
    study = open_study(text)
    run_out(study)
    records = read_records(tmp_path)
    drawn = {round(one.values["net.dropout_dense"], 9) for one in records}
    assert {0.3, 0.4} <= drawn
    for one in records:
        has_width = "net.width" in one.values
        assert has_width is (one.values["net.dropout_dense"] in (0.3, 0.4))


PARTLY = """
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {float: [0.25, 2.0]}
  learning_rate: {float: [1.0e-4, 1.0e-2], log: true}
start: [{net.width: 0.5}, {net.width: 1.0}, {net.width: 2.0}]
"""


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_what_a_start_point_leaves_open_is_sampled_for_each(sampler, open_study):
    """All of them got the values that the first sampled trial then had as well."""
    study = open_study(SearchSpace.from_text(f"{PARTLY}sampler: {sampler}\n"))
    rates = []
    while (trial := study.next_trial()) is not None:
        rates.append(trial.config.learning_rate)
        finish(study, trial, 0.5, epochs=1)
    assert len(set(rates)) == 6


LIMITED = """
dataset: digits
epochs: 1
trials: 12
parameters:
  net.width: {float: [0.25, 4.0]}
  net.dropout_dense: {float: [0.0, 0.6]}
sampler: {gp: {startup_trials: 4}}
constraints: [params <= 200_000]
"""


def test_a_gaussian_process_learns_which_networks_are_too_large(open_study):
    """It proposed the widest ones, of which it never heard again, until the search gave up."""
    study = open_study(SearchSpace.from_text(LIMITED))
    while (trial := study.next_trial()) is not None:
        finish(study, trial, 0.5 + trial.config.net["width"] / 10, epochs=1)
    outcomes = [record.outcome for record in study.records]
    assert outcomes.count(Outcome.COMPLETE) == 12
    assert outcomes.count(Outcome.INFEASIBLE) < 12
