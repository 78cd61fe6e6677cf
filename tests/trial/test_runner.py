from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from tunecnn import make_config
from tunecnn.data.images import Images, TrialData
from tunecnn.models.building import build_model
from tunecnn.models.published import ConvNet
from tunecnn.trial.batches import to_device
from tunecnn.trial.runner import RunningTrial


def networks() -> int:
    return sum(issubclass(type(thing), ConvNet) for thing in gc.get_objects())


@pytest.mark.parametrize("ending", ["complete", "error"])
def test_a_trial_that_ended_is_freed_at_once_without_a_search_for_garbage(ending, tiny):
    """A worker looks for garbage seldom, and its next trial needs the memory."""
    labels = tiny.train.labels if ending == "complete" else np.full(len(tiny.train), 99)
    train = Images(tiny.train.pixels, labels)
    data = to_device(
        TrialData.measure("x", tiny.classes, train, tiny.validation), torch.device("cpu")
    )
    gc.collect()
    before = networks()
    held = build_model("proposed", tiny.input_shape, 10)
    assert networks() == before + 1
    del held
    gc.collect()
    gc.disable()
    try:
        run = RunningTrial(make_config("fast", "proposed", "digits", epochs=2), data, None, 1000.0)
        outcome = run.advance(1000.0).end
        assert outcome.outcome == ending
        assert networks() == before
    finally:
        gc.enable()
