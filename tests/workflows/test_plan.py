from __future__ import annotations

import re
from functools import partial

import pytest

from tests.support.command import main, run_cli
from tunecnn.errors import InputError
from tunecnn.models.counting import CostCounter
from tunecnn.models.designs import count
from tunecnn.space.space import SearchSpace
from tunecnn.trial.timing import Timing, time_epochs
from tunecnn.workflows.forecast import Plan, forecast, make_plan

TEXT = """
dataset: digits
epochs: 9
trials: 30
parameters:
  net.width: {choice: [0.5, 1.0, 2.0]}
  net.dropout_dense: {float: [0.0, 0.5], step: 0.1}
start: [baseline]
"""


def plan(space: SearchSpace, data, **options) -> Plan:
    costs = CostCounter(space.network_code(), data.input_shape, len(data.classes))
    return make_plan(space, data, costs, **options)


def test_kept_weights_take_room_on_the_disk(tiny):
    space = SearchSpace.from_text(TEXT)
    few, many, all_ = (plan(space, tiny, keep_weights=kept).disk for kept in (3, 8, 1000))
    weights = 4 * count("proposed", (1, 8, 8), 10, width=2.0).params
    assert many - few == 5 * weights
    assert all_ - few == 27 * weights  # of 30 trials


def test_the_smallest_and_the_largest_network_are_those_of_the_ends(tiny):
    planned = plan(SearchSpace.from_text(TEXT), tiny)
    for name, width in (("smallest", 0.5), ("baseline", 1.0), ("largest", 2.0)):
        cost = count("proposed", (1, 8, 8), 10, width=width)
        network = planned.networks[name]
        assert (network.params, network.macs) == (cost.params, cost.macs)
    assert planned.networks["largest"].memory > 2 * planned.networks["smallest"].memory
    assert planned.time is None


def test_networks_that_break_a_constraint_are_not_planned_for(tiny):
    text = TEXT.replace("{choice: [0.5, 1.0, 2.0]}", "{float: [0.25, 2.0]}")
    planned = plan(SearchSpace.from_text(text + "constraints: [params <= 300_000]\n"), tiny)
    assert 200_000 < planned.networks["largest"].params <= 300_000
    assert 0.3 < planned.infeasible < 0.9


def test_a_start_point_that_breaks_a_constraint_is_said(tiny):
    text = TEXT.replace("[baseline]", "[baseline, {net.width: 2.0}, {net.dropout_dense: 0.2}]")
    planned = plan(SearchSpace.from_text(text + "constraints: [params <= 200_000]\n"), tiny)
    params = [count("proposed", (1, 8, 8), 10, width=width).params for width in (1.0, 2.0)]
    broken = [one for one in planned.warnings if "breaks params <= 200,000" in one]
    assert broken == [
        f"the baseline has {params[0]:,} params and breaks params <= 200,000: it is not trained, so "
        "there is nothing to compare with",
        f"the start point net.width = 2.0 has {params[1]:,} params and breaks params <= 200,000: "
        "it is not trained",
    ]


def test_a_plan_in_which_no_network_meets_the_constraints_is_refused(tiny):
    text = TEXT + "constraints: [params <= 1000, macs >= 5]\n"
    with pytest.raises(InputError, match="no network that was tried meets params <= 1,000 and ma"):
        plan(SearchSpace.from_text(text), tiny)


def test_what_cannot_be_built_is_found_before_anything_is_trained(tiny):
    """Each value is allowed by itself; two of them together leave nothing of a convolution."""
    text = TEXT.replace("[0.5, 1.0, 2.0]}", "[0.02, 1.0]}\n  net.width_conv1: {int: [8, 32]}")
    text = text.replace("start: [baseline]", "start: []")
    planned = plan(SearchSpace.from_text(text), tiny)
    (problem,) = planned.unbuildable
    assert problem.startswith(
        "net.width = 0.02, net.width_conv1 = 8: width 0.02 leaves convolution 1"
    )
    assert planned.corners == 4


def test_a_network_too_deep_for_the_images_is_found(tiny):
    import dataclasses

    from tunecnn.data.images import Images

    small = dataclasses.replace(
        tiny, train=Images(tiny.train.pixels[:, :4, :4], tiny.train.labels)
    )
    with pytest.raises(InputError, match="proposed on digits: .* too small"):
        plan(SearchSpace.from_text(TEXT), small)


def test_without_a_pruner_every_epoch_is_expected():
    assert forecast(SearchSpace.from_text(TEXT)).epochs == 270


