"""Importance of each searched parameter for the validation accuracy of a run's trials."""

from __future__ import annotations

import numpy as np
import pandas as pd

_FEWEST_TRIALS = 20
_PARTS_OF_A_TEST = 5
_MOST_PARTS, _TRIALS_OF_A_PART = 12, 5
_PERMUTATIONS = 2000
_LEVEL = 0.045  # 5 % less one standard error of what 2,000 permutations can show


def are_enough(trials: int, parameters: int) -> bool:
    """Return whether so many trials can say anything of the importance of parameters, if any."""
    return parameters > 0 and trials >= max(_FEWEST_TRIALS, 2 * parameters)


def parameter_importances(
    values: pd.DataFrame, accuracy: pd.Series
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Return each parameter's share of the variance of an accuracy, where it has any.

    Args:
        values: values of the trials, (trials, parameters).
        accuracy: accuracy of the same trials. All that were tried must be there: among those that
            a pruner has let through, the shares of all trials are turned round.

    Returns:
        The share of each parameter with one of the `clear_effects`, in [0, 1], the largest first,
        and its 95 % interval. Empty without one, or if there are fewer than 20 trials or fewer
        than two per parameter: the intervals would be too wide to be useful.
    """
    if not are_enough(len(values), values.shape[1]):
        return {}
    count = min(_MOST_PARTS, max(_PARTS_OF_A_TEST, len(values) // _TRIALS_OF_A_PART))
    shares = {
        name: share_of_variance(_parts(values[name], count), accuracy.to_numpy(float))
        for name in clear_effects(values, accuracy)
    }
    return dict(sorted(shares.items(), key=lambda item: item[1][0], reverse=True))


def share_of_variance(
    parts: np.ndarray, accuracy: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """Return the share of the variance that lies between parts of the trials, and its interval.

    The share is epsilon squared (Kelley 1935): what the means of the parts differ by, less what
    they would differ by in noise alone. The interval is exact for normal accuracies of one spread
    in all parts: by the noncentral F distribution (Steiger 2004), 95 %.

    Args:
        parts: number of the part of each trial, from 0; two parts or more.
        accuracy: accuracy of each trial.
    """
    from scipy.optimize import brentq
    from scipy.stats import ncf

    sizes = np.bincount(parts)
    means = np.bincount(parts, weights=accuracy) / sizes
    total = float(((accuracy - accuracy.mean()) ** 2).sum())
    between = float((sizes * (means - accuracy.mean()) ** 2).sum())
    among, within = len(sizes) - 1, len(accuracy) - len(sizes)
    noise = max(total - between, 1e-4 * total) / within
    ratio = between / among / noise

    def bound(probability: float) -> float:
        def excess(noncentrality: float) -> float:
            return float(ncf.cdf(ratio, among, within, noncentrality)) - probability

        if excess(0.0) <= 0:
            return 0.0
        high = 1.0
        while excess(high) > 0:
            high *= 2
        noncentrality = float(brentq(excess, 0.0, high))
        return noncentrality / (noncentrality + len(accuracy))

    share = max(0.0, (between - among * noise) / total)
    return share, (min(bound(0.975), share), max(bound(0.025), share))


def clear_effects(values: pd.DataFrame, accuracy: pd.Series) -> list[str]:
    """Return the parameters on which an accuracy depends more than by luck.

    Each parameter is divided into its values, or into five parts with as many trials, and the
    mean ranks of the accuracy in the parts are compared (Kruskal and Wallis 1952). A parameter
    counts if 2,000 permutations of the accuracies hardly ever show as much for any of the
    parameters: 5 % for all of them together (Westfall and Young 1993). An effect that only two
    parameters have together is not found.

    Args:
        values: values of the trials, (trials, parameters).
        accuracy: accuracy of the same trials.
    """
    ranks = accuracy.rank().to_numpy()
    if len(ranks) < 2 or np.ptp(ranks) == 0:
        return []
    random = np.random.default_rng(0)
    permuted = np.stack([ranks, *(random.permutation(ranks) for _ in range(_PERMUTATIONS))])
    at_random = np.stack([_spread(_parts(values[name]), permuted) for name in values])
    # By luck alone, so much or more in one parameter; then in the most conspicuous of all.
    order = np.sort(at_random, axis=1)
    above = np.stack(
        [
            len(row) - np.searchsorted(row, line - 1e-9)
            for row, line in zip(order, at_random, strict=True)
        ]
    )
    most = above[:, 1:].min(axis=0)
    return [
        str(name)
        for name, count in zip(values, above[:, 0], strict=True)
        if (1 + (most <= count).sum()) / (1 + _PERMUTATIONS) <= _LEVEL
    ]


def _parts(values: pd.Series, most: int = _PARTS_OF_A_TEST) -> np.ndarray:
    """Return the part of each trial: that of its value, or of as many trials of a range."""
    is_range = pd.api.types.is_numeric_dtype(values) and values.nunique() > _PARTS_OF_A_TEST + 1
    parts = pd.qcut(values, most, duplicates="drop") if is_range else values
    return np.asarray(pd.factorize(parts)[0])


def _spread(parts: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the variance of the mean ranks between the parts of a parameter, for each row."""
    member = np.eye(parts.max() + 1)[parts]  # (trials, parts)
    sizes = member.sum(axis=0)
    means = ranks @ member / sizes
    between: np.ndarray = ((means - ranks.mean(axis=1, keepdims=True)) ** 2) @ sizes
    return between
