from __future__ import annotations

import itertools
import random

import pytest

from tunecnn.analysis.intervals import (
    bootstrap_interval,
    expected_best,
    mean_interval,
    prediction_interval,
    probability_above_zero,
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


def test_the_bootstrap_stays_within_the_values():
    low, high = bootstrap_interval([0.1, 0.2, 0.4])
    assert 0.1 <= low < 0.7 / 3 < high <= 0.4 + 1e-9
    assert bootstrap_interval([0.1, 0.1]) == (0.1, 0.1)


def test_the_probability_of_being_ahead_is_a_half_without_a_difference():
    assert probability_above_zero([-0.1, 0.1]) == pytest.approx(0.5)
    assert probability_above_zero([0.1, 0.1]) == 1.0
    assert probability_above_zero([0.0, 0.0]) == 0.5
    assert 0.9 < probability_above_zero([0.1, 0.11, 0.09]) < 1.0


def test_the_expected_best_is_the_mean_over_all_choices():
    values = [0.1, 0.5, 0.4, 0.9]
    for count in range(1, 5):
        choices = [max(chosen) for chosen in itertools.combinations(values, count)]
        mean, (low, high) = expected_best(values, count)
        assert mean == pytest.approx(sum(choices) / len(choices))
        assert low <= mean <= high
