"""Diagnostics of a search beyond its best trial, computed from a `Run` as plain values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from tunecnn.analysis.importances import are_enough, parameter_importances
from tunecnn.analysis.intervals import correlation_interval
from tunecnn.run.run import Run, as_run
from tunecnn.space.parameters import ChoiceParameter, Parameter, position
from tunecnn.space.strategy import WithRungs, rungs
from tunecnn.trial.config import NET, Scalar
from tunecnn.trial.messages import Outcome
from tunecnn.words import in_short

_MOST_SINGLE = 6
_FEWEST_FOR_RANKS = 10
_FEWEST_PER_VALUE = 2
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class IsolationLine:
    """The best complete trial for one value of a parameter, whatever the others were.

    Attributes:
        parameter: name of the parameter.
        value: value of the parameter, or part of its range, in words.
        accuracy: validation accuracy of the best trial, in [0, 1], in the metric of the search;
            if its values were tried with several seeds, their mean, by which it is ranked.
        trial: number of the best trial.
        complete: number of complete trials with this value: the best of more trials is better by
            luck alone.
    """

    parameter: str
    value: str
    accuracy: float
    trial: int
    complete: int


@dataclass(frozen=True)
class RankCorrelation:
    """How well an early epoch predicts the final ranking.

    Attributes:
        epoch: epoch at which trials are compared.
        correlation: Spearman's correlation between validation accuracy at that epoch and at the
            end; None if it is undefined, because all values are equal.
        interval: its 95 % interval (Fisher's z, with the standard error of Bonett and Wright
            2000); None without a correlation.
        complete: number of complete trials that are compared.
    """

    epoch: int
    correlation: float | None
    interval: tuple[float, float] | None
    complete: int


def places(parameter: Parameter, values: pd.Series) -> pd.Series:
    """Return where in the range of a parameter each value lies.

    Args:
        parameter: the parameter.
        values: values in its range, or missing ones.

    Returns:
        An ordered categorical of the parameter's values, in words, if there are few, else of the
        fifths of its range; the place of a missing value is missing.
    """
    single: Sequence[Scalar] | None
    if isinstance(parameter, ChoiceParameter):
        single = parameter.in_order
    elif (single := parameter.grid()) is not None and len(single) > _MOST_SINGLE:
        single = None
    if single is not None:
        labels = _told_apart(single)
        numbers = values.map({value: number for number, value in enumerate(single)})
        codes = numbers.fillna(-1).to_numpy(dtype=int)
    else:
        assert not isinstance(parameter, ChoiceParameter)
        low, high = parameter.bounds
        scale, back = (math.log, math.exp) if parameter.log else (float, float)
        ends = [back(scale(low) + i / 5 * (scale(high) - scale(low))) for i in range(6)]
        words = [f"{end:.3g}" for end in ends]
        if len(set(words)) < len(ends):
            words = _told_apart(ends)
        labels = [f"{low} to {high}" for low, high in itertools.pairwise(words)]
        there = values.astype(float).to_numpy()
        codes = np.where(np.isnan(there), -1, np.digitize(there + 1e-12, ends[1:-1]))
    where = pd.Categorical.from_codes(codes, pd.Index(labels), ordered=True)
    return pd.Series(where, values.index)


def _told_apart(values: Sequence[Scalar]) -> list[str]:
    """Format values with as few digits as tell them apart."""
    texts = [in_short(value) for value in values]
    if len(set(texts)) == len(values):
        return texts
    for digits in range(5, 17):
        texts = [
            f"{value:.{digits}g}" if isinstance(value, float) else str(value) for value in values
        ]
        if len(set(texts)) == len(values):
            return texts
    return [repr(value) for value in values]  # such as 1 and "1"


def isolation(run: Run) -> tuple[IsolationLine, ...]:
    """Return the best complete trial for each value of each scientific parameter.

    A parameter is left out if there are fewer than two trials for each of its values on average,
    or trials with one of them only: its lines would not show what the value does.
    """
    lines = []
    for name, parameter in run.space.searched_settings.items():
        where = places(parameter, run.ranked[f"param.{name}"])
        enough = where.count() >= _FEWEST_PER_VALUE * len(where.cat.categories)
        if parameter.role != "scientific" or not enough:
            continue
        if run.ranked[f"param.{name}"].nunique() < 2:
            continue
        for label, there in run.ranked.groupby(where, observed=True):
            best = there.iloc[0]
            lines.append(
                IsolationLine(
                    name, str(label), float(best["mean"]), int(best["trial"]), len(there)
                )
            )
    return tuple(lines)


def near_bounds(run: Run) -> dict[str, str]:
    """Return a warning for each parameter whose best value lies at the end of its range.

    Only with evidence: the better third of the trials at the last epoch that nearly all have
    reached must lie at that end more often than the others do (Fisher's exact test, one-sided, 5 %
    for all parameters and ends together). In noise alone the best value is at an end in most runs.
    0 does not count as an end, nor 1 of whole numbers: there is no lower dropout, smoothing or
    shift, and no smaller number of layers.
    """
    if run.best is None:
        return {}
    level = 0.05 / (2 * max(1, len(run.space.searched_settings)))
    _, early = early_trials(run)
    warnings = {}
    for name, parameter in run.space.searched_settings.items():
        value = run.best[f"param.{name}"]
        if pd.isna(value):
            continue
        if isinstance(parameter, ChoiceParameter):
            if len(parameter.options) < 3 or not parameter.has_order:
                continue  # words have no order, and two values are both ends
            low, *_, high = numbers = parameter.in_order
            share, last = 0.0, len(numbers) - 1
            place = {option: at / last for at, option in enumerate(numbers)}.__getitem__
        else:
            (low, high), share = parameter.bounds, 0.05
            place = partial(position, low=low, high=high, log=getattr(parameter, "log", False))
        if low == high:
            continue
        at, where = place(value), early[f"param.{name}"].dropna().map(place)
        is_limit = low == 0 or (low == 1 and isinstance(low, int) and isinstance(high, int))
        if at <= share:
            if not is_limit and _more_often(where <= 0.2, early, run.space.metric) < level:
                warnings[name] = f"{in_short(value)} is at the low end of {low:g} to {high:g}"
        elif at >= 1 - share and _more_often(where >= 0.8, early, run.space.metric) < level:
            warnings[name] = f"{in_short(value)} is at the high end of {low:g} to {high:g}"
    return warnings


def crossed_trials(run: Run) -> tuple[pd.DataFrame, int | None] | None:
    """Return the trials for the picture of width and dropout, and the epoch of their accuracy.

    These are the complete trials (no epoch) if they fill half of each panel; else all that reached
    the last epoch which nearly all have reached. None if these are too few as well.
    """
    if crossing(run) is None:
        return None
    complete = complete_trials(run)
    if _fill_half(run, complete):
        return complete, None
    epoch, early = early_trials(run)
    return (early, epoch) if epoch < run.space.epochs and _fill_half(run, early) else None


def complete_trials(run: Run) -> pd.DataFrame:
    """Return the complete trials, best first, with the mean by which they are ranked as metric."""
    return run.ranked.assign(**{run.space.metric: run.ranked["mean"]})


def _fill_half(run: Run, trials: pd.DataFrame) -> bool:
    crossed = crossing(run)
    assert crossed is not None
    width, dropouts = crossed
    return all(
        (best_by(run, width, dropout, trials)[1].to_numpy() > 0).mean() >= 0.5
        for dropout in dropouts
    )


def early_trials(run: Run) -> tuple[int, pd.DataFrame]:
    """Return the last epoch that nearly all trials have reached, and their accuracy after it.

    Among the trials that a pruner has let through, relations turn round: a learning rate that
    decides over all trials has hardly any effect on the best third. Trials that stopped themselves
    before that epoch or diverged count with their last one, since no later one is better; if it is
    the last epoch of all, a complete trial counts with the epoch that it keeps.
    """
    epochs = run.epochs
    counts = [one.outcome.is_judged or one.outcome is Outcome.DIVERGED for one in run.records]
    trials = run.trials[np.array(counts, dtype=bool)]
    has_no_more = trials["outcome"].isin([Outcome.COMPLETE, Outcome.DIVERGED])
    reached = trials["epochs"].where(~has_no_more, run.space.epochs)
    epoch = int(reached.quantile(1 - _NEARLY_ALL, interpolation="lower")) if len(trials) else 0
    if epoch == run.space.epochs:
        value = trials[run.space.metric].where(has_no_more)
    else:
        there = epochs[epochs["epoch"] == epoch].set_index("trial")[run.space.metric]
        last = epochs.groupby("trial")[run.space.metric].last()
        value = trials["trial"].map(there).fillna(trials["trial"].map(last).where(has_no_more))
    return epoch, trials.assign(**{run.space.metric: value}).dropna(subset=[run.space.metric])


def _more_often(at_end: pd.Series, trials: pd.DataFrame, metric: str) -> float:
    """Return the probability, by luck alone, that so many of the better third lie at an end."""
    from scipy.stats import hypergeom

    accuracy = trials.loc[at_end.index, metric]
    # Of trials that are equally good at the edge of the third, none is among the better ones.
    best = accuracy.rank(method="max", ascending=False) <= len(accuracy) // 3
    hits = int((best & at_end).sum())
    return float(hypergeom.sf(hits - 1, len(accuracy), int(at_end.sum()), int(best.sum())))


def rank_correlations(run: Run) -> tuple[RankCorrelation, ...]:
    """Return how well the accuracy at the pruner's epochs predicts the final ranking.

    Only complete trials are compared: trials that were stopped have no final accuracy, so the
    true correlation over all trials is not known, and often higher.
    """
    complete = run.ranked
    if len(complete) < _FEWEST_FOR_RANKS:
        return ()
    end = complete.set_index("trial")[run.space.metric]
    found = []
    for epoch in _rung_epochs(run):
        there = run.epochs[run.epochs["epoch"] == epoch].set_index("trial")[run.space.metric]
        there = there.reindex(end.index).dropna()
        if len(there) < _FEWEST_FOR_RANKS:
            continue
        final = end[there.index]
        varies = there.nunique() > 1 and final.nunique() > 1  # else no ranks to compare
        rho = float(there.corr(final, method="spearman")) if varies else None
        interval = correlation_interval(rho, len(there))
        found.append(RankCorrelation(epoch, rho, interval, len(there)))
    return tuple(found)


def repeats(run: Run) -> int:
    """Count the trials with the values of an earlier trial; they differ only by their seed.

    A proposal that breaks a constraint is no trial.
    """
    sampled = [
        record.settings
        for record in run.records
        if record.values and record.outcome is not Outcome.INFEASIBLE
    ]
    return len(sampled) - len(set(sampled))


def pareto_front(run: Run | str | Path) -> pd.DataFrame:
    """Return the best trials of the configurations on the Pareto front, the cheapest first.

    A configuration is on the front if no other is at least as good in both objectives and better
    in one, by its `mean` accuracy over the trials with its values. Of equal ones, the first is
    kept. The frame is empty for a search with one objective.
    """
    run = as_run(run)
    if len(run.space.objectives) == 1:
        return run.ranked.iloc[:0]
    cost = run.space.objectives[1]
    cheapest_first = run.configurations.sort_values(
        [cost, "mean", "trial"], ascending=[True, False, True]
    )
    best_so_far = cheapest_first["mean"].cummax().shift(fill_value=-1.0)
    return cheapest_first[cheapest_first["mean"] > best_so_far]


@dataclass(frozen=True)
class Importances:
    """Which parameters matter for the accuracy after an early epoch, over all trials.

    Attributes:
        epoch: last epoch that nearly all trials have reached; later ones are a selection.
        is_end: whether that is the last epoch of a trial; the accuracies are then the kept ones.
        trials: number of trials that have reached it, or have stopped themselves or diverged
            before.
        sample: these trials in words, and how many others failed.
        shares: share of each parameter with a clear effect, the greatest first, in the columns
            `share`, `low` and `high` (its 95 % interval), by parameter.
        is_tested: whether there are enough trials to say anything.
        untested: parameters that are not tested, since not every trial has them.
    """

    epoch: int
    is_end: bool
    trials: int
    sample: str
    shares: pd.DataFrame
    is_tested: bool
    untested: tuple[str, ...]

    @property
    def when(self) -> str:
        """When the trials have these accuracies, in words."""
        return "at the end" if self.is_end else f"after epoch {self.epoch}"

    @property
    def nothing(self) -> str:
        """Sentence in place of the shares; empty if there are any."""
        if not self.shares.empty:
            return ""
        if not self.is_tested:
            return f"Too few trials to say which parameter matters: {self.sample}."
        return (
            f"No parameter has a clear effect on the accuracy {self.when} of the trials: "
            f"{self.sample}."
        )


@lru_cache(maxsize=1)  # the summary and its picture use it
def importance_analysis(run: Run) -> Importances:
    """Return which parameters matter; see `tunecnn.analysis.importances.parameter_importances`.

    Parameters with a `when` are left out, since not all trials have them.
    """
    searched = run.space.searched_settings
    always = {name: parameter for name, parameter in searched.items() if not parameter.when}
    epoch, early = early_trials(run)
    values = early[[f"param.{name}" for name in always]]
    found = parameter_importances(
        values.set_axis(list(always), axis="columns"), early[run.space.metric]
    )
    rows = [(share, *interval) for share, interval in found.values()]
    shares = pd.DataFrame(rows, index=list(found), columns=["share", "low", "high"])
    return Importances(
        epoch,
        epoch == run.space.epochs,
        len(early),
        _sample(run, epoch, early),
        shares,
        are_enough(len(early), len(always)),
        tuple(name for name in searched if name not in always),
    )


def _sample(run: Run, epoch: int, trials: pd.DataFrame) -> str:
    """Say which trials have reached an epoch, and how many failed before."""
    until = "the end" if epoch == run.space.epochs else f"epoch {epoch}"
    diverged = trials["outcome"] == Outcome.DIVERGED
    until_then = int((diverged & (trials["epochs"] <= epoch)).sum())
    text = f"{len(trials) - until_then} that reached {until}"
    if until_then:
        text += f", and {until_then} that diverged, with their last accuracy"
    failed = sum(record.outcome.is_failure for record in run.records) - int(diverged.sum())
    return text + (f" ({failed} that failed are left out)" if failed else "")


def importances(run: Run | str | Path) -> pd.DataFrame:
    """Return the share of each searched parameter in the variance of the trials' accuracy.

    The accuracy is that after the last epoch that nearly all trials have reached. The frame is
    indexed by parameter, the greatest share first; its columns are `share`, `low` and `high` (its
    95 % interval). Parameters without a clear effect are left out.
    """
    return importance_analysis(as_run(run)).shares.copy()


def crossing(run: Run) -> tuple[str, list[str]] | None:
    """Return the first searched width and all searched dropouts; None if either is missing."""
    names = list(run.space.searched_settings)
    widths = [name for name in names if name.startswith(NET) and "width" in name]
    dropouts = [name for name in names if name.startswith(NET) and "dropout" in name]
    return (widths[0], dropouts) if widths and dropouts else None


def best_by(
    run: Run, rows: str, columns: str, trials: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the best accuracy and the number of trials for each pair of places.

    Args:
        run: search.
        rows: parameter whose places are the rows.
        columns: parameter whose places are the columns.
        trials: trials, with the accuracy that counts in the column of the search's metric.
    """
    where = [
        places(run.space.searched_settings[name], trials[f"param.{name}"])
        for name in (rows, columns)
    ]
    cells = trials[run.space.metric].groupby(where, observed=False)
    return cells.max().unstack(), cells.count().unstack()


def _rung_epochs(run: Run) -> list[int]:
    pruner, epochs = run.space.pruner, run.space.epochs
    if isinstance(pruner, WithRungs):
        return rungs(pruner, epochs)
    return sorted({max(1, epochs // 4), max(1, epochs // 2)} - {epochs})
