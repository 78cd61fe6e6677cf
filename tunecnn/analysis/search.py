"""Analysis of a search as plain values; `tunecnn.summary.render` writes them to files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunecnn.analysis.answer import answer, leads
from tunecnn.analysis.classes import RecallLine, recalls
from tunecnn.analysis.confirmation import main_confirmation
from tunecnn.analysis.diagnostics import (
    IsolationLine,
    RankCorrelation,
    importance_analysis,
    isolation,
    near_bounds,
    pareto_front,
    rank_correlations,
    repeats,
)
from tunecnn.analysis.overview import RunOverview, overview_of
from tunecnn.analysis.random_baseline import RandomBaseline, compare_with_random
from tunecnn.analysis.winner import ImageGain, SeedGain, TrialLine, trial_line, winner_of
from tunecnn.run.run import Run
from tunecnn.space.parameters import describe
from tunecnn.space.strategy import Halving, Median, Promotion, Pruner, Sampler, strategy_in_words
from tunecnn.words import command, count_in_words, seconds_in_words

TOP = 5


@dataclass(frozen=True)
class ParameterLine:
    """One searched parameter: its role, its range in words, and its baseline and best values."""

    name: str
    role: str
    range: str
    baseline: Any
    best: Any


@dataclass(frozen=True)
class Importance:
    """Share of a parameter in the variance of the accuracy, and its 95 % interval."""

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
        importance_when: the same in words: `after epoch 3`, or `at the end`.
        importance_sample: the trials that the shares are computed from, in words, with their
            number.
        importance_note: sentence in place of the shares; empty if there are any.
        untested: parameters of which nothing is said, since not every trial has them.
        objectives: objectives of the search.
        front: complete trials on the Pareto front, the cheapest first; empty for one objective.
        isolation: best complete trial for each value of each scientific parameter.
        near_bounds: warnings for the parameters whose best value is at the end of their range.
        rank_correlations: how well early epochs predict the final ranking.
        random_baseline: comparison with random search; None without a random baseline.
        repeats: number of trials with the values of an earlier trial.
        complete: number of trials trained to the end, on which the results rest.
        trained: number of trials that were trained to the end, or stopped or paused by the pruner.
        epochs: epochs of a trial that is trained to its end.
        rivals: number of trials that are not clearly worse than the best one, itself included; a
            trial that was stopped early is compared at its last epoch.
        search: settings of the search in words, by name.
        recalls: accuracy of the best trial on the validation images of each class, worst first.
        confirmed: trial that the main confirmation has found to be the best; None without one.
        confirmed_with: epochs and training images of that confirmation, in words, if the search
            had other ones; else empty.
        command: command that trains that trial again, else the best one; empty without one.
    """

    best: TrialLine | None
    baseline: TrialLine | None
    interval: tuple[float, float] | None
    gain: ImageGain | SeedGain | None
    top: tuple[TrialLine, ...]
    parameters: tuple[ParameterLine, ...]
    fixed: dict[str, str]
    importances: dict[str, Importance]
    importance_epoch: int
    importance_when: str
    importance_sample: str
    importance_note: str
    untested: tuple[str, ...]
    objectives: tuple[str, ...]
    front: tuple[TrialLine, ...]
    isolation: tuple[IsolationLine, ...]
    near_bounds: dict[str, str]
    rank_correlations: tuple[RankCorrelation, ...]
    random_baseline: RandomBaseline | None
    repeats: int
    complete: int
    trained: int
    epochs: int
    rivals: int
    search: dict[str, str]
    recalls: tuple[RecallLine, ...]
    confirmed: int | None
    confirmed_with: str
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
    winner, main = winner_of(run), main_confirmation(run)
    best = winner.line if winner else None
    confirmed = main.trial if main else None
    important = importance_analysis(run)
    overview = overview_of(run, answer(run, winner, main), list(leads(run, winner, main)))
    overview["time"] |= _confirmation_costs(run)
    return SearchSummary(
        **overview,
        best=best,
        baseline=winner.baseline if winner else None,
        interval=winner.interval if winner else None,
        gain=winner.gain if winner else None,
        top=tuple(trial_line(run, row) for _, row in run.configurations.head(TOP).iterrows()),
        parameters=_parameters(run, best),
        fixed={name: str(value) for name, value in run.space.constants.items()},
        importances={
            str(name): Importance(float(row["share"]), (float(row["low"]), float(row["high"])))
            for name, row in important.shares.iterrows()
        },
        importance_epoch=important.epoch,
        importance_when=important.when,
        importance_sample=important.sample,
        importance_note=important.nothing,
        untested=important.untested,
        objectives=run.space.objectives,
        front=tuple(trial_line(run, row) for _, row in pareto_front(run).iterrows()),
        isolation=isolation(run),
        near_bounds=near_bounds(run),
        rank_correlations=rank_correlations(run),
        random_baseline=compare_with_random(run),
        repeats=repeats(run),
        complete=len(run.ranked),
        trained=sum(record.outcome.is_judged for record in run.records),
        epochs=run.space.epochs,
        rivals=winner.rivals if winner else 0,
        search=_search(run),
        recalls=recalls(run, best.trial) if best else (),
        confirmed=confirmed,
        confirmed_with=main.summary.trained_with if main and main.summary.searched_with else "",
        command=train_command(run, best.trial if confirmed is None else confirmed) if best else "",
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
    options: list[object] = [config_path(folder or run.path, trial)]
    record = run.record(trial)
    if record.device.startswith("cpu"):
        # As many as its cores: the last session may have had others, and trained nothing.
        threads = run.info.last_session.engine.threads
        if record.devices is not None:
            threads = max(1, int(record.devices))
        options += ["--device", "cpu", "--threads", threads]
    if run.info.data_dir:
        options += ["--data-dir", run.info.data_dir]
    return command("train --config", *options)


def config_path(folder: Path, trial: int) -> Path:
    """Return the path to which a summary in a folder writes the config of a trial."""
    return folder / "configs" / f"trial-{trial:05d}.yaml"


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
        "budget": " or ".join(
            filter(None, [count_in_words(space.trials, "trial"), space.budget.in_words])
        ),
        "selection": f"highest {run.space.metric} of the kept epoch, among the trials trained to "
        "their end; the mean of trials with the same values; ties by validation loss",
        "looks at the validation images": f"{run.trials['epochs'].sum():,}, one after each epoch "
        "of each trial, all on the same split of the data",
    }


def _in_words(part: Sampler | Pruner) -> str:
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
    return strategy_in_words(part)
