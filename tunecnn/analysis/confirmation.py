"""Analysis of a confirmation: how the candidates of a search perform with new seeds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tunecnn.analysis.classes import ClassLine, class_lines, image_weights
from tunecnn.analysis.gains import OverSeeds, Paired, crossed_errors, paired_gains
from tunecnn.analysis.intervals import wilson_interval
from tunecnn.analysis.overview import Lead, RunOverview, balanced_in_words, overview_of
from tunecnn.run.info import CandidateRecord, ConfirmationJob
from tunecnn.run.run import Run
from tunecnn.words import count_in_words


@dataclass(frozen=True)
class CandidateLine:
    """One confirmed configuration.

    Attributes:
        name: name of the candidate, as in `tunecnn.workflows.confirmation_space.Candidate`.
        is_baseline: whether it is the baseline.
        values: settings in which the candidates differ, by name.
        search_accuracy: validation accuracy in the search, from one seed; None if it had none, or
            trained with other numbers of epochs and images.
        validation: validation accuracy with the new seeds, as the search ranks by it.
        test: test accuracy with the new seeds, of the same type.
        validation_gain: difference to the baseline in validation accuracy with the same seeds.
        test_gain: difference to the baseline in test accuracy with the same seeds.
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
        splits: number of splits of the data; 1 for that of the search, else all are new.
        seeds: number of new seeds, those of all splits together.
        candidates: all candidates, by their difference to the baseline in validation accuracy
            with the same new seeds, best first.
        wilson: Wilson's interval, over the test images, of the test accuracy of one trained
            network: of the best candidate, the first that was tested; None for balanced accuracy.
        epochs: number of epochs per trial.
        trained_with: numbers of epochs and training images, in words.
        searched_with: those of the search, if they are other ones; else empty.
        may_stop_early: whether some stop themselves before (`patience`).
        trained: number of trials that were trained to the end.
        exported: trials whose configs are written to files: one per candidate.
        classes: test results by class of the best candidate, over its new seeds.
    """

    metric: str
    splits: int
    seeds: int
    candidates: tuple[CandidateLine, ...]
    wilson: tuple[float, float] | None
    epochs: int
    trained_with: str
    searched_with: str
    may_stop_early: bool
    trained: int
    exported: tuple[int, ...]
    classes: tuple[ClassLine, ...]

    @property
    def varied(self) -> tuple[str, ...]:
        """Settings in which the candidates differ; a network may lack some of them."""
        return tuple(dict.fromkeys(name for line in self.candidates for name in line.values))

    @property
    def pick(self) -> CandidateLine | None:
        """The best candidate on the validation images, with the new seeds."""
        best = self.candidates[0]
        return best if best.validation.values else None

    @property
    def progress(self) -> int:
        """How far it has come: 2 if test results are compared, 1 if there are results, else 0."""
        compared = any(not line.is_baseline and line.test_gain.values for line in self.candidates)
        return 2 if compared else int(self.pick is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the results that a program needs."""
        return {
            "metric": self.metric,
            "splits": self.splits,
            "candidates": [
                {
                    "name": line.name,
                    "search_accuracy": line.search_accuracy,
                    "val_accuracy": list(line.validation.values.values()),
                    "test_accuracy": list(line.test.values.values()),
                    "split_seeds": [
                        line.validation.splits[seed] for seed in line.validation.values
                    ]
                    if self.splits > 1
                    else None,
                    "gain": None if line.is_baseline else line.test_gain.mean,
                    "interval": None if line.is_baseline else line.test_gain.interval,
                    "verdict": None if line.is_baseline else line.test_gain.verdict,
                }
                for line in self.candidates
            ],
        }


@dataclass(frozen=True)
class LatestConfirmation:
    """The confirmation from which a search knows what its candidates are worth.

    Attributes:
        search: run of the search.
        run: run of the confirmation.
        summary: its summary.
    """

    search: Run
    run: Run
    summary: ConfirmationSummary

    @property
    def trial(self) -> int | None:
        """The search's trial with the values of the best candidate; None if it has none."""
        pick = self.summary.pick
        return next(
            (
                record.number
                for record in self.search.complete
                for one in self._candidates
                if pick is not None and one.name == pick.name and self._is(one, record.number)
            ),
            None,
        )

    def _is(self, candidate: CandidateRecord, trial: int) -> bool:
        return is_trial(candidate, trial, self.search, self.run)

    @property
    def has_winner(self) -> bool:
        """Whether the values of the search's best trial are among the candidates."""
        settings = [f"param.{name}" for name in self.search.space.searched_settings]
        ranked = self.search.ranked
        best = ranked.merge(ranked.head(1)[settings], on=settings) if settings else ranked
        return any(self._is(one, number) for one in self._candidates for number in best["trial"])

    @property
    def _candidates(self) -> tuple[CandidateRecord, ...]:
        return self.run.job_as(ConfirmationJob).candidates


