from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import spearmanr

from tunecnn.analysis.intervals import (
    best_gain_interval,
    best_of_interval,
    correlation_interval,
    dunnett_quantile,
    mcnemar_probability,
    mean_interval,
    prediction_interval,
    probability_above_zero,
    typical_best,
    wilson_interval,
)


def test_wilsons_interval_is_the_textbooks():
    assert wilson_interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson_interval(1.0, 50)[1] == 1.0


def test_two_runs_say_little_of_a_third():
    # t(1) at 97.5 % is 12.7062; s = 0.01 * sqrt(2) / 2
    low, high = prediction_interval([0.80, 0.81])
    assert (high - low) / 2 == pytest.approx(12.7062 * 0.0070711 * 1.5**0.5, rel=1e-4)
    assert (high + low) / 2 == pytest.approx(0.805)


def test_95_of_100_further_runs_lie_inside():
    numbers = random.Random(0)
    inside = 0
    for _ in range(1000):
        *values, one_more = (numbers.gauss(0.7, 0.02) for _ in range(5))
        low, high = prediction_interval(values)
        inside += low <= one_more <= high
    assert 930 <= inside <= 970


def test_95_of_100_intervals_of_a_mean_hold_it():
    numbers = random.Random(1)
    held = 0
    for _ in range(1000):
        low, high = mean_interval([numbers.gauss(0.7, 0.02) for _ in range(5)])
        held += low <= 0.7 <= high
    assert 930 <= held <= 970


def test_the_probability_of_being_ahead_is_a_half_without_a_difference():
    assert probability_above_zero([-0.1, 0.1]) == pytest.approx(0.5)
    assert probability_above_zero([0.1, 0.1]) == 1.0
    assert probability_above_zero([0.0, 0.0]) == 0.5
    assert 0.9 < probability_above_zero([0.1, 0.11, 0.09]) < 1.0


def winners(spread: float, count: int, repeats: int, images: int = 1000) -> float:
    """How often the interval of the best of some models contains its own accuracy."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(repeats):
        own = np.clip(random.normal(0.9, spread, count), 0, 1)
        seen = random.binomial(images, own) / images
        best = int(seen.argmax())
        low, high = best_of_interval(float(seen[best]), images, count)
        covered += low <= own[best] <= high
    return covered / repeats


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("count", [1, 16, 64])
def test_the_interval_of_a_winner_contains_its_own_accuracy(spread, count):
    assert winners(spread, count, 300) >= 0.93


def test_wilsons_own_interval_does_not():
    random = np.random.default_rng(0)
    seen = random.binomial(1000, 0.9, (400, 64)).max(axis=1) / 1000
    covered = [low <= 0.9 <= high for low, high in (wilson_interval(float(x), 1000) for x in seen)]
    assert np.mean(covered) < 0.8


def test_a_lead_on_the_same_images_is_seldom_taken_for_more_than_luck_without_one():
    """The best of 16 equal networks against a baseline that is as good, over 400 searches."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        hard = random.beta(9, 1, 500)  # some images are harder than others, for all networks
        right = random.random((17, 500)) < hard
        best = right[1:][right[1:].sum(axis=1).argmax()]
        ours, theirs = (best & ~right[0]).sum(), (right[0] & ~best).sum()
        wrong += 16 * mcnemar_probability(int(ours), int(theirs)) <= 0.05
    assert wrong / 400 <= 0.05
    assert mcnemar_probability(0, 0) == 1.0
    assert mcnemar_probability(10, 0) == pytest.approx(0.5**10)


def test_the_typical_best_of_random_trials_lies_in_its_interval():
    random = np.random.default_rng(0)
    inside = []
    for _ in range(1000):
        found = typical_best(list(random.random(40)), 4)
        assert found is not None
        inside.append(found[1][0] <= 0.5 ** (1 / 4) <= found[1][1])
    assert 0.93 <= np.mean(inside) <= 0.99
    assert typical_best([0.1, 0.2, 0.3], 3) is None  # no upper end


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_interval_of_a_rank_correlation_contains_it(rho):
    """Spearman's correlation of two normal variables follows from Pearson's."""
    random = np.random.default_rng(0)
    true = 6 / np.pi * np.arcsin(rho / 2)
    inside = []
    for _ in range(500):
        x, y = random.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 20).T
        low, high = correlation_interval(float(spearmanr(x, y).statistic), 20)
        inside.append(low <= true <= high)
    assert 0.93 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize(("count", "freedom", "expected"), [
    (1, 6, 2.447), (2, 6, 2.86), (3, 6, 3.10), (3, 20, 2.54), (6, 30, 2.72),
])  # fmt: skip
def test_the_critical_values_are_those_of_dunnetts_tables(count, freedom, expected):
    assert dunnett_quantile(count, freedom) == pytest.approx(expected, abs=0.011)


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("count", [1, 16, 64])
def test_the_interval_of_a_winners_lead_contains_its_own_lead(spread, count):
    images, repeats, covered = 500, 300, 0
    random = np.random.default_rng(0)
    for _ in range(repeats):
        own = np.clip(random.normal(0.9, spread, count + 1), 0, 1)
        right = random.random((images, count + 1)) < own
        best = 1 + int(right[:, 1:].sum(0).argmax())
        ours, theirs = right[:, best], right[:, 0]
        low, high = best_gain_interval(
            int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), images, count
        )
        covered += low <= own[best] - own[0] <= high
    assert covered / repeats >= 0.93
