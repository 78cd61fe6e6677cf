"""From the start of the process to the first training step, and to the first result.

    python -m benchmarks.cold_start [ROUNDS]

A search of digits with the proposed network, on a Ray cluster of its own. Each round is a new
process, which notes the time when it comes by. Ray starts while the images are read. The first
step is the end of the first trial less the seconds of its epochs: before it, the worker has
started, imported torch and got the images.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from benchmarks.results import keep, middle

SPACE = """
name: cold
dataset: digits
epochs: 5
trials: 2
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
sampler: random
"""
STAGES = (
    "modules imported",
    "Ray started and images read",
    "first trial drawn",
    "first step",
    "first result",
)


def child() -> None:
    """Search, and print when what had happened, in seconds from the start of the process."""
    began = psutil.Process().create_time()
    reached: dict[str, float] = {}

    def reach(stage: str, ago: float = 0.0) -> None:
        reached.setdefault(stage, time.time() - began - ago)

    from tunecnn import process
    from tunecnn.run.listener import Listener
    from tunecnn.workflows import search
    from tunecnn.workflows.options import RunOptions
    from tunecnn.workflows.prepare import prepare_text

    process.collect_garbage_seldom()  # as the command does, before it imports all else
    reach("modules imported")

    class Reaching(Listener):
        """Notes the first of each."""

        def on_trial_start(self, task: Any) -> None:
            reach("first trial drawn")

        def on_trial_end(self, record: Any) -> None:
            spent = sum(epoch.seconds for epoch in record.epochs)
            reach("first step", ago=spent)
            reach("first result")

    def after(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            result = function(*args, **named)
            reach(stage)
            return result

        return called

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(search, "_check_input", after(STAGES[1], search._check_input)),
    ):
        options = RunOptions(runs_dir=Path(folder), name="run")
        prepared = prepare_text(SPACE, "space")
        search.search(prepared, options, lambda *_: nullcontext(Reaching()))
    print(json.dumps(reached))


def main(rounds: int = 5) -> None:
    seen: list[dict[str, float]] = []
    for _ in range(rounds):
        command = [sys.executable, "-m", "benchmarks.cold_start", "child"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seen.append(json.loads(done.stdout.splitlines()[-1]))
    rows, before = [], 0.0
    for stage in STAGES:
        at = statistics.median(one[stage] for one in seen)
        rows.append(
            {
                "until": stage,
                "s from the start": middle([one[stage] for one in seen]),
                "s of it": round(at - before, 1),
            }
        )
        before = at
    keep("cold_start", rows, rounds=rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child()
    else:
        main(*map(int, sys.argv[1:]))
