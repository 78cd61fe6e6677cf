"""Gains over a baseline with the same seeds: their mean, its interval, and a verdict."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev, variance
from typing import Literal

import numpy as np

from tunecnn.analysis.intervals import (
    dunnett_quantile,
    found_in_most,
    mean_interval,
    mean_or_none,
)
from tunecnn.space.schema import MOST_SPLITS
from tunecnn.words import count_in_words

_MOST_REPEATS = {"seed": 1000, "split": MOST_SPLITS}
_HALF_A_POINT = 0.005
_ROUNDING = 1e-9
_MOST_FREEDOM = 1000  # more change no quantile


@dataclass(frozen=True)
class OverSeeds:
    """Accuracies in [0, 1] of one configuration by seed; failed seeds are left out.

    Attributes:
        values: accuracy by seed.
        splits: split of the data in which it was trained, by seed; empty if all were
            trained in one.
    """

    values: dict[int, float]
    splits: dict[int, int] = field(default_factory=dict)

    @property
    def repeats(self) -> dict[int, float]:
        """The accuracies that vary independently: by seed, or the means by split.

        Networks of one split have seen the same images, whatever their seeds.
        """
        if not self.splits:
            return self.values
        return {split: fmean(values) for split, values in self._grouped().items()}

    @property
    def by_split(self) -> list[list[float]]:
        """The accuracies of each of several splits; empty with one split."""
        return list(self._grouped().values()) if self.splits else []

    def _grouped(self) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for seed, value in self.values.items():
            found.setdefault(self.splits[seed], []).append(value)
        return found

    @property
    def in_words(self) -> str:
        """The numbers of new seeds, and of new splits of the data if there are several."""
        words = count_in_words(len(self.values), "new seed")
        if self.splits:
            words += f" in {count_in_words(len(self.repeats), 'new split')} of the data"
        return words

    @property
    def mean(self) -> float | None:
        """Mean over the repeats; None if there are none."""
        return mean_or_none(self.repeats.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean; None for fewer than two repeats, or equal ones.

        Some that happen to agree are no certainty.
        """
        values = list(self.repeats.values())
        if len(values) < 2 or max(values) - min(values) < _ROUNDING:
            return None
        low, high = mean_interval(values)
        return max(low, 0.0), min(high, 1.0)

    def minus(self, other: OverSeeds) -> OverSeeds:
        """Return the differences to another configuration, seed by seed."""
        shared = self.shared_with(other).values
        return replace(self, values={seed: shared[seed] - other.values[seed] for seed in shared})

    def shared_with(self, other: OverSeeds) -> OverSeeds:
        """Return the accuracies with the seeds that another configuration has as well."""
        return replace(
            self, values={seed: one for seed, one in self.values.items() if seed in other.values}
        )


