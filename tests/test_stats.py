from __future__ import annotations

import random

import pytest

from tunecnn.stats import prediction_interval, wilson_interval


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
