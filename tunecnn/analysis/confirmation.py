"""Analysis of a confirmation: how the candidates of a search perform with new seeds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from tunecnn.analysis.classes import ClassLine, class_lines, image_weights
from tunecnn.analysis.intervals import (
    dunnett_quantile,
    mean_interval,
    mean_or_none,
    probability_above_zero,
    wilson_interval,
)
from tunecnn.analysis.overview import Lead, RunOverview, balanced_in_words, overview_of
from tunecnn.run.info import ConfirmationJob
from tunecnn.run.run import Run
from tunecnn.words import count_in_words

_MOST_SEEDS = 1000
_HALF_A_POINT = 0.005
_ROUNDING = 1e-9
_MOST_FREEDOM = 1000  # more change no quantile


@dataclass(frozen=True)
class OverSeeds:
    """Accuracies in [0, 1] of one configuration by seed; failed seeds are left out."""

    values: dict[int, float]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None if there are none."""
        return mean_or_none(self.values.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean; None for fewer than two seeds."""
        if len(self.values) < 2:
            return None
        low, high = mean_interval(list(self.values.values()))
        return max(low, 0.0), min(high, 1.0)


@dataclass(frozen=True)
class Paired:
    """Differences to the baseline, seed by seed, in the same order.

    Attributes:
        values: the differences.
        candidates: number of candidates that are compared with the baseline, for which the level
            of the interval is corrected (Dunnett).
        image_error: standard error of the mean difference from the choice of the test images.
        least_deviation: standard deviation that the differences of the seeds have at least, as
            each network is right or wrong on each image by chance.
        deviation: standard deviation of a difference over the seeds, from all candidates and the
            baseline, as in Dunnett's comparison of several with one (1955); None for that of
            these differences alone. If these differ more, theirs counts: not all configurations
            have the same spread.
        pooled: degrees of freedom of that deviation, as a multiple of those of these differences.
    """

    values: tuple[float, ...]
    candidates: int = 1
    image_error: float = 0.0
    least_deviation: float = 0.0
    deviation: float | None = None
    pooled: float = 1.0

    @property
    def mean(self) -> float | None:
        """Mean difference; None if there are no pairs."""
        return mean_or_none(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's interval of the mean difference; None for fewer than two pairs, or equal ones.

        Its level is 95 % for all candidates together, and it covers other seeds and other images.
        """
        if self.mean is None or not self._varies:
            return None
        half = self._quantile(len(self.values)) * self._error(len(self.values))
        return self.mean - half, self.mean + half

    @property
    def detectable(self) -> float | None:
        """Smallest true difference that would have been found in 80 of 100 cases."""
        return self._detectable_with(len(self.values)) if self._varies else None

    @property
    def seeds_for_half_a_point(self) -> int | None:
        """Number of seeds with which half a point would be found in 80 of 100 cases.

        None if no number of seeds would do, since there are too few test images, or without a
        spread of the seeds.
        """
        if not self._varies:
            return None
        counts = range(2, _MOST_SEEDS + 1)
        found = bisect_left(
            counts, True, key=lambda count: self._detectable_with(count) <= _HALF_A_POINT
        )
        return counts[found] if found < len(counts) else None

    @property
    def has_too_few_images(self) -> bool:
        """Whether no number of seeds would find half a point, by the choice of images alone."""
        return self._multiple(_MOST_SEEDS) * self.image_error > _HALF_A_POINT

    def _detectable_with(self, seeds: int) -> float:
        return self._multiple(seeds) * self._error(seeds)

    def _multiple(self, seeds: int) -> float:
        """Return how many standard errors a difference has that is found in 80 of 100 cases."""
        from scipy.stats import t

        return self._quantile(seeds) + float(t.ppf(0.8, self._freedom(seeds)))

    def _quantile(self, seeds: int) -> float:
        return dunnett_quantile(self.candidates, self._freedom(seeds))

    @property
    def _spread(self) -> float:
        """Standard deviation over the seeds, as it was measured."""
        spread = max(stdev(self.values), self.deviation or 0.0)
        return 0.0 if spread < _ROUNDING else spread

    def _error(self, seeds: int) -> float:
        """Return the standard error of the mean difference of so many seeds."""
        deviation = max(self._spread, self.least_deviation)
        return math.hypot(deviation / math.sqrt(seeds), self.image_error)

    def _freedom(self, seeds: int) -> int:
        """Return the degrees of freedom of the standard error (Satterthwaite 1946).

        Few seeds measure the spread over seeds badly; many images measure the other parts, of
        which the least deviation is one, well. With a single degree of freedom, a spread below
        the least deviation is too often luck to rely on that.
        """
        measured = max(1, round(self.pooled * (seeds - 1)))
        if measured < 2 or not self._spread + self.least_deviation:
            return measured
        if self._spread <= self.least_deviation:
            return _MOST_FREEDOM
        by_seeds = self._spread**2 / seeds
        return min(_MOST_FREEDOM, int(measured * (self._error(seeds) ** 2 / by_seeds) ** 2))

    @property
    def ahead(self) -> int:
        """Number of pairs in which the candidate is ahead."""
        return sum(value > 0 for value in self.values)

    @property
    def probability(self) -> float | None:
        """Probability of being ahead with one more seed; None without a spread of the seeds."""
        return probability_above_zero(self.values) if len(set(self.values)) > 1 else None

    @property
    def _varies(self) -> bool:
        """Whether there is anything to tell noise from: seeds that agree are no certainty."""
        return len(self.values) > 1 and self._error(len(self.values)) > 0

    @property
    def verdict(self) -> str:
        """Whether the difference is more than noise, by Student's interval, in words."""
        if self.interval is None:
            return "too few seeds for a verdict"
        low, high = self.interval
        if low > 0:
            return "ahead by more than noise"
        return "behind by more than noise" if high < 0 else "no more than noise"


@dataclass(frozen=True)
class CandidateLine:
    """One confirmed configuration.

    Attributes:
        name: name of the candidate, as in `tunecnn.workflows.confirmation_space.Candidate`.
        is_baseline: whether it is the baseline.
        values: settings in which the candidates differ, by name.
        search_accuracy: validation accuracy in the search, from one seed; None if it had none.
        validation: validation accuracy with the new seeds, as the search ranks by it.
        test: test accuracy with the new seeds, of the same type.
        validation_gain: difference to the baseline in validation accuracy, seed by seed.
        test_gain: difference to the baseline in test accuracy, seed by seed.
    """

    name: str
    is_baseline: bool
    values: dict[str, Any]
    search_accuracy: float | None
    validation: OverSeeds
    test: OverSeeds
    validation_gain: Paired
    test_gain: Paired

    @property
    def shrinkage(self) -> float | None:
        """Overstatement by the search: its validation accuracy minus the new mean."""
        if self.search_accuracy is None or self.validation.mean is None:
            return None
        return self.search_accuracy - self.validation.mean


@dataclass(frozen=True)
class ConfirmationSummary(RunOverview):
    """Summary of a confirmation.

    Attributes:
        metric: what the search ranks by, `val_accuracy` or `val_balanced_accuracy`: all accuracies
            here are of that type.
        seeds: number of new seeds.
        candidates: all candidates, by their difference to the baseline in validation accuracy
            with the same new seeds, best first.
        wilson: Wilson's interval, over the test images, of the test accuracy of one trained
            network: that of the best candidate's first new seed; None for balanced accuracy.
        epochs: number of epochs per trial.
        trained: number of trials that were trained to the end.
        exported: trials whose configs are written to files: one per candidate.
        classes: test results by class of the best candidate, over its new seeds.
    """

    metric: str
    seeds: int
    candidates: tuple[CandidateLine, ...]
    wilson: tuple[float, float] | None
    epochs: int
    trained: int
    exported: tuple[int, ...]
    classes: tuple[ClassLine, ...]

    @property
    def pick(self) -> CandidateLine | None:
        """The best candidate on the validation images, with the new seeds."""
        best = self.candidates[0]
        return best if best.validation.values else None

    def to_json(self) -> dict[str, Any]:
        """Return the results that a program needs."""
        return {
            "candidates": [
                {
                    "name": line.name,
                    "search_accuracy": line.search_accuracy,
                    "val_accuracy": list(line.validation.values.values()),
                    "test_accuracy": list(line.test.values.values()),
                    "verdict": None if line.is_baseline else line.test_gain.verdict,
                }
                for line in self.candidates
            ]
        }


def trials_of(run: Run, candidate: str) -> set[int]:
    """Return the complete trials of the candidate of some name, one for each new seed."""
    names = [one.name for one in run.job_as(ConfirmationJob).candidates]
    index = names.index(candidate)
    return {record.number for record in run.complete if record.number % len(names) == index}


def summarize_confirmation(run: Run) -> ConfirmationSummary:
    """Summarize a confirmation as it stands."""
    job = run.job_as(ConfirmationJob).candidates
    count, metric = len(job), run.space.metric
    validation: list[dict[int, float]] = [{} for _ in job]
    test: list[dict[int, float]] = [{} for _ in job]
    tested = _tested_accuracies(run)
    for record in run.complete:
        # The trials are the space's start points, in order: for each seed, all candidates.
        index = record.number % count
        seed = int(record.values["seed"])
        assert record.kept is not None
        validation[index][seed] = getattr(record.kept, metric)
        if record.number in tested:
            test[index][seed] = tested[record.number]
    baseline = next(index for index, candidate in enumerate(job) if candidate.is_baseline)
    errors = _errors(run, job[baseline].name)
    validation_gains = paired_gains(validation, baseline, [(0.0, 0.0)] * count)
    test_gains = paired_gains(
        test, baseline, [errors.get(candidate.name, (0.0, 0.0)) for candidate in job]
    )
    lines = [
        CandidateLine(
            name=candidate.name,
            is_baseline=candidate.is_baseline,
            values=dict(candidate.values),
            search_accuracy=candidate.search_accuracy,
            validation=OverSeeds(validation[index]),
            test=OverSeeds(test[index]),
            validation_gain=validation_gains[index],
            test_gain=test_gains[index],
        )
        for index, candidate in enumerate(job)
    ]
    lines.sort(key=_rank, reverse=True)
    best_test = list(lines[0].test.values.values())
    return ConfirmationSummary(
        **overview_of(run, _answer(run, lines), list(_leads(run, lines))),
        metric=metric,
        seeds=run.space.trials // count,
        candidates=tuple(lines),
        wilson=wilson_interval(best_test[0], run.info.dataset.different("test"))
        if best_test and metric == "val_accuracy"
        else None,
        epochs=run.space.epochs,
        trained=len(run.complete),
        exported=tuple(record.number for record in run.complete if record.number < count),
        classes=class_lines(run, trials_of(run, lines[0].name)),
    )


def _rank(line: CandidateLine) -> tuple[bool, float, float]:
    """Return what the candidates are ranked by: the difference to the baseline, seed by seed.

    Their means would rank by the seeds that happened to fail, or have not ended yet.
    """
    mean = line.validation.mean
    gain = 0.0 if line.is_baseline else line.validation_gain.mean
    return mean is not None, -math.inf if gain is None else gain, mean or 0.0


def _tested_accuracies(run: Run) -> dict[int, float]:
    """Return the accuracy on the test images, in the search's metric, by number of the trial."""
    if run.space.metric == "val_accuracy":
        return {one.trial: one.accuracy for one in run.info.evaluations}
    means = run.predictions.assign(right=_right(run)).groupby("trial")["right"].mean()
    return dict(zip(means.index.astype(int), means, strict=True))


def _right(run: Run) -> pd.Series:
    """Return the weight of each right prediction, and 0 for others: the mean is an accuracy."""
    tested = run.predictions
    weights = tested.groupby("trial")["label"].transform(
        lambda labels: image_weights(labels.to_numpy(), run.space.metric)
    )
    return (tested["label"] == tested["predicted"]) * weights


def paired_gains(
    values: Sequence[Mapping[int, float]], baseline: int, errors: Sequence[tuple[float, float]]
) -> list[Paired]:
    """Return the differences of each candidate to the baseline, with their common spread.

    Args:
        values: accuracy by seed of each candidate; some seeds may be missing.
        baseline: index of the baseline.
        errors: `image_error` and `least_deviation` of each candidate.
    """
    found = [
        Paired(
            tuple(one[seed] - values[baseline][seed] for seed in one if seed in values[baseline]),
            max(1, len(values) - 1),
            *error,
        )
        for one, error in zip(values, errors, strict=True)
    ]
    deviation, freedom = _residual(values)
    if not freedom:
        return found
    return [
        replace(gain, deviation=deviation, pooled=freedom / max(1, len(gain.values) - 1))
        for gain in found
    ]


def _residual(values: Sequence[Mapping[int, float]]) -> tuple[float, int]:
    """Return the standard deviation of a difference of two candidates, and its freedom.

    What is left of the accuracies after the effects of the candidates and of the seeds (least
    squares): three seeds are too few to measure the spread of one candidate alone.
    """
    cells = [
        (index, seed, value) for index, one in enumerate(values) for seed, value in one.items()
    ]
    seeds = sorted({seed for _, seed, _ in cells})
    if not cells:
        return 0.0, 0
    design = np.zeros((len(cells), len(values) + len(seeds)))
    for row, (index, seed, _) in enumerate(cells):
        design[row, [index, len(values) + seeds.index(seed)]] = 1
    accuracies = np.array([value for *_, value in cells])
    effects, _, rank, _ = np.linalg.lstsq(design, accuracies)
    freedom = len(cells) - int(rank)
    rest = float(((accuracies - design @ effects) ** 2).sum())
    return (math.sqrt(2 * rest / freedom), freedom) if freedom else (0.0, 0)


def _errors(run: Run, baseline: str) -> dict[str, tuple[float, float]]:
    """Return `image_error` and `least_deviation` of each candidate's test gain.

    Seeds and images are crossed, so the variance of the mean gain has three parts (analysis of
    variance with two random factors): the seeds, the images, and chance in each image of each
    seed. The spread of the seeds contains the last one already, and is at least as large: three
    seeds that happen to agree are no certainty.
    """
    tested = run.predictions
    if tested.empty:
        return {}
    count = len(run.job_as(ConfirmationJob).candidates)
    right = tested.assign(right=_right(run), pair=tested["trial"] // count).pivot_table(
        index="image", columns=["candidate", "pair"], values="right"
    )
    if baseline not in right.columns.get_level_values("candidate"):
        return {}
    different = run.info.dataset.different("test")
    found = {}
    for name in right.columns.get_level_values("candidate").unique():
        gains = (right[name] - right[baseline]).dropna(axis="columns").to_numpy()
        if min(gains.shape) > 1:
            found[str(name)] = crossed_errors(gains, different)
    return found


def crossed_errors(gains: np.ndarray, different: int) -> tuple[float, float]:
    """Return `image_error` and `least_deviation` of a mean gain over images and seeds.

    Args:
        gains: gain of each image with each seed, (images, seeds); two or more of both.
        different: number of different images; identical ones count once.
    """
    images, seeds = gains.shape
    by_image = gains.mean(axis=1, keepdims=True)
    rest = gains - by_image - gains.mean(axis=0) + gains.mean()
    chance = float((rest**2).sum()) / ((images - 1) * (seeds - 1))
    of_images = max(0.0, float(by_image.var(ddof=1)) - chance / seeds)
    return math.sqrt(of_images / different), math.sqrt(chance / different)


def _seeds_in_words(gain: Paired) -> str:
    """Say how many seeds would find half a point."""
    if gain.seeds_for_half_a_point is not None:
        return f"half a point with about {gain.seeds_for_half_a_point} seeds"
    if gain.has_too_few_images:
        return "half a point by no number of seeds, with so few test images"
    return f"half a point not even with {_MOST_SEEDS:,} seeds"


def _beside_baseline(lines: Sequence[CandidateLine]) -> tuple[CandidateLine, CandidateLine] | None:
    """Return the best candidate that is not the baseline, and the baseline, if both have seeds."""
    trained = [line for line in lines if line.validation.values]
    baseline = next((line for line in trained if line.is_baseline), None)
    other = next((line for line in trained if not line.is_baseline), None)
    return (other, baseline) if other and baseline else None


def _leads(run: Run, lines: Sequence[CandidateLine]) -> Iterator[Lead]:
    """Yield the best candidate beside the baseline, over the seeds of both, test images first."""
    if (both := _beside_baseline(lines)) is None:
        return
    pick, baseline = both
    balanced = balanced_in_words(run.space.metric)
    for where, ours, theirs, gain in (
        ("test", pick.test, baseline.test, pick.test_gain),
        ("validation", pick.validation, baseline.validation, pick.validation_gain),
    ):
        if gain.mean is None:
            continue
        yield Lead(
            f"{where} images, {balanced}mean of {count_in_words(len(gain.values), 'new seed')}",
            pick.name,
            fmean(_shared(ours, theirs)),
            fmean(_shared(theirs, ours)),
            gain.mean,
            gain.interval,
        )


def _shared(one: OverSeeds, other: OverSeeds) -> list[float]:
    """Return the accuracies of one candidate with the seeds that the other one has as well."""
    return [value for seed, value in one.values.items() if seed in other.values]


def _answer(run: Run, lines: Sequence[CandidateLine]) -> list[str]:
    """Return the sentences of the answer, the verdict first."""
    pick, what = lines[0], balanced_in_words(run.space.metric)
    trained = [line for line in lines if line.validation.values]
    if not trained:
        return ["No candidate has been trained to its end with a new seed yet."]
    failed = sum(record.outcome.is_failure for record in run.records)
    left_out = [f"{failed} of {run.space.trials} trainings failed, and are left out."] * (
        failed > 0
    )
    seeds = f"With {count_in_words(len(pick.validation.values), 'new seed')}"
    validation = f"{pick.validation.mean:.2%} mean {what}validation accuracy"
    if (both := _beside_baseline(lines)) is None:
        why = "it is the only candidate"
        if len(lines) > 1:
            missing = "no other candidate has" if pick.is_baseline else "the baseline has not"
            why = f"{missing} been trained to its end with a new seed"
        alone = f"{seeds}, {pick.name} has {validation}; {why}, so nothing is compared"
        return [f"{alone}.", *_tested(pick, what), *left_out]
    other, baseline = both
    verdict = _verdict(other, baseline, what)
    if pick.is_baseline:
        return [
            f"{seeds}, nothing has a higher mean {what}validation accuracy than the baseline: "
            f"{pick.validation.mean:.2%}.",
            *_tested(pick, what),
            *(
                [f"{_capital(other.name)}, the next, {verdict}.", *_about(other)]
                if verdict
                else []
            ),
            *left_out,
        ]
    best = f"{_capital(pick.name)} is the best of {count_in_words(len(lines) - 1, 'candidate')}"
    found = f"on the validation images: {validation}{_shrunk(pick)}"
    if verdict is None:
        return [f"{seeds}, {best[0].lower()}{best[1:]} {found}.", *_tested(pick, what), *left_out]
    seeds = f"With {count_in_words(len(pick.test_gain.values), 'new seed')}"
    return [
        f"{seeds}, {pick.name} {verdict}.",
        *_about(pick),
        f"{best} {found}.",
        *left_out,
    ]


def _verdict(line: CandidateLine, baseline: CandidateLine, what: str) -> str | None:
    """Say what a candidate is worth beside the baseline; None before both are tested."""
    gain = line.test_gain
    if gain.mean is None:
        return None
    mean = fmean(_shared(line.test, baseline.test))
    side = "above" if gain.mean >= 0 else "below"
    text = (
        f"is {100 * abs(gain.mean):.2f} points {side} the baseline in mean {what}test accuracy, "
        f"{mean:.2%}: {gain.verdict}"
    )
    if gain.interval is not None:
        low, high = gain.interval
        text += f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f} points)"
    return text