@dataclass(frozen=True)
class Paired:
    """Differences to the baseline with the same seeds in the same split of the data.

    Attributes:
        values: the differences by repeat: seed by seed, or the means of split by split.
        candidates: number of candidates that are compared with the baseline, for which the level
            of the interval is corrected (Dunnett).
        image_error: standard error of the mean difference from the choice of the test images.
        least_deviation: standard deviation that the differences have at least, as each network is
            right or wrong on each image by chance; with several splits, also as the seeds of
            each of them differ.
        deviation: standard deviation of a difference over the repeats, from the differences of
            all candidates; None for that of these differences alone. If these differ more, theirs
            counts: not all configurations have the same spread.
        pooled: degrees of freedom of that deviation, as a multiple of those of these differences.
        repeat: what a repeat is: `seed`, or `split` with several splits of the data.
    """

    values: tuple[float, ...]
    candidates: int = 1
    image_error: float = 0.0
    least_deviation: float = 0.0
    deviation: float | None = None
    pooled: float = 1.0
    repeat: Literal["seed", "split"] = "seed"

    @property
    def mean(self) -> float | None:
        """Mean difference; None if there are no pairs."""
        return mean_or_none(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's interval of the mean difference; None for a single repeat, or equal ones.

        Its level is 95 % for all candidates together, and it covers other seeds and images, and
        with several splits of the data other splits.
        """
        if self.mean is None or not self._varies:
            return None
        half = self._quantile(len(self.values)) * self._error(len(self.values))
        return max(self.mean - half, -1.0), min(self.mean + half, 1.0)

    @property
    def detectable(self) -> float | None:
        """Smallest true difference that would have been found in 80 of 100 cases; None if none."""
        if not self._varies:
            return None
        found = self._detectable_with(len(self.values))
        return found if found <= 1 else None

    @property
    def repeats_for_half_a_point(self) -> int | None:
        """Number of repeats with which half a point would be found in 80 of 100 cases.

        None if no number would do, since there are too few test images, or without a spread of
        the repeats.
        """
        if not self._varies:
            return None
        counts = range(2, self.most_repeats + 1)
        found = bisect_left(
            counts, True, key=lambda count: self._detectable_with(count) <= _HALF_A_POINT
        )
        return counts[found] if found < len(counts) else None

    @property
    def has_too_few_images(self) -> bool:
        """Whether no number of repeats would find half a point, by the choice of images alone."""
        return self._multiple(self.most_repeats) * self.image_error > _HALF_A_POINT

    @property
    def most_repeats(self) -> int:
        """Largest number of repeats that a confirmation can have."""
        return _MOST_REPEATS[self.repeat]

    def _detectable_with(self, repeats: int) -> float:
        return self._multiple(repeats) * self._error(repeats)

    def _multiple(self, repeats: int) -> float:
        """Return how many standard errors a difference has that is found in 80 of 100 cases."""
        return found_in_most(self._quantile(repeats), self._freedom(repeats))

    def _quantile(self, repeats: int) -> float:
        return dunnett_quantile(self.candidates, self._freedom(repeats))

    @property
    def _spread(self) -> float:
        """Standard deviation over the repeats, as it was measured."""
        spread = max(stdev(self.values), self.deviation or 0.0)
        return 0.0 if spread < _ROUNDING else spread

    @property
    def _deviation(self) -> float:
        """Standard deviation over the repeats, which is not below what chance gives."""
        return max(self._spread, self.least_deviation)

    def _error(self, repeats: int) -> float:
        """Return the standard error of the mean difference of so many repeats."""
        return math.hypot(self._deviation / math.sqrt(repeats), self.image_error)

    def _freedom(self, repeats: int) -> int:
        """Return the degrees of freedom of the standard error (Satterthwaite 1946).

        Few repeats measure the spread over repeats badly; many images measure the other parts, of
        which the least deviation is one, well. With a single degree of freedom, a spread below
        the least deviation is too often luck to rely on that; with splits, which may differ by
        more than their seeds do, also with two or three; with two seeds of several candidates,
        whose spreads are pooled, with less than three.
        """
        exact = self.pooled * (repeats - 1)
        measured = max(1, round(exact))
        least = 4 if self.repeat == "split" else 3 if repeats == 2 else 2
        if exact < least - _ROUNDING or not self._spread + self.least_deviation:
            return measured
        if self._spread <= self.least_deviation:
            return _MOST_FREEDOM
        by_repeats = self._spread**2 / repeats
        freedom = measured * (self._error(repeats) ** 2 / by_repeats) ** 2
        return min(_MOST_FREEDOM, int(freedom + _ROUNDING))

    @property
    def ahead(self) -> int:
        """Number of repeats in which the candidate is ahead."""
        return sum(value > 0 for value in self.values)

    @property
    def probability(self) -> float | None:
        """Probability of being ahead with one more repeat; None if nothing tells how they vary."""
        from scipy.stats import t

        count = len(self.values)
        if self.mean is None or not self._varies or not self._deviation:
            return None
        error = self._deviation * math.sqrt(1 + 1 / count)
        is_measured = self._spread > self.least_deviation
        freedom = max(1, round(self.pooled * (count - 1))) if is_measured else _MOST_FREEDOM
        return float(t.cdf(self.mean / error, freedom))

    @property
    def _varies(self) -> bool:
        """Whether there is anything to tell noise from: repeats that agree are no certainty."""
        return len(self.values) > 1 and self._error(len(self.values)) > 0

    @property
    def verdict(self) -> str:
        """Whether the difference is more than noise, by Student's interval, in words."""
        if self.interval is None:
            return f"too few {self.repeat}s for a verdict"
        low, high = self.interval
        if low > 0:
            return "ahead by more than noise"
        return "behind by more than noise" if high < 0 else "not told from noise"


def paired_gains(
    accuracies: Sequence[OverSeeds], baseline: int, errors: Sequence[tuple[float, float]]
) -> list[Paired]:
    """Return the differences of each candidate to the baseline, with their common spread.

    Args:
        accuracies: accuracies of each candidate; some seeds may be missing.
        baseline: index of the baseline.
        errors: `image_error` and `least_deviation` of each candidate.
    """
    gains = [one.minus(accuracies[baseline]) for one in accuracies]
    others = [gain for index, gain in enumerate(gains) if index != baseline]
    deviation, freedom = _pooled([list(gain.repeats.values()) for gain in others])
    # The baseline is in all differences: two of them have a correlation of 1/2 if all
    # configurations vary alike, and their squares one of 1/4.
    freedom /= 1 + max(0, sum(len(gain.repeats) > 1 for gain in others) - 1) / 4
    compared = sum(bool(gain.values) for gain in others)
    within, _ = _pooled([values for gain in others for values in gain.by_split])
    found = []
    for gain, (image_error, least_deviation) in zip(gains, errors, strict=True):
        values = tuple(gain.repeats.values())
        of_seeds = within * math.sqrt(len(values) / max(1, len(gain.values)))
        paired = Paired(
            values,
            max(1, compared),
            image_error,
            max(least_deviation, of_seeds),
            repeat="split" if gain.splits else "seed",
        )
        if freedom:
            pooled = max(1.0, freedom / max(1, len(values) - 1))  # its own are among them
            paired = replace(paired, deviation=deviation, pooled=pooled)
        found.append(paired)
    return found


def _pooled(groups: Iterable[Sequence[float]]) -> tuple[float, float]:
    """Return the standard deviation within groups that vary alike, and its degrees of freedom."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * variance(group) for group in several)
    return (math.sqrt(squares / freedom), float(freedom)) if freedom else (0.0, 0.0)


def crossed_errors(gains: np.ndarray, different: int) -> tuple[float, float]:
    """Return `image_error` and `least_deviation` of a mean gain over images and repeats.

    Args:
        gains: gain of each image with each repeat, (images, repeats); two or more of both.
        different: number of different images; identical ones count once.
    """
    images, repeats = gains.shape
    by_image = gains.mean(axis=1, keepdims=True)
    rest = gains - by_image - gains.mean(axis=0) + gains.mean()
    chance = float((rest**2).sum()) / ((images - 1) * (repeats - 1))
    of_images = max(0.0, float(by_image.var(ddof=1)) - chance / repeats)
    return math.sqrt(of_images / different), math.sqrt(chance / different)
