"""What a trial costs the driver as a search grows: no training, ten reports a trial.

    python -m benchmarks.growth [TRIALS:SLOTS ...]

For each number of trials (100, 1,000 and 10,000 with 2 slots; 1,000 with 64 and with 256) a study
is filled through the same `Study` that a search uses: TPE, successive halving, five parameters, a
journal on disk. Each is filled by a process of its own. The table has the milliseconds a trial of
each step, mean over the last hundred trials (over all of them for the total), then what the whole
journal costs to read and to summarize.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.results import keep
from tunecnn import load_run
from tunecnn.data.sheet import DataSheet
from tunecnn.files import sha256
from tunecnn.models.counting import CostCounter
from tunecnn.process import collect_garbage_seldom
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import DatasetRecord, EngineRecord, RunInfo, SearchJob, Session, now
from tunecnn.space.space import SearchSpace
from tunecnn.study.study import Study
from tunecnn.summary.render import write_summary
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

T = TypeVar("T")

EPOCHS = 10
SPACE = """
name: growth
dataset: digits
epochs: 10
trials: {trials}
parameters:
  net.dropout_block1: {{float: [0.0, 0.5], step: 0.05}}
  net.dropout_block3: {{float: [0.0, 0.7], step: 0.05}}
  net.dropout_dense: {{float: [0.0, 0.7], step: 0.05}}
  net.width: {{choice: [0.5, 0.75, 1.0, 1.5, 2.0], role: scientific}}
  learning_rate: {{float: [5e-4, 1e-2], log: true, role: nuisance}}
sampler: tpe
pruner: {{halving: {{min_epochs: 1, factor: 3}}}}
"""
DATASET = DatasetRecord(
    name="digits",
    fingerprint="0",
    split_fingerprint="0",
    train=1149,
    validation=288,
    test=360,
    input_shape=(1, 8, 8),
    classes=tuple("0123456789"),
    sheet=DataSheet(
        {"train": (1140, *[1] * 9), "validation": (279, *[1] * 9), "test": (360, *[0] * 9)}
    ),
)
SESSION = Session(
    command="",
    started=now(),
    ended=now(),
    ending="done",
    versions={},
    source="",
    engine=EngineRecord(engine="local", nodes=(), threads=1, slots=1),
)


class Clock:
    """Adds up the time of each step, and of how many trials."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, step: str, action: Callable[[], T]) -> T:
        """Do something, and add its time to a step."""
        began = time.perf_counter()
        result = action()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - began
        return result


def fill(study: Study, slots: int, last: int) -> dict[str, float]:
    """Run a search of simulated trials; return the milliseconds a trial over the last ones."""
    numbers = random.Random(0)
    running: list[tuple[int, float, int]] = []
    clock, begun = Clock(), 0
    while True:
        while len(running) < slots:
            trial = clock.timed("ask", study.next_trial)
            if trial is None:
                break
            begun += 1
            if begun == study.space.trials - last:
                clock = Clock()
            quality = 0.9 - abs(trial.config.net["dropout_dense"] - 0.2) + numbers.gauss(0, 0.01)
            running.append((trial.number, quality, 0))
        if not running:
            return {step: 1e3 * spent / last for step, spent in clock.seconds.items()}
        number, quality, epoch = running.pop(0)
        metrics = EpochMetrics(epoch + 1, 0.5, 0.5, 0.5, quality * (1 - 0.5 ** (epoch + 1)), 1.0)
        is_last = epoch + 1 == EPOCHS
        pruned = clock.timed(
            "report",
            lambda: study.report(number, metrics, is_last=is_last),  # noqa: B023
        )
        if not pruned and is_last:
            outcome = TrialEnd(Outcome.COMPLETE, kept_epoch=EPOCHS)
            clock.timed("tell", lambda: study.finish(number, outcome))  # noqa: B023
        elif not pruned:
            running.append((number, quality, epoch + 1))


def measure(trials: int, slots: int) -> dict[str, float]:
    """Fill a study, and measure what it costs."""
    collect_garbage_seldom()  # as the command does
    with tempfile.TemporaryDirectory() as name:
        text = SPACE.format(trials=trials)
        info = RunInfo(
            id="growth",
            space="growth",
            space_sha256=sha256(text),
            changes={},
            data_dir=None,
            dataset=DATASET,
            processor="",
            job=SearchJob(),
            sessions=(SESSION,),
        )
        folder = RunFolder.create(Path(name, "run"), text, info)
        costs = CostCounter(None, (1, 8, 8), 10)
        study = Study(folder.path, SearchSpace.from_text(text), costs, info.id)
        began = time.perf_counter()
        steps = fill(study, slots, min(100, trials // 2))
        whole = time.perf_counter() - began
        row: dict[str, float] = {"trials": trials, "slots": slots}
        row |= {f"{step}, ms": round(steps[step], 1) for step in ("ask", "report", "tell")}
        row["their sum, ms"] = round(sum(steps.values()), 1)
        row["all trials, ms each"] = round(1e3 * whole / trials, 1)
        journal = (folder.path / "study.journal").stat().st_size
        row["journal, kB a trial"] = round(journal / trials / 1e3, 1)
        row["driver, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        began = time.perf_counter()
        run = load_run(folder.path)
        assert len(run.trials) >= trials
        assert len(run.epochs)
        row["load_run, s"] = round(time.perf_counter() - began, 1)
        began = time.perf_counter()
        write_summary(run)
        row["summarize, s"] = round(time.perf_counter() - began, 1)
        return row


def main(sizes: list[str]) -> None:
    rows = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.growth", "one", *size.split(":")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    keep("growth", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(measure(*map(int, sys.argv[2:]))))
    else:
        main(sys.argv[1:] or ["100:2", "1000:2", "10000:2", "1000:64", "1000:256"])
