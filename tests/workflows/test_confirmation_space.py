from __future__ import annotations

import pytest

from tests.support.scripted import ScriptedRun
from tests.support.searching import TEXT, begin
from tunecnn import load_run, make_config
from tunecnn.errors import InputError
from tunecnn.space.space import SearchSpace
from tunecnn.workflows.confirmation_space import (
    TrainingScale,
    candidates_of,
    check_confirmable,
    confirmation_space,
    job_of,
)
from tunecnn.workflows.options import check_candidates


@pytest.fixture
def run(scripted_run):
    """Complete are trial 3 with 0.935, 1 with 0.925, and 0, the baseline, with 0.875."""
    return load_run(scripted_run)


def made(run, candidates, seeds, splits=1):
    """Return the configs that a confirmation trains, in their order."""
    space = SearchSpace.from_text(confirmation_space(run, candidates, seeds, splits))
    return [space.config(point) for point in space.start_points()]


NETWORKS = """
from torch import nn

class One(nn.Sequential):
    def __init__(self, in_channels: int, classes: int, width: int = 4):
        super().__init__(nn.Conv2d(in_channels, width, 3), nn.Flatten(),
                         nn.Linear(36 * width, classes))

class Other(nn.Sequential):
    def __init__(self, in_channels: int, classes: int, hidden: int = 8):
        super().__init__(nn.Flatten(), nn.Linear(64 * in_channels, hidden), nn.ReLU(),
                         nn.Linear(hidden, classes))
"""
SEVERAL = """
name: several
dataset: digits
epochs: 1
trials: 12
parameters:
  architecture: {choice: ["nets.py:One", "nets.py:Other"]}
  net.width: {choice: [4, 8], when: {architecture: "nets.py:One"}}
  net.hidden: {choice: [8, 16, 32], when: {architecture: "nets.py:Other"}}
  learning_rate: {choice: [0.001, 0.002]}
start: [baseline]
sampler: random
"""


def test_a_search_over_several_networks_can_be_confirmed(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)
    text = SEVERAL
    space = SearchSpace.from_text(text, folder=tmp_path)
    assert space.architecture == "nets.py:One"  # so the baseline is of a network that is searched
    code = space.network_code()
    run = ScriptedRun(tmp_path / "run", text, folder=tmp_path)
    loaded = run.train_all(lambda trial: 0.5 + trial.number / 100)
    candidates = candidates_of(loaded, 5, {})
    names = {candidate.config.architecture for candidate in candidates}
    assert names == {"nets.py:One", "nets.py:Other"}
    assert code is not None
    made_space = SearchSpace.from_text(confirmation_space(loaded, candidates, 2), folder=tmp_path)
    configs = [made_space.config(point) for point in made_space.start_points()]
    for config, candidate in zip(configs, candidates * 2, strict=True):
        assert config.architecture == candidate.config.architecture
        filled = made_space.network(config.architecture).filled(config.net)
        assert filled == space.network(config.architecture).filled(candidate.config.net)
        assert config.learning_rate == candidate.config.learning_rate
    job = job_of(loaded, candidates)
    for one in job.candidates:
        has = {"nets.py:One": "net.width", "nets.py:Other": "net.hidden"}
        other = next(
            name for network, name in has.items() if network != one.values["architecture"]
        )
        assert other not in one.values


def test_the_best_trials_and_the_baseline_are_the_candidates(run):
    candidates = candidates_of(run, 2, {})
    assert [c.name for c in candidates] == ["trial 3", "trial 1", "the baseline"]
    assert [c.is_baseline for c in candidates] == [False, False, True]
    assert [c.search_accuracy for c in candidates] == pytest.approx([0.935, 0.925, 0.875])


def test_a_config_with_more_images_is_a_candidate_where_all_get_as_many(run):
    best = run.config(3)
    mine = best.replace(train_images=300, learning_rate=0.123)
    with pytest.raises(InputError, match="mine has train_images = 300, but the run has None"):
        candidates_of(run, 1, {"mine": mine})
    candidates = candidates_of(run, 1, {"mine": mine}, scale=TrainingScale(400, epochs=6))
    for config in (*(one.config for one in candidates), *made(run, candidates, seeds=1)):
        assert (config.train_images, config.epochs) == (400, 6)


FIXED = """
name: fixed
dataset: digits
recipe: published
epochs: 2
trials: 4
parameters:
  net.dropout_dense: {choice: [0.1, 0.5]}
  net.width: 0.1
  optimizer: sgd
  learning_rate: 0.05
  crop: 0.125
  train_images: 300
sampler: random
"""


