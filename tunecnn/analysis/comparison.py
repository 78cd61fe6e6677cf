"""Searches beside each other: in what they differ, and what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from tunecnn.analysis.confirmation import MainConfirmation, main_confirmation
from tunecnn.analysis.spending import spent_until
from tunecnn.analysis.winner import winner_of
from tunecnn.errors import InputError
from tunecnn.files import whole
from tunecnn.run.info import SearchJob
from tunecnn.run.run import Run
from tunecnn.space.parameters import describe
from tunecnn.space.strategy import strategy_in_words
from tunecnn.trial.messages import Outcome
from tunecnn.words import count_in_words, in_short, in_utf8, seconds_in_words


@dataclass(frozen=True)
class RunLine:
    """One search among those that are compared.

    Attributes:
        name: name of the run.
        complete: number of trials that were trained to the end.
        trials: number of trials that have ended.
        best: accuracy of the best trial on the validation images, in the metric of the search;
            None without one.
        interval: 95 % interval of `best`, corrected for the choice among the trials that are not
            clearly worse; None for balanced accuracy.
        trial: number of the best trial.
        candidate: name of the best candidate of the main confirmation; empty without one.
        confirmed: its mean validation accuracy with new seeds; None if the run has not been
            confirmed.
        confirmed_test: the same on the test images.
        seeds: number of new seeds, those of all splits of the data together.
        splits: number of new splits of the data; 0 if all were trained in that of the search.
        params: number of parameters of the best trial's network.
        seconds: training time of all trials together.
    """

    name: str
    complete: int
    trials: int
    best: float | None
    interval: tuple[float, float] | None
    trial: int | None
    candidate: str
    confirmed: float | None
    confirmed_test: float | None
    seeds: int
    splits: int
    params: int | None
    seconds: float


_DTYPES = {
    "best": "float64",
    "trial": "Int64",
    "confirmed": "float64",
    "confirmed_test": "float64",
    "params": "Int64",
}


@dataclass(frozen=True)
class Comparison:
    """Searches beside each other.

    Attributes:
        lines: the searches, in the order in which they were given.
        differences: value of each run for each setting in which they differ.
        warnings: why accuracies of these runs may not be compared.
    """

    lines: tuple[RunLine, ...]
    differences: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per run: what it found."""
        frame = pd.DataFrame([vars(line) for line in self.lines])
        return frame.astype(_DTYPES).set_index("name")

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{text}</p>" for text in self.warnings)
        return f"{said}{self.frame.to_html()}{self.differences.to_html()}"


