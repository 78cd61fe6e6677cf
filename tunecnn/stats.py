"""Intervals for what was measured."""

from __future__ import annotations


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
