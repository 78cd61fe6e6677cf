"""MLflow: one run for the search, and below it one for each trial."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tunecnn.listeners.trackers.base import TrackedRun, metrics_of, result_of
from tunecnn.study.records import TrialRecord
from tunecnn.trial.config import Scalar
from tunecnn.trial.messages import EpochMetrics, Outcome

_EXPERIMENT = "tunecnn"
_MOST_PARAMS = 100  # in one request
_LONGEST = 500  # characters of a parameter's value that every store of MLflow takes
_STATUS = {Outcome.COMPLETE: "FINISHED", Outcome.PRUNED: "KILLED"}


class MLflow:
    """Sends a run to MLflow.

    Args:
        uri: address of the server, or of a database such as `sqlite:///runs.db`; None for
            MLFLOW_TRACKING_URI, or else MLflow's own default.
    """

    def __init__(self, uri: str | None) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # no word for each table it makes
        self._client = MlflowClient(tracking_uri=uri)
        # Ids by trial, None for the search: what fails half-way is tried again.
        self._created: dict[int | None, str] = {}

    def open(self, run: TrackedRun, key: str | None) -> str:
        """Begin or continue the run of the search, in the experiment `tunecnn`.

        A run that this server does not have is begun anew.
        """
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(_EXPERIMENT)
        )
        if key is None or not self._has(key):
            tags = {"mlflow.note.content": run.goal, "tunecnn.run": run.id}
            key = self._create(None, run.name, tags)
            self._params(key, run.settings)
        else:
            self._client.update_run(key, status="RUNNING")
        self._search = key
        return key

    def begin(self, record: TrialRecord, key: str | None) -> str:
        """Begin the run of a trial, with its config as parameters."""
        if key is None:
            tags = {MLFLOW_PARENT_RUN_ID: self._search, "trial": str(record.number)}
            key = self._create(record.number, f"trial-{record.number:05d}", tags)
        self._params(key, record.config)
        return key

    def log(self, key: str, epochs: Sequence[EpochMetrics]) -> None:
        """Send the metrics of epochs, each with its epoch as the step."""
        self._metrics(
            key,
            [
                (name, value, one.epoch)
                for one in epochs
                for name, value in metrics_of(one).items()
            ],
        )

    def pause(self, key: str) -> None:
        """Do nothing: MLflow's client holds nothing open for a run."""

    def end(self, key: str, record: TrialRecord) -> None:
        """Send the outcome of a trial, and its final figures."""
        last = len(record.epochs)
        self._metrics(key, [(name, value, last) for name, value in result_of(record).items()])
        tags = [RunTag("outcome", str(record.outcome)), RunTag("reason", record.reason[:_LONGEST])]
        self._client.log_batch(key, tags=tags)
        self._client.set_terminated(key, _STATUS.get(record.outcome, "FAILED"))

    def close(self, key: str, ending: str, files: Sequence[Path]) -> None:
        """Send the summary and the pictures as artefacts."""
        for path in files:
            folder = path.parent.name if path.suffix in (".svg", ".yaml") else None
            self._client.log_artifact(
                key, str(path), folder if path.name != "space.yaml" else None
            )
        self._client.set_tag(key, "ending", ending)
        self._client.set_terminated(key, "FINISHED" if ending == "done" else "KILLED")

    def _has(self, key: str) -> bool:
        try:
            return bool(self._client.get_run(key).info.lifecycle_stage == LifecycleStage.ACTIVE)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return False

    def _create(self, trial: int | None, name: str, tags: dict[str, str]) -> str:
        if trial not in self._created:
            created = self._client.create_run(self._experiment, tags=tags, run_name=name)
            self._created[trial] = str(created.info.run_id)
        return self._created[trial]

    def _params(self, key: str, values: Mapping[str, Scalar]) -> None:
        params = [Param(name, str(value)[:_LONGEST]) for name, value in values.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(key, params=params[start : start + _MOST_PARAMS])

    def _metrics(self, key: str, values: Sequence[tuple[str, float, int]]) -> None:
        now = int(1000 * time.time())
        metrics = [
            Metric(name, value, now, step) for name, value, step in values if math.isfinite(value)
        ]
        for start in range(0, len(metrics), 500):
            self._client.log_batch(key, metrics=metrics[start : start + 500])