def is_trial(candidate: CandidateRecord, trial: int, search: Run, confirmation: Run) -> bool:
    """Return whether a candidate of a confirmation is a trial of its search.

    The baseline is one too, if the search has trained it in the same way, but for the numbers of
    epochs and images.
    """
    if candidate.is_trial(trial):
        return True
    baseline = search.baseline_trial
    if not candidate.is_baseline or baseline is None or int(baseline["trial"]) != trial:
        return False
    names = [one.name for one in confirmation.job_as(ConfirmationJob).candidates]
    number = names.index(candidate.name)  # with the first seed
    if not confirmation.record(number).config:
        return False
    again, first = confirmation.config(number), search.config(trial)
    first = first.replace(epochs=again.epochs, train_images=again.train_images)
    return search.training_of(again) == search.training_of(first)


def latest_confirmation(search: Run) -> LatestConfirmation | None:
    """Return the latest confirmation that says most; None without one.

    One that compares test results counts most, then one that has any: a later one may have been
    interrupted before.
    """
    found = [
        LatestConfirmation(search, inner, summarize_confirmation(inner))
        for inner in search.confirmations
    ]
    return max(reversed(found), key=lambda one: one.summary.progress, default=None)


def trials_of(run: Run, candidate: str) -> set[int]:
    """Return the complete trials of the candidate of some name, one for each new seed."""
    job = run.job_as(ConfirmationJob)
    return {record.number for record in run.complete
            if job.candidate_of(record.number).name == candidate}  # fmt: skip


def summarize_confirmation(run: Run) -> ConfirmationSummary:
    """Summarize a confirmation as it stands."""
    job, metric, searched_with = run.job_as(ConfirmationJob), run.space.metric, _searched_with(run)
    candidates, count = job.candidates, len(job.candidates)
    validation: list[dict[int, float]] = [{} for _ in candidates]
    test: list[dict[int, float]] = [{} for _ in candidates]
    tested = _tested_accuracies(run)
    splits = {}
    for record in run.complete:
        index = job.index_of(record.number)
        seed = int(record.values["seed"])
        if "split_seed" in record.values:
            splits[seed] = int(record.values["split_seed"])
        assert record.kept is not None
        validation[index][seed] = getattr(record.kept, metric)
        if record.number in tested:
            test[index][seed] = tested[record.number]
    on_validation = [OverSeeds(values, splits) for values in validation]
    on_test = [OverSeeds(values, splits) for values in test]
    baseline = next(index for index, candidate in enumerate(candidates) if candidate.is_baseline)
    errors = _errors(run, candidates[baseline].name)
    validation_gains = paired_gains(on_validation, baseline, [(0.0, 0.0)] * count)
    test_gains = paired_gains(
        on_test, baseline, [errors.get(candidate.name, (0.0, 0.0)) for candidate in candidates]
    )
    lines = [
        CandidateLine(
            name=candidate.name,
            is_baseline=candidate.is_baseline,
            values=dict(candidate.values),
            search_accuracy=None if searched_with else candidate.search_accuracy,
            validation=on_validation[index],
            test=on_test[index],
            validation_gain=validation_gains[index],
            test_gain=test_gains[index],
        )
        for index, candidate in enumerate(candidates)
    ]
    lines.sort(key=_rank, reverse=True)
    best_test = list(lines[0].test.values.values())
    return ConfirmationSummary(
        **overview_of(run, _answer(run, lines), list(_leads(run, lines))),
        metric=metric,
        splits=len(run.space.data_splits),
        seeds=run.space.trials // count,
        candidates=tuple(lines),
        wilson=wilson_interval(best_test[0], run.info.dataset.different("test"))
        if best_test and metric == "val_accuracy"
        else None,
        epochs=run.space.epochs,
        trained_with=_trained_with(run),
        searched_with=searched_with,
        may_stop_early=any("patience" in record.config for record in run.records),
        trained=len(run.complete),
        exported=tuple(record.number for record in run.complete if record.number < count),
        classes=class_lines(run, trials_of(run, lines[0].name)),
    )


