"""Analysis of a reproduction: the published results compared with those of our seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev
from typing import Any

import pandas as pd

from tunecnn.analysis.classes import ClassLine, class_lines
from tunecnn.analysis.intervals import mean_or_none, prediction_interval
from tunecnn.analysis.overview import RunOverview, overview_of
from tunecnn.analysis.published import EXPERIMENTS, Experiment, published_curves
from tunecnn.run.info import ReproductionJob
from tunecnn.run.run import Run
from tunecnn.trial.messages import Outcome
from tunecnn.words import count_in_words

_MOST_EPOCHS = 10
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Compared:
    """One figure as published and as measured.

    Attributes:
        published: published figure, from one run; None if there is none to compare with.
        values: our figures, one per seed.
        most: highest possible value; the lowest is 0.
    """

    published: float | None
    values: tuple[float, ...]
    most: float = 1.0

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None if there are none."""
        return mean_or_none(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Prediction interval of one more run (95 %); None for one seed, or equal ones.

        Some that happen to agree are no certainty.
        """
        if len(self.values) < 2 or max(self.values) - min(self.values) < _ROUNDING:
            return None
        low, high = prediction_interval(self.values)
        return max(low, 0.0), min(high, self.most)

    @property
    def difference(self) -> float | None:
        """Our mean minus the published figure."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published

    @property
    def verdict(self) -> str:
        """In words, whether the published run could be one of ours."""
        if not self.values:
            return "no value yet"
        if self.published is None:
            return "nothing to compare with"
        if self.interval is None:
            return f"{'one seed' if len(self.values) == 1 else 'equal seeds'}, so no verdict"
        low, high = self.interval
        if (low, high) == (0.0, self.most):
            return "too few seeds to tell"
        return "inside" if low <= self.published <= high else "outside"


@dataclass(frozen=True)
class ModelLine:
    """One of the published networks.

    Attributes:
        architecture: name of the architecture.
        params: number of trainable parameters; None before the first trial.
        requested: number of seeds requested.
        complete: number of seeds trained to the end.
        failed: number of seeds whose training diverged or failed; they are left out of all means.
        seconds: mean duration of one training, in seconds; None without a complete one.
        epochs: number of epochs trained and the epoch kept, for each seed, in words.
        test_accuracy: test accuracy of the kept weights.
        test_loss: test loss of the kept weights.
        val_accuracy: validation accuracy at the last epoch that can be compared.
        val_loss: validation loss at the same epoch.
        compared_epoch: last epoch that can be compared; 0 without a complete seed.
        by_epoch: validation accuracy at some epochs.
        classes: precision, recall and F1 of each class; empty before the test.
        note: remark on the published figure.
    """

    architecture: str
    params: int | None
    requested: int
    complete: int
    failed: int
    seconds: float | None
    epochs: str
    test_accuracy: Compared
    test_loss: Compared
    val_accuracy: Compared
    val_loss: Compared
    compared_epoch: int
    by_epoch: dict[int, Compared]
    classes: tuple[ClassLine, ...]
    note: str


@dataclass(frozen=True)
class ReproductionSummary(RunOverview):
    """Summary of a reproduction.

    Attributes:
        published_title: name of the data set of the published results; empty without them.
        full_length: whether it took as many epochs as the published runs; only then are test
            results compared.
        published_epochs: number of epochs of the published runs; None without them.
        epochs: number of epochs requested.
        models: networks that were trained.
        differences: differences from the published runs, one sentence each.
        trained: number of trials that were trained to the end.
        exported: trials whose configs are written to files: all complete ones.
    """

    published_title: str
    full_length: bool
    published_epochs: int | None
    epochs: int
    models: tuple[ModelLine, ...]
    differences: tuple[str, ...]
    trained: int
    exported: tuple[int, ...]

    def table(self, figure: str = "test_accuracy") -> pd.DataFrame:
        """Return published and measured values of every network, for a notebook.

        Args:
            figure: name of the figure: `test_accuracy`, `test_loss`, `val_accuracy` or `val_loss`.

        Returns:
            One row per network: `published`, `mean`, `deviation`, `seeds`, `low`, `high` (limits
            of the prediction interval), `difference`, `verdict`; NaN where there is no value.
        """
        rows = {}
        for model in self.models:
            compared: Compared = getattr(model, figure)
            low, high = compared.interval or (None, None)
            rows[model.architecture] = {
                "published": compared.published,
                "mean": compared.mean,
                "deviation": compared.deviation,
                "seeds": len(compared.values),
                "low": low,
                "high": high,
                "difference": compared.difference,
                "verdict": compared.verdict,
            }
        frame = pd.DataFrame.from_dict(rows, orient="index")
        numbers = frame.columns.drop(["seeds", "verdict"])
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def to_json(self) -> dict[str, Any]:
        """Return the results that a program needs."""
        return {
            "models": {
                model.architecture: {
                    "test_accuracy": list(model.test_accuracy.values),
                    "published": model.test_accuracy.published,
                    "verdict": model.test_accuracy.verdict,
                }
                for model in self.models
            }
        }


def summarize_reproduction(run: Run) -> ReproductionSummary:
    """Compare a reproduction, as it stands, with the published results."""
    against = run.job_as(ReproductionJob).against
    experiment = EXPERIMENTS.get(against or "")
    full = experiment is not None and run.space.epochs == experiment.epochs
    models = tuple(_model(run, name, experiment, full=full) for name in run.space.architectures)
    return ReproductionSummary(
        **overview_of(run, [_sentence(model, experiment, full=full) for model in models]),
        published_title=experiment.title if experiment else "",
        full_length=full,
        published_epochs=experiment.epochs if experiment else None,
        epochs=run.space.epochs,
        models=models,
        differences=tuple(_differences(run, experiment)),
        trained=len(run.complete),
        exported=tuple(record.number for record in run.complete),
    )


def _model(run: Run, name: str, experiment: Experiment | None, *, full: bool) -> ModelLine:
    trials = run.trials[run.trials["architecture"] == name]
    complete = trials[trials["outcome"] == Outcome.COMPLETE]
    evaluations = run.evaluations[run.evaluations["trial"].isin(complete["trial"])]
    ours = run.epochs[run.epochs["trial"].isin(complete["trial"])]
    theirs = published_curves(run.job_as(ReproductionJob).against)
    theirs = theirs[theirs["architecture"] == name]
    last = int(ours.groupby("trial")["epoch"].max().min()) if len(ours) else 0
    if experiment is not None:
        last = min(last, experiment.epochs)

    def at(epoch: int, column: str) -> Compared:
        published = tuple(theirs.loc[theirs["epoch"] == epoch, column])
        values = tuple(ours.loc[ours["epoch"] == epoch, column])
        most = math.inf if column.endswith("loss") else 1.0
        return Compared(published[0] if published else None, values, most)

    result = experiment.results[name] if experiment and full else None
    return ModelLine(
        architecture=name,
        params=int(trials["params"].max()) if trials["params"].notna().any() else None,
        requested=run.space.trials // len(run.space.architectures),
        complete=len(complete),
        failed=sum(Outcome(one).has_ended for one in trials["outcome"]) - len(complete),
        seconds=float(complete["seconds"].mean()) if len(complete) else None,
        epochs=_epochs_in_words(complete),
        test_accuracy=Compared(
            result.test_accuracy if result else None, tuple(evaluations["accuracy"])
        ),
        test_loss=Compared(
            result.test_loss if result else None, tuple(evaluations["loss"]), most=math.inf
        ),
        val_accuracy=at(last, "val_accuracy"),
        val_loss=at(last, "val_loss"),
        compared_epoch=last,
        by_epoch={epoch: at(epoch, "val_accuracy") for epoch in _some_epochs(last)},
        classes=class_lines(run, set(evaluations["trial"])),
        note=experiment.notes.get(name, "") if experiment else "",
    )


def _some_epochs(last: int) -> list[int]:
    """Return all epochs of a short training, else some, at growing distances."""
    if last <= _MOST_EPOCHS:
        return list(range(1, last + 1))
    some = [epoch for epoch in (1, 2, 3, 5, 10, 20, 30, 50, 70, 100) if epoch < last]
    return [*some, last]


def _epochs_in_words(complete: pd.DataFrame) -> str:
    pairs = zip(complete["epochs"].astype(int), complete["kept_epoch"].astype(int), strict=True)
    return "; ".join(
        str(epochs) if kept == epochs else f"{epochs} (kept {kept})" for epochs, kept in pairs
    )


def _sentence(model: ModelLine, experiment: Experiment | None, *, full: bool) -> str:
    """Describe the result of one network in a sentence or two."""
    name = model.architecture
    if model.failed == model.requested:
        trainings = count_in_words(model.requested, "training")
        return f"{name}: none of {trainings} finished."
    if not model.complete:
        return f"{name} has not been trained to its end yet."
    figure, what = model.test_accuracy, "test accuracy"
    if not figure.values or (experiment and not full):
        figure = model.val_accuracy
        what = f"validation accuracy after {count_in_words(model.compared_epoch, 'epoch')}"
    seeds = count_in_words(len(figure.values), "seed")
    text = f"{name}: {figure.mean:.2%} {what}"
    if figure.deviation is not None:
        text += f" (standard deviation {100 * figure.deviation:.2f} points, {seeds})"
    else:
        text += f" ({seeds})"
    if figure.published is not None:
        text += f", published {figure.published:.2%}: "
        if figure.interval is None:
            text += figure.verdict
        else:
            low, high = figure.interval
            text += f"{figure.verdict} ({low:.2%} to {high:.2%} is where one more run would lie)"
    text += "."
    if model.failed:
        text += f" Seeds that failed and are left out: {model.failed} of {model.requested}."
    if model.note and figure.published is not None:
        text += f" But {model.note}."
    return text


def _differences(run: Run, experiment: Experiment | None) -> list[str]:
    """Return the differences from the published runs; there is always at least one."""
    found = ["The published runs used Keras 3, on hardware that the class report does not name."]
    if experiment is None:
        known = " and ".join(f"{one.epochs} on {one.title}" for one in EXPERIMENTS.values())
        found.append(
            f"Nothing was published on {run.info.dataset.name}. The published runs took {known}, "
            f"this run {count_in_words(run.space.epochs, 'epoch')}."
        )
        return found
    found.append(
        "The published training curves are those of Keras's progress bar, which counted the first "
        "batches of an epoch several times: in the first epoch, training loss is too high there "
        "and training accuracy too low."
    )
    dataset = run.info.dataset.name
    if dataset != run.job_as(ReproductionJob).against:
        found.append(
            f"The images are those of {dataset}, not the published files of {experiment.title}: "
            "images that were compressed or rescaled give other results."
        )
        found.append(
            f"The published runs validate on {experiment.split}. {dataset} has no such order, so "
            "its validation images were sampled by class, with a seed."
        )
    if run.space.epochs != experiment.epochs:
        found.append(
            f"The published runs took {experiment.epochs} epochs, this run {run.space.epochs}: it "
            "is compared with the published curve at the same epoch, and its test results are not "
            "compared."
        )
    return found