def test_halving_is_played_through():
    space = SearchSpace.from_text(TEXT + "pruner: {halving: {min_epochs: 1, factor: 3}}\n")
    # A third goes on at each of epochs 1 and 3, and somewhat more while a rung has few values.
    epochs = forecast(space).epochs
    assert 30 * (1 + 2 / 3 + 6 / 9) < epochs < 30 * 1.6 * (1 + 2 / 3 + 6 / 9)
    assert forecast(SearchSpace.from_text(TEXT + "pruner: median\n")) is None


def test_a_start_point_that_is_given_twice_is_planned_once():
    text = TEXT + "pruner: {promotion: {min_epochs: 1, factor: 3}}\n"
    once, often = (
        forecast(SearchSpace.from_text(text.replace("[baseline]", start))).epochs
        for start in ("[baseline]", "[baseline, baseline, baseline, baseline]")
    )
    assert once == often


def test_random_trials_have_rungs_of_their_own_in_the_forecast_too():
    """At the end, at least five of each source are trained to their end."""
    text = TEXT + "pruner: {promotion: {min_epochs: 1, factor: 3}}\n"
    without, beside = (
        forecast(SearchSpace.from_text(text + more)).epochs
        for more in ("", "random_baseline: 0.25\n")
    )
    assert beside > without + 10


def test_the_last_slot_ends_later_than_an_equal_share():
    space = SearchSpace.from_text(TEXT)
    assert forecast(space, slots=1).longest == 270
    assert forecast(space, slots=4).longest == 8 * 9  # 30 trials: two of four slots take eight
    assert forecast(space, slots=64).longest == 9


def test_repeats_are_those_of_random_draws(tiny):
    planned = plan(SearchSpace.from_text(TEXT), tiny)
    assert planned.size == 18
    assert planned.repeats == pytest.approx(30 - 18 * (1 - (17 / 18) ** 30))
    assert plan(SearchSpace.from_text(TEXT + "sampler: grid\n"), tiny).repeats is None


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ("sampler: {tpe: {startup_trials: 30}}", "tpe samples its first 30 trials at random"),
        ("sampler: random", "only 18 different configurations for 30 trials"),
    ],
)
def test_what_is_probably_not_meant_is_said(change, warning, tiny):
    planned = plan(SearchSpace.from_text(f"{TEXT}{change}\n"), tiny)
    assert any(warning in text for text in planned.warnings)
    few = SearchSpace.from_text(TEXT.replace("trials: 30", "trials: 5") + "sampler: grid\n")
    assert any("18 points, but only 5 trials" in text for text in plan(few, tiny).warnings)


def test_a_measured_plan_says_how_long_it_would_take(tiny):
    space = SearchSpace.from_text(
        TEXT.replace(
            "net.dropout_dense: {float: [0.0, 0.5], step: 0.1}",
            "learning_rate: {float: [1e-4, 1e-2], log: true}",
        )
    )
    timed = plan(space, tiny, timer=partial(time_epochs, threads=1)).time
    assert timed.longest == timed.training > 0
    assert timed.spent > 2


def test_the_time_lies_between_the_smallest_and_the_largest_network(digits):
    space = SearchSpace.from_text(TEXT.replace("0.5, 1.0, 2.0", "0.5, 1.0"))

    def timer(configs, data, code):
        assert [config.net["width"] for config in configs] == [0.5, 1.0]
        assert len(data.train) == 1149  # so few that all are measured
        return Timing((1.0, 3.0), 9.0)

    timed = plan(space, digits.trial_data, slots=2, timer=timer).time
    assert 270 * 1.8 < timed.training < 270 * 2.2
    assert timed.longest == pytest.approx(timed.training / 2)


def test_the_time_is_that_of_networks_that_meet_the_constraints(digits):
    limit = count("proposed", (1, 8, 8), 10, width=1.0).macs
    space = SearchSpace.from_text(f"{TEXT}constraints: [macs <= {limit}]\n")

    def timer(configs, data, code):
        assert [config.net["width"] for config in configs] == [0.5, 1.0]
        return Timing((1.0, 3.0), 9.0)

    timed = plan(space, digits.trial_data, timer=timer).time
    assert 1.5 < timed.epoch < 2.5


@pytest.mark.parametrize("order", ["proposed, model1", "model1, proposed"])
def test_parameters_of_one_of_several_networks_count_for_it(order, tiny):
    text = f"""
dataset: digits
epochs: 2
trials: 6
parameters:
  architecture: {{choice: [{order}]}}
  net.width_block3: {{choice: [16, 2048], when: {{architecture: proposed}}}}
  net.dense_units: {{choice: [64, 128], when: {{architecture: model1}}}}
"""

    def timer(configs, data, code):
        assert [(config.architecture, config.net) for config in configs] == [
            ("model1", {"dense_units": 64}),
            ("proposed", {"width_block3": 2048}),
        ]
        return Timing((1.0, 3.0), 9.0)

    planned = plan(SearchSpace.from_text(text), tiny, timer=timer)
    cost = count("proposed", (1, 8, 8), 10, width_block3=2048)
    assert planned.networks["largest"].params == cost.params
    assert planned.networks["largest"].values == {
        "architecture": "proposed",
        "net.width_block3": 2048,
    }
    assert planned.corners == 4
    assert not planned.unbuildable
    assert planned.time is not None


