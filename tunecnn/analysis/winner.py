"""The best trial of a search: how sure it is, among its rivals and beside the baseline."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tunecnn.analysis.classes import effective_images, image_weights
from tunecnn.analysis.gains import OverSeeds, Paired
from tunecnn.analysis.intervals import (
    best_gain_interval,
    best_of_interval,
    is_rival,
    wilson_interval,
)
from tunecnn.run.run import Run
from tunecnn.trial.messages import Outcome


@dataclass(frozen=True)
class TrialLine:
    """One trial, as a line of a table.

    Attributes:
        trial: number of the trial.
        accuracy: validation accuracy of the epoch that counts, in [0, 1], in the metric of the
            search.
        val_accuracy: share of the validation images that it classifies correctly.
        val_balanced_accuracy: mean over the classes of that epoch's accuracy; None in runs that
            did not record it.
        mean: mean of `accuracy` over the trials with the same values, by which they are ranked.
        seeds: number of these trials.
        interval: Wilson's 95 % interval of `val_accuracy`, over the validation images.
        val_loss: validation loss of the same epoch.
        epochs: number of epochs trained.
        params: number of trainable parameters of its network.
        macs: number of multiply-accumulates of one forward pass of one image; None in runs that
            did not record it.
        seconds: training time in seconds.
        values: values of the searched parameters, by name.
    """

    trial: int
    accuracy: float
    val_accuracy: float
    val_balanced_accuracy: float | None
    mean: float
    seeds: int
    interval: tuple[float, float]
    val_loss: float
    epochs: int
    params: int
    macs: int | None
    seconds: float
    values: dict[str, Any]


@dataclass(frozen=True)
class ImageGain:
    """Lead of the best trial of a search over its baseline, image by image: one run each.

    Attributes:
        difference: difference of their validation accuracies, in the metric of the search.
        interval: 95 % interval of the difference on other images of the same population, corrected
            for the choice among the rivals; None without the predictions of both.
        only_best: number of validation images that only the best trial classifies correctly.
        only_baseline: number of images that only the baseline classifies correctly.
        images: number of validation images.
        rivals: number of trials that are not clearly worse than the best one, itself included and
            the baseline not.
    """

    difference: float
    interval: tuple[float, float] | None = None
    only_best: int = 0
    only_baseline: int = 0
    images: int = 0
    rivals: int = 1


@dataclass(frozen=True)
class SeedGain:
    """Lead of the values of the best trial over the baseline, where some have several seeds.

    Attributes:
        difference: difference of their mean validation accuracies, in the metric of the search,
            over the seeds that both have; over all, if they have none in common.
        interval: 95 % interval of the difference for other seeds, corrected for the choice among
            the configurations; None with fewer than two seeds in common.
        seeds: number of seeds that both have.
        configurations: number of configurations without the baseline.
    """

    difference: float
    interval: tuple[float, float] | None
    seeds: int
    configurations: int


@dataclass(frozen=True)
class Winner:
    """The best complete trial of a search, and what it stands beside.

    Attributes:
        line: the trial.
        rivals: number of trials that are not clearly worse, itself included; a trial that was
            stopped early is compared at its last epoch.
        stopped: number of its rivals that were stopped early, or are paused.
        interval: 95 % interval of its `val_accuracy`, corrected for the choice among its rivals.
        baseline: trial with the baseline, if it is complete; else None.
        gain: lead over the baseline; None without two different trials.
    """

    line: TrialLine
    rivals: int
    stopped: int
    interval: tuple[float, float]
    baseline: TrialLine | None
    gain: ImageGain | SeedGain | None


def trial_line(run: Run, row: pd.Series) -> TrialLine:
    """Return a trial as a line of a table.

    Args:
        run: run of the trial.
        row: its row of `Run.ranked`.
    """
    accuracy, of_images = float(row[run.space.metric]), float(row["val_accuracy"])
    return TrialLine(
        trial=int(row["trial"]),
        accuracy=accuracy,
        val_accuracy=of_images,
        val_balanced_accuracy=_plain(row["val_balanced_accuracy"]),
        mean=float(row["mean"]),
        seeds=int(row["seeds"]),
        interval=wilson_interval(of_images, run.info.dataset.different("validation")),
        val_loss=float(row["val_loss"]),
        epochs=int(row["epochs"]),
        params=int(row["params"]),
        macs=_plain(row["macs"]),
        seconds=float(row["seconds"]),
        values={
            name: parameter.own(value) if value is not None else None
            for name, parameter in run.space.searched_settings.items()
            for value in [_plain(row[f"param.{name}"])]
        },
    )


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar into a Python one, and a missing value into None."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def winner_of(run: Run) -> Winner | None:
    """Return the best trial of a search; None without a complete one."""
    if run.best is None:
        return None
    line = trial_line(run, run.best)
    baseline = None
    if run.baseline_trial is not None and run.baseline_trial["outcome"] == Outcome.COMPLETE:
        number = run.baseline_trial["trial"]
        baseline = trial_line(run, run.ranked[run.ranked["trial"] == number].iloc[0])
    rivals = _rivals(run, line)
    images = run.info.dataset.different("validation")
    return Winner(
        line,
        len(rivals),
        sum(not run.record(number).is_complete for number in rivals),
        best_of_interval(line.val_accuracy, images, len(rivals)),
        baseline,
        _gain(run, line, baseline, rivals),
    )


def _rivals(run: Run, best: TrialLine) -> set[int]:
    """Return the trials that are not clearly worse than the best one, itself included.

    They are those among which accuracy decided: trained to the end, or stopped or paused by the
    pruner. One that was not trained to its end is compared with the best one at its last epoch.
    """
    dataset, metric = run.info.dataset, run.space.metric
    images = dataset.different("validation") / dataset.validation
    images *= effective_images(dataset.sheet.counts["validation"], metric)
    at_epoch = {one.epoch: getattr(one, metric) for one in run.record(best.trial).epochs}
    rivals = {best.trial}
    for record in run.records:
        if record.kept is None or not record.outcome.is_judged:
            continue
        ours = best.accuracy
        if not record.is_complete:
            ours = at_epoch.get(record.kept.epoch, ours)
        if is_rival(getattr(record.kept, metric), ours, images):
            rivals.add(record.number)
    return rivals


def _gain_over_seeds(run: Run, best: TrialLine, baseline: TrialLine) -> SeedGain:
    """Compare the means over seeds: the luckiest of one with any of the other says nothing."""
    repeats = [name for name in ("seed", "param.split_seed") if name in run.ranked]
    keyed = run.ranked.assign(repeat=run.ranked.groupby(repeats, dropna=False).ngroup())
    alike = keyed.groupby(run.setting_columns, dropna=False)
    groups = {int(trial): part for _, part in alike for trial in part["trial"]}
    ours, theirs = (
        OverSeeds(dict(zip(part["repeat"], part[run.space.metric], strict=True)))
        for part in (groups[best.trial], groups[baseline.trial])
    )
    others = max(1, len(run.configurations) - 1)
    paired = Paired(tuple(ours.minus(theirs).values.values()), candidates=others)
    difference = best.mean - baseline.mean if paired.mean is None else paired.mean
    return SeedGain(difference, paired.interval, len(paired.values), others)


def _gain(
    run: Run, best: TrialLine, baseline: TrialLine | None, rivals: Set[int]
) -> ImageGain | SeedGain | None:
    """Compare the best trial with the baseline, image by image if both predictions are kept."""
    if baseline is None or best.values == baseline.values:
        return None
    if best.seeds > 1 or baseline.seeds > 1:
        return _gain_over_seeds(run, best, baseline)
    difference = best.accuracy - baseline.accuracy
    parts = {number: part for number, part in run.validation.groupby("trial")}
    if best.trial not in parts or baseline.trial not in parts:
        return ImageGain(difference)
    labels = parts[best.trial]["label"].to_numpy()
    ours, theirs = (
        (parts[line.trial]["label"] == parts[line.trial]["predicted"]).to_numpy()
        for line in (best, baseline)
    )
    leads = (ours.astype(float) - theirs) * image_weights(labels, run.space.metric)
    different = run.info.dataset.different("validation")
    copies = different / len(labels)  # identical images count once
    count = len(rivals - {baseline.trial})
    return ImageGain(
        difference,
        best_gain_interval(
            copies * float(leads.sum()), copies * float((leads**2).sum()), different, count
        ),
        int((ours & ~theirs).sum()),
        int((theirs & ~ours).sum()),
        len(labels),
        count,
    )
