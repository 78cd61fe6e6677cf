"""The trackers by the names that `--track` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tunecnn.errors import InputError, nearest
from tunecnn.listeners.several import Several
from tunecnn.listeners.trackers.base import TrackedRun, Tracker
from tunecnn.listeners.trackers.tracking import SENT, Tracking, files_of
from tunecnn.run.listener import Listener
from tunecnn.study.study import Study

TRACKERS = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Names of the trackers, and the package that each needs."""
_STORES = {"file", "http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks",
           "databricks-uc", "uc"}  # fmt: skip
"""Schemes of the URIs that MLflow itself knows (`mlflow.tracking._tracking_service.utils`)."""


def check_trackers(names: Sequence[str]) -> None:
    """Check trackers before anything runs.

    Args:
        names: `tensorboard`, `mlflow`, `mlflow:URI` or `wandb`.

    Raises:
        InputError: if a tracker or the form of its URI is unknown, it is given twice, or not
            installed.
    """
    names_only = [name.partition(":")[0] for name in names]
    for name, kind in zip(names, names_only, strict=True):
        if kind not in TRACKERS or (":" in name and kind != "mlflow"):
            raise InputError(
                f"--track {name} is not known; it is tensorboard, mlflow, mlflow:URI or wandb"
            )
        _check_store(name)
        if names_only.count(kind) > 1:
            raise InputError(f"--track {kind} is given twice")
        if find_spec(TRACKERS[kind]) is None:
            raise InputError(
                f"--track {kind} needs the package {TRACKERS[kind]}: pip install 'tunecnn[{kind}]'"
            )


def _check_store(name: str) -> None:
    """Check that MLflow has a store for the form of a URI; an import of MLflow takes seconds."""
    scheme = urlsplit(name.partition(":")[2]).scheme.partition("+")[0]
    if not scheme or scheme in _STORES:
        return
    plugins = {store.name for store in entry_points(group="mlflow.tracking_store")}
    if scheme not in plugins:
        raise InputError(
            f"--track {name}: MLflow knows no URI of this form; "
            f"{nearest(scheme, sorted(_STORES | plugins))}"
        )


def untracked(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the trackers that have received a part of a run, and now receive no more.

    Args:
        folder: folder of the run.
        names: names of the trackers that receive it now.
    """
    before = sorted(file.stem for file in (folder / SENT).glob("*.json"))
    return [kind for kind in before if kind not in {name.partition(":")[0] for name in names}]


def make_tracker(name: str) -> Tracker:
    """Make a tracker that `check_trackers` has let through; its package is imported here."""
    kind, _, uri = name.partition(":")
    if kind == "tensorboard":
        from tunecnn.listeners.trackers.tensorboard import TensorBoard

        return TensorBoard()
    if kind == "mlflow":
        from tunecnn.listeners.trackers.mlflow import MLflow

        return MLflow(uri or None)
    from tunecnn.listeners.trackers.wandb import WeightsAndBiases

    return WeightsAndBiases()


class Tracked(Several):
    """A listener, and all trackers of the run beside it.

    Args:
        listener: listener that also gets the warnings about the trackers.
        names: names of the trackers, as in `check_trackers`.
        run: run to track.
        study: study of the run.
        make: function that makes a tracker of a name.
    """

    def __init__(
        self,
        listener: Listener,
        names: Sequence[str],
        run: TrackedRun,
        study: Study,
        make: Callable[[str], Tracker] = make_tracker,
    ) -> None:
        self._listener = listener
        self._folder = run.folder
        self._trackings = [
            Tracking(name, lambda name=name: make(name), run, study)  # type: ignore[misc]
            for name in names
        ]
        super().__init__((listener, *self._trackings))

    def on_tick(self) -> None:
        """Warn of trackers that fail, besides calling each listener."""
        super().on_tick()
        for one in self._trackings:
            for text in one.problems():
                self._listener.on_warning(text)

    def finish(self, ending: str) -> list[str]:
        """Send what is missing, and the summary; return what should be said to the user."""
        files = files_of(self._folder)
        return [text for one in self._trackings for text in one.finish(ending, files)]
