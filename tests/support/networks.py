"""Networks of somebody's own: a file as it would be searched, and trainings of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tunecnn.data.images import Images, TrialData
from tunecnn.models.code import NetworkCode
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.trained import TrainedModel, load_model, pack_model
from tunecnn.trial.training import Training

NETS = """
from torch import nn

class Small(nn.Module):
    def __init__(self, input_shape, classes, width: int = 4, norm: bool = True):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 3, padding=1),
            nn.BatchNorm2d(width) if norm else nn.Identity(),
            nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, classes),
        )
    def forward(self, images):
        return self.net(images)
"""


def config(code: NetworkCode, name: str, **changes) -> TrialConfig:
    """The config of a short training of a network in `nets.py`."""
    return TrialConfig.from_dict(
        {
            "architecture": f"nets.py:{name}",
            "code": code.hash,
            "epochs": 2,
            "batch_size": 5,
            "optimizer": "adamw",
            "learning_rate": 1e-2,
            **changes,
        }
    )


def random_data() -> TrialData:
    """Twenty-one images: in batches of five, the last one holds a single image."""
    return TrialData.measure("random", ("a", "b", "c"), _images(21), _images(6))


def _images(count: int) -> Images:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
    return Images(pixels, random.integers(0, 3, count))


def model_of(training: Training, path: Path) -> TrainedModel:
    """The model of a training, written to a file and loaded."""
    path.write_bytes(pack_model(training))
    with pytest.warns(UserWarning, match="comes with the code"):
        return load_model(path)
