from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tunecnn.space.parameters import ChoiceParameter, FloatParameter
from tunecnn.study.importances import clear_effects, parameter_importances

SEARCHED = {
    "learning_rate": FloatParameter(float=(0.0, 1.0)),
    "net.dropout": FloatParameter(float=(0.0, 1.0)),
    "net.width": ChoiceParameter(choice=(0.5, 1.0, 2.0)),
}


def test_a_word_with_many_values_is_compared_value_by_value():
    random = np.random.default_rng(1)
    words = np.array(["relu", "gelu", "silu", "tanh", "elu", "selu", "mish"])
    values = pd.DataFrame({"activation": random.choice(words, 70), "width": random.random(70)})
    accuracy = pd.Series((values["activation"] == "mish") + random.random(70) / 10)
    assert clear_effects(values, accuracy) == ["activation"]


def sampled(trials: int, seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    random = np.random.default_rng(seed)
    return pd.DataFrame({
        "learning_rate": random.random(trials),
        "net.dropout": random.random(trials),
        "net.width": random.choice([0.5, 1.0, 2.0], trials),
    }), random  # fmt: skip


def test_what_decides_gets_its_share_and_what_does_nothing_gets_none():
    values, random = sampled(64, seed=0)
    accuracy = values["learning_rate"] + random.normal(0, 0.05, 64)
    shares = parameter_importances(values, accuracy, SEARCHED)
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
    shares = parameter_importances(values, accuracy, SEARCHED)
    assert sum(share for share, _ in shares.values()) < 0.5  # of all of the variance: 0.10


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("together", "trials"), [(0.0, 48), (1.0, 100)])
def test_the_interval_of_a_share_holds_the_true_one(together, trials):
    """Of a sum, the share of each parameter is that of its variance."""
    alone = {"learning_rate": 0.0625 / 12, "net.dropout": 0.25 * 0.0625 / 12}
    variance = sum(alone.values()) + together / 144 + 0.02**2
    held = []
    for seed in range(60):
        values, random = sampled(trials, seed)
        rate, dropout = values["learning_rate"], values["net.dropout"]
        accuracy = 0.25 * rate + 0.125 * dropout + together * (rate - 0.5) * (dropout - 0.5)
        found = parameter_importances(values, accuracy + random.normal(0, 0.02, trials), SEARCHED)
        for name, (_, (low, high)) in found.items():
            held.append(low <= alone.get(name, 0.0) / variance <= high)
    print(f"{np.mean(held):.1%} of {len(held)}")
    assert len(held) > 60
    assert np.mean(held) >= 0.8


def test_of_few_or_equal_trials_nothing_is_said():
    values, _ = sampled(19, seed=0)
    assert parameter_importances(values, values["learning_rate"], SEARCHED) == {}
    values, random = sampled(64, seed=0)
    assert parameter_importances(values, pd.Series(np.full(64, 0.1)), SEARCHED) == {}