def _trained_with(run: Run) -> str:
    return _scale_in_words(run.space.epochs, run.info.dataset.train)


def _searched_with(run: Run) -> str:
    """Say how much the search trained a trial, if a confirmation trains more or less."""
    scale = run.job_as(ConfirmationJob).searched_with
    return _scale_in_words(scale.epochs, scale.train) if scale else ""


def _scale_in_words(epochs: int, images: int) -> str:
    return f"{count_in_words(epochs, 'epoch')} of {images:,} training images"


def _rank(line: CandidateLine) -> tuple[bool, float, bool, float]:
    """Return what the candidates are ranked by: the difference to the baseline, seed by seed.

    Their means would rank by the seeds that happened to fail, or have not ended yet. Of equal
    ones, the baseline comes first: nothing is better than it.
    """
    mean = line.validation.mean
    gain = 0.0 if line.is_baseline else line.validation_gain.mean
    rounded = -math.inf if gain is None else round(gain, 9)
    return mean is not None, rounded, line.is_baseline, mean or 0.0


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


def _errors(run: Run, baseline: str) -> dict[str, tuple[float, float]]:
    """Return `image_error` and `least_deviation` of each candidate's test gain.

    Repeats and images are crossed, so the variance of the mean gain has three parts (analysis of
    variance with two random factors): the repeats, the images, and chance in each image of each
    repeat. The spread of the repeats contains the last one already, and is at least as large:
    three seeds that happen to agree are no certainty.
    """
    tested = run.predictions
    if tested.empty:
        return {}
    seed = tested["trial"].map(run.job_as(ConfirmationJob).repeat_of)
    split = tested["trial"].map(
        {record.number: record.values.get("split_seed") for record in run.complete}
    )
    right = tested.assign(
        right=_right(run), seed=seed, repeat=split.where(split.notna(), seed)
    ).pivot_table(index="image", columns=["candidate", "repeat", "seed"], values="right")
    if baseline not in right.columns.get_level_values("candidate"):
        return {}
    different = run.info.dataset.different("test")
    found = {}
    for name in right.columns.get_level_values("candidate").unique():
        by_seed = (right[name] - right[baseline]).dropna(axis="columns")
        gains = by_seed.T.groupby(level="repeat").mean().T.to_numpy()
        if min(gains.shape) > 1:
            found[str(name)] = crossed_errors(gains, different)
    return found


def _enough_in_words(gain: Paired) -> str:
    """Say how many repeats would find half a point."""
    if gain.repeats_for_half_a_point is not None:
        return f"half a point with about {gain.repeats_for_half_a_point} {gain.repeat}s"
    if gain.has_too_few_images:
        return f"half a point by no number of {gain.repeat}s, with so few test images"
    return f"half a point not even with {gain.most_repeats:,} {gain.repeat}s"


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
            f"{where} images, {balanced}mean of {ours.shared_with(theirs).in_words}",
            pick.name,
            ours.shared_with(theirs).mean or 0.0,
            theirs.shared_with(ours).mean or 0.0,
            gain.mean,
            gain.interval,
        )