def test_the_baseline_departs_from_the_recipe_as_all_trials_do_but_has_the_networks_defaults(
    tmp_path,
):
    """What the space fixes would otherwise be part of what the search has gained."""
    loaded = ScriptedRun(tmp_path / "run", FIXED).train_all(lambda trial: 0.5)
    best, baseline = candidates_of(loaded, 1, {})
    assert (baseline.is_baseline, baseline.search_accuracy) == (True, None)
    assert (best.config.net["width"], baseline.config.net["width"]) == (0.1, 1.0)
    assert baseline.config.net["dropout_dense"] == 0.5
    same = [config.replace(net={}).to_dict() for config in (best.config, baseline.config)]
    assert same[0] == same[1]
    for config in (baseline.config, made(loaded, [best, baseline], seeds=1)[1]):
        assert (config.optimizer, config.crop, config.net["width"]) == ("sgd", 0.125, 1.0)


def test_each_candidate_is_trained_itself_with_the_same_new_seeds(run):
    candidates = candidates_of(run, 2, {})
    configs = made(run, candidates, seeds=4)
    seeds = [config.seed for config in configs]
    assert seeds == [seed for seed in dict.fromkeys(seeds) for _ in range(3)]
    assert len(set(seeds)) == 4
    assert not set(seeds) & set(run.trials["seed"].dropna())
    for config, candidate in zip(configs[:3], candidates, strict=True):
        assert config.architecture == candidate.config.architecture
        again = config.replace(seed=0).to_dict()
        assert {**again, **candidate.config.to_dict()} == again
    assert all(config.epochs == 4 and config.batch_size == 32 for config in configs)


def test_each_of_several_splits_is_new_and_has_seeds_of_its_own(run):
    configs = made(run, candidates_of(run, 2, {}), seeds=2, splits=3)
    repeats = [(config.split_seed, config.seed) for config in configs]
    assert repeats == [one for one in dict.fromkeys(repeats) for _ in range(3)]
    splits, seeds = zip(*dict.fromkeys(repeats), strict=True)
    assert (len(set(splits)), len(set(seeds))) == (3, 6)
    assert all(splits.count(split) == 2 for split in splits)
    assert run.space.data_split.seed not in splits
    assert len(set(splits[:3])) == 3  # an interrupted confirmation has something of each
    again = made(run, candidates_of(run, 2, {}), seeds=2)
    assert {config.split_seed for config in again} == {run.space.data_split.seed}


def test_the_baseline_among_the_best_is_trained_once(run):
    candidates = candidates_of(run, 3, {})
    assert [c.name for c in candidates] == ["trial 3", "trial 1", "trial 0 (the baseline)"]
    assert candidates[2].is_baseline


def test_a_config_of_ones_own_takes_part(run):
    own = make_config(
        "fast", "proposed", "digits", batch_size=64, epochs=99, **{"net.dropout_dense": 0.9}
    )
    *_, mine = candidates_of(run, 1, {"mine.yaml": own})
    assert (mine.name, mine.config.epochs, mine.search_accuracy) == ("mine.yaml", 4, None)
    *_, config = made(run, candidates_of(run, 1, {"mine.yaml": own}), seeds=1)
    assert (config.net["dropout_dense"], config.batch_size) == (0.9, 64)


def test_the_split_of_a_config_does_not_matter_where_there_are_several(run):
    own = make_config("fast", "proposed", "digits", split_seed=7, learning_rate=0.02)
    candidates = candidates_of(run, 1, {"mine.yaml": own}, splits=2)
    configs = made(run, candidates, seeds=1, splits=2)
    splits = [[config.split_seed for config in configs[number::3]] for number in range(3)]
    assert splits[0] == splits[1] == splits[2]  # of the trial, the baseline and the config
    assert len(set(splits[0])) == 2
    assert not {run.space.data_split.seed, 7} & set(splits[0])


def test_another_architecture_takes_part(run):
    own = make_config("fast", "model1", "digits")
    *_, config = made(run, candidates_of(run, 1, {"mine.yaml": own}), seeds=1)
    assert config.architecture == "model1"
    assert all(config.net.get(name) == value for name, value in own.net.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "mnist"}, "mine.yaml has dataset = 'mnist', but the run has 'digits'"),
        ({"split_seed": 1}, "mine.yaml has split_seed = 1, but the run has 0"),
        ({"patience": 3}, "has no patience, but another candidate has it"),
        ({"net.width_conv1": 40}, "has no net.width_conv1, but another candidate has it"),
    ],
)
def test_a_config_that_cannot_be_compared_is_refused(change, message, run):
    own = make_config("fast", "proposed", **{"dataset": "digits", "net.width_block2": 48} | change)
    with pytest.raises(InputError, match=message):
        confirmation_space(run, candidates_of(run, 1, {"mine.yaml": own}), 2)


