"""Confidence and prediction intervals of measured values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np


def wilson_interval(accuracy: float, images: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for the accuracy of one trained model.

    It covers the accuracy on other images of the same population; it does not cover the variation
    between seeds.

    Args:
        accuracy: share of correctly classified images, in [0, 1].
        images: number of images.
        level: confidence level.
    """
    from scipy.stats import binomtest  # imported late: this takes most of a second

    interval = binomtest(round(accuracy * images), images).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def prediction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the prediction interval for the value of one more run, from those of several runs.

    Student's t: mean +- t(n - 1) s sqrt(1 + 1/n). It is wider than the interval of the mean, which
    says where the mean of very many runs lies; a single published run is not a mean.

    Args:
        values: values of two or more runs that differ only by their seed.
        level: probability that the next run lies inside.
    """
    return _students_interval(values, level, stdev(values) * math.sqrt(1 + 1 / len(values)))


def mean_or_none(values: Collection[float]) -> float | None:
    """Return the mean of the values of several seeds; None if there are none."""
    return fmean(values) if values else None


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of a mean: where the mean over very many seeds would lie.

    Args:
        values: values of two or more seeds.
        level: confidence level.
    """
    return _students_interval(values, level, stdev(values) / math.sqrt(len(values)))


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (10,000 resamples, a fixed seed).

    With few values it is too narrow: resampled values never lie beyond the observed extremes.

    Args:
        values: values of two or more seeds, such as paired differences.
        level: confidence level.
    """
    from scipy.stats import bootstrap

    if len(set(values)) == 1:
        return values[0], values[0]
    found = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=10_000, method="percentile", rng=0
    ).confidence_interval
    return float(found.low), float(found.high)


def expected_best(
    values: Sequence[float], count: int, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Return the expected best of `count` random trials, and its bootstrap band.

    The estimator is unbiased: the mean of the best over all subsets of `count` values, computed
    from their order, as in Dodge et al., "Show Your Work" (2019), corrected in Tang et al. (2020).
    It needs at least `count` values. The band is the percentile bootstrap interval (2,000
    resamples, a fixed seed).
    """
    weights = _best_weights(len(values), count)
    random = np.random.default_rng(0)
    resampled = np.sort(random.choice(np.asarray(values), (2_000, len(values))), axis=1) @ weights
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(np.sort(values) @ weights), (float(low), float(high))


def _best_weights(total: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probability that each of `total` sorted values is the best of `count`."""
    ways = [math.comb(rank, count - 1) for rank in range(total)]
    return np.array(ways, dtype=float) / math.comb(total, count)


def probability_above_zero(values: Sequence[float]) -> float:
    """Return the probability that the next value is above 0, for normal values (Student's t).

    Args:
        values: values of two or more seeds, such as paired differences.
    """
    from scipy.stats import t

    mean, deviation = fmean(values), stdev(values)
    if not deviation:
        return 0.5 if not mean else float(mean > 0)
    distance = mean / (deviation * math.sqrt(1 + 1 / len(values)))
    return float(t.cdf(distance, len(values) - 1))


def _students_interval(values: Sequence[float], level: float, error: float) -> tuple[float, float]:
    """Return Student's interval around the mean of the values, given a standard error."""
    from scipy.stats import t

    half = t.ppf((1 + level) / 2, len(values) - 1) * error
    return fmean(values) - half, fmean(values) + half
