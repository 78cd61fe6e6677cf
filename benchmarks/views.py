"""Accuracy of the kept models of runs, by the views of an image whose logits are averaged.

    python -m benchmarks.views runs/recipe-forty-search --part validation
    python -m benchmarks.views runs/recipe-forty-regularized --part test

The models are those that the runs trained; only what they see of each image differs. A line of
JSON per model. Choose by the validation images: what is chosen by test images is not tested by
them any more.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import get_args

from tunecnn import load_run
from tunecnn.data.loading import load_dataset
from tunecnn.trial.config import Views
from tunecnn.workflows.evaluate import scores


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    given = parser.parse_args()
    for run in map(load_run, given.runs):
        space = run.space
        if len(space.data_splits) > 1:
            raise SystemExit(f"{run.name} has several splits of its images")
        data = load_dataset(
            space.dataset, space.data_split, run.info.data_dir, space.image_options
        )
        if data.fingerprint != run.info.dataset.fingerprint:
            raise SystemExit(f"{space.dataset} has other images than {run.name} had")
        images = data.test if given.part == "test" else data.trial_data.validation
        for trial in run.kept:
            model = run.load_model(trial)
            line = {
                "run": run.name,
                "trial": trial,
                "seed": model.config.seed,
                "part": given.part,
                "images": len(images),
            }
            for views in get_args(Views):
                logits = model.with_views(views).logits(images.pixels)
                line[views] = round(scores(logits, images.labels)[0], 4)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
