from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunecnn.errors import InputError
from tunecnn.trial.config import TrialConfig, derive_seed
from tunecnn.trial.recipes import make_config


@given(
    dropout=st.floats(0, 0.99),
    width=st.floats(0.1, 4),
    rate=st.floats(1e-8, 10),
    seed=st.integers(0, 2**31 - 1),
    flip=st.booleans(),
)
def test_a_config_survives_json(dropout, width, rate, seed, flip):
    config = TrialConfig(
        net={"dropout_block1": dropout, "width": width}, learning_rate=rate, seed=seed, flip=flip
    )
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_networks_parameters_stand_beside_the_settings_in_one_flat_mapping():
    config = TrialConfig.from_dict({"net.width_block1": 8, "batch_size": 4})
    assert config.net == {"width_block1": 8}
    assert config.to_dict().items() >= {"net.width_block1": 8, "batch_size": 4}.items()


def test_what_is_not_given_is_not_in_the_mapping():
    assert "net.dropout_block1" not in TrialConfig().to_dict()


def test_derived_seeds_are_fixed_and_differ():
    assert derive_seed(0, 0) == 966410506
    seeds = {derive_seed(run, trial) for run in range(20) for trial in range(200)}
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs must be 1 or more, not 0"),
        ("epochs", "ten", "epochs must be a whole number, not 'ten'"),
        ("epochs", 2.5, "epochs must be a whole number, not 2.5"),
        ("batch_size", True, "batch_size must be a whole number, not True"),
        ("learning_rate", 0.0, "learning_rate must be above 0, not 0.0"),
        ("learning_rate", float("nan"), "learning_rate must be a finite number, not nan"),
        ("label_smoothing", 1.0, "label_smoothing must be below 1, not 1.0"),
        ("optimizer", "adam", "unknown optimizer 'adam'; did you mean 'adamw'"),
        ("dataset", "cifar", "unknown data set 'cifar'; did you mean 'cifar10'"),
        ("net", {"dropout_dense": 1.0}, "dropout_dense must lie in"),
        ("flip", 1, "flip must be true or false, not 1"),
        ("patience", -1, "patience must be 0 or more"),
        ("seed", -1, "seed must be 0 or more, not -1"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(field, value, message):
    with pytest.raises(InputError, match=message):
        TrialConfig(**{field: value})


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(
        InputError, match="unknown setting 'learnin_rate'; did you mean 'learning_r"
    ):
        TrialConfig.from_dict({"learnin_rate": 1})


def test_the_published_recipe_is_the_published_protocol():
    config = make_config("published", "proposed", "cifar10")
    assert (config.optimizer, config.learning_rate, config.rho, config.epsilon) == (
        "rmsprop",
        1e-4,
        0.9,
        1e-7,
    )
    assert (config.batch_size, config.pixels, config.split) == (128, "raw", "published")
    assert (config.patience, config.flip, config.crop, config.schedule) == (
        10,
        False,
        0,
        "constant",
    )
    assert make_config("published", "model1", "mnist").patience is None
    assert make_config("published", "model1", "mnist").pixels == "unit"


def test_the_fast_recipe_mirrors_no_digits():
    assert make_config("fast", "model1", "cifar10").flip
    assert not make_config("fast", "model1", "mnist").flip
    assert make_config("fast", "model1", "mnist", flip=True).flip


def test_an_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="unknown recipe 'quick'; allowed: fast, published"):
        make_config("quick", "model1", "mnist")
