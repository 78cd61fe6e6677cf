"""Intervals for what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def wilson_interval(accuracy: float, images: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for the accuracy of one trained model.

    It says how far the accuracy on other images of the same kind may lie from that on these; it
    says nothing of how another seed would have trained.

    Args:
        accuracy: share of the images classified right, in [0, 1].
        images: how many there were.
        level: confidence.
    """
    from scipy.stats import binomtest  # late: the import takes most of a second

    interval = binomtest(round(accuracy * images), images).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def prediction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return where one more run of the same kind would lie, from the values of several.

    Student's t: mean +- t(n - 1) s sqrt(1 + 1/n). It is wider than the interval of the mean, which
    says where the mean of very many runs lies; a single published run is not a mean.

    Args:
        values: of two runs or more, that differ by their seed alone.
        level: probability that the next run lies inside.
    """
    from scipy.stats import t

    count = len(values)
    half = t.ppf((1 + level) / 2, count - 1) * stdev(values) * math.sqrt(1 + 1 / count)
    return fmean(values) - half, fmean(values) + half
