"""Evaluation of a trained network on the test images of a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tunecnn.analysis.classes import image_weights
from tunecnn.analysis.intervals import wilson_interval
from tunecnn.data.duplicates import content_ids
from tunecnn.data.images import Dataset
from tunecnn.data.loading import load_dataset
from tunecnn.data.registry import absolute
from tunecnn.errors import InputError, TunecnnError
from tunecnn.models.running import running_network
from tunecnn.run.folder import RunFolder
from tunecnn.run.run import Run
from tunecnn.trial.config import TrialConfig
from tunecnn.words import listed
from tunecnn.workflows.evaluate import scores
from tunecnn.workflows.found_model import FoundModel, find_model


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


def evaluate(
    model: str | Path | Run, dataset: str | None = None, data_dir: str | Path | None = None
) -> ModelEvaluation:
    """Evaluate a model on the test images of a data set.

    The use of a run's own test images is recorded in the run, once per trial: a choice among
    models by their test accuracy is no longer a test.

    Args:
        model: file of weights, or a run or its folder, whose confirmed or best trial is taken.
        dataset: name of a data set with the classes of the training; None for that of the
            training.
        data_dir: folder of the data files; None for that of the run, or else the default.

    Raises:
        InputError: if the model does not suit the images, or there is no such data set.
        RunError: if the model cannot be read, or the run cannot be written.
    """
    if not isinstance(dataset, str | None):
        raise InputError(
            f"dataset must be a name, such as FILE.npz, not {type(dataset).__name__}; of arrays, "
            "load_model(...).probabilities(images) gives the predictions"
        )
    path = model.path if isinstance(model, Run) else Path(model)
    with running_network(f"the network of {path} failed"):
        found = find_model(path)
    config = found.model.config
    name = absolute(dataset) if dataset is not None else config.dataset
    place = data_dir
    if place is None and found.run is not None:
        place = found.run.info.data_dir
    is_own = name == config.dataset
    options = config.image_options if is_own else replace(config.image_options, groups=None)
    images = load_dataset(name, config.data_split if is_own else None, place, options)
    run = found.run
    if run and not is_own and images.fingerprint == run.info.dataset.fingerprint:
        # The run's images at another place: they are divided as there.
        is_own = True
        images = load_dataset(name, config.data_split, place, config.image_options)
    if run and is_own and not _are_those_of(run, config, images):
        raise InputError(
            f"the images of {name} are not those of the run any more, or divided otherwise, so "
            "some that test now may have been trained on; evaluate on a data set of new images: "
            "--dataset"
        )
    classes = images.trial_data.classes
    if classes != found.model.classes:
        raise InputError(f"{name} has other classes than the model: {_difference(classes, found)}")
    pixels = images.test.pixels
    if pixels.shape[3] == 1 and found.model.input_shape[0] == 3:  # grey, as `predict` takes them
        pixels = np.repeat(pixels, 3, axis=3)
    labels = images.test.labels
    # The lock comes first: the test images are not used if that cannot be recorded.
    with _recording(found, images) as folder:
        with running_network(f"the network of {found.path} failed"):
            logits = found.model.logits(pixels)
        accuracy, loss, predicted = scores(logits, labels)
        if folder is not None:
            assert found.trial is not None
            tested = folder.read_info().own_evaluations
            if not any(one.trial == found.trial for one in tested):
                folder.write_evaluation(found.trial, accuracy, loss, labels, predicted)
    right = predicted == labels
    return ModelEvaluation(
        dataset=name,
        images=len(labels),
        accuracy=accuracy,
        balanced_accuracy=float((right * image_weights(labels, "val_balanced_accuracy")).mean()),
        interval=wilson_interval(accuracy, images.sheet.different["test"]),
        loss=loss,
        recorded=found.run.name if folder is not None and found.run is not None else "",
        trial=found.trial,
        notes=_notes(images, found, place, is_own=is_own),
    )


def _are_those_of(run: Run, config: TrialConfig, images: Dataset) -> bool:
    """Return whether images are those of a run, and divided as there."""
    recorded = run.info.dataset
    if images.fingerprint != recorded.fingerprint:
        return False
    if config.data_split != run.space.data_split:  # one of several, which share the test images
        return True
    return images.split_fingerprint == recorded.split_fingerprint


def _notes(
    images: Dataset, found: FoundModel, data_dir: str | Path | None, *, is_own: bool
) -> tuple[str, ...]:
    """Return what is to be known of the images that test; of those of the run itself, nothing."""
    if is_own and found.run is not None:
        return ()
    if is_own:
        return (
            "the run is not beside the model, so whether it was trained on some of these images "
            "is not known",
        )
    files = images.sheet.files_in_words()
    return (
        *([f"images: {files}"] if files else []),
        *images.sheet.notes,
        *_shared_with_training(images, found, data_dir),
    )


def _shared_with_training(
    images: Dataset, found: FoundModel, data_dir: str | Path | None
) -> Iterator[str]:
    """Yield a note on test images with which the model was trained, or that this is not known."""
    config = found.model.config
    try:
        own = load_dataset(config.dataset, config.data_split, data_dir, config.image_options)
    except TunecnnError:  # they have moved, say
        yield (
            f"the images of the training ({config.dataset}) are not there, so whether the model "
            "was trained on some of these is not known"
        )
        return
    known = (own.trial_data.train, own.trial_data.validation)
    test, *others = (part.pixels for part in (images.test, *known))
    if any(one.shape[1:] != test.shape[1:] for one in others):
        return
    ids = content_ids([test, *others])
    if count := int(np.isin(ids[: len(test)], ids[len(test) :]).sum()):
        yield (
            f"{count:,} of the {len(test):,} test images are training or validation images of "
            "the model, so its accuracy is too high"
        )


@contextlib.contextmanager
def _recording(found: FoundModel, images: Dataset) -> Iterator[RunFolder | None]:
    """Lock the run whose test images the images are, and yield its folder; None without one."""
    run = found.run
    if run is None or found.trial is None or images.fingerprint != run.info.dataset.fingerprint:
        yield None
        return
    with run.folder.lock():
        yield run.folder


def _difference(classes: tuple[str, ...], found: FoundModel) -> str:
    """Say which classes only a data set or only a model has."""
    known = found.model.classes
    only = [one for one in classes if one not in known]
    lacking = [one for one in known if one not in classes]
    if not only and not lacking:
        return "the same in another order"
    texts = []
    if only:
        texts.append(f"{listed(only)}, which the model does not know")
    if lacking:
        texts.append(f"without {listed(lacking)}, which the model knows")
    return "; ".join(texts)
