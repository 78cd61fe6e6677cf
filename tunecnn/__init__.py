"""tunecnn: tune small convolutional networks on a Ray cluster.

The names below are the public interface; each is imported when it is first used, so that
`import tunecnn` loads neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunecnn import plots
    from tunecnn.config import TrialConfig
    from tunecnn.datasets import load_dataset
    from tunecnn.errors import InputError, RunError, TunecnnError
    from tunecnn.messages import EpochMetrics
    from tunecnn.models import build_model
    from tunecnn.recipes import make_config
    from tunecnn.review import importances, pareto_front
    from tunecnn.run_types import summarize
    from tunecnn.runs import Run, load_run
    from tunecnn.space import SearchSpace
    from tunecnn.splits import Split
    from tunecnn.training import train

__all__ = [
    "EpochMetrics",
    "InputError",
    "Run",
    "RunError",
    "SearchSpace",
    "Split",
    "TrialConfig",
    "TunecnnError",
    "build_model",
    "importances",
    "load_dataset",
    "load_run",
    "make_config",
    "pareto_front",
    "plots",
    "summarize",
    "train",
]

_MODULES = {
    "EpochMetrics": "messages",
    "InputError": "errors",
    "Run": "runs",
    "RunError": "errors",
    "SearchSpace": "space",
    "Split": "splits",
    "TrialConfig": "config",
    "TunecnnError": "errors",
    "build_model": "models",
    "importances": "review",
    "load_dataset": "datasets",
    "load_run": "runs",
    "make_config": "recipes",
    "pareto_front": "review",
    "summarize": "run_types",
    "train": "training",
}
_PLOTS = "tunecnn.plots"


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module(_PLOTS)
    if name not in _MODULES:
        raise AttributeError(f"module 'tunecnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tunecnn.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
