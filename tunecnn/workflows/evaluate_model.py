"""Evaluation of a trained network on the test images of a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunecnn.analysis.intervals import wilson_interval
from tunecnn.data.images import Dataset
from tunecnn.data.loading import load_dataset
from tunecnn.data.registry import absolute
from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder
from tunecnn.run.frames import predictions_frame
from tunecnn.run.info import Evaluation, now
from tunecnn.workflows.evaluate import scores
from tunecnn.workflows.found_model import FoundModel, find_model, running_its_code

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class ModelEvaluation:
    """The result of a model on test images.

    Attributes:
        dataset: name of the data set.
        images: number of test images.
        accuracy: share of correctly classified images, in [0, 1].
        balanced_accuracy: mean share over the classes that have images.
        interval: Wilson's 95 % interval of the accuracy.
        loss: mean cross-entropy.
        recorded: run in which this use of its test images is recorded; empty if in none.
        trial: number of the model's trial in its run; None for a file in no run.
        notes: what was inferred about a data set that is not that of the training.
    """

    dataset: str
    images: int
    accuracy: float
    balanced_accuracy: float
    interval: tuple[float, float]
    loss: float
    recorded: str
    trial: int | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)


def evaluate(
    model: str | Path, dataset: str | None = None, data_dir: str | Path | None = None
) -> ModelEvaluation:
    """Evaluate a model on the test images of a data set.

    The use of a run's own test images is recorded in the run, once per trial: a choice among
    models by their test accuracy is no longer a test.

    Args:
        model: file of weights, or folder of a run, whose best trial is taken.
        dataset: name of a data set with the classes of the training; None for that of the
            training.
        data_dir: folder of the data files; None for that of the run, or else the default.

    Raises:
        InputError: if the model does not suit the images, or there is no such data set.
        RunError: if the model cannot be read, or the run cannot be written.
    """
    with running_its_code(Path(model)):
        found = find_model(Path(model))
    config = found.model.config
    name = absolute(dataset) if dataset is not None else config.dataset
    place = data_dir
    if place is None and found.run is not None:
        place = found.run.info.data_dir
    is_own = name == config.dataset
    options = config.image_options if is_own else replace(config.image_options, groups=None)
    images = load_dataset(name, config.data_split if is_own else None, place, options)
    if is_own and found.run and images.fingerprint != found.run.info.dataset.fingerprint:
        raise InputError(
            f"the images of {name} are not those of the run any more, so some that test now may "
            "have been trained on; evaluate on a data set of new images: --dataset"
        )
    classes = images.trial_data.classes
    if classes != found.model.classes:
        raise InputError(
            f"the classes of {name} are {_few(classes)}, and the model knows "
            f"{_few(found.model.classes)}"
        )
    pixels = images.test.pixels
    if pixels.shape[3] == 1 and found.model.input_shape[0] == 3:  # grey, as `predict` takes them
        pixels = np.repeat(pixels, 3, axis=3)
    labels = images.test.labels
    # The lock comes first: the test images are not used if that cannot be recorded.
    with _recording(found, images) as folder:
        with running_its_code(found.path):
            logits = found.model.logits(pixels)
        accuracy, loss, predicted = scores(logits, labels)
        if folder is not None:
            _record(folder, found.trial, images, accuracy, loss, predicted)
    right = predicted == labels
    return ModelEvaluation(
        dataset=name,
        images=len(labels),
        accuracy=accuracy,
        balanced_accuracy=float(
            np.mean([right[labels == one].mean() for one in np.unique(labels)])
        ),
        interval=wilson_interval(accuracy, images.sheet.different["test"]),
        loss=loss,
        recorded=found.run.name if folder is not None and found.run is not None else "",
        trial=found.trial,
        notes=() if is_own else images.sheet.notes,
    )


@contextlib.contextmanager
def _recording(found: FoundModel, images: Dataset) -> Iterator[RunFolder | None]:
    """Lock the run whose test images the images are, and yield its folder; None without one."""
    run = found.run
    if run is None or found.trial is None or images.fingerprint != run.info.dataset.fingerprint:
        yield None
        return
    folder = RunFolder(run.path)
    with folder.lock():
        yield folder


def _record(
    folder: RunFolder, trial: int | None, images: Dataset, accuracy: float, loss: float,
    predicted: npt.NDArray[np.int64],
) -> None:  # fmt: skip
    """Record the use of a run's test images, once for each trial."""
    assert trial is not None
    info = folder.read_info()
    if any(one.trial == trial and not one.confirmation for one in info.evaluations):
        return
    evaluation = Evaluation(
        trial=trial, time=now(), images=len(images.test), accuracy=accuracy, loss=loss,
        predictions_sha256="",
    )  # fmt: skip
    folder.write_evaluation(evaluation, predictions_frame(trial, images.test.labels, predicted))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
