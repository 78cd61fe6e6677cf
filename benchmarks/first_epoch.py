"""Training loss and accuracy of the first epoch, as they are and as Keras printed them.

    python -m benchmarks.first_epoch mnist --model proposed --seeds 5
    python -m benchmarks.first_epoch imagefolder:cifar10-jpeg --model proposed --seeds 5

The published curves were read off a notebook's progress bar. That of earlier versions of Keras
3 showed the mean over the batches of metrics that are means themselves, from the first batch to
each one (keras-team/keras, pull requests 21331 and 23030), so the first batches counted several
times. Here tunecnn trains for one epoch by the `published` recipe, and gives both: a line of JSON
per seed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
from torch import nn

from tunecnn import make_config
from tunecnn.data.images import TrialData
from tunecnn.data.loading import load_dataset
from tunecnn.data.registry import dataset_info
from tunecnn.data.splits import Split
from tunecnn.models.designs import DESIGNS
from tunecnn.trial.training import Training


def first_epoch(architecture: str, published: str, data: TrialData, seed: int) -> dict[str, float]:
    """Train for one epoch.

    Args:
        architecture: published network.
        published: data set whose published protocol is followed.
        data: images.
        seed: seed of the weights, the order and the dropout.
    """
    training = Training(make_config("published", architecture, published, seed=seed), data)
    step, batch_size = training._step, training.config.batch_size
    sums: list[tuple[float, float]] = []  # of loss and hits, before each batch

    def before_a_batch(module: nn.Module, *_: object) -> None:
        if module.training:
            sums.append((step.loss.item(), step.hits.item()))

    training.model.register_forward_pre_hook(before_a_batch)
    metrics = training.run_epoch()
    after = np.array([*sums[1:], (step.loss.item(), step.hits.item())])
    images = np.minimum(np.arange(1, len(after) + 1) * batch_size, len(data.train))
    means = after / images[:, None]  # from the first batch to each one
    loss, accuracy = np.vstack([means, means[-1:]]).mean(axis=0)  # the end of the epoch adds one
    figures = {
        "loss": metrics.train_loss,
        "accuracy": metrics.train_accuracy,
        "loss_as_printed": loss,
        "accuracy_as_printed": accuracy,
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--model", default="proposed", choices=tuple(DESIGNS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-dir")
    given = parser.parse_args()
    published = "mnist" if given.dataset == "mnist" else "cifar10"
    split = Split(validation=dataset_info(published).validation)
    data = load_dataset(given.dataset, split, data_dir=given.data_dir).trial_data
    data = replace(data, validation=data.validation.take(np.arange(100)))  # no part of this
    for seed in range(given.seeds):
        figures = first_epoch(given.model, published, data, seed)
        print(
            json.dumps(
                {"dataset": published, "architecture": given.model, "seed": seed, **figures}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
