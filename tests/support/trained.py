"""Whether a model gives what its training gave."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tunecnn.trial.training import Training


def assert_is_of(training: Training, logits: torch.Tensor) -> None:
    """Check logits of the validation images against the kept epoch of a training."""
    labels, predicted = np.load(io.BytesIO(training.predictions()))
    assert (logits.argmax(1).numpy() == predicted).all()
    assert training.kept is not None
    loss = cross_entropy(logits, torch.from_numpy(labels).long())
    assert float(loss) == pytest.approx(training.kept.val_loss, rel=1e-5)
    assert float((predicted == labels).mean()) == pytest.approx(training.kept.val_accuracy)
