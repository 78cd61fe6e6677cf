"""Analysis of a confirmation: how the candidates of a search perform with new seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunecnn.analysis.classes import ClassLine, class_lines
from tunecnn.analysis.intervals import (
    bootstrap_interval,
    mean_interval,
    mean_or_none,
    probability_above_zero,
    wilson_interval,
)
from tunecnn.analysis.overview import RunOverview, overview_of
from tunecnn.run.info import ConfirmationJob
from tunecnn.run.run import Run


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
    """Differences to the baseline, seed by seed, in the same order."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean difference; None if there are no pairs."""
        return mean_or_none(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95 % interval of the mean difference; None for fewer than two pairs."""
        return mean_interval(self.values) if len(self.values) > 1 else None

    @property
    def bootstrap(self) -> tuple[float, float] | None:
        """Bootstrap 95 % interval of the mean difference; None for fewer than two pairs."""
        return bootstrap_interval(self.values) if len(self.values) > 1 else None

    @property
    def ahead(self) -> int:
        """Number of pairs in which the candidate is ahead."""
        return sum(value > 0 for value in self.values)

    @property
    def probability(self) -> float | None:
        """Probability of being ahead with one more seed; None for fewer than two pairs."""
        return probability_above_zero(self.values) if len(self.values) > 1 else None

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
        verdict: answer in sentences.
        seeds: number of new seeds.
        candidates: all candidates, by mean validation accuracy with the new seeds, best first.
        wilson: Wilson's interval, over the test images, of the test accuracy of one trained
            network: that of the best candidate's first new seed.
        epochs: number of epochs per trial.
        trained: number of trials that were trained to the end.
        exported: trials whose configs are written to files: one per candidate.
        classes: test results by class of the best candidate, over its new seeds.
    """

    verdict: str
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
    lines = [
        CandidateLine(
            name=candidate.name,
            is_baseline=candidate.is_baseline,
            values=dict(candidate.values),
            search_accuracy=candidate.search_accuracy,
            validation=OverSeeds(validation[index]),
            test=OverSeeds(test[index]),
            validation_gain=_paired(validation[index], validation[baseline]),
            test_gain=_paired(test[index], test[baseline]),
        )
        for index, candidate in enumerate(job)
    ]
    lines.sort(key=lambda line: -(line.validation.mean or 0.0))
    best_test = list(lines[0].test.values.values())
    return ConfirmationSummary(
        **overview_of(run),
        verdict=_verdict(lines),
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


def _paired(one: dict[int, float], other: dict[int, float]) -> Paired:
    return Paired(tuple(one[seed] - other[seed] for seed in one if seed in other))


def _verdict(lines: list[CandidateLine]) -> str:
    pick = lines[0]
    if pick.validation.mean is None:
        return "No candidate has been trained to its end with a new seed yet."
    count = len(pick.validation.values)
    text = (
        f"With {count} new seed{'' if count == 1 else 's'} the best mean validation accuracy is "
        f"{pick.validation.mean:.2%}, reached by {pick.name}"
    )
    if pick.search_accuracy is not None and pick.shrinkage is not None:
        how = "overstated" if pick.shrinkage >= 0 else "understated"
        text += (
            f"; the search {how} it by {100 * abs(pick.shrinkage):.2f} points "
            f"({pick.search_accuracy:.2%})"
        )
    if pick.test.mean is None:
        return text + ". The test images have not been used yet."
    text += f". Its mean test accuracy is {pick.test.mean:.2%}"
    gain = pick.test_gain
    if pick.is_baseline:
        return text + ". It is the baseline itself: the search found nothing better."
    if gain.mean is None:
        return text + "."
    side = "above" if gain.mean >= 0 else "below"
    text += (
        f", {100 * abs(gain.mean):.2f} points {side} that of the "
        f"baseline with the same seeds (ahead with {gain.ahead} of {len(gain.values)})"
    )
    if gain.interval is not None:
        low, high = gain.interval
        text += (
            f"; Student's 95 % interval of the difference is {100 * low:+.2f} to {100 * high:+.2f}"
        )
    return text + f" points: {gain.verdict}."