def _answer(run: Run, lines: Sequence[CandidateLine]) -> list[str]:
    """Return the sentences of the answer, the verdict first."""
    job, pick, what = run.job_as(ConfirmationJob), lines[0], balanced_in_words(run.space.metric)
    trained = [line for line in lines if line.validation.values]
    failed = Counter(
        job.candidate_of(record.number).name for record in run.records if record.outcome.is_failure
    )
    also = []
    if searched_with := _searched_with(run):
        also.append(
            f"In the confirmation each was trained for {_trained_with(run)}, "
            f"in the search for {searched_with}."
        )
    if failed:
        whose = ", ".join(f"{one.name}: {failed[one.name]}" for one in job.candidates
                          if one.name in failed)  # fmt: skip
        also.append(
            f"Trainings that failed, and are left out: {failed.total()} of {run.space.trials} "
            f"({whose})."
        )
    if not trained:
        return ["No candidate has been trained to its end with a new seed yet.", *also]
    seeds = f"With {pick.validation.in_words}"
    validation = f"{pick.validation.mean:.2%} mean {what}validation accuracy"
    if (both := _beside_baseline(lines)) is None:
        why = "it is the only candidate"
        if len(lines) > 1:
            missing = "no other candidate has" if pick.is_baseline else "the baseline has not"
            why = f"{missing} been trained to its end with a new seed"
        alone = f"{seeds}, {pick.name} has {validation}; {why}, so nothing is compared"
        return [f"{alone}.", *_tested(pick, what), *also]
    other, baseline = both
    if other.validation_gain.mean is None:
        alone = (
            f"{seeds}, {pick.name} has {validation}; {other.name} shares no seed with the baseline"
        )
        return [f"{alone}, so nothing is compared.", *_tested(pick, what), *also]
    verdict = _verdict(other, baseline, what)
    if pick.is_baseline:
        headline = (
            f"nothing has a higher mean {what}validation accuracy than the baseline: "
            f"{pick.validation.mean:.2%}"
        )
        if any(line.validation.values.keys() != pick.validation.values.keys() for line in trained):
            headline = (
                f"nothing is ahead of the baseline in mean {what}validation accuracy, with the "
                f"seeds that both have; its own is {pick.validation.mean:.2%}"
            )
            shared = other.test.shared_with(baseline.test).in_words
            verdict = verdict and f"{verdict}, with the {shared} that both have"
        return [
            f"{seeds}, {headline}.",
            *_tested(pick, what),
            *(
                [f"{_capital(other.name)}, the next, {verdict}{_shrunk(other)}.", *_about(other)]
                if verdict
                else []
            ),
            *also,
        ]
    others = sum(not line.is_baseline for line in trained)
    best = f"is the best of {others} candidates on the validation images:"
    found = f"{best if others > 1 else 'has'} {validation}{_shrunk(pick)}"
    if verdict is None:
        return [f"{seeds}, {pick.name} {found}.", *_tested(pick, what), *also]
    seeds = f"With {pick.test.shared_with(baseline.test).in_words}"
    return [
        f"{seeds}, {pick.name} {verdict}.",
        *_about(pick),
        f"{_capital(pick.name)} {found}.",
        *also,
    ]


def _verdict(line: CandidateLine, baseline: CandidateLine, what: str) -> str | None:
    """Say what a candidate is worth beside the baseline; None before both are tested."""
    gain = line.test_gain
    if gain.mean is None:
        return None
    mean = line.test.shared_with(baseline.test).mean
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
    if gain.verdict == "not told from noise" and gain.detectable is not None:
        yield (
            f"A true difference of {100 * gain.detectable:.2f} points would have been found in "
            f"80 of 100 cases; {_enough_in_words(gain)}."
        )
    where = "in" if gain.repeat == "split" else "with"
    ahead = f"It is ahead {where} {gain.ahead} of {count_in_words(len(gain.values), gain.repeat)}"
    if gain.interval is not None:
        over = "seeds and images, in one split of the data"
        if gain.repeat == "split":
            over = "splits of the data, seeds and images"
        whose = "Student's" if gain.candidates == 1 else "Dunnett's"
        ahead += f"; the interval is {whose}, over {over}"
        if gain.candidates > 1:
            ahead += f", corrected for {gain.candidates} candidates"
    yield f"{ahead}."


def _tested(line: CandidateLine, what: str) -> list[str]:
    """Say what a candidate reaches on the test images, where nothing is compared with it."""
    if line.test.mean is None:
        return [f"{_capital(line.name)} has not been tested yet."]
    return [f"{_capital(line.name)} has a mean {what}test accuracy of {line.test.mean:.2%}."]


def _shrunk(line: CandidateLine) -> str:
    """Say by how much the search had overstated a candidate."""
    if line.shrinkage is None:
        return ""
    others = ", on other validation images" if line.validation.splits else ""
    points = f"{100 * abs(line.shrinkage):.2f} points"
    if points == "0.00 points":
        return f"; the search found the same{others}"
    how = "overstated" if line.shrinkage > 0 else "understated"
    return f"; the search {how} it by {points} ({line.search_accuracy:.2%}){others}"


def _capital(name: str) -> str:
    """Begin a sentence with a candidate; the name of a file stays as it is."""
    return re.sub(r"^(trial \d|the baseline)", lambda found: found[0].capitalize(), name)
