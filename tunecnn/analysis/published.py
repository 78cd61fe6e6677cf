"""Published results of the class report, and the learning curves of its six runs.

Source: M. R. Roman Salgado, "Tarea 8: Propuesta y entrenamiento de red neuronal" (UACh), and the
two notebooks that it was written from. Each result is from a single run with one seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """One published test result: accuracy in [0, 1] and mean cross-entropy."""

    test_accuracy: float
    test_loss: float


@dataclass(frozen=True)
class Experiment:
    """Experiment of the class report on one data set.

    Attributes:
        title: name of the data set.
        image: height and width of its images.
        classes: number of classes.
        epochs: number of epochs per run.
        split: validation images that were split off, in words.
        results: published results by architecture.
        notes: remarks on the results by architecture.
    """

    title: str
    image: tuple[int, int]
    classes: int
    epochs: int
    split: str
    results: Mapping[str, Result]
    notes: Mapping[str, str]


EXPERIMENTS: Mapping[str, Experiment] = {
    "cifar10": Experiment(
        "CIFAR-10",
        (32, 32),
        10,
        100,
        "a random fifth of the training images, by their original order",
        {
            "model1": Result(0.6663, 3.4188),
            "model2": Result(0.7154, 0.9345),
            "proposed": Result(0.8011, 0.6095),
        },
        {
            "model2": "its published run stays at chance (10 %) for four epochs: raw pixels make "
            "the start unstable, and another seed may start sooner or never",
        },
    ),
    "mnist": Experiment(
        "MNIST",
        (28, 28),
        10,
        50,
        "the first 6,000 training images",
        {
            "model1": Result(0.9908, 0.0372),
            "model2": Result(0.9933, 0.0198),
            "proposed": Result(0.9955, 0.0148),
        },
        {
            "model1": "its published run starts at 98.79 % training accuracy in epoch 1: it goes "
            "on from an earlier training, so it has had more than 50 epochs",
        },
    ),
}
"""Published experiments by the name of the data set."""


def published_curves(dataset: str | None) -> pd.DataFrame:
    """Return each epoch of the published runs on a data set; without such runs, no rows.

    Columns: `architecture`, `epoch`, and `train_accuracy`, `train_loss`, `val_accuracy`,
    `val_loss` as in `tunecnn.run.frames.EPOCH_DTYPES`.
    """
    import pandas as pd

    with (
        files("tunecnn.analysis").joinpath("published_curves.csv").open(encoding="utf-8") as stream
    ):
        frame = pd.read_csv(stream)
    selected = frame[frame["dataset"] == dataset].drop(columns="dataset")
    return selected.reset_index(drop=True)
