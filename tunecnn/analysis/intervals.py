"""Confidence and prediction intervals of measured values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

import numpy as np

_CLEARLY = 2.5  # standard errors


def wilson_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for the accuracy of one trained model.

    It covers the accuracy on other images of the same population; it does not cover the variation
    between seeds.

    Args:
        accuracy: share of correctly classified images, in [0, 1].
        images: number of images.
    """
    from scipy.stats import binomtest  # imported late: this takes most of a second

    interval = binomtest(round(accuracy * images), images).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def is_rival(accuracy: float, best: float, images: float) -> bool:
    """Return whether a trained model may be as good as the best one: it is not clearly worse.

    Clearly worse is one that lies more than 2.5 standard errors of the difference below the best,
    as if both were judged on different images, which is cautious. Luck decided among the rivals
    only, so an interval that is corrected for all others too is wider than it need be. With a
    correction for the rivals, the intervals below hold as often as docs/summary.md says.

    Args:
        accuracy: share of the images that the model classifies correctly, in [0, 1].
        best: share of the images that the best model classifies correctly, in [0, 1].
        images: number of images; of balanced accuracies, that of `effective_images`.
    """
    error = math.sqrt((accuracy * (1 - accuracy) + best * (1 - best)) / images)
    return best - accuracy <= _CLEARLY * error


def best_of_interval(accuracy: float, images: int, rivals: int) -> tuple[float, float]:
    """Return a 95 % interval for the own accuracy of the best of several trained models.

    The best of many is partly the luckiest, so the lower end is at a level corrected for the
    number of its rivals (Sidak: 4 % for all of them together); the upper end has 2.5 %. In
    simulations Wilson's alone covers the accuracy of the best of 64 equal models in a half to
    three quarters of cases. At such levels Wilson's lower end is too high for small accuracies,
    so with rivals it is Clopper and Pearson's where that is lower.

    Args:
        accuracy: share of the images that the best one classifies correctly, in [0, 1].
        images: number of images.
        rivals: number of models that are not clearly worse (`is_rival`), the best one included.
    """
    from scipy.stats import binomtest

    below = _tail_below(rivals)
    test = binomtest(round(accuracy * images), images)
    low = float(test.proportion_ci(1 - 2 * below, method="wilson").low)
    if rivals > 1:
        low = min(low, float(test.proportion_ci(1 - 2 * below, method="exact").low))
    return low, float(test.proportion_ci(0.95, method="wilson").high)


def best_gain_interval(
    lead: float, squares: float, images: int, rivals: int
) -> tuple[float, float]:
    """Return a 95 % interval for the lead of the best of several models over another one.

    The difference of two accuracies on the same images (Agresti and Min 2005, with half an image
    more in each cell). Its lower end is corrected for the choice, as in `best_of_interval`, but as
    Dunnett does: the other model is in the leads of all rivals, so they are high or low together.

    Args:
        lead: sum over the images of 1 where only the best model is right, and of -1 where only the
            other one is; each may have a weight, with a mean of 1, for balanced accuracy.
        squares: sum of their squares; without weights, the number of images on which only one of
            the two is right.
        images: number of images.
        rivals: number of models that are not clearly worse than the best, itself included.
    """
    total = images + 2
    error = math.sqrt(squares + 1 - lead**2 / total) / total
    below, above = _largest_of_correlated(rivals), NormalDist().inv_cdf(0.975)
    return max(-1.0, lead / total - below * error), min(1.0, lead / total + above * error)


_ALL_BELOW = 0.04  # of all rivals together; among equal ones, the upper end is hardly ever missed


def _tail_below(rivals: int) -> float:
    return 1 - (1 - _ALL_BELOW) ** (1 / rivals) if rivals > 1 else 0.025


