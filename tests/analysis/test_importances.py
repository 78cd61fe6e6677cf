from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tunecnn.analysis.importances import clear_effects, parameter_importances


def test_a_word_with_many_values_is_compared_value_by_value():
    random = np.random.default_rng(1)
    words = np.array(["relu", "gelu", "silu", "tanh", "elu", "selu", "mish"])
    values = pd.DataFrame({"activation": random.choice(words, 70), "width": random.random(70)})
    accuracy = pd.Series((values["activation"] == "mish") + random.random(70) / 10)
    assert clear_effects(values, accuracy) == ["activation"]


def sampled(trials: int, seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "learning_rate": random.random(trials),
            "net.dropout": random.random(trials),
            "net.width": random.choice([0.5, 1.0, 2.0], trials),
        }
    ), random


def test_what_decides_gets_its_share_and_what_does_nothing_gets_none():
    values, random = sampled(64, seed=0)
    accuracy = values["learning_rate"] + random.normal(0, 0.05, 64)
    shares = parameter_importances(values, accuracy)
    assert list(shares) == ["learning_rate"]
    share, (low, high) = shares["learning_rate"]
    assert 0.8 < share < 1.0
    assert low < share <= high


def test_an_effect_that_rises_and_falls_is_found():
    values, random = sampled(100, seed=1)
    accuracy = -((values["net.dropout"] - 0.5) ** 2) + random.normal(0, 0.03, 100)
    assert clear_effects(values, accuracy) == ["net.dropout"]


@pytest.mark.parametrize("trials", [24, pytest.param(64, marks=pytest.mark.slow)])
def test_noise_shows_an_effect_of_any_parameter_in_one_case_of_twenty(trials):
    found = 0
    for seed in range(100):
        values, random = sampled(trials, seed)
        found += bool(clear_effects(values, pd.Series(random.normal(size=trials))))
    assert found <= 11  # 99 % of the binomial distribution of 100 cases with 5 %


def test_what_parameters_do_only_together_is_the_share_of_none():
    values, random = sampled(100, seed=0)
    rate, dropout = values["learning_rate"], values["net.dropout"]
    accuracy = 0.1 * rate + (rate - 0.5) * (dropout - 0.5) + random.normal(0, 0.02, 100)
    shares = parameter_importances(values, accuracy)
    assert sum(share for share, _ in shares.values()) < 0.5  # of all of the variance: 0.10


@pytest.mark.parametrize("true", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("parameters", [1, 3])
@pytest.mark.parametrize("trials", [48, pytest.param(100, marks=pytest.mark.slow)])
def test_a_share_is_that_of_the_variance_whatever_the_noise(trials, parameters, true):
    shares, held = [], []
    for seed in range(40):
        values, random = sampled(trials, seed)
        accuracy = values["learning_rate"] * np.sqrt(12 * true)
        accuracy += random.normal(0, np.sqrt(1 - true), trials)
        found = parameter_importances(values.iloc[:, :parameters], accuracy)
        if (one := found.get("learning_rate")) is not None:
            shares.append(one[0])
            held.append(one[1][0] <= true <= one[1][1])
    assert np.mean(shares) == pytest.approx(true, abs=0.06)
    assert np.mean(held) >= 0.8


def test_a_share_of_nearly_all_and_of_ten_thousand_trials_can_be_computed():
    values, random = sampled(10_000, seed=0)
    accuracy = values["learning_rate"] + random.normal(0, 1e-3, 10_000)
    share, (low, high) = parameter_importances(values, accuracy)["learning_rate"]
    assert 0.98 < low <= share <= high <= 1
    share, interval = parameter_importances(values, 1.0 * (values["net.width"] == 2))["net.width"]
    assert (share, *interval) == pytest.approx((1, 1, 1), abs=1e-3)


def test_of_few_or_equal_trials_nothing_is_said():
    values, _ = sampled(19, seed=0)
    assert parameter_importances(values, values["learning_rate"]) == {}
    values, random = sampled(64, seed=0)
    assert parameter_importances(values, pd.Series(np.full(64, 0.1))) == {}
