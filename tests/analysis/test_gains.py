from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from tunecnn.analysis.gains import OverSeeds, Paired, crossed_errors, paired_gains


def test_pairs_have_the_same_seed():
    same = Paired((0.01, 0.02, 0.03))
    assert same.mean == pytest.approx(0.02)
    low, high = same.interval
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-3)
    corrected = Paired((0.01, 0.02, 0.03), candidates=3, image_error=0.01)
    assert corrected.interval[1] > high
    assert corrected.verdict == "not told from noise"
    assert corrected.detectable > same.detectable > 0
    assert Paired((0.01,)).verdict == "too few seeds for a verdict"
    assert Paired((0.01, 0.01, 0.01)).verdict == "too few seeds for a verdict"  # no certainty
    assert Paired((0.01, 0.01, 0.01), image_error=0.004).verdict == "not told from noise"
    assert Paired((-0.01, -0.0101)).verdict == "behind by more than noise"


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0, 1, 2, 4])
def test_an_interval_holds_in_95_of_100_cases(seeds, spread):
    """Whether the seeds differ by chance in the images only, or by up to four times of that."""
    random, repeats, held = np.random.default_rng(seeds), 800, 0
    chance, of_images = 0.004, 0.002
    for _ in range(repeats):
        values = random.normal(0, math.hypot(chance, spread * chance), seeds)
        values += random.normal(0, of_images)
        gain = Paired(tuple(values), image_error=of_images, least_deviation=chance)
        held += gain.interval[0] <= 0 <= gain.interval[1]
    assert 0.92 <= held / repeats <= 0.98, held / repeats


def test_how_many_repeats_would_find_half_a_point():
    few, many = Paired((0.01, 0.0, 0.005), image_error=0.001), Paired((0.03, -0.02, 0.0, 0.01))
    assert 5 < few.repeats_for_half_a_point < many.repeats_for_half_a_point
    enough = dataclasses.replace(few, values=few.values * (few.repeats_for_half_a_point // 3 + 1))
    assert enough.detectable <= 0.005 < few.detectable
    assert Paired((0.01, 0.0, 0.02), image_error=0.01).repeats_for_half_a_point is None
    assert Paired((0.01,)).repeats_for_half_a_point is None


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "count"), [(3, 3), (5, 3), (3, 10), (5, 10)])
@pytest.mark.parametrize(
    "spread", [{}, {0: 2}, {0: 4}, {1: 4}], ids=["all alike", "baseline 2", "baseline 4", "one 4"]
)
def test_equal_candidates_are_seldom_said_to_differ(seeds, count, spread):
    """Normal accuracies without a floor; one may be two or four times as noisy as the others."""
    random, wrong, repeats = np.random.default_rng(0), 0, 1500
    deviations = [0.004 * spread.get(index, 1) for index in range(count + 1)]
    for _ in range(repeats):
        values = [OverSeeds(dict(enumerate(random.normal(0.9, one, seeds)))) for one in deviations]
        gains = paired_gains(values, 0, [(0.0, 0.0)] * (count + 1))
        wrong += any("by more than noise" in gain.verdict for gain in gains[1:])
    print(f"{wrong / repeats:.1%}")
    assert wrong / repeats <= 0.065


