"""Importance of each searched parameter for the validation accuracy of a run's trials."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from tunecnn.space.parameters import Parameter
from tunecnn.study.distributions import distribution
from tunecnn.study.records import quiet_optuna

_TREES = 32
_FEWEST_TRIALS, MOST_TRIALS = 20, 100  # of which shares are computed
_RESAMPLES, _PERMUTATIONS = 40, 2000
_LEVEL = 0.045  # 5 % less one standard error of what 2,000 permutations can show


def are_enough(trials: int, parameters: int) -> bool:
    """Return whether so many trials can say anything of the importance of parameters, if any."""
    return parameters > 0 and trials >= max(_FEWEST_TRIALS, 2 * parameters)


def parameter_importances(
    values: pd.DataFrame, accuracy: pd.Series, searched: Mapping[str, Parameter]
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Return each parameter's share of the variance of an accuracy, where it has any.

    The shares are computed by fANOVA (Hutter et al. 2014) on a random forest. They add up to less
    than 1: noise, and what parameters do only together, belong to none of them. Each share has
    bounds, between which it lies in 95 % of 40 resamples of the trials, with one tree per
    resample. A forest would resample again, and give bounds that are too close: on synthetic
    objectives, 45 to 60 % of those from eight trees contained the true share, and 80 to 99 % of
    those from one tree. If there are more than 100 trials, 100 of them are selected at random.

    fANOVA shares out noise as well: of an accuracy that depends on nothing, the first of six
    parameters gets half. So the shares are those of the parameters with a `clear_effects` only.

    Args:
        values: values of the trials, (trials, parameters).
        accuracy: accuracy of the same trials. All that were tried must be there: among those that
            a pruner has let through, the shares of all trials are turned round.
        searched: the parameters, by name of the column.

    Returns:
        The share of each parameter with a clear effect, in [0, 1], the largest first, and the
        bounds of it. Empty without one, or if there are fewer than 20 trials or fewer
        than two per parameter: the intervals would be too wide to be useful.
    """
    if not are_enough(len(values), len(searched)):
        return {}
    clear = clear_effects(values[list(searched)], accuracy)
    if not clear:
        return {}
    random = np.random.default_rng(0)
    among = {name: distribution(parameter) for name, parameter in searched.items()}
    trials = [
        optuna.create_trial(
            params={name: _plain(values[name].iloc[i]) for name in among},
            distributions=among,
            value=float(accuracy.iloc[i]),
        )
        for i in sorted(random.permutation(len(values))[:MOST_TRIALS])
    ]
    shares = _fanova(trials, _TREES)
    resampled = [
        _fanova([trials[i] for i in random.integers(0, len(trials), len(trials))], trees=1)
        for _ in range(_RESAMPLES)
    ]
    found = {}
    for name, share in shares.items():
        if name in clear:
            low, high = np.quantile([again[name] for again in resampled if again], [0.025, 0.975])
            found[name] = share, (float(low), float(high))
    return found


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
    at_random = np.stack([_spread(values[name], permuted) for name in values])
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


def _spread(values: pd.Series, ranks: np.ndarray) -> np.ndarray:
    """Return the variance of the mean ranks between the parts of a parameter, for each row."""
    is_range = pd.api.types.is_numeric_dtype(values) and values.nunique() > 6
    parts = pd.qcut(values, 5, duplicates="drop") if is_range else values
    codes, count = pd.factorize(parts)[0], parts.nunique()
    member = np.eye(count)[codes]  # (trials, parts)
    sizes = member.sum(axis=0)
    means = ranks @ member / sizes
    between: np.ndarray = ((means - ranks.mean(axis=1, keepdims=True)) ** 2) @ sizes
    return between


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _fanova(trials: Sequence[FrozenTrial], trees: int) -> dict[str, float]:
    """Return the shares, largest first; empty if all trials have the same result."""
    from optuna.importance import FanovaImportanceEvaluator

    with quiet_optuna(), contextlib.suppress(RuntimeError, ValueError):
        study = optuna.create_study(direction="maximize")
        study.add_trials(trials)
        # `get_param_importances` would scale the shares until they add up to 1.
        shares = FanovaImportanceEvaluator(n_trees=trees, seed=0).evaluate(study)
        found = {name: float(share) for name, share in shares.items()}
        return found if all(map(math.isfinite, found.values())) else {}
    return {}
