"""Evaluation of trials on the test images: once per trial, and recorded in the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunecnn.data.images import Dataset, Labels
from tunecnn.errors import RunError
from tunecnn.models.running import running_network
from tunecnn.run.folder import RunFolder
from tunecnn.study.records import TrialRecord

if TYPE_CHECKING:
    from torch import Tensor


def evaluate_trials(
    folder: RunFolder,
    records: list[TrialRecord],
    dataset: Dataset,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Evaluate the kept weights of trials that have not been tested yet.

    Each evaluation is written to `run.json`, and the predicted class of each image to a file
    beside it. Trials that were trained without a GPU are tested without one.

    Args:
        folder: folder of the run, locked by the caller.
        records: records of complete trials whose weights were kept.
        dataset: data set of the run.
        check: function that is called before each record, and raises if it must not be written.

    Raises:
        RunError: if the weights of a trial are missing or damaged, the evaluation fails (for lack
            of memory, for example), or the run cannot be written.
    """
    try:
        _evaluate(folder, records, dataset, check)
    except OSError as error:
        raise RunError(f"the trials cannot be tested: {error}") from error


def _evaluate(
    folder: RunFolder, records: list[TrialRecord], dataset: Dataset, check: Callable[[], None]
) -> None:
    import torch

    from tunecnn.trial.environment import Environment
    from tunecnn.trial.trained import unpack_model

    on_gpu = any(record.device.startswith("cuda") for record in records)
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    here, warned = Environment.of_process(device), False
    test = dataset.test
    tested = {evaluation.trial for evaluation in folder.read_info().evaluations}
    for record in records:
        if record.number in tested:
            continue
        precision = here.precision(str(record.config["precision"]))
        if record.precision not in ("", precision) and not warned:
            warned = True
            warnings.warn(
                f"trials were trained in {record.precision} on {record.node}, and are tested in "
                f"{precision} here: their accuracies may differ a little",
                stacklevel=2,
            )
        content = folder.read_weights(record)
        with running_network(f"trial {record.number} cannot be tested"):
            model = unpack_model(content, f"trial {record.number}", is_trusted=True).to(device)
            accuracy, loss, predicted = scores(model.logits(test.pixels), test.labels)
        check()
        folder.write_evaluation(record.number, accuracy, loss, test.labels, predicted)


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
