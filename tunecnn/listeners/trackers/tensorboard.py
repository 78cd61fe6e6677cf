"""TensorBoard: event files in the run's folder, one directory for each trial."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from tunecnn.listeners.trackers.base import TrackedRun, metrics_of, result_of
from tunecnn.study.records import TrialRecord
from tunecnn.trial.messages import EpochMetrics


class TensorBoard:
    """Writes event files that `tensorboard --logdir RUN/tensorboard` shows."""

    def __init__(self) -> None:
        self._writers: dict[str, SummaryWriter] = {}

    def open(self, run: TrackedRun, key: str | None) -> str:
        """Use the same folder again."""
        self._folder = run.folder / "tensorboard"
        with self._writing("search") as writer:
            writer.add_text("goal", run.goal or run.name)
        return key or "tensorboard"

    def begin(self, record: TrialRecord, key: str | None) -> str:
        """Write the config of a trial, as its hyperparameters."""
        key = key or f"trial-{record.number:05d}"
        shown = dict(record.values) or dict(record.config)
        with self._writing(key) as writer:
            for summary in hparams(shown, {"final_val_accuracy": 0.0}):
                writer.file_writer.add_summary(summary)
            writer.add_text("config", "\n".join(f"    {k}: {v}" for k, v in record.config.items()))
        return key

    def log(self, key: str, epochs: Sequence[EpochMetrics]) -> None:
        """Write epochs as scalars."""
        with self._writing(key) as writer:
            for epoch in epochs:
                for name, value in metrics_of(epoch).items():
                    writer.add_scalar(name, value, epoch.epoch)

    def pause(self, key: str) -> None:
        """Close the file, which takes three descriptors and two threads."""
        if key in self._writers:
            self._writers.pop(key).close()

    def end(self, key: str, record: TrialRecord) -> None:
        """Write the outcome of a trial, and its final figures."""
        with self._writing(key) as writer:
            for name, value in result_of(record).items():
                writer.add_scalar(name, value, len(record.epochs))
            words = record.outcome.words + (f": {record.reason}" if record.reason else "")
            writer.add_text("outcome", words)
        self._writers.pop(key).close()

    def close(self, key: str, ending: str, files: Sequence[Path]) -> None:
        """Write the summary as text; TensorBoard keeps no files."""
        with self._writing("search") as writer:
            writer.add_text("ending", ending)
            for path in files:
                if path.suffix in (".md", ".yaml"):
                    writer.add_text(path.name, path.read_text(encoding="utf-8"))
        while self._writers:
            self._writers.popitem()[1].close()

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[SummaryWriter]:
        """Yield the writer of a trial; what was written is on disk at the end."""
        if key not in self._writers:
            folder = self._folder / key
            # Files of one second would have one name, and readers take them in their order.
            number = len(list(folder.glob("events.*"))) if folder.is_dir() else 0
            self._writers[key] = SummaryWriter(str(folder), filename_suffix=f".{number:04d}")
        yield self._writers[key]
        self._writers[key].flush()
