"""Analysis of a confirmation: how the candidates of a search perform with new seeds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import stdev
from typing import Any

from tunecnn.analysis.classes import ClassLine, class_lines
from tunecnn.analysis.intervals import (
    dunnett_quantile,
    mean_interval,
    mean_or_none,
    probability_above_zero,
    wilson_interval,
)
from tunecnn.analysis.overview import Lead, RunOverview, overview_of
from tunecnn.run.info import ConfirmationJob
from tunecnn.run.run import Run

_MOST_SEEDS = 1000
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
        deviation: standard deviation of the differences over the seeds, pooled over the
            candidates, as in Dunnett's comparison of several with one (1955); None for that of
            these differences alone.
        pooled: number of candidates over which it is pooled.
    """

    values: tuple[float, ...]
    candidates: int = 1
    image_error: float = 0.0
    least_deviation: float = 0.0
    deviation: float | None = None
    pooled: int = 1

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
        found = bisect_left(counts, True, key=lambda count: self._detectable_with(count) <= 0.005)
        return counts[found] if found < len(counts) else None

    def _detectable_with(self, seeds: int) -> float:
        from scipy.stats import t

        power = float(t.ppf(0.8, self._freedom(seeds)))
        return (self._quantile(seeds) + power) * self._error(seeds)

    def _quantile(self, seeds: int) -> float:
        return dunnett_quantile(self.candidates, self._freedom(seeds))

    @property
    def _spread(self) -> float:
        """Standard deviation over the seeds, as it was measured."""
        return stdev(self.values) if self.deviation is None else self.deviation

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
        measured = self.pooled * (seeds - 1)
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
        validation: validation accuracy with the new seeds.
        test: test accuracy with the new seeds.
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
        seeds: number of new seeds.
        candidates: all candidates, by mean validation accuracy with the new seeds, best first.
        wilson: Wilson's interval, over the test images, of the test accuracy of one trained
            network: that of the best candidate's first new seed.
        epochs: number of epochs per trial.
        trained: number of trials that were trained to the end.
        exported: trials whose configs are written to files: one per candidate.
        classes: test results by class of the best candidate, over its new seeds.
    """

    seeds: int
    candidates: tuple[CandidateLine, ...]
    wilson: tuple[float, float] | None
    epochs: int
    trained: int
    exported: tuple[int, ...]
    classes: tuple[ClassLine, ...]

    @property
    def pick(self) -> CandidateLine | None:
        """The candidate with the highest mean validation accuracy over the new seeds."""
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
    count = len(job)
    validation: list[dict[int, float]] = [{} for _ in job]
    test: list[dict[int, float]] = [{} for _ in job]
    tested = {one.trial: one.accuracy for one in run.info.evaluations}
    for record in run.complete:
        # The trials are the space's start points, in order: for each seed, all candidates.
        index = record.number % count
        seed = int(record.values["seed"])
        assert record.kept is not None
        validation[index][seed] = record.kept.val_accuracy
        if record.number in tested:
            test[index][seed] = tested[record.number]
    baseline = next(index for index, candidate in enumerate(job) if candidate.is_baseline)
    errors = _errors(run, job[baseline].name)
    validation_gains = _pooled(
        [_paired(one, validation[baseline], count - 1) for one in validation], baseline
    )
    test_gains = _pooled(
        [
            _paired(one, test[baseline], count - 1, errors.get(candidate.name, (0.0, 0.0)))
            for one, candidate in zip(test, job, strict=True)
        ],
        baseline,
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
    lines.sort(key=lambda line: -(line.validation.mean or 0.0))
    best_test = list(lines[0].test.values.values())
    return ConfirmationSummary(
        **overview_of(run, _answer(lines), list(_leads(lines))),
        seeds=run.space.trials // count,
        candidates=tuple(lines),
        wilson=wilson_interval(best_test[0], run.info.dataset.different("test"))
        if best_test
        else None,
        epochs=run.space.epochs,
        trained=len(run.complete),
        exported=tuple(record.number for record in run.complete if record.number < count),
        classes=class_lines(run, trials_of(run, lines[0].name)),
    )


def _paired(
    one: dict[int, float],
    other: dict[int, float],
    candidates: int,
    errors: tuple[float, float] = (0.0, 0.0),
) -> Paired:
    differences = tuple(one[seed] - other[seed] for seed in one if seed in other)
    return Paired(differences, max(1, candidates), *errors)


def _pooled(gains: list[Paired], baseline: int) -> list[Paired]:
    """Pool the spread over the seeds of all candidates: three seeds each are too few for one."""
    others = [gain.values for index, gain in enumerate(gains) if index != baseline]
    several = [values for values in others if len(values) > 1]
    if not several:
        return gains
    freedom = sum(len(values) - 1 for values in several)
    squares = sum((len(values) - 1) * stdev(values) ** 2 for values in several)
    deviation = math.sqrt(squares / freedom)
    return [replace(gain, deviation=deviation, pooled=len(several)) for gain in gains]


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
    right = tested.assign(
        right=(tested["label"] == tested["predicted"]).astype(float), pair=tested["trial"] // count
    ).pivot_table(index="image", columns=["candidate", "pair"], values="right")
    if baseline not in right.columns.get_level_values("candidate"):
        return {}
    found = {}
    for name in right.columns.get_level_values("candidate").unique():
        gains = (right[name] - right[baseline]).dropna(axis="columns").to_numpy()
        images, seeds = gains.shape
        if seeds < 2 or images < 2:
            continue
        by_image = gains.mean(axis=1, keepdims=True)
        rest = gains - by_image - gains.mean(axis=0) + gains.mean()
        chance = float((rest**2).sum()) / ((images - 1) * (seeds - 1))
        of_images = max(0.0, float(by_image.var(ddof=1)) - chance / seeds)
        found[str(name)] = math.sqrt(of_images / images), math.sqrt(chance / images)
    return found


def _seeds_in_words(gain: Paired) -> str:
    """Say how many seeds would find half a point."""
    seeds = gain.seeds_for_half_a_point
    if seeds is None:
        return "half a point by no number of seeds, with so few test images"
    return f"half a point with about {seeds} seeds"


def _leads(lines: list[CandidateLine]) -> Iterator[Lead]:
    """Yield the best candidate beside the baseline, on the test images first."""
    pick = lines[0]
    baseline = next((line for line in lines if line.is_baseline), None)
    if baseline is None or pick.is_baseline:
        return
    for where, ours, theirs, gain in (
        ("test", pick.test, baseline.test, pick.test_gain),
        ("validation", pick.validation, baseline.validation, pick.validation_gain),
    ):
        if ours.mean is not None and theirs.mean is not None and gain.mean is not None:
            count = len(gain.values)
            on = f"{where} images, mean of {count} new seed{'s' * (count > 1)}"
            yield Lead(on, pick.name, ours.mean, theirs.mean, gain.mean, gain.interval)


def _answer(lines: list[CandidateLine]) -> list[str]:
    """Return the sentences of the answer, the verdict first."""
    pick = lines[0]
    count = len(pick.validation.values)
    if not count:
        return ["No candidate has been trained to its end with a new seed yet."]
    seeds = f"With {count} new seed{'' if count == 1 else 's'}"
    validation = f"{pick.validation.mean:.2%} mean validation accuracy"
    if pick.is_baseline:
        return [
            f"{seeds}, nothing is better than the baseline: {validation}, the highest.",
            *_tested(pick),
        ]
    if pick.test.mean is None or pick.test_gain.mean is None:
        return [f"{seeds}, {pick.name} is the best: {validation}{_shrunk(pick)}.", *_tested(pick)]
    gain, difference = pick.test_gain, pick.test_gain.mean
    side = "above" if difference >= 0 else "below"
    answer = (
        f"{seeds}, {pick.name} is {100 * abs(difference):.2f} points {side} the baseline in mean "
        f"test accuracy, {pick.test.mean:.2%}: {gain.verdict}"
    )
    candidates = f"{gain.candidates} candidate{'' if gain.candidates == 1 else 's'}"
    ahead = f"It is ahead with {gain.ahead} of {len(gain.values)} seeds"
    if gain.interval is not None:
        low, high = gain.interval
        answer += f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f} points)"
        ahead += f"; the interval is Dunnett's, over seeds and images, corrected for {candidates}"
    said = [answer + "."]
    if gain.verdict == "no more than noise" and gain.detectable is not None:
        said.append(
            f"A true difference of {100 * gain.detectable:.2f} points would have been found in "
            f"80 of 100 cases; {_seeds_in_words(gain)}."
        )
    best = f"{pick.name[0].upper()}{pick.name[1:]} is the best of {candidates} on the validation"
    return [*said, ahead + ".", f"{best} images: {validation}{_shrunk(pick)}."]


def _tested(line: CandidateLine) -> list[str]:
    """Say what a candidate reaches on the test images, where nothing is compared with it."""
    if line.test.mean is None:
        return ["The test images have not been used yet."]
    return [f"Its mean test accuracy is {line.test.mean:.2%}."]


def _shrunk(line: CandidateLine) -> str:
    """Say by how much the search had overstated a candidate."""
    if line.shrinkage is None:
        return ""
    how = "overstated" if line.shrinkage >= 0 else "understated"
    by = f"{100 * abs(line.shrinkage):.2f} points ({line.search_accuracy:.2%})"
    return f"; the search {how} it by {by}"
