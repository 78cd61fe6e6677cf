"""Runs whose trials report what a test says, without any training."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tunecnn import load_run
from tunecnn.data.sheet import DataSheet
from tunecnn.files import sha256
from tunecnn.models.counting import CostCounter
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import (
    CodeRecord,
    DatasetRecord,
    EngineRecord,
    Job,
    NodeRecord,
    RunInfo,
    SearchJob,
    Session,
)
from tunecnn.run.run import Run
from tunecnn.space.space import SearchSpace
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.environment import source_hash
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

SPACE = """
name: scripted
goal: Does the summary say what happened?
dataset: digits
epochs: 4
trials: 6
parameters:
  net.dropout_dense: {float: [0.0, 0.5], step: 0.1}
  net.width: {choice: [0.5, 1.0]}
  batch_size: 32
start: [baseline]
sampler: random
pruner: {halving: {min_epochs: 1, factor: 2}}
"""
NOON = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)


def run_info(
    text: str = SPACE,
    job: Job | None = None,
    dataset: str = "digits",
    input_shape: tuple[int, int, int] = (1, 8, 8),
) -> RunInfo:
    """Content of run.json for a run of a space, with one session of two minutes."""
    session = Session(
        command="tunecnn search --space scripted.yaml",
        started=NOON,
        ended=NOON.replace(minute=2, second=5),
        ending="done",
        engine=EngineRecord(
            engine="ray",
            nodes=(NodeRecord(name="desk", cpus=2),),
            threads=1,
            slots=2,
            cpus_per_trial=1,
            gpus_per_trial=0,
        ),
        versions={"python": "3.11", "tunecnn": "0.2.0"},
        source=source_hash(),
    )
    return RunInfo(
        id="5c71p7ed",
        space="scripted",
        space_sha256=sha256(text),
        changes={},
        data_dir=None,
        dataset=DatasetRecord(
            name=dataset, fingerprint="c0ffee", split_fingerprint="d1v1de", train=1149,
            validation=288, test=360, input_shape=input_shape, classes=tuple("0123456789"),
            sheet=DataSheet({"train": evenly(1149), "validation": evenly(288), "test": evenly(360)}),
        ),
        processor="abacus",
        job=job or SearchJob(),
        sessions=(session,),
    )  # fmt: skip


def evenly(images: int) -> tuple[int, ...]:
    """The numbers of images of ten classes that are as equal as can be."""
    return tuple(images // 10 + (label < images % 10) for label in range(10))


def metrics(epoch: int, val_accuracy: float, loss: float = 0.5) -> EpochMetrics:
    return EpochMetrics(epoch, loss, 0.5, 1.0 - val_accuracy, val_accuracy, 1.5)


def finish(study: Study, trial: TrialTask, accuracy: float, epochs: int = 4) -> bool:
    """Report a whole trial; return whether it was pruned."""
    for epoch in range(1, epochs + 1):
        if study.report(trial.number, metrics(epoch, accuracy)):
            return True
    study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=epochs))
    return False


def run_out(study: Study, epochs: int = 4) -> None:
    """Train all trials that are left."""
    while (trial := study.next_trial()) is not None:
        finish(study, trial, min(1.0, 0.5 + trial.number / 100), epochs)


class ScriptedRun:
    """A new run in a folder of its own, and the study in it."""

    def __init__(
        self,
        path: Path,
        text: str = SPACE,
        job: Job | None = None,
        dataset: str = "digits",
        input_shape: tuple[int, int, int] = (1, 8, 8),
        folder: Path | None = None,
    ) -> None:
        info = run_info(text, job, dataset, input_shape)
        code = SearchSpace.from_text(text, folder=folder).network_code() if folder else None
        if code is not None:
            record = CodeRecord(hash=code.hash, files=tuple(code.files), source=str(folder))
            info = info.model_copy(update={"code": record})
        self.folder = RunFolder.create(path, text, info, code)
        self._code = code
        self.path = self.folder.path
        self.space = self.folder.read_space(info)
        self.is_tested = info.is_tested
        self._id, self._input_shape = info.id, input_shape
        self.reopen()

    def reopen(self) -> Study:
        """Open the study again, as a resumed run does."""
        costs = CostCounter(self._code, self._input_shape, 10)
        self.study = Study(self.path, self.space, costs, self._id)
        return self.study

    def train(self, accuracies: Iterable[float]) -> TrialTask:
        """Report the epochs of the next trial until it is pruned, or complete after the last."""
        trial = self.study.next_trial()
        assert trial is not None
        epochs = [metrics(epoch, accuracy) for epoch, accuracy in enumerate(accuracies, 1)]
        for epoch in epochs:
            is_last = epoch.epoch == self.space.epochs
            if self.study.report(trial.number, epoch, is_last=is_last):
                return trial
        if epochs[-1].epoch == self.space.epochs:
            self.study.finish(
                trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=self.space.epochs)
            )
        return trial

    def train_all(self, accuracy: Callable[[TrialTask], float]) -> Run:
        """Train each trial to a constant accuracy, and test it if the run is no search."""
        while (trial := self.study.next_trial()) is not None:
            value = accuracy(trial)
            for epoch in range(1, self.space.epochs + 1):
                is_last = epoch == self.space.epochs
                self.study.report(trial.number, metrics(epoch, value), is_last=is_last)
            self.study.finish(
                trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=self.space.epochs)
            )
            if self.is_tested:
                nothing = np.zeros(360, dtype=np.int64)
                self.evaluate(trial.number, nothing, nothing, value, 1.0)
        return self.load()

    def evaluate(
        self, trial: int, labels: np.ndarray, predicted: np.ndarray, accuracy: float, loss: float
    ) -> None:
        """Record an evaluation on test images."""
        self.folder.write_evaluation(trial, accuracy, loss, labels, predicted)

    def load(self) -> Run:
        return load_run(self.path)


def six_endings(path: Path) -> Path:
    """Make a run whose six trials ended in six ways; return its folder."""
    run = ScriptedRun(path)
    accuracies = {0: 0.90, 1: 0.95, 3: 0.96}
    for number in range(6):
        trial = run.study.next_trial()
        assert trial is not None
        run.study.place(number, "desk", "cpu", "fp32", 1.0)
        if number in accuracies:
            for epoch in range(1, 5):
                value = accuracies[number] - 0.1 / epoch
                assert not run.study.report(number, metrics(epoch, value))
            run.study.finish(number, TrialEnd(Outcome.COMPLETE, kept_epoch=4))
        elif number == 2:
            assert run.study.report(number, metrics(1, 0.1))
        elif number == 4:
            run.study.report(number, metrics(1, 0.97))
            run.study.report(number, metrics(2, 0.1, loss=float("nan")))
            reason = "the loss of epoch 2 is not finite"
            run.study.finish(number, TrialEnd(Outcome.DIVERGED, reason=reason))
        else:
            reason = "ValueError in x.py:1: bad | worse"
            run.study.finish(number, TrialEnd(Outcome.ERROR, reason=reason))
    return run.path


def properties_of(run: Run) -> list[str]:
    """Return the names of the public properties of a run."""
    return [
        name
        for name, value in inspect.getmembers_static(type(run))
        if isinstance(value, property | functools.cached_property) and not name.startswith("_")
    ]
