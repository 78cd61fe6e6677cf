"""The same search as people would write it without tunecnn.

    python -m benchmarks.contenders WAY WORKLOAD.json

WAY is one of

- `tune`: Ray Tune as its PyTorch tutorial does it: a function trainable, a `DataLoader` with
  `ToTensor` and `Normalize`, `OptunaSearch`, a checkpoint an epoch;
- `optuna`: Optuna's `study.optimize(n_jobs=2)` around the same loop, in threads;
- `loops`: no search at all, two tuned loops of the network side by side, each with half of the
  trials: the ceiling of what two cores can do with this network.

Each prints a line of JSON for each epoch that the search hears of and for each trial that ends.
Networks, optimizer, batches and images are equal; torch has one thread a trial. Nothing of
tunecnn is used. The loader works without processes of its own, which two cores have no room for.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

PARAMETERS = {
    "block1": (0.0, 0.5),
    "block2": (0.0, 0.5),
    "block3": (0.0, 0.7),
    "dense": (0.0, 0.7),
    "learning_rate": (5e-4, 2e-3),
}
"""What is searched: dropouts evenly, the learning rate by its logarithm."""

KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}


@dataclass(frozen=True)
class Workload:
    """A search to be done.

    Attributes:
        data: file of the images: `train`, `validation` as uint8 (n, h, w, c), and their labels.
        trials: to be trained.
        epochs: of each.
        batch_size: images a step.
        seed: of the sampler.
        asha: whether Ray Tune and Optuna stop weak trials, as their tutorials do.
    """

    data: str
    trials: int
    epochs: int
    batch_size: int = 64
    seed: int = 0
    asha: bool = False

    def save(self, path: Path) -> Path:
        """Write it for another process."""
        path.write_text(json.dumps(asdict(self)))
        return path


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def textbook_network(channels: int, features: int, dropouts: Mapping[str, float]) -> Any:
    """Return the proposed network as a tutorial would write it."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(dropouts["block1"]),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(dropouts["block2"]),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(dropouts["block3"]), nn.Flatten(),
        nn.Linear(features, 512), nn.ReLU(), nn.Dropout(dropouts["dense"]), nn.Linear(512, 10),
    )  # fmt: skip