def check_comparable(runs: Sequence[Run]) -> None:
    """Check that runs are two searches or more.

    Raises:
        InputError: if there are fewer, a run is given twice, or one is no search.
    """
    if isinstance(runs, Run) or len(runs) < 2:
        raise InputError("give at least two runs to compare")
    for index, run in enumerate(runs):
        run.job_as(SearchJob)
        if whole(run.path) in [whole(other.path) for other in runs[:index]]:
            raise InputError(f"{run.path} is given twice")


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare searches.

    Args:
        runs: two searches or more.

    Raises:
        InputError: if there are fewer, a run is given twice, or one is no search.
    """
    check_comparable(runs)
    names = names_of(runs)
    settings = {name: _settings(run) for name, run in zip(names, runs, strict=True)}
    table = pd.DataFrame(settings)
    differ = table[table.apply(lambda row: len(set(row.fillna("-"))) > 1, axis=1)]
    main = [main_confirmation(run) for run in runs]
    lines = tuple(map(_line, names, runs, main))
    return Comparison(lines, differ.fillna("-"), tuple(_warnings(names, runs, main)))


def best_so_far_by_time(run: Run) -> pd.Series:
    """Return the best accuracy of trials trained to the end, by training time in seconds."""
    complete = run.trials[run.trials["outcome"] == Outcome.COMPLETE]
    seconds = complete["trial"].map(spent_until(run, by_source=False))
    return pd.Series(complete[run.space.metric].to_numpy(), seconds).sort_index().cummax()


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return the names of the runs, with the folder where two have the same."""
    names = [run.name for run in runs]
    return [
        in_utf8(str(run.path)) if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _settings(run: Run) -> dict[str, str]:
    """Return the settings of a search in words, by name."""
    space, info = run.space, run.info
    single = ("goal", "dataset", "architecture", "recipe", "epochs", "trials", "seed",
              "random_baseline")  # fmt: skip
    found = {key: in_short(getattr(space, key)) for key in single}
    found |= {
        key: ", ".join(map(str, getattr(space, key))) or "-"
        for key in ("objectives", "constraints")
    }
    found["sampler"] = strategy_in_words(space.sampler)
    found["pruner"] = strategy_in_words(space.pruner)
    found["budget"] = space.budget.in_words or "-"
    points = [one for one in space.start if one != "baseline"]
    found["start"] = ("baseline" if len(points) < len(space.start) else "no baseline") + (
        f" and {len(points)} start points" if points else ""
    )
    found["splits of a confirmation"] = str(space.splits)
    found |= {name: describe(parameter) for name, parameter in space.parameters.items()}
    found |= {
        key: in_short(value)
        for key, value in vars(space.image_options).items()
        if value is not None
    }
    found["code"] = info.code.hash if info.code else "-"
    found["training images"] = f"{info.dataset.train:,}"
    found["fingerprint"] = info.dataset.fingerprint
    found["split fingerprint"] = info.dataset.split_fingerprint
    if info.sessions:
        versions = info.last_session.versions
        found |= {f"version of {name}": value for name, value in versions.items()}
    return found


def _line(name: str, run: Run, main: MainConfirmation | None) -> RunLine:
    winner = winner_of(run)
    pick = main.summary.pick if main else None
    return RunLine(
        name=name,
        complete=len(run.complete),
        trials=run.ended,
        best=winner.line.accuracy if winner else None,
        interval=winner.interval if winner and run.space.metric == "val_accuracy" else None,
        trial=winner.line.trial if winner else None,
        candidate=pick.name if pick else "",
        confirmed=pick.validation.mean if pick else None,
        confirmed_test=pick.test.mean if pick else None,
        seeds=len(pick.validation.values) if pick else 0,
        splits=len(pick.validation.repeats) if pick and pick.validation.splits else 0,
        params=winner.line.params if winner else None,
        seconds=float(run.trials["seconds"].sum()),
    )


def _warnings(
    names: Sequence[str], runs: Sequence[Run], main: Sequence[MainConfirmation | None]
) -> list[str]:
    first = runs[0]
    found = [
        f"{name} has not ended: {one.ended} of {one.space.trials} trials have"
        for name, run, confirmation in zip(names, runs, main, strict=True)
        for name, one in (
            (name, run),
            *([(confirmation.run.name, confirmation.run)] if confirmation else []),
        )
        if one.state != "done" and not one.has_ended
    ]
    if any(run.info.dataset.fingerprint != first.info.dataset.fingerprint for run in runs):
        found.append("the runs have other images, so their accuracies cannot be compared")
    elif not all(_have_same_validation(run, first) for run in runs):
        found.append(
            "the runs have other validation images, so their accuracies cannot be compared"
        )
    elif len({run.info.dataset.train for run in runs}) > 1:
        found.append("the runs train on different numbers of images")
    confirmed = [one.run for one in main if one and one.summary.pick]
    if not all(_have_same_validation(run, confirmed[0]) for run in confirmed):
        found.append(
            "their confirmations have other validation images, so only their test accuracies can "
            "be compared"
        )
    if len({(run.space.epochs, run.info.dataset.train) for run in confirmed}) > 1:
        found.append("their confirmations train for different numbers of epochs or images")
    if any(run.space.views != first.space.views for run in runs):
        found.append(
            "the runs classify by other views of an image, so their accuracies do not say which "
            "training is better"
        )
    if any(run.space.metric != first.space.metric for run in runs):
        found.append("the runs are ranked by different accuracies")
    if any(run.space.epochs != first.space.epochs for run in runs):
        found.append("the runs train for different numbers of epochs")
    return found


def _have_same_validation(run: Run, other: Run) -> bool:
    """Return whether runs of the same images have the same validation images.

    The fingerprint is that of the training images as well, whose number does not matter here.
    """
    if run.info.dataset.split_fingerprint == other.info.dataset.split_fingerprint:
        return True
    rules, other_rules = run.space.data_splits, other.space.data_splits
    if rules[0].train_images == other_rules[0].train_images:
        return False
    whole_rules, other_whole = (
        [replace(rule, train_images=None) for rule in one] for one in (rules, other_rules)
    )
    return whole_rules == other_whole and run.space.image_options == other.space.image_options


def cells_of(line: RunLine) -> dict[str, Any]:
    """Return a line of a comparison as texts, by the name of the column."""
    best, confirmed = "-", "-"
    if line.best is not None:
        low_high = line.interval and " ({:.2%} to {:.2%})".format(*line.interval)
        best = f"{line.best:.2%}{low_high or ''}"
    if line.confirmed is not None:
        test = "" if line.confirmed_test is None else f", test {line.confirmed_test:.2%}"
        splits = f" in {count_in_words(line.splits, 'split')}" if line.splits else ""
        seeds = f"{count_in_words(line.seeds, 'seed')}{splits}"
        confirmed = f"{line.confirmed:.2%}{test} ({line.candidate}, {seeds})"
    return {
        "run": line.name,
        "trials": f"{line.complete} of {line.trials} to the end",
        "best": best,
        "trial": "-" if line.trial is None else str(line.trial),
        "confirmed": confirmed,
        "params": "-" if line.params is None else f"{line.params:,}",
        "training": seconds_in_words(line.seconds),
    }