NEEDY = """
from torch import nn

class Needy(nn.Sequential):
    def __init__(self, in_channels: int, classes: int, dropout: float, width: int = 4):
        super().__init__(nn.Conv2d(in_channels, width, 3), nn.Flatten(), nn.Dropout(dropout),
                         nn.Linear(36 * width, classes))
"""


def test_an_argument_without_a_default_is_given_where_it_costs_nothing(tiny, tmp_path):
    (tmp_path / "nets.py").write_text(NEEDY)
    text = """
dataset: digits
architecture: nets.py:Needy
epochs: 2
trials: 6
parameters:
  net.dropout: {float: [0.1, 0.5]}
  net.width: {choice: [2, 8]}
"""
    timed = []

    def timer(configs, data, code):
        timed.extend(config.net for config in configs)
        return Timing((1.0, 3.0), 9.0)

    planned = plan(SearchSpace.from_text(text, folder=tmp_path), tiny, timer=timer)
    assert planned.corners == 2
    assert timed == [{"dropout": 0.1, "width": 2}, {"dropout": 0.1, "width": 8}]


@pytest.mark.slow
def test_the_command_starts_ray_by_itself_and_times_epochs_there(tmp_path):
    done = run_cli("plan", "--space", "smoke", "--measure", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"time: about .* s, of which .* to start", done.stdout)
    assert "a trial takes 1 core and 0 GPUs" in done.stdout


def test_the_command_prints_what_a_search_would_do(capsys):
    assert main("plan", "--space", "proposed", "--dataset", "digits", "--local") == 0
    out = capsys.readouterr().out
    for words in (
        "baseline",
        "210,026",
        "rungs: only the best go on after epoch 3, 9, 27",
        "at once: 1 trial, in this process",
        "64 trials of at most",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("constraint", "slots", "why"),
    [
        ("constraints: [params <= 100]\n", 2, "no network meets the constraints"),
        ("", 0, "no node has room yet"),  # an autoscaler has not begun
    ],
)
def test_where_nothing_can_be_measured_the_rest_is_planned(
    digits, constraint, slots, why, tmp_path
):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def net(classes, input_shape, width: int = 8) -> nn.Module:\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, classes))\n"
    )
    text = "architecture: nets.py:net\nparameters: {net.width: {int: [16, 32]}}\n" + constraint
    found = plan(
        SearchSpace.from_text(text, folder=tmp_path),
        digits.trial_data,
        slots=slots,
        timer=pytest.fail,
    )
    assert found.time is None
    assert f"nothing was measured, since {why}" in found.warnings


def test_the_command_plans_the_confirmation_too(capsys):
    assert main("plan", "--space", "digits", "--local", "--confirm", "2x2", "--splits", "3") == 0
    assert (
        "confirmation: 18 trainings of 8 epochs (2 trials and the baseline, 2 new seeds each in "
        "each of 3 new splits of the data)\n"
    ) in capsys.readouterr().out
    for command in ("plan --measure", "search --plan"):
        words = [*command.split(), "--space", "smoke", "--local", "--confirm", "1x2"]
        assert main(*words) == 0
        out = capsys.readouterr().out
        assert "confirmation: 4 trainings of" in out
        assert ("more, if the networks are of mean size" in out) == ("measure" in command)
    for words, message in (
        (["--confirm", "3"], "--confirm must be TOPxSEEDS, such as 3x5, not '3'"),
        (["--splits", "3"], "--splits has no effect without --confirm"),
    ):
        assert main("plan", "--space", "digits", "--local", *words) == 2
        assert message in capsys.readouterr().err


def test_the_plan_of_a_search_that_has_ended_is_that_of_its_confirmation(tmp_path, capsys):
    words = ("search", "--space", "smoke", "--trials", "2", "--epochs", "1", "--local", "-q")
    assert main(*words, "--runs-dir", str(tmp_path), "--name", "run") == 0
    run = ("search", "--resume", str(tmp_path / "run"), "--plan", "--local")
    capsys.readouterr()
    assert main(*run, "--confirm", "1x2", "--splits", "3") == 0
    text = capsys.readouterr().out
    assert text.startswith("resumed: 2 of 2 trials have ended")
    assert "confirmation: 12 trainings of 1 epoch (1 trial and the baseline, 2 new seeds" in text
