"""Accuracy of a trial by class, on the validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunecnn.analysis.intervals import wilson_interval
from tunecnn.run.run import Run


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


def confusion_matrix(run: Run, trial: int) -> npt.NDArray[np.int64]:
    """Count a trial's validation images by class (rows) and predicted class (columns).

    All counts are 0 if the predictions of the trial were not kept.
    """
    classes = len(run.info.dataset.classes)
    kept = run.validation[run.validation["trial"] == trial]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (kept["label"].to_numpy(), kept["predicted"].to_numpy()), 1)
    return counts


def recalls(run: Run, trial: int) -> tuple[RecallLine, ...]:
    """Return a trial's accuracy on the validation images of each class, the worst class first."""
    classes = run.info.dataset.classes
    lines = []
    for label, row in enumerate(confusion_matrix(run, trial)):
        images, right = int(row.sum()), int(row[label])
        if not images:
            continue
        others = row.copy()
        others[label] = 0
        lines.append(
            RecallLine(
                name=classes[label],
                images=images,
                recall=right / images,
                interval=wilson_interval(right / images, images),
                mistaken_for=classes[int(others.argmax())] if others.any() else "",
            )
        )
    return tuple(sorted(lines, key=lambda line: line.recall))