def in_splits(accuracies: np.ndarray) -> list[OverSeeds]:
    """Accuracies (candidates, splits, seeds), where no two splits share a seed."""
    _, splits, seeds = accuracies.shape
    split_of = {number: number // seeds for number in range(splits * seeds)}
    return [OverSeeds(dict(enumerate(one.ravel())), split_of) for one in accuracies]


def test_a_repeat_is_a_split_where_there_are_several():
    accuracies = np.array([[[0.90, 0.92], [0.80, 0.84]], [[0.93, 0.95], [0.82, 0.86]]])
    baseline, other = in_splits(accuracies)
    assert list(other.repeats.values()) == pytest.approx([0.94, 0.84])
    assert other.mean == pytest.approx(0.89)
    _, gain = paired_gains([baseline, other], 0, [(0.0, 0.0)] * 2)
    assert gain.values == pytest.approx((0.03, 0.02))
    assert gain.repeat == "split"
    assert gain.verdict == "not told from noise"  # with seeds as repeats it would be more
    as_seeds = [OverSeeds(one.values) for one in (baseline, other)]
    assert paired_gains(as_seeds, 0, [(0.0, 0.0)] * 2)[1].verdict == "ahead by more than noise"


def test_a_failed_seed_is_left_out_of_its_split_on_both_sides():
    baseline, other = in_splits(np.array([[[0.9, 0.5], [0.8, 0.8]], [[0.93, 0.9], [0.81, 0.81]]]))
    del other.values[1]
    _, gain = paired_gains([baseline, other], 0, [(0.0, 0.0)] * 2)
    assert gain.values == pytest.approx((0.03, 0.01))
    assert baseline.shared_with(other).mean == pytest.approx((0.9 + 0.8) / 2)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("count", "splits", "seeds"), [(1, 3, 2), (3, 2, 2), (3, 3, 5), (3, 5, 2)]
)
@pytest.mark.parametrize("baseline", [1, 2])
@pytest.mark.parametrize("interaction", [0, 0.5, 1, 2])
def test_equal_candidates_are_seldom_said_to_differ_over_splits(
    count, splits, seeds, interaction, baseline
):
    """A split may favour a candidate, by up to twice of what a seed does."""
    random, wrong, repeats = np.random.default_rng(0), 0, 1000
    spread = np.full((count + 1, 1, 1), 0.004)
    spread[0] *= baseline
    for _ in range(repeats):
        accuracies = 0.9 + random.normal(0, 0.004, (splits, seeds))
        accuracies = accuracies + spread * random.normal(0, 1, (count + 1, splits, seeds))
        accuracies += spread * interaction * random.normal(0, 1, (count + 1, splits, 1))
        gains = paired_gains(in_splits(accuracies), 0, [(0.0, 0.0)] * (count + 1))
        wrong += any("by more than noise" in gain.verdict for gain in gains[1:])
    print(f"{wrong / repeats:.1%}")
    assert wrong / repeats <= 0.065


def test_copies_of_test_images_count_once():
    right = np.random.default_rng(0).random((40, 3)) < 0.9
    once, copied = (crossed_errors(right.repeat(k, axis=0).astype(float), 40) for k in (1, 4))
    assert copied == pytest.approx(once, rel=0.1)


@pytest.mark.parametrize("seeds", [3, 4, 5, 7])
def test_without_errors_of_images_the_interval_is_students(seeds):
    for draw in range(200):
        values = np.random.default_rng(draw).normal(0.01, 0.01, seeds)
        wanted = stats.t.interval(0.95, seeds - 1, values.mean(), stats.sem(values))
        assert Paired(tuple(values)).interval == pytest.approx(wanted, rel=1e-3)


def test_few_repeats_are_neither_a_certainty_nor_more_than_is_possible():
    assert OverSeeds({1: 0.5, 2: 0.5}).interval is None
    baseline, other = OverSeeds({1: 0.1, 2: 0.9}), OverSeeds({1: 0.9, 2: 0.2})
    _, gain = paired_gains([baseline, other], 0, [(0.0, 0.0), (0.0, 0.0)])
    assert gain.interval == (-1.0, 1.0)
    assert gain.detectable is None
    assert gain.verdict == "not told from noise"


def test_the_probability_of_being_ahead_next_has_the_spread_of_the_interval():
    assert Paired((-0.1, 0.1)).probability == pytest.approx(0.5)
    assert Paired((0.1, 0.1)).probability is None
    assert Paired((0.0,)).probability is None
    assert 0.9 < Paired((0.1, 0.11, 0.09)).probability < 1.0
    equal = Paired((0.01, 0.01, 0.01), least_deviation=0.02)
    assert 0.6 < equal.probability < 0.8
    almost = Paired((0.01, 0.01 + 1e-17, 0.01))
    assert almost.probability is None
    few = Paired((0.01, 0.02, 0.012), image_error=0.02, least_deviation=0.001)
    assert few.probability == pytest.approx(0.925, abs=0.01)  # with two degrees of freedom
