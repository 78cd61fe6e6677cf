"""What a trial costs the driver as a search grows: no training, ten reports a trial.

    python benchmarks/growth.py [TRIALS ...]

For each number of trials (100, 1,000 and 10,000) a study is filled through the same `Study` that a
search uses: TPE, successive halving, five parameters, a journal on disk. The table has the median
milliseconds a trial of each step over the last hundred trials, then what the whole journal costs
to read and to summarize.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tunecnn import load_run
from tunecnn.metrics import EpochMetrics, Outcome
from tunecnn.render import write_summary
from tunecnn.run_folder import RunFolder, now
from tunecnn.space import SearchSpace
from tunecnn.study import Study

T = TypeVar("T")

EPOCHS = 10
SPACE = """
name: growth
dataset: digits
epochs: 10
trials: {trials}
parameters:
  dropout.block1: {{float: [0.0, 0.5], step: 0.05}}
  dropout.block3: {{float: [0.0, 0.7], step: 0.05}}
  dropout.dense: {{float: [0.0, 0.7], step: 0.05}}
  width: {{choice: [0.5, 0.75, 1.0, 1.5, 2.0], role: scientific}}
  learning_rate: {{float: [5e-4, 1e-2], log: true, role: nuisance}}
sampler: tpe
pruner: {{halving: {{min_epochs: 1, factor: 3}}}}
"""
INFO: dict[str, Any] = {
    "schema": 1, "space": "growth", "overrides": {}, "data_dir": None, "processor": "",
    "dataset": {"name": "digits", "content": "0", "division": "0", "train": 1149,
                "validation": 288, "test": 360, "input_shape": [1, 8, 8],
                "classes": list("0123456789")},
    "job": {"kind": "search"}, "test_looks": [],
    "sessions": [{"command": "", "started": now(), "ended": now(), "ending": "done",
                  "where": {"engine": "local", "nodes": [], "threads": 1, "slots": 1},
                  "versions": {}}],
}  # fmt: skip


class Clock:
    """Adds up the time of each step of a trial."""

    def __init__(self) -> None:
        self.trials: list[dict[str, float]] = []

    def timed(self, step: str, action: Callable[[], T]) -> T:
        """Do something, and add its time to a step of the present trial."""
        began = time.perf_counter()
        result = action()
        spent = time.perf_counter() - began
        self.trials[-1][step] = self.trials[-1].get(step, 0.0) + spent
        return result

    def median(self, step: str) -> float:
        """Return the median milliseconds a trial over the last hundred."""
        return 1e3 * statistics.median(trial.get(step, 0.0) for trial in self.trials[-100:])


def fill(study: Study, clock: Clock, slots: int) -> None:
    """Run a search of simulated trials, so many at once, to its end."""
    numbers = random.Random(0)
    running: list[tuple[int, float, int]] = []
    while True:
        clock.trials.append({})
        while len(running) < slots:
            trial = clock.timed("ask", study.next_trial)
            if trial is None:
                break
            quality = 0.9 - abs(trial.config.dropout_dense - 0.2) + numbers.gauss(0, 0.01)
            running.append((trial.number, quality, 0))
        if not running:
            return
        number, quality, epoch = running.pop(0)
        metrics = EpochMetrics(epoch + 1, 0.5, 0.5, 0.5, quality * (1 - 0.5 ** (epoch + 1)), 1.0)
        is_last = epoch + 1 == EPOCHS
        pruned = clock.timed(
            "report",
            lambda: study.report(number, metrics, is_last=is_last),  # noqa: B023
        )
        if not pruned and is_last:
            outcome = Outcome("complete", kept_epoch=EPOCHS)
            clock.timed("tell", lambda: study.finish(number, outcome))  # noqa: B023
        elif not pruned:
            running.append((number, quality, epoch + 1))


def measure(trials: int, slots: int) -> dict[str, float]:
    """Fill a study, and measure what it costs."""
    with tempfile.TemporaryDirectory() as name:
        text = SPACE.format(trials=trials)
        folder = RunFolder.create(Path(name, "run"), text, INFO)
        study = Study(folder.path, SearchSpace.from_text(text), (1, 8, 8), 10)
        clock = Clock()
        began = time.perf_counter()
        fill(study, clock, slots)
        whole = time.perf_counter() - began
        steps = len(clock.trials) / trials
        row: dict[str, float] = {"trials": trials, "slots": slots}
        for step in ("ask", "report", "tell"):
            last = [trial for trial in clock.trials if step in trial][-100:]
            row[f"{step}_ms"] = 1e3 * statistics.median(trial[step] for trial in last)
        row["reports_a_trial"] = steps
        row["all_ms_a_trial"] = 1e3 * whole / trials
        row["journal_kb_a_trial"] = (folder.path / "study.journal").stat().st_size / trials / 1e3
        row["driver_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        began = time.perf_counter()
        run = load_run(folder.path)
        assert len(run.trials) >= trials
        assert len(run.epochs)
        row["load_run_s"] = time.perf_counter() - began
        began = time.perf_counter()
        write_summary(run)
        row["summarize_s"] = time.perf_counter() - began
        return {key: round(value, 3) for key, value in row.items()}


if __name__ == "__main__":
    for count in map(int, sys.argv[1:] or (100, 1_000, 10_000)):
        print(json.dumps(measure(count, 2)), flush=True)
