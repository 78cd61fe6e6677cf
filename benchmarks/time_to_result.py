"""How long until a search first holds a configuration that validates above a target.

    python -m benchmarks.time_to_result [--data-dir DIR] [--target 0.97] [--seeds N]

2,500 training and 2,000 validation images of MNIST. Ray Tune and Optuna search as their tutorials
do: AdamW at a learning rate that is searched, four dropouts, at most ten epochs, weak trials
stopped by ASHA and by the median. tunecnn searches `proposed.yaml` as it is shipped, with its
`fast` recipe, for four epochs a trial. The clock runs from the start of the process to the first
epoch (of tunecnn: to the end of the first trial) at or above the target; a search that does not
get there counts with its whole time. Interval: 95 %, of the mean ratio over seeds, by Student's t.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contenders import Workload
from benchmarks.results import Watched, keep, middle
from benchmarks.searching import in_turn, run_contender, run_tunecnn, save_images
from tunecnn.analysis.intervals import mean_interval
from tunecnn.space.library import find_space

TRAIN, VALIDATION, TRIALS, EPOCHS, FAST_EPOCHS = 2_500, 2_000 / 60_000, 6, 10, 4
NAMES = {"tune": "Ray Tune, ASHA", "optuna": "Optuna, n_jobs=2, median"}


def is_there(event: Mapping[str, Any], target: float) -> bool:
    """Return whether an event tells of a value at the target."""
    return (event.get("value") or event.get("val_accuracy") or 0.0) >= target


def reached(seen: Watched, target: float) -> float:
    """Return when a value was at the target, or the whole time."""
    times = (float(event["at"]) for event in seen.events if is_there(event, target))
    return next(times, seen.seconds)


def interval(ratios: Sequence[float]) -> str:
    return "{:.2f} to {:.2f}".format(*mean_interval(ratios)) if len(ratios) > 1 else "-"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--target", type=float, default=0.97)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    text = find_space("proposed.yaml").read_text()
    images_of = f"parameters:\n  train_images: {TRAIN}\n  validation: {VALIDATION}\n"
    text = text.replace("parameters:\n", images_of, 1)
    words = ["--dataset", "mnist", "--trials", str(TRIALS), "--epochs", str(FAST_EPOCHS),
             "--until", str(asked.target)]  # fmt: skip

    def ours(seed: int) -> Watched:
        return run_tunecnn(text, asked.data_dir, *words, "--seed", str(seed))[0]

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images.npz")
        save_images(images, "mnist", asked.data_dir, TRAIN, VALIDATION)

        def other(way: str, seed: int) -> Watched:
            work = Workload(str(images), TRIALS, EPOCHS, seed=seed, asha=True)
            return run_contender(work, way, until=lambda event: is_there(event, asked.target))

        ways = {"tunecnn": ours, **{way: partial(other, way) for way in NAMES}}
        seen = in_turn(ways, asked.seeds)
    times = {way: [reached(one, asked.target) for one in runs] for way, runs in seen.items()}
    rows = []
    for way, spent in times.items():
        ratios = [own / one for own, one in zip(times["tunecnn"], spent, strict=True)]
        there = sum(
            any(is_there(event, asked.target) for event in one.events) for one in seen[way]
        )
        rows.append(
            {
                "way": NAMES.get(way, way),
                "seconds": middle(spent),
                "reached it": f"{there} of {asked.seeds}",
                "tunecnn takes of it": round(sum(ratios) / len(ratios), 2),
                "95 %": interval(ratios),
            }
        )
    keep("time_to_result", rows, target=asked.target, seeds=asked.seeds)


if __name__ == "__main__":
    main()
