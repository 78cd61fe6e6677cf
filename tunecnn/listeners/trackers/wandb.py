"""Weights & Biases: one run for each trial, in the group of the search, which has one too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb

from tunecnn.listeners.trackers.base import TrackedRun, metrics_of, result_of
from tunecnn.study.records import TrialRecord
from tunecnn.trial.messages import EpochMetrics


class WeightsAndBiases:
    """Sends a run to W&B, or to files of its own with WANDB_MODE=offline."""

    def __init__(self) -> None:
        self._running: dict[str, Any] = {}

    def open(self, run: TrackedRun, key: str | None) -> str:
        """Begin or continue the run of the search."""
        self._run = run
        key = key or run.id[:16]
        self._running[key] = self._init(key, run.name, "search", dict(run.settings), run.goal)
        return key

    def begin(self, record: TrialRecord, key: str | None) -> str:
        """Begin or continue the run of a trial."""
        key = key or f"{self._run.id[:16]}-{record.number}"
        self._trial(key, record)
        return key

    def log(self, key: str, epochs: Sequence[EpochMetrics]) -> None:
        """Send the metrics of epochs; a repeated epoch stands last, and counts."""
        run = self._trial(key)
        for one in epochs:
            run.log({"epoch": one.epoch, **metrics_of(one)})

    def pause(self, key: str) -> None:
        """End the run of a trial, which is continued if the trial is."""
        if key in self._running:
            self._running.pop(key).finish()

    def end(self, key: str, record: TrialRecord) -> None:
        """Send the outcome of a trial, and its final figures, and end its run."""
        run = self._trial(key, record)
        run.summary.update(
            {**result_of(record), "outcome": str(record.outcome), "reason": record.reason}
        )
        run.finish(exit_code=1 if record.outcome.is_failure else 0)
        del self._running[key]

    def close(self, key: str, ending: str, files: Sequence[Path]) -> None:
        """Send the summary and the pictures as an artefact, and end the run of the search."""
        run = self._running[key]
        run.summary["ending"] = ending
        artifact = wandb.Artifact(f"summary-{key}", type="summary")
        for path in files:
            artifact.add_file(str(path), str(path.relative_to(self._run.folder)))
        run.log_artifact(artifact)
        for one in list(self._running.values()):
            one.finish()
        self._running.clear()

    def _trial(self, key: str, record: TrialRecord | None = None) -> Any:
        """Return the running W&B run of a trial; one of an earlier session is continued."""
        if key not in self._running:
            number = key.rpartition("-")[2]
            config = dict(record.config) if record else {}
            run = self._init(key, f"trial {number}", "trial", config, "")
            run.define_metric("*", step_metric="epoch")
            self._running[key] = run
        return self._running[key]

    def _init(self, key: str, name: str, kind: str, config: dict[str, Any], notes: str) -> Any:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", "tunecnn"),
            group=self._run.name,
            id=key,
            name=name,
            job_type=kind,
            config=config,
            notes=notes,
            resume="allow",
            reinit="create_new",
            dir=str(self._run.folder / "trackers"),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