def test_a_confirmation_that_could_not_be_read_again_is_refused(run):
    with pytest.raises(InputError, match=r"confirmation: .* values and lines are too many"):
        confirmation_space(run, candidates_of(run, 3, {}), 1000)


def test_a_confirmation_that_is_too_large_is_refused_before_the_search(run):
    check_confirmable(run.space, 3, 5, 60)
    message = "a confirmation of 3 trials and the baseline with 5 seeds in 80 splits is 1,600"
    with pytest.raises(InputError, match=f"{message} trainings; the limit for 2 parameters is 1,"):
        check_confirmable(run.space, 3, 5, 80)


def test_what_cannot_be_confirmed_is_said(run, tmp_path):
    for numbers, message in (
        ((0, 1), "top must be from 1 to 100, not 0"),
        ((1, 0), "seeds must be from 1 to 1,000, not 0"),
        ((1, 1, 0), "splits must be from 1 to 100, not 0"),
        ((1, 1, "3"), "splits must be from 1 to 100, not '3'"),
        ((1, 1, True), "splits must be from 1 to 100, not True"),
    ):
        with pytest.raises(InputError, match=message):
            check_candidates(*numbers)
    from tests.support.searching import Silent

    begun = begin(tmp_path, TEXT, Silent(raise_at=1))
    with pytest.raises(InputError, match="no trial that was trained to its end"):
        candidates_of(load_run(begun.folder), 1, {})


def test_a_search_that_has_no_baseline_cannot_be_confirmed_and_says_so_before(tmp_path):
    text = "dataset: digits\nparameters: {patience: {int: [1, 3]}}\nrecipe: "
    check_confirmable(SearchSpace.from_text(f"{text}published"), 1, 2, 1)
    with pytest.raises(
        InputError, match="patience is searched, and recipe fast has none, so ther"
    ):
        check_confirmable(SearchSpace.from_text(f"{text}fast"), 1, 2, 1)
    (tmp_path / "nets.py").write_text(NETWORKS.replace("width: int = 4", "width: int"))
    space = SearchSpace.from_text(
        "dataset: digits\narchitecture: nets.py:One\nparameters: {net.width: {int: [2, 4]}}",
        folder=tmp_path,
    )
    with pytest.raises(InputError, match="width of One has no default, so there is no baseline"):
        check_confirmable(space, 1, 2, 1)


def test_a_config_without_the_hash_of_its_code_is_of_the_runs_code(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)
    run = ScriptedRun(tmp_path / "run", SEVERAL, folder=tmp_path)
    loaded = run.train_all(lambda trial: 0.5 + trial.number / 100)
    best = loaded.config(int(loaded.configurations["trial"].iloc[0]))
    mine = best.replace(code=None, learning_rate=0.5)
    candidates = candidates_of(loaded, 1, {"mine": mine})
    assert candidates[-1].config.code == best.code
    confirmation_space(loaded, candidates, 1)
    with pytest.raises(
        InputError, match=r"other was made with other code of nets.py:\w+ \(hash 0"
    ):
        candidates_of(loaded, 1, {"other": best.replace(code="0123456789ab")})


def test_a_config_of_code_that_did_not_win_is_of_the_runs_code_as_well(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)
    text = SEVERAL.replace("nets.py:Other", "model1").replace("net.hidden", "net.dense_units")
    run = ScriptedRun(tmp_path / "run", text, folder=tmp_path)
    loaded = run.train_all(lambda trial: 0.9 if trial.config.architecture == "model1" else 0.5)
    mine = next(
        config
        for record in loaded.records
        if (config := loaded.config(record.number)).architecture == "nets.py:One"
    )
    assert mine.code == loaded.info.code.hash
    assert candidates_of(loaded, 1, {"mine": mine})[-1].config.code == mine.code


def test_as_many_images_as_the_search_had_are_no_other_scale(run):
    assert run.info.dataset.train == 1149
    assert TrainingScale(1149, run.space.epochs).changes(run) == {}
    assert TrainingScale("all").changes(run) == {}
    assert TrainingScale(1000, 9).changes(run) == {"train_images": 1000, "epochs": 9}
