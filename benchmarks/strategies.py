"""Ways to search at equal device-seconds, replayed from a table of real trainings.

    tunecnn search --space benchmarks/strategies.yaml --runs-dir runs --name table
    python -m benchmarks.strategies runs/table

The table has every configuration of a grid, trained twice. A search is replayed through the same
`Study` that a real one uses: two slots, each epoch taking the seconds that it took. TPE with
halving searches 40 trials; random search without a pruner gets the device-seconds that this took.
It is done with ten seeds, so the differences are paired. The winner of a search is judged twice:
by the value with which it won, and by the other training of the same configuration, which the
search did not see.
"""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tunecnn import load_run
from tunecnn.analysis.intervals import mean_interval
from tunecnn.models.counting import CostCounter
from tunecnn.space.space import SearchSpace
from tunecnn.study.study import Study
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

SEEDS, TRIALS, SLOTS = 10, 40, 2

SPACE = """
dataset: digits
epochs: 15
parameters:
  learning_rate: {float: [1e-4, 3e-2], log: true, role: nuisance}
  net.width: {choice: [0.25, 0.5, 1.0]}
  net.dropout_block3: {float: [0.0, 0.7], step: 0.35}
  net.dropout_dense: {float: [0.0, 0.4], step: 0.4}
  validation: 0.4
"""
WAYS = {
    "tpe, halving": "sampler: tpe\npruner: halving\n",
    "tpe": "sampler: tpe\n",
    "random, halving": "sampler: random\npruner: halving\n",
    "random": "sampler: random\n",
}
Values = tuple[float, ...]
Table = dict[tuple[Values, int], list[EpochMetrics]]


@dataclass
class Replay:
    """What a replayed search reached: its winner, as it won and trained again, and its cost."""

    best: float = 0.0
    again: float = 0.0
    device_seconds: float = 0.0
    trials: int = 0
    complete: int = 0


def read_table(path: str) -> Table:
    """Read the epochs of each configuration and seed."""
    run = load_run(path)
    names = list(run.space.searched_settings)
    return {
        (tuple(record.values[name] for name in names), record.values["seed"]): list(record.epochs)
        for record in run.complete
    }


def nearest(table: Table, config: Values) -> Values:
    """Return the configuration of the table that is next to one; learning rates by ratio."""
    (rate, *others) = config
    rates = {values[0] for values, _ in table}
    best = min(rates, key=lambda known: abs(math.log(known / rate)))
    return best, *others


def replay(table: Table, source: str, seed: int, trials: int, budget: float) -> Replay:
    """Search the table until so many trials, or device-seconds, are used up."""
    space = SearchSpace.from_text(SPACE + WAYS[source]).override(trials=trials, seed=seed)
    result = Replay()
    tie = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), space, CostCounter(None, (1, 8, 8), 10))
        slots: list[tuple[float, int, int, Values, int]] = []  # when the next epoch ends, ...

        def begin(now: float) -> None:
            trial = study.next_trial()
            if trial is None:
                return
            values = study.record(trial.number).values
            key = nearest(table, tuple(values[name] for name in space.searched))
            first = table[key, trial.number % 2][0].seconds
            heapq.heappush(slots, (now + first, next(tie), trial.number, key, 0))

        for _ in range(SLOTS):
            begin(0.0)
        while slots:
            now, _, number, key, index = heapq.heappop(slots)
            if SLOTS * now > budget:
                result.device_seconds = budget
                break
            result.device_seconds = SLOTS * now
            epochs = table[key, number % 2]
            is_last = index + 1 == len(epochs)
            if not study.report(number, epochs[index], is_last=is_last):
                if not is_last:
                    later = now + epochs[index + 1].seconds
                    heapq.heappush(slots, (later, next(tie), number, key, index + 1))
                    continue
                study.finish(number, TrialEnd(Outcome.COMPLETE, kept_epoch=len(epochs)))
                result.complete += 1
                if epochs[-1].val_accuracy > result.best:
                    result.best = epochs[-1].val_accuracy
                    result.again = table[key, 1 - number % 2][-1].val_accuracy
            begin(now)
        result.trials = study.started
    return result


def main(path: str) -> None:
    """Replay all sources with ten seeds, and print each beside the first."""
    table = read_table(path)
    first = [replay(table, "tpe, halving", seed, TRIALS, math.inf) for seed in range(SEEDS)]
    results = {"tpe, halving": first}
    for source in list(WAYS)[1:]:
        results[source] = [
            replay(table, source, seed, 10 * TRIALS, first[seed].device_seconds)
            for seed in range(SEEDS)
        ]
    ends = [
        statistics.mean(table[key, seed][-1].val_accuracy for seed in (0, 1)) for key, _ in table
    ]
    print(f"{len(table)} trainings; the best mean of two seeds is {max(ends):.2%}\n")
    print(
        "| way | device-s | trials | to the end | best | the winner again | first - way, best "
        "| first - way, again |\n|---|---:|---:|---:|---:|---:|---|---|"
    )
    for source, replays in results.items():
        differences = [
            [
                getattr(one, what) - getattr(other, what)
                for one, other in zip(first, replays, strict=True)
            ]
            for what in ("best", "again")
        ]
        means = [
            statistics.mean(getattr(one, what) for one in replays)
            for what in ("device_seconds", "trials", "complete", "best", "again")
        ]
        words = [
            "-"
            if source == "tpe, halving"
            else "{:+.2f} ({:+.2f} to {:+.2f})".format(
                100 * statistics.mean(pairs), *(100 * end for end in mean_interval(pairs))
            )
            for pairs in differences
        ]
        print(
            "| {} | {:.0f} | {:.1f} | {:.1f} | {:.2%} | {:.2%} |".format(source, *means),
            " | ".join(words),
            "|",
        )


if __name__ == "__main__":
    main(sys.argv[1])
