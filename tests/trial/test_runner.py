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
from tunecnn.trial.messages import Checkpoint, Outcome
from tunecnn.trial.runner import RunningTrial
from tunecnn.trial.training import Training


def networks() -> int:
    return sum(issubclass(type(thing), ConvNet) for thing in gc.get_objects())


def test_a_checkpoint_for_which_there_is_no_memory_is_not_a_bad_one(tiny, monkeypatch):
    """It would be deleted, and the trial would begin again."""
    data = to_device(tiny, torch.device("cpu"))
    config = make_config("fast", "proposed", "digits", epochs=2)
    training = Training(config, data)
    training.run_epoch()
    checkpoint = Checkpoint(1, training.checkpoint())

    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "restore", fails)
    update = RunningTrial(config, data, checkpoint, 1000.0).advance(0.0)
    assert not update.bad_checkpoint
    assert update.end.outcome is Outcome.OUT_OF_MEMORY


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
