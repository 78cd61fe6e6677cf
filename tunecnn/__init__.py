"""tunecnn: tune small convolutional networks on a Ray cluster.

The names below are the public interface; each is imported when it is first used, so that
`import tunecnn` loads neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunecnn.comparison import compare
    from tunecnn.config import TrialConfig
    from tunecnn.datasets import load_dataset
    from tunecnn.errors import InputError, RunError, TunecnnError
    from tunecnn.messages import EpochMetrics
    from tunecnn.models import build_model
    from tunecnn.recipes import make_config
    from tunecnn.runs import Run, load_run
    from tunecnn.space import SearchSpace
    from tunecnn.training import train

__all__ = [
    "EpochMetrics",
    "InputError",
    "Run",
    "RunError",
    "SearchSpace",
    "TrialConfig",
    "TunecnnError",
    "build_model",
    "compare",
    "load_dataset",
    "load_run",
    "make_config",
    "train",
]

_MODULES = {
    "EpochMetrics": "messages",
    "InputError": "errors",
    "Run": "runs",
    "RunError": "errors",
    "SearchSpace": "space",
    "TrialConfig": "config",
    "TunecnnError": "errors",
    "build_model": "models",
    "compare": "comparison",
    "load_dataset": "datasets",
    "load_run": "runs",
    "make_config": "recipes",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tunecnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tunecnn.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
