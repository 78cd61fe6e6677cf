"""Analysis of a search as plain values; `tunecnn.summary.render` writes them to files."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tunecnn.analysis.classes import (
    RecallLine,
    guessing_probability,
    image_weights,
    recalls,
)
from tunecnn.analysis.confirmation import summarize_confirmation
from tunecnn.analysis.diagnostics import (
    IsolationLine,
    Rung,
    importance_analysis,
    isolation,
    near_bounds,
    pareto_front,
    repeats,
    rungs,
)
from tunecnn.analysis.intervals import (
    best_gain_interval,
    best_of_interval,
    is_rival,
    wilson_interval,
)
from tunecnn.analysis.overview import (
    Lead,
    RunOverview,
    balanced_in_words,
    evaluations_of,
    images_in_words,
    majority_in_words,
    overview_of,
)
from tunecnn.analysis.random_baseline import RandomBaseline, compare_with_random
from tunecnn.run.info import ConfirmationJob
from tunecnn.run.run import Run
from tunecnn.space.parameters import Constant, SpaceModel, describe
from tunecnn.space.strategy import Halving, Median, NoPruner, Promotion
from tunecnn.trial.messages import Outcome
from tunecnn.words import in_utf8, seconds_in_words

_NO_EVIDENCE = 0.05  # probability of the same result by luck, from which on it shows nothing

TOP = 5


@dataclass(frozen=True)
class TrialLine:
    """One trial, as a line of a table.

    Attributes:
        trial: number of the trial.
        accuracy: validation accuracy of the epoch that counts, in [0, 1], in the metric of the
            search.
        val_accuracy: share of the validation images that it classifies correctly.
        val_balanced_accuracy: mean over the classes of that epoch's accuracy; None in runs that
            did not record it.
        mean: mean of that accuracy over the trials with the same values, by which they are ranked.
        seeds: number of these trials.
        interval: Wilson's 95 % interval of `val_accuracy`, over the validation images.
        val_loss: validation loss of the same epoch.
        epochs: number of epochs trained.
        params: number of trainable parameters of its network.
        macs: number of multiply-accumulates of one forward pass of one image; None in runs that
            did not record it.
        seconds: training time in seconds.
        values: values of the searched parameters, by name.
    """

    trial: int
    accuracy: float
    val_accuracy: float
    val_balanced_accuracy: float | None
    mean: float
    seeds: int
    interval: tuple[float, float]
    val_loss: float
    epochs: int
    params: int
    macs: int | None
    seconds: float
    values: dict[str, Any]


@dataclass(frozen=True)
class Gain:
    """Lead of the best trial of a search over its baseline, one run each.

    Attributes:
        difference: difference of their validation accuracies, in the metric of the search.
        interval: 95 % interval of the difference on other images of the same population,
            corrected for the choice among the rivals; None without the predictions of both.
        only_best: number of validation images that only the best trial classifies correctly.
        only_baseline: number of images that only the baseline classifies correctly.
        images: number of validation images.
        rivals: number of trials that are not clearly worse than the best one, itself included and
            the baseline not; the interval is corrected for them.
    """

    difference: float
    interval: tuple[float, float] | None = None
    only_best: int = 0
    only_baseline: int = 0
    images: int = 0
    rivals: int | None = None


@dataclass(frozen=True)
class ParameterLine:
    """One searched parameter: its role, its range in words, and its baseline and best values."""

    name: str
    role: str
    range: str
    baseline: Any
    best: Any


@dataclass(frozen=True)
class Share:
    """Share of a parameter in the variance, and its bounds in 95 % of resampled trials."""

    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class SearchSummary(RunOverview):
    """Summary of a search.

    Attributes:
        best: best complete trial; None without one.
        baseline: trial with the baseline, if it is complete; else None.
        interval: 95 % interval of the best trial's `val_accuracy`, corrected for the choice among
            its rivals.
        gain: lead of the best trial over the baseline; None without two different trials.
        top: best trial of each of the best few configurations.
        parameters: searched parameters.
        fixed: constants of the space, in words.
        importances: share of each parameter in the variance; those without a clear effect are
            left out.
        importance_epoch: epoch whose accuracy the shares are about.
        importance_sample: the trials that the shares are computed from, in words.
        importance_note: sentence in place of the shares; empty if there are any.
        untested: parameters of which nothing is said, since not every trial has them.
        objectives: objectives of the search.
        front: complete trials on the Pareto front, the cheapest first; empty for one objective.
        isolation: best complete trial for each value of each scientific parameter.
        near_bounds: warnings for the parameters whose best value is at the end of their range.
        rungs: how well early epochs predict the final ranking.
        random_baseline: comparison with random search; None without a random baseline.
        repeats: number of trials with the values of an earlier trial.
        complete: number of trials trained to the end, on which the results rest.
        trained: number of trials that were complete or pruned.
        rivals: number of trials that are not clearly worse than the best one, itself included; a
            trial that was stopped early is compared at its last epoch.
        search: settings of the search in words, by name.
        recalls: accuracy of the best trial on the validation images of each class, worst first.
        confirmed: trial that the latest confirmation has found to be the best; None without one.
        command: command that trains that trial again, else the best one; empty without one.
    """

    best: TrialLine | None
    baseline: TrialLine | None
    interval: tuple[float, float] | None
    gain: Gain | None
    top: tuple[TrialLine, ...]
    parameters: tuple[ParameterLine, ...]
    fixed: dict[str, str]
    importances: dict[str, Share]
    importance_epoch: int
    importance_sample: str
    importance_note: str
    untested: tuple[str, ...]
    objectives: tuple[str, ...]
    front: tuple[TrialLine, ...]
    isolation: tuple[IsolationLine, ...]
    near_bounds: dict[str, str]
    rungs: tuple[Rung, ...]
    random_baseline: RandomBaseline | None
    repeats: int
    complete: int
    trained: int
    rivals: int
    search: dict[str, str]
    recalls: tuple[RecallLine, ...]
    confirmed: int | None
    command: str

    @property
    def exported(self) -> tuple[int, ...]:
        """Trials whose configs are written to files."""
        again = () if self.confirmed is None else (self.confirmed,)
        return tuple(dict.fromkeys([line.trial for line in (*self.top, *self.front)] + [*again]))

    @property
    def ranked(self) -> tuple[TrialLine, ...]:
        """The best trials, and the baseline after them if it is none of these."""
        if self.baseline is None or self.baseline.trial in {line.trial for line in self.top}:
            return self.top
        return (*self.top, self.baseline)

    def to_json(self) -> dict[str, Any]:
        """Return the results that a program needs; `summary.json` has the whole summary."""
        return {"best": dataclasses.asdict(self.best) if self.best else None}


def summarize_search(run: Run) -> SearchSummary:
    """Summarize a search as it stands, even without a complete trial."""
    images, metric = run.info.dataset.different("validation"), run.space.metric
    searched = list(run.space.searched_settings)
    top = tuple(
        _line(row, searched, images, metric) for _, row in run.configurations.head(TOP).iterrows()
    )  # fmt: skip
    best = top[0] if top else None
    baseline = None
    if run.baseline_trial is not None and run.baseline_trial["state"] == "COMPLETE":
        baseline = _line(run.baseline_trial, searched, images, metric)
    rivals = _rivals(run, best.trial, best.val_accuracy) if best else set()
    interval = best_of_interval(best.val_accuracy, images, len(rivals)) if best else None
    gain = _gain(run, best, baseline, rivals)
    important = importance_analysis(run)
    overview = overview_of(
        run,
        _answer(run, best, interval, baseline, gain, len(rivals)),
        _leads(run, best, baseline, gain),
    )
    overview["time"] |= _confirmation_costs(run)
    confirmed = _confirmed(run)
    return SearchSummary(
        **overview,
        best=best,
        baseline=baseline,
        interval=interval,
        gain=gain,
        top=top,
        parameters=_parameters(run, best),
        fixed={
            name: str(parameter.value)
            for name, parameter in run.space.parameters.items()
            if isinstance(parameter, Constant)
        },
        importances={
            str(name): Share(float(row["share"]), (float(row["low"]), float(row["high"])))
            for name, row in important.shares.iterrows()
        },
        importance_epoch=important.epoch,
        importance_sample=important.sample,
        importance_note=important.nothing,
        untested=important.untested,
        objectives=run.space.objectives,
        front=tuple(
            _line(row, searched, images, metric) for _, row in pareto_front(run).iterrows()
        ),
        isolation=isolation(run),
        near_bounds=near_bounds(run),
        rungs=rungs(run),
        random_baseline=compare_with_random(run),
        repeats=repeats(run),
        complete=len(run.ranked),
        trained=int(run.trials["state"].isin(["COMPLETE", "PRUNED"]).sum()),
        rivals=len(rivals),
        search=_search(run),
        recalls=recalls(run, best.trial) if best else (),
        confirmed=confirmed,
        command=train_command(run, best.trial if confirmed is None else confirmed) if best else "",
    )


def best_interval(run: Run) -> tuple[float, float] | None:
    """Return a 95 % interval for the share of images that the best trial classifies correctly.

    It is corrected for the choice among the trials that are not clearly worse.

    Returns:
        None without a complete trial.
    """
    if run.best is None:
        return None
    best, images = run.best, run.info.dataset.different("validation")
    rivals = _rivals(run, int(best["trial"]), float(best["val_accuracy"]))
    return best_of_interval(float(best["val_accuracy"]), images, len(rivals))


def _confirmed(run: Run) -> int | None:
    """Return the trial of the search that is the best of its latest confirmation."""
    if not run.confirmations:
        return None
    inner = run.confirmations[-1]
    pick = summarize_confirmation(inner).pick
    candidates = inner.job_as(ConfirmationJob).candidates
    return next(
        (
            record.number
            for record in run.complete
            for one in candidates
            if pick is not None and one.name == pick.name and one.is_trial(record.number)
        ),
        None,
    )


def _confirmation_costs(run: Run) -> dict[str, str]:
    """Describe what the confirmations of a search cost, to stand beside its own cost."""
    cost = {}
    for inner in run.confirmations:
        seconds = float(inner.trials["seconds"].sum())
        share = seconds / max(1e-9, float(run.trials["seconds"].sum()))
        cost[f"confirmation {inner.name}"] = (
            f"{seconds_in_words(seconds)} of training, {inner.trials['epochs'].sum():,} epochs "
            f"({share:.0%} of the search)"
        )
    return cost


def train_command(run: Run, trial: int, folder: Path | None = None) -> str:
    """Return the command that trains a trial again; on a CPU it gives the same figures.

    Args:
        run: run of the trial.
        trial: number of the trial.
        folder: folder with the summary; None for that of the run.
    """
    words = ["tunecnn", "train", "--config", str(config_path(folder or run.path, trial))]
    if run.record(trial).device.startswith("cpu"):
        threads = run.info.last_session.engine.threads
        words += ["--device", "cpu", "--threads", str(threads)]
    if run.info.data_dir:
        words += ["--data-dir", run.info.data_dir]
    return in_utf8(shlex.join(words))


def config_path(folder: Path, trial: int) -> Path:
    """Return the path to which a summary in a folder writes the config of a trial."""
    return folder / "configs" / f"trial-{trial:05d}.yaml"


def _answer(
    run: Run,
    best: TrialLine | None,
    interval: tuple[float, float] | None,
    baseline: TrialLine | None,
    gain: Gain | None,
    rivals: int,
) -> list[str]:
    """Return the sentences of the answer, the main one first."""
    done = int(run.trials["state"].isin(["COMPLETE", "PRUNED", "FAIL"]).sum())
    if best is None:
        return [
            f"No trial has been trained to its end yet ({done} have ended), so none is ranked."
        ]
    assert interval is not None
    found = [_winner(run, best, interval, rivals)]
    if run.record(best.trial).proposal == "start" and (
        baseline is None or baseline.trial != best.trial
    ):
        found.append("It is a start point, which was given by hand: the search has not found it.")
    found += _against_the_baseline(best, baseline, gain)
    found += _more_about(run, best)
    found.append(
        "The winner of a search is partly the luckiest trial: expect less of it from a new seed."
    )
    if used_up := run.info.last_session.used_up if run.info.sessions else "":
        found.append(f"No further trial was started, since {used_up}.")
    if not run.confirmations:
        return [*found, *([] if evaluations_of(run) else ["The test images have not been used."])]
    confirmed = summarize_confirmation(run.confirmations[-1])  # replaces what one seed can say
    later = (
        f"Trial {best.trial}, now the best, is not among the confirmed ones: "
        "confirm the search again."
    )
    return [
        f"Confirmation: {confirmed.headline[0].lower()}{confirmed.headline[1:]}",
        *confirmed.caveats,
        *([] if run.is_confirmed else [later]),
        f"In the search, {found[0][0].lower()}{found[0][1:]}",
        *found[1:],
    ]


def _leads(
    run: Run, best: TrialLine | None, baseline: TrialLine | None, gain: Gain | None
) -> list[Lead]:
    """Return the best trial beside the baseline, with the new seeds of a confirmation first."""
    leads = list(summarize_confirmation(run.confirmations[-1]).leads) if run.confirmations else []
    if best and baseline and gain:
        leads.append(
            Lead(f"validation images, {balanced_in_words(run.space.metric)}one seed each",
                 f"trial {best.trial}", best.accuracy, baseline.accuracy, gain.difference,
                 gain.interval)
        )  # fmt: skip
    return leads


def _winner(run: Run, best: TrialLine, interval: tuple[float, float], rivals: int) -> str:
    """Say which trial is the best, and how sure its accuracy is."""
    count = len(run.ranked)
    low, high = interval
    which = f"The best of {count} trials" if count > 1 else "The only trial"
    balanced = ""
    if run.space.metric != "val_accuracy":
        balanced = f"{best.accuracy:.2%} balanced validation accuracy, and "
    return (
        f"{which} trained to the end is trial {best.trial}, with {balanced}"
        f"{best.val_accuracy:.2%} validation accuracy: one run, {images_in_words(run)}, "
        f"95 % interval{' of the latter' * bool(balanced)} {low:.2%} to {high:.2%}"
        f"{_correction(rivals, stopped=rivals > count)}."
    )


def _correction(rivals: int, *, stopped: bool = False) -> str:
    """Say for which choice a figure of the best trial is corrected; nothing if there was none."""
    if rivals < 2:
        return ""
    others = f"{rivals - 1} trials that are" if rivals > 2 else "one trial that is"
    included = ", stopped ones included" if stopped else ""
    return f", corrected for the choice among it and {others} not clearly worse{included}"


_JUDGED = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.PAUSED)


def _rivals(run: Run, best: int, accuracy: float) -> set[int]:
    """Return the trials that are not clearly worse than the best one, itself included.

    They are those among which accuracy decided: trained to the end, or stopped or paused by the
    pruner. One that was not trained to its end is compared with the best one at its last epoch.
    """
    images = run.info.dataset.different("validation")
    at_epoch = {one.epoch: one.val_accuracy for one in run.record(best).epochs}
    rivals = {best}
    for record in run.records:
        if record.kept is None or record.outcome not in _JUDGED:
            continue
        theirs = accuracy
        if record.outcome is not Outcome.COMPLETE:
            theirs = at_epoch.get(record.kept.epoch, theirs)
        if is_rival(record.kept.val_accuracy, theirs, images):
            rivals.add(record.number)
    return rivals


def _more_about(run: Run, best: TrialLine) -> Iterator[str]:
    """Yield what else a reader should know about the best trial."""
    winner = run.ranked.iloc[0]
    if winner["seeds"] > 1:
        yield (
            f"Its values were tried with {winner['seeds']} seeds, with a mean of "
            f"{winner['mean']:.2%}, by which they are ranked."
        )
    metric = run.space.metric
    highest = run.ranked.nlargest(1, metric).iloc[0]
    if highest[metric] > winner[metric] and highest["mean"] < winner["mean"]:
        yield (
            f"Trial {highest['trial']} reached {highest[metric]:.2%}, but its values were tried "
            f"with {highest['seeds']} seeds, with a mean of {highest['mean']:.2%}, by which they "
            "are ranked."
        )
    ties = int((run.ranked["mean"] == winner["mean"]).sum()) - int(winner["seeds"])
    if ties:
        which = "One other trial is" if ties == 1 else f"{ties} other trials are"
        yield f"{which} as good."
    sheet = run.info.dataset.sheet
    if best.val_balanced_accuracy is not None and (
        run.space.metric != "val_accuracy" or (sheet and sheet.is_unbalanced)
    ):
        yield f"Its balanced accuracy is {best.val_balanced_accuracy:.2%}."
    if text := majority_in_words(run):
        yield text
    probability = guessing_probability(run, best.trial)
    if probability is not None and probability >= _NO_EVIDENCE:
        count = len(run.ranked)
        tries = f"the best of {count} trials" if count > 1 else "a trial"
        yield (
            f"Nothing shows that it has learned anything: {tries} that only guess "
            f"would be as good with a probability of {probability:.0%}."
        )


def _gain(
    run: Run, best: TrialLine | None, baseline: TrialLine | None, rivals: Set[int]
) -> Gain | None:
    """Compare the best trial with the baseline, image by image if both predictions are kept."""
    if best is None or baseline is None or best.values == baseline.values:
        return None
    difference = best.accuracy - baseline.accuracy
    parts = {number: part for number, part in run.validation.groupby("trial")}
    if best.trial not in parts or baseline.trial not in parts:
        return Gain(difference)
    labels = parts[best.trial]["label"].to_numpy()
    ours, theirs = (
        (parts[line.trial]["label"] == parts[line.trial]["predicted"]).to_numpy()
        for line in (best, baseline)
    )
    leads = (ours.astype(float) - theirs) * image_weights(labels, run.space.metric)
    different = run.info.dataset.different("validation")
    copies = different / len(labels)  # identical images count once
    count = len(rivals - {baseline.trial})
    return Gain(
        difference,
        best_gain_interval(
            copies * float(leads.sum()), copies * float((leads**2).sum()), different, count
        ),
        int((ours & ~theirs).sum()),
        int((theirs & ~ours).sum()),
        len(labels),
        count,
    )


def _against_the_baseline(
    best: TrialLine, baseline: TrialLine | None, gain: Gain | None
) -> Iterator[str]:
    """Yield what the best trial is worth beside the baseline, and how sure that is."""
    if baseline is None:
        yield "The baseline was not trained to the end in this run."
        return
    if gain is None:
        yield "It is the baseline itself."
        return
    if not gain.difference:
        yield f"The baseline (trial {baseline.trial}) reaches the same."
        return
    side = "above" if gain.difference > 0 else "below"
    text = (
        f"That is {100 * abs(gain.difference):.2f} points {side} the baseline "
        f"(trial {baseline.trial}, {baseline.accuracy:.2%}), one run each"
    )
    if gain.interval is None:
        yield f"{text}; whether it is more than chance cannot be said without both predictions."
        return
    low, high = gain.interval
    text += (
        f": on {gain.only_best + gain.only_baseline} of {gain.images:,} images only one of the "
        "two is right"
    )
    if low > 0 or high < 0:
        yield (
            f"{text}, which is more than luck on these images (95 % interval {100 * low:+.2f} to "
            f"{100 * high:+.2f} points{_correction(gain.rivals or 1)}), but not yet for other "
            "seeds."
        )
    else:
        yield f"{text}, so it may be chance."


def _line(row: pd.Series, searched: list[str], images: int, metric: str) -> TrialLine:
    accuracy, of_images = float(row[metric]), float(row["val_accuracy"])
    return TrialLine(
        trial=int(row["trial"]),
        accuracy=accuracy,
        val_accuracy=of_images,
        val_balanced_accuracy=_plain(row["val_balanced_accuracy"]),
        mean=float(row.get("mean", accuracy)),
        seeds=int(row.get("seeds", 1)),
        interval=wilson_interval(of_images, images),
        val_loss=float(row["val_loss"]),
        epochs=int(row["epochs"]),
        params=int(row["params"]),
        macs=_plain(row["macs"]),
        seconds=float(row["seconds"]),
        values={name: _plain(row[f"param.{name}"]) for name in searched},
    )


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar into a Python one, and a missing value into None."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _parameters(run: Run, best: TrialLine | None) -> tuple[ParameterLine, ...]:
    baseline = run.space.baseline_point()
    return tuple(
        ParameterLine(
            name=name,
            role=parameter.role,
            range=describe(parameter),
            baseline=baseline.get(name, ""),
            best=best.values[name] if best else "",
        )
        for name, parameter in run.space.searched_settings.items()
    )


def _search(run: Run) -> dict[str, str]:
    space = run.space
    return {
        "architecture": "searched" if "architecture" in space.searched else space.architecture,
        "recipe": space.recipe,
        "objectives": " against ".join(name.replace("_", " ") for name in space.objectives),
        "epochs of a full trial": str(space.epochs),
        "sampler": _in_words(space.sampler),
        "pruner": _in_words(space.pruner),
        "random baseline": f"{space.random_baseline:.0%} of the trials at random"
        if space.random_baseline
        else "none",
        "constraints": "; ".join(map(str, space.constraints)) or "none",
        "seed": str(space.seed),
        "budget": _budget(run),
        "selection": f"highest {run.space.metric} of the kept epoch, among the trials trained to "
        "their end; the mean of trials with the same values; ties by validation loss",
        "looks at the validation images": f"{run.trials['epochs'].sum():,}, one after each epoch "
        "of each trial, all on the same split of the data",
    }


def _budget(run: Run) -> str:
    limits = ", ".join(
        f"{value:.2%} accuracy" if name == "accuracy" else f"{value:g} {name.replace('_', '-')}"
        for name, value in dict(run.space.budget).items()
        if value is not None
    )
    return f"{run.space.trials} trials" + (f", {limits}" if limits else "")


def _in_words(part: SpaceModel) -> str:
    if isinstance(part, Halving):
        return (
            f"successive halving from epoch {part.min_epochs}, keeping 1 in {part.factor} per rung"
        )
    if isinstance(part, Promotion):
        return (
            f"successive halving from epoch {part.min_epochs}; trials pause at each rung, and "
            f"the best 1 in {part.factor} are promoted"
        )
    if isinstance(part, Median):
        return f"median, after {part.startup_trials} trials and {part.warmup_epochs} epochs"
    if isinstance(part, NoPruner):
        return "none"
    name = type(part).__name__
    words = {
        "Tpe": "TPE",
        "Gp": "Gaussian process",
        "Cmaes": "CMA-ES",
        "Nsga2": "NSGA-II",
        "Qmc": "Sobol points",
        "RandomSearch": "random search",
    }.get(name, name.lower())
    options = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in dict(part).items())
    return words + (f" ({options})" if options else "")
