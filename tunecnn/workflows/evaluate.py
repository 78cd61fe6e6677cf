"""Evaluation of trials on the test images: once per trial, and recorded in the run."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tunecnn.data.images import Dataset, Images, Labels
from tunecnn.errors import RunError, text_of
from tunecnn.models.code import NetworkCode, prints_aside
from tunecnn.run.folder import RunFolder
from tunecnn.study.records import TrialRecord
from tunecnn.trial.config import TrialConfig

if TYPE_CHECKING:
    from torch import Tensor

    from tunecnn.trial.batches import DeviceData


def evaluate_trials(
    folder: RunFolder, records: list[TrialRecord], dataset: Dataset, code: NetworkCode | None
) -> None:
    """Evaluate the kept weights of trials that have not been tested yet.

    Each evaluation is written to `run.json`, and the predicted class of each image to a file
    beside it. Trials that were trained without a GPU are tested without one.

    Args:
        folder: folder of the run, locked by the caller.
        records: records of complete trials whose weights were kept.
        dataset: data set of the run.
        code: code of the networks; None if they are in no file.

    Raises:
        RunError: if the weights of a trial are missing or damaged, the evaluation fails (for lack
            of memory, for example), or the run cannot be written.
    """
    from tunecnn.models.building import importable

    try:
        with importable(code), prints_aside(code):
            _evaluate(folder, records, dataset)
    except OSError as error:
        raise RunError(f"the trials cannot be tested: {error}") from error


def _evaluate(folder: RunFolder, records: list[TrialRecord], dataset: Dataset) -> None:
    import torch

    from tunecnn.trial.batches import DeviceSplits
    from tunecnn.trial.environment import Environment

    on_gpu = any(record.device.startswith("cuda") for record in records)
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    here, warned = Environment.of_process(device), False
    images = DeviceSplits(dataset.splits.__getitem__, device)
    tested = {evaluation.trial for evaluation in folder.read_info().evaluations}
    for record in records:
        if record.number in tested:
            continue
        config = TrialConfig.from_dict(record.config)
        precision = here.precision(config.precision)
        if record.precision not in ("", precision) and not warned:
            warned = True
            warnings.warn(
                f"trials were trained in {record.precision} on {record.node}, and are tested in "
                f"{precision} here: their accuracies may differ a little",
                stacklevel=2,
            )
        weights = folder.read_weights(record)
        try:
            accuracy, loss, predicted = _test(config, weights, images.of(config), dataset.test)
        except RunError:
            raise
        except (Exception, SystemExit) as error:  # of the user's network
            raise RunError(
                f"trial {record.number} cannot be tested: {type(error).__name__}: {text_of(error)}"
            ) from error
        folder.write_evaluation(record.number, accuracy, loss, dataset.test.labels, predicted)


def _test(
    config: TrialConfig, weights: bytes, data: DeviceData, test: Images
) -> tuple[float, float, Labels]:
    """Return the accuracy, mean cross-entropy and predicted classes of the test images."""
    from safetensors.torch import load

    from tunecnn.models.checking import settle
    from tunecnn.trial.training import Training

    training = Training(config, data)
    training.model.load_state_dict(load(weights))
    settle(training.model)
    return scores(training.predict(test), test.labels)


def scores(logits: Tensor, labels: Labels) -> tuple[float, float, Labels]:
    """Return the accuracy, mean cross-entropy and predicted classes.

    Args:
        logits: outputs of the network, shape (n, classes).
        labels: true classes, shape (n,).
    """
    import torch
    from torch.nn.functional import cross_entropy

    true, predicted = torch.from_numpy(labels), logits.argmax(1)
    accuracy = float((predicted == true).double().mean())
    return accuracy, float(cross_entropy(logits, true)), predicted.numpy()
