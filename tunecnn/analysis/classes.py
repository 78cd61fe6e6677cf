"""Results by class, and whether they are more than guessing."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tunecnn.analysis.intervals import wilson_interval
from tunecnn.run.run import Run

Counts = npt.NDArray[np.int64]
_DRAWS = 2_000
_MOST_CELLS = 1_000_000  # of tables in memory at once
_FEW = 10
_CERTAIN = 8.0  # standard deviations above guessing that no search reaches by luck


@dataclass(frozen=True)
class RecallLine:
    """The validation images of one class.

    Attributes:
        name: name of the class.
        images: number of its images.
        recall: share of them that is classified correctly, in [0, 1].
        interval: Wilson's 95 % interval of that share.
        mistaken_for: class that its other images are given most often; empty without mistakes.
    """

    name: str
    images: int
    recall: float
    interval: tuple[float, float]
    mistaken_for: str


@dataclass(frozen=True)
class ClassLine:
    """Precision, recall and F1 of one class over all test images and trained networks.

    Attributes:
        name: name of the class.
        precision: share of the images given this class that have it; None if none was.
        recall: share of its images that were given it; None if it has no test image.
        f1: harmonic mean of both; None without any image of either.
        images: number of its test images.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: int


def image_weights(labels: npt.NDArray[np.int64], metric: str) -> npt.NDArray[np.float64]:
    """Return how much each image counts in an accuracy, 1 on average.

    The mean of right answers (1, else 0) with these weights is the accuracy. In the balanced one,
    the images of each class together count alike.

    Args:
        labels: true class of each image, (images,).
        metric: `val_accuracy` or `val_balanced_accuracy`.
    """
    if metric == "val_accuracy":
        return np.ones(len(labels))
    classes, of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return len(labels) / (len(classes) * counts[of])


def effective_images(counts: Sequence[int], metric: str) -> float:
    """Return how many images a plain accuracy would need to be as uncertain as one in a metric.

    A class with few images makes a balanced accuracy much less certain than all images together
    suggest. As if each class were recognized equally often.

    Args:
        counts: number of images of each class.
        metric: `val_accuracy` or `val_balanced_accuracy`.
    """
    if metric == "val_accuracy":
        return sum(counts)
    there = [count for count in counts if count]
    return len(there) ** 2 / sum(1 / count for count in there)


def confusion_matrix(run: Run, trial: int) -> Counts:
    """Count a trial's validation images by class (rows) and predicted class (columns).

    All counts are 0 if the predictions of the trial were not kept.
    """
    return _counts(run, run.validation[run.validation["trial"] == trial])


def confusion_on_test(run: Run, trials: Collection[int]) -> Counts:
    """Count test images by class (rows) and predicted class (columns), over some trials."""
    return _counts(run, run.predictions[run.predictions["trial"].isin(trials)])


def _counts(run: Run, predictions: pd.DataFrame) -> Counts:
    counts = np.zeros((len(run.info.dataset.classes),) * 2, np.int64)
    np.add.at(counts, (predictions["label"].to_numpy(), predictions["predicted"].to_numpy()), 1)
    return counts


def recalls(run: Run, trial: int) -> tuple[RecallLine, ...]:
    """Return a trial's accuracy on the validation images of each class, the worst class first."""
    dataset = run.info.dataset
    different = dataset.different("validation") / dataset.validation
    lines = []
    for label, row in enumerate(confusion_matrix(run, trial)):
        images, right = int(row.sum()), int(row[label])
        if not images:
            continue
        others = row.copy()
        others[label] = 0
        lines.append(
            RecallLine(
                name=dataset.classes[label],
                images=images,
                recall=right / images,
                interval=wilson_interval(right / images, max(1, round(images * different))),
                mistaken_for=dataset.classes[int(others.argmax())] if others.any() else "",
            )
        )
    return tuple(sorted(lines, key=lambda line: line.recall))


def class_lines(run: Run, trials: Collection[int]) -> tuple[ClassLine, ...]:
    """Return the results on the test images by class, over some trials; empty before the test."""
    counts = confusion_on_test(run, trials)
    if not counts.any():
        return ()
    right = counts.diagonal()
    truly, predicted = counts.sum(1), counts.sum(0)
    tested = len(set(run.predictions["trial"]) & set(trials))
    return tuple(
        ClassLine(
            name,
            _share(right[i], predicted[i]),
            _share(right[i], truly[i]),
            _share(2 * right[i], truly[i] + predicted[i]),
            int(truly[i]) // tested,
        )
        for i, name in enumerate(run.info.dataset.classes)
    )


def _share(part: np.int64, of: np.int64) -> float | None:
    return float(part / of) if of else None


def guessing_probability(run: Run, trial: int) -> float | None:
    """Return how often the best trial of such a search would be as good without any knowledge.

    Without knowledge, predictions do not depend on the class. So the counts of `confusion_matrix`
    are drawn anew with the same sums of rows and columns, and their balanced accuracy is compared.
    The best of n trials has n tries, and those count that the pruner stopped. Identical images
    count as one, roughly: the deviations are widened as if there were no more images than
    different ones.

    Returns:
        The probability; None if the predictions of the trial were not kept.
    """
    from scipy.stats import random_table  # imported late: this takes most of a second

    counts = confusion_matrix(run, trial)
    here = np.flatnonzero(counts.any(1))  # a class without validation images says nothing
    if not len(here):
        return None
    counts = counts[here]
    rows, columns = counts.sum(1), counts.sum(0)
    share = columns[here] / columns.sum()  # recall of each class, if the predictions know nothing

    def gains(tables: npt.NDArray[Any]) -> npt.NDArray[Any]:
        gained = tables[:, np.arange(len(here)), here] / rows - share
        return np.asarray(gained.mean(axis=1))

    dataset = run.info.dataset
    found = gains(counts[None])[0] * math.sqrt(
        dataset.different("validation") / dataset.validation
    )
    deviation = math.sqrt(float((share * (1 - share) / rows).sum())) / len(here)
    if found > _CERTAIN * deviation and rows.min() >= _FEW:
        return 0.0
    random = random_table(rows, columns, seed=np.random.default_rng(0))
    at_once = max(1, min(_DRAWS, _MOST_CELLS // counts.size))
    as_good = [gains(random.rvs(at_once)) >= found - 1e-12 for _ in range(_DRAWS // at_once)]
    return float(1 - (1 - np.mean(as_good)) ** judged(run))


def judged(run: Run) -> int:
    """Return the number of trials among which accuracy decided, stopped ones included."""
    return sum(record.outcome.is_judged for record in run.records)
