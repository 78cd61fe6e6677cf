"""Analysis of a confirmation: how the candidates of a search perform with new seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tunecnn.analysis.candidates import CandidateLine
from tunecnn.analysis.classes import ClassLine, class_lines, image_weights
from tunecnn.analysis.confirmation_answer import answer, leads
from tunecnn.analysis.gains import OverSeeds, crossed_errors, paired_gains
from tunecnn.analysis.intervals import wilson_interval
from tunecnn.analysis.overview import RunOverview, overview_of
from tunecnn.run.info import CandidateRecord, ConfirmationJob
from tunecnn.run.run import Run
from tunecnn.words import count_in_words

_COMPARED = 2


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
    def compared(self) -> int:
        """Number of candidates with results that stand beside the baseline."""
        return sum(
            not line.is_baseline and bool(line.validation_gain.values) for line in self.candidates
        )

    @property
    def progress(self) -> int:
        """How far it has come: 2 if test results are compared, 1 if there are results, else 0."""
        compared = any(not line.is_baseline and line.test_gain.values for line in self.candidates)
        return _COMPARED if compared else int(self.pick is not None)

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
class MainConfirmation:
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
    def others(self) -> int:
        """Number of further confirmations of the search."""
        return len(self.search.confirmations) - 1

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
        settings, ranked = self.search.setting_columns, self.search.ranked
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


def main_confirmation(search: Run, *, as_searched: bool = False) -> MainConfirmation | None:
    """Return the confirmation that says most of a search; None without one.

    One that compares test results counts most, then one that has any: it may have been
    interrupted. Of these, it is the strongest: a weaker one that is made later does not replace
    an answer.

    Args:
        search: run of the search.
        as_searched: whether only those count that train as much as the search did.
    """
    best = None
    for inner in strongest_first(search):
        if as_searched and inner.job_as(ConfirmationJob).searched_with is not None:
            continue
        found = MainConfirmation(search, inner, summarize_confirmation(inner))
        if best is None or found.summary.progress > best.summary.progress:
            best = found
        if best.summary.progress == _COMPARED:
            break  # a weaker one says no more, and a summary takes time
    return best


def strongest_first(search: Run) -> list[Run]:
    """Return the confirmations of a search: first that which trains most, with most seeds."""

    def strength(run: Run) -> tuple[int, int]:
        trained = run.space.epochs * run.info.dataset.train
        return trained, run.space.trials // len(run.job_as(ConfirmationJob).candidates)

    # Sorting is stable: of equal ones, the latest comes first.
    return sorted(search.confirmations[::-1], key=strength, reverse=True)


def trials_of(run: Run, candidate: str) -> set[int]:
    """Return the complete trials of the candidate of some name, one for each new seed."""
    job = run.job_as(ConfirmationJob)
    return {
        record.number
        for record in run.complete
        if job.candidate_of(record.number).name == candidate
    }


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
        **overview_of(
            run, answer(run, lines, _trained_with(run), searched_with), list(leads(run, lines))
        ),
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
