"""Forty trials of seconds on digits: what a trial costs that is not training.

    python -m benchmarks.short_trials [--rounds N]

The proposed network, 1,149 images of 8x8, five epochs, no trial stopped early, two at once:
tunecnn beside Ray Tune, in turn. Of the time of both slots, from the end of the second trial to
that of the last, what the trials that ended in it do not account for with training and validation
is overhead: start, report, checkpoint, ask, tell. The start of the process is in the last column
only.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.contenders import Workload
from benchmarks.results import Watched, keep, middle
from benchmarks.searching import (
    EQUAL,
    in_turn,
    run_contender,
    run_tunecnn,
    save_images,
    space_text,
)

TRIALS, EPOCHS, SLOTS = 40, 5, 2
TRAIN, VALIDATION = 1149, 0.2


def overhead(seen: Watched) -> float:
    """Return the slot-seconds a trial that are not training, between first and last end."""
    ends = [event for event in seen.events if event["event"] == "trial"]
    window = ends[-1]["at"] - ends[SLOTS - 1]["at"]
    trained = sum(event["seconds"] for event in ends[SLOTS:])
    return (SLOTS * window - trained) / (len(ends) - SLOTS)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images.npz")
        save_images(images, "digits", None, TRAIN, VALIDATION)
        work = Workload(str(images), TRIALS, EPOCHS)
        text = space_text(work, "digits", TRAIN, VALIDATION, EQUAL)

        def ours(_: int) -> Watched:
            seen, run = run_tunecnn(text, None)
            trained = dict(zip(run.trials["trial"], run.trials["seconds"], strict=True))
            for event in seen.events:
                if event["event"] == "trial":
                    event["seconds"] = trained[event["trial"]]
            return seen

        ways = {"tunecnn": ours, "Ray Tune": lambda _: run_contender(work, "tune")}
        seen = in_turn(ways, rounds)
    rows = [
        {
            "way": way,
            "overhead a trial, s": middle([overhead(one) for one in runs]),
            "training a trial, s": middle(
                [
                    statistics.mean(e["seconds"] for e in one.events if e["event"] == "trial")
                    for one in runs
                ]
            ),
            "times tunecnn": round(
                statistics.median(
                    overhead(one) / overhead(own)
                    for one, own in zip(runs, seen["tunecnn"], strict=True)
                ),
                1,
            ),
            "whole search, s": middle([one.seconds for one in runs]),
        }
        for way, runs in seen.items()
    ]
    keep("short_trials", rows, rounds=rounds, trials=TRIALS, epochs=EPOCHS)


if __name__ == "__main__":
    main()