def tuned_network(channels: int, features: int, dropouts: Mapping[str, float]) -> Any:
    """Return it as one who knows torch on a CPU would: channels last, pool before ReLU."""
    import torch
    from torch import nn

    relu = nn.ReLU(inplace=True)
    network = nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), relu,
        nn.Conv2d(32, 32, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(dropouts["block1"]),
        nn.Conv2d(32, 64, 3, padding=1), relu,
        nn.Conv2d(64, 64, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(dropouts["block2"]),
        nn.Conv2d(64, 128, 3, padding=1), nn.MaxPool2d(2), relu, nn.Dropout(dropouts["block3"]),
        nn.Flatten(), nn.Linear(features, 512), relu, nn.Dropout(dropouts["dense"]),
        nn.Linear(512, 10),
    )  # fmt: skip
    return network.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to: validation accuracy, and seconds of training and validation."""

    value: float
    seconds: float
    model: Any
    optimizer: Any


def textbook(work: Workload, config: Mapping[str, float]) -> Iterator[Epoch]:
    """Train a trial as a tutorial does."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    arrays = np.load(work.data)
    channels = arrays["train"].shape[-1]
    transform = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * channels, (0.5,) * channels),
        ]
    )

    class Pictures(Dataset[Any]):
        """As torchvision's own data sets: a picture is made and transformed when asked for."""

        def __init__(self, part: str) -> None:
            self.pixels, self.labels = arrays[part], arrays[f"{part}_labels"]

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            pixels = self.pixels[index]
            image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            return transform(image), int(self.labels[index])

    train = DataLoader(Pictures("train"), batch_size=work.batch_size, shuffle=True)
    validation = DataLoader(Pictures("validation"), batch_size=work.batch_size)
    model = textbook_network(channels, _features(arrays["train"].shape), config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"])
    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(work.epochs):
        began = time.perf_counter()
        model.train()
        running_loss = 0.0
        for images, labels in train:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        model.eval()
        hits = total = 0
        with torch.no_grad():
            for images, labels in validation:
                hits += int((model(images).argmax(1) == labels).sum().item())
                total += len(labels)
        yield Epoch(hits / total, time.perf_counter() - began, model, optimizer)


def tuned(work: Workload, config: Mapping[str, float]) -> Iterator[Epoch]:
    """Train a trial by a loop that was tuned by hand: scaled images in memory, a fused step."""
    import torch
    from torch.nn.functional import cross_entropy

    arrays = np.load(work.data)

    def images(part: str) -> torch.Tensor:
        pixels = torch.from_numpy(arrays[part]).float().div_(127.5).sub_(1)
        return pixels.permute(0, 3, 1, 2)  # channels last in memory

    train, labels = images("train"), torch.from_numpy(arrays["train_labels"])
    validation, right = images("validation"), torch.from_numpy(arrays["validation_labels"])
    model = tuned_network(train.shape[1], _features(arrays["train"].shape), config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["learning_rate"], fused=True)
    for _ in range(work.epochs):
        began = time.perf_counter()
        model.train()
        for chosen in torch.randperm(len(labels)).split(work.batch_size):
            loss = cross_entropy(model(train[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            found = torch.cat([model(part).argmax(1) for part in validation.split(500)])
        value = (found == right).float().mean().item()
        yield Epoch(value, time.perf_counter() - began, model, optimizer)


def search_tune(work: Workload) -> None:
    """Search with Ray Tune."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, float]) -> None:
        import torch

        for epoch in textbook(work, config):
            with tempfile.TemporaryDirectory() as folder:
                state = (epoch.model.state_dict(), epoch.optimizer.state_dict())
                torch.save(state, Path(folder, "checkpoint.pt"))
                tune.report(
                    {"accuracy": epoch.value, "training": epoch.seconds},
                    checkpoint=tune.Checkpoint.from_directory(folder),
                )

    class Listener(tune.Callback):
        """Prints what Tune hears of."""

        def __init__(self) -> None:
            self.seconds: dict[str, float] = {}

        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
        ) -> None:
            spent = self.seconds.get(trial.trial_id, 0.0) + result["training"]
            self.seconds[trial.trial_id] = spent
            say(event="epoch", value=result["accuracy"])

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            say(
                event="trial",
                value=trial.last_result["accuracy"],
                seconds=self.seconds[trial.trial_id],
            )

    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {
        name: (tune.loguniform if name == "learning_rate" else tune.uniform)(*bounds)
        for name, bounds in PARAMETERS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=work.trials,
                search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=work.seed)),
                scheduler=ASHAScheduler(max_t=work.epochs) if work.asha else None,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[Listener()]),
        ).fit()


def search_optuna(work: Workload) -> None:
    """Search with Optuna in two threads."""
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)

    def objective(trial: optuna.Trial) -> float:
        config = {
            name: trial.suggest_float(name, *bounds, log=name == "learning_rate")
            for name, bounds in PARAMETERS.items()
        }
        seconds = value = 0.0
        for number, epoch in enumerate(textbook(work, config), start=1):
            seconds, value = seconds + epoch.seconds, epoch.value
            say(event="epoch", value=value)
            trial.report(value, number)
            if work.asha and trial.should_prune():
                say(event="trial", value=value, seconds=seconds)
                raise optuna.TrialPruned
        say(event="trial", value=value, seconds=seconds)
        return value

    sampler = optuna.samplers.TPESampler(seed=work.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=work.trials, n_jobs=2)


def run_loops(path: Path) -> None:
    """Run two tuned loops side by side."""
    command = [sys.executable, "-m", "benchmarks.contenders", "loop", str(path)]
    pair = [subprocess.Popen(command, env={**os.environ, **KEEP_MEMORY}) for _ in range(2)]
    if any([process.wait() for process in pair]):
        raise SystemExit(1)


def run_loop(work: Workload) -> None:
    """Train half of the trials, one after the other, with random values."""
    import torch

    torch.set_num_threads(1)
    numbers = random.Random(os.getpid())
    for _ in range(work.trials // 2):
        config = {name: numbers.uniform(*bounds) for name, bounds in PARAMETERS.items()}
        epochs = list(tuned(work, config))
        say(event="trial", value=epochs[-1].value, seconds=sum(e.seconds for e in epochs))


def _features(shape: tuple[int, ...]) -> int:
    return int(128 * (shape[1] // 8) * (shape[2] // 8))


if __name__ == "__main__":
    way, file = sys.argv[1], Path(sys.argv[2])
    if way == "loops":
        run_loops(file)
    else:
        ways = {"tune": search_tune, "optuna": search_optuna, "loop": run_loop}
        ways[way](Workload(**json.loads(file.read_text())))