@lru_cache
def _largest_of_correlated(count: int) -> float:
    """Return the upper 4 % quantile of the largest of normal errors with correlations of a half.

    One-sided, for the 4 % of `best_of_interval`. `dunnett_quantile` is two-sided and knows the
    spread from few seeds only; here it is known from the images.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, roots_hermitenorm

    alone = NormalDist().inv_cdf(0.975)
    if count < 2:
        return alone
    common, weight = roots_hermitenorm(64)  # what the errors share, for the integral over it

    def excess(limit: float) -> float:
        below = ndtr(math.sqrt(2) * limit + common) ** count
        return float(below @ weight / weight.sum()) - (1 - _ALL_BELOW)

    return float(brentq(excess, 0.0, 10.0))


def typical_best(values: Sequence[float], count: int) -> tuple[float, tuple[float, float]] | None:
    """Return the median of the best of `count` random trials, and its 95 % interval.

    The median of the best of m is the quantile 0.5^(1/m) of a single trial; its interval lies
    between two order statistics (binomial, so it assumes nothing about the distribution).

    Returns:
        None if there are too few values for an interval that has an upper end.
    """
    from scipy.stats import binom

    ranked, quantile = sorted(values), 0.5 ** (1 / count)
    total = len(ranked)
    low = int(binom.ppf(0.025, total, quantile))
    high = int(binom.ppf(0.975, total, quantile)) + 1
    if low < 1 or high > total:
        return None
    middle = ranked[min(total - 1, math.ceil(quantile * total) - 1)]
    return middle, (ranked[low - 1], ranked[high - 1])


def correlation_interval(rho: float | None, count: int) -> tuple[float, float] | None:
    """Return the 95 % interval of Spearman's correlation (Bonett and Wright 2000).

    Equal rankings of few pairs are no proof of a correlation of 1, for which the formula has no
    width: the interval is then that of a correlation halfway to the next lower one, and ends at 1.

    Args:
        rho: correlation; None if it is undefined.
        count: number of pairs.
    """
    if rho is None or count < 4:
        return None
    largest = 1 - 6 / (count * (count**2 - 1))  # two neighbours that swap ranks cost twice that
    shown = max(-largest, min(largest, rho))
    error = math.sqrt((1 + shown**2 / 2) / (count - 3))
    center = math.atanh(shown)
    low, high = math.tanh(center - 1.96 * error), math.tanh(center + 1.96 * error)
    return min(low, rho), max(high, rho)


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % prediction interval for the value of one more run, from those of several.

    Student's t: mean +- t(n - 1) s sqrt(1 + 1/n). It is wider than the interval of the mean, which
    says where the mean of very many runs lies; a single published run is not a mean.

    Args:
        values: values of two or more runs that differ only by their seed.
    """
    return _students_interval(values, stdev(values) * math.sqrt(1 + 1 / len(values)))


def mean_or_none(values: Collection[float]) -> float | None:
    """Return the mean of the values of several seeds; None if there are none."""
    return fmean(values) if values else None


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of a mean: where the mean over very many seeds would lie.

    Args:
        values: values of two or more seeds.
    """
    return _students_interval(values, stdev(values) / math.sqrt(len(values)))


@lru_cache
def dunnett_quantile(count: int, freedom: int) -> float:
    """Return the critical value for comparing several with the same one (Dunnett 1955).

    All two-sided 95 % intervals hold together. Their errors are correlated by a half, since the
    baseline is in each of them; for one comparison it is Student's quantile. The integral is over
    the baseline's error and over the common standard deviation.

    Args:
        count: number of comparisons.
        freedom: degrees of freedom of the common standard deviation.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, roots_hermitenorm
    from scipy.stats import chi2, t

    student, bonferroni = (float(t.ppf(1 - 0.025 / k, freedom)) for k in (1, count))
    if count == 1:
        return student
    common, weight = roots_hermitenorm(64)
    parts = (np.arange(1000)[:, None] + 0.5) / 1000
    deviation = np.sqrt(chi2.ppf(parts, freedom) / freedom)

    def excess(value: float) -> float:
        end = math.sqrt(2) * value * deviation
        inside = (ndtr(common + end) - ndtr(common - end)) ** count
        return float((inside @ weight).mean() / weight.sum()) - 0.95

    return float(brentq(excess, 0.99 * student, 1.01 * bonferroni))


def _students_interval(values: Sequence[float], error: float) -> tuple[float, float]:
    """Return Student's 95 % interval around the mean of the values, given a standard error."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * error
    return fmean(values) - half, fmean(values) + half


@lru_cache
def found_in_most(quantile: float, freedom: int) -> float:
    """Return how many standard errors a difference has that a test finds in 80 of 100 cases.

    Args:
        quantile: standard errors from which on the test finds a measured difference.
        freedom: degrees of freedom of the standard error, which is measured as well: the ratio
            of both has the noncentral t distribution.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct

    return float(brentq(lambda true: nct.sf(quantile, freedom, true) - 0.8, 0, 3 * quantile + 10))