def _about(line: CandidateLine) -> Iterator[str]:
    """Yield what a verdict rests on."""
    gain = line.test_gain
    if gain.verdict == "no more than noise" and gain.detectable is not None:
        yield (
            f"A true difference of {100 * gain.detectable:.2f} points would have been found in "
            f"80 of 100 cases; {_seeds_in_words(gain)}."
        )
    ahead = f"It is ahead with {gain.ahead} of {count_in_words(len(gain.values), 'seed')}"
    if gain.interval is not None:
        candidates = count_in_words(gain.candidates, "candidate")
        ahead += f"; the interval is Dunnett's, over seeds and images, corrected for {candidates}"
    yield f"{ahead}."


def _tested(line: CandidateLine, what: str) -> list[str]:
    """Say what a candidate reaches on the test images, where nothing is compared with it."""
    if line.test.mean is None:
        return ["The test images have not been used yet."]
    return [f"Its mean {what}test accuracy is {line.test.mean:.2%}."]


def _shrunk(line: CandidateLine) -> str:
    """Say by how much the search had overstated a candidate."""
    if line.shrinkage is None:
        return ""
    how = "overstated" if line.shrinkage >= 0 else "understated"
    by = f"{100 * abs(line.shrinkage):.2f} points ({line.search_accuracy:.2%})"
    return f"; the search {how} it by {by}"


def _capital(name: str) -> str:
    return f"{name[0].upper()}{name[1:]}"
