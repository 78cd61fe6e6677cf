"""tunecnn: tune small convolutional networks on a Ray cluster.

The names below are the public interface; each is imported when it is first used, so that
`import tunecnn` loads neither torch nor ray.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunecnn.analysis.diagnostics import importances, pareto_front
    from tunecnn.data.loading import load_dataset
    from tunecnn.data.splits import Split
    from tunecnn.errors import InputError, RunError, TunecnnError
    from tunecnn.models.building import build_model
    from tunecnn.run.listener import Listener
    from tunecnn.space.parameters import Choice, Float, Int
    from tunecnn.space.space import SearchSpace
    from tunecnn.summary import plots
    from tunecnn.summary.run_types import summarize
    from tunecnn.trial.config import TrialConfig
    from tunecnn.trial.messages import EpochMetrics
    from tunecnn.trial.recipes import make_config
    from tunecnn.trial.trained import TrainedModel, load_model
    from tunecnn.trial.training import train
    from tunecnn.workflows.evaluate_model import evaluate
    from tunecnn.workflows.python import Run, load_run, reproduce, search
    from tunecnn.workflows.runs import compare

__all__ = [
    "Choice",
    "EpochMetrics",
    "Float",
    "InputError",
    "Int",
    "Listener",
    "Run",
    "RunError",
    "SearchSpace",
    "Split",
    "TrainedModel",
    "TrialConfig",
    "TunecnnError",
    "build_model",
    "compare",
    "evaluate",
    "importances",
    "load_dataset",
    "load_model",
    "load_run",
    "make_config",
    "pareto_front",
    "plots",
    "reproduce",
    "search",
    "summarize",
    "train",
]

_MODULES = {
    "Choice": "space.parameters",
    "EpochMetrics": "trial.messages",
    "Float": "space.parameters",
    "InputError": "errors",
    "Int": "space.parameters",
    "Listener": "run.listener",
    "Run": "workflows.python",
    "RunError": "errors",
    "SearchSpace": "space.space",
    "Split": "data.splits",
    "TrainedModel": "trial.trained",
    "TrialConfig": "trial.config",
    "TunecnnError": "errors",
    "build_model": "models.building",
    "compare": "workflows.runs",
    "evaluate": "workflows.evaluate_model",
    "importances": "analysis.diagnostics",
    "load_dataset": "data.loading",
    "load_model": "trial.trained",
    "load_run": "workflows.python",
    "make_config": "trial.recipes",
    "pareto_front": "analysis.diagnostics",
    "reproduce": "workflows.python",
    "search": "workflows.python",
    "summarize": "summary.run_types",
    "train": "trial.training",
}
_PLOTS = "tunecnn.summary.plots"


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module(_PLOTS)
    if name == "__version__":
        return version("tunecnn")
    if name not in _MODULES:
        raise AttributeError(f"module 'tunecnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tunecnn.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
