"""Ways to search at equal cost: samplers and pruners, replayed on ten tasks with a known truth.

    python -m benchmarks.samplers run OUT.parquet [SEEDS] [CONTENDER ...]
    python -m benchmarks.samplers show OUT.parquet
    python -m benchmarks.samplers forms OUT.parquet [SEEDS]
    python -m benchmarks.samplers table RUN benchmarks/tables/NAME.parquet

Eight tasks are the multi-fidelity Hartmann functions of `mf-prior-bench` (three or six parameters;
early epochs that predict the end from terribly to well), two are surrogates of our own trainings
(extremely randomized trees on 160 random configurations of digits for 12 epochs; `table` makes
such a file from a run). Each trial has 27 epochs and rungs after 3 and 9. Each search begins with
the same start point, one that is better than three of four random ones. The simulated slots train
an epoch in a unit of time, and what a contender sees has noise; it is judged by the true value of
the complete trial that it ranks first (if none is complete, of the one with the most epochs), on a
scale from 0 (median of random configurations) to 100 (the best known).

Contenders that are not ours need `pip install --no-deps mf-prior-bench neural-pipeline-search smac
syne-tune` and what these ask for; those that cannot be imported are left out.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import numpy as np
import optuna
import pandas as pd
from joblib import Parallel, delayed
from optuna.samplers import BaseSampler, QMCSampler, TPESampler
from scipy.stats import t

from tunecnn.models.counting import CostCounter
from tunecnn.space.space import SearchSpace
from tunecnn.study import samplers
from tunecnn.study.study import Study, TrialTask
from tunecnn.trial.config import derive_seed
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

EPOCHS, RUNGS = 27, (3, 9)
SLOTS = (1, 4, 32)
COSTS = (5, 10, 20)
"""Costs at which searches are judged, in full trainings."""
NAMES = (
    "net.dropout_block1",
    "net.dropout_block2",
    "net.dropout_block3",
    "net.dropout_dense",
    "label_smoothing",
    "momentum",
)
"""Settings that stand for the parameters of a task, each from 0 to 0.9."""
_MOST = 0.9
Point = tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """A search problem with a known truth.

    Attributes:
        name: name of the task.
        dims: number of its parameters, each in [0, 1].
        truth: function that returns the value of a point after each of some epochs.
        noise: standard deviation of what a search sees.
        low: value of a median random point after the last epoch.
        high: best known value.
    """

    name: str
    dims: int
    truth: Callable[[Point, tuple[int, ...]], list[float]]
    noise: float
    low: float
    high: float

    def score(self, point: Point) -> float:
        """Return the true value of a point, from 0 (median random one) to 100 (best known)."""
        (value,) = self.truth(point, (EPOCHS,))
        return 100 * (value - self.low) / (self.high - self.low)

    def start(self, seed: int) -> Point:
        """Return the start point of a seed, at the upper quartile of random points."""
        random = np.random.default_rng(seed)
        points = [tuple(map(float, point)) for point in random.random((40, self.dims)).round(3)]
        return sorted(points, key=self.score)[30]


@functools.cache
def tasks() -> tuple[Task, ...]:
    """Return the tasks that can be made here."""
    found = []
    with contextlib.suppress(ImportError):
        import mfpbench

        for dims, quality in itertools.product((3, 6), ("terrible", "bad", "moderate", "good")):
            found.append(_hartmann(mfpbench.get(f"mfh{dims}_{quality}"), dims, quality))
    found += [_own(path) for path in sorted(Path(__file__).parent.glob("tables/*.parquet"))]
    return tuple(found)


def _hartmann(benchmark: Any, dims: int, quality: str) -> Task:
    def truth(point: Point, epochs: tuple[int, ...]) -> list[float]:
        config = {f"X_{i}": float(value) for i, value in enumerate(point)}
        fidelities = [max(1, round(100 * epoch / EPOCHS)) for epoch in epochs]
        return [-float(benchmark.query(config, at=at).error) for at in fidelities]

    return _scaled(f"mfh{dims} {quality}", dims, truth)


def _own(path: Path) -> Task:
    from sklearn.ensemble import ExtraTreesRegressor

    table = pd.read_parquet(path)
    curves = table.filter(like="epoch_").to_numpy()
    values = table.filter(like="unit.").to_numpy()
    model = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=0).fit(values, curves)
    at = np.linspace(EPOCHS / curves.shape[1], EPOCHS, curves.shape[1])

    @functools.lru_cache(maxsize=100_000)
    def curve(point: Point) -> np.ndarray:
        predicted: np.ndarray = model.predict([point])[0]
        return predicted

    def truth(point: Point, epochs: tuple[int, ...]) -> list[float]:
        return [float(one) for one in np.interp(epochs, at, curve(point))]

    return _scaled(f"digits {path.stem}", values.shape[1], truth)


def _scaled(name: str, dims: int, truth: Callable[[Point, tuple[int, ...]], list[float]]) -> Task:
    """Find the scale of a task: the median of random points, and the best that can be found."""
    random = np.random.default_rng(0)
    points = [tuple(map(float, point)) for point in random.random((400, dims))]
    values = [truth(point, (EPOCHS,))[0] for point in points]
    best = max(values)
    where = np.array(points[int(np.argmax(values))])
    for width in np.geomspace(0.3, 0.01, 300):  # a random walk uphill
        step = tuple(np.clip(where + random.normal(0, width, dims), 0, 1))
        if (value := truth(step, (EPOCHS,))[0]) > best:
            best, where = value, np.array(step)
    low = float(np.median(values))
    return Task(name, dims, truth, 0.04 * (best - low), low, best)


@dataclass
class Piece:
    """Epochs of a trial that are trained without a pause.

    Attributes:
        trial: name of the trial, as its searcher knows it.
        point: values of its parameters.
        begin: epochs that it has been trained before.
        end: epochs that it will have been trained.
    """

    trial: Any
    point: Point
    begin: int
    end: int


class Searcher(Protocol):
    """A way to search: what to train next, and what follows from a result."""

    def next(self) -> Piece | None:
        """Return what a free slot trains; None if it has to wait."""

    def report(self, piece: Piece, value: float) -> Piece | None:
        """Take the value at the end of a piece; return its trial's next one, if it goes on."""


def simulate(
    task: Task, searcher: Searcher, slots: int, seed: int, cost: float
) -> dict[int, float]:
    """Search a task until so many full trainings are used up, or the searcher has no more work.

    Returns:
        The score of the winner at each of the costs (those after the end have the last one), and
        the cost of the whole search in epochs at key 0.
    """
    random = np.random.default_rng([seed, slots])
    seen: dict[Point, tuple[int, float]] = {}  # epochs and latest value of each point
    heap: list[tuple[int, int, Piece]] = []
    tie, spent, free, now = itertools.count(), 0, slots, 0
    marks, found = [mark for mark in COSTS if mark <= cost], {}
    while True:
        while free and (piece := searcher.next()) is not None:
            heapq.heappush(heap, (now + piece.end - piece.begin, next(tie), piece))
            free -= 1
        if not heap:
            break
        now, _, piece = heapq.heappop(heap)
        spent += piece.end - piece.begin
        while marks and spent > marks[0] * EPOCHS:
            found[marks.pop(0)] = _winner(task, seen)
        if spent > cost * EPOCHS:
            break
        value = task.truth(piece.point, (piece.end,))[0] + random.normal(0, task.noise)
        if piece.end >= seen.get(piece.point, (0,))[0]:
            seen[piece.point] = piece.end, value
        if (more := searcher.report(piece, value)) is not None:
            heapq.heappush(heap, (now + more.end - more.begin, next(tie), more))
        else:
            free += 1
    found |= dict.fromkeys(marks, _winner(task, seen))
    return found | {0: spent, -1: _winner(task, seen)}


def _winner(task: Task, seen: dict[Point, tuple[int, float]]) -> float:
    return task.score(max(seen, key=seen.__getitem__)) if seen else 0.0


class Ours:
    """A search through tunecnn's own `Study`.

    Args:
        task: task to search.
        seed: seed of the search.
        way: lines of its space: sampler and pruner.
        trials: number of trials.
        sampler: function that makes the sampler of a proposal in place of tunecnn's own.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        way: str,
        trials: int = 100_000,
        sampler: Callable[[SearchSpace, int], BaseSampler] | None = None,
    ) -> None:
        self._names = NAMES[: task.dims]
        ranges = "".join(f"  {name}: {{float: [0.0, {_MOST}]}}\n" for name in self._names)
        start = ", ".join(
            f"{name}: {_MOST * value!r}"
            for name, value in zip(self._names, task.start(seed), strict=True)
        )
        self._space = SearchSpace.from_text(
            f"dataset: digits\nepochs: {EPOCHS}\ntrials: {trials}\nseed: {seed}\n{way}\n"
            f"start: [{{{start}}}]\nparameters:\n{ranges}"
        )
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self._folder = tempfile.TemporaryDirectory(dir=memory)
        self._study = Study(Path(self._folder.name), self._space, CostCounter(None, (1, 8, 8), 10))
        self._sampler = sampler
        stops = [*RUNGS, EPOCHS] if "pruner: none" not in way else [EPOCHS]
        self._stops = stops

    def next(self) -> Piece | None:
        """Return what a free slot trains."""
        with contextlib.ExitStack() as stack:
            if self._sampler is not None:
                stack.enter_context(mock.patch.object(samplers, "_sampler", self._sampler))
            task = self._study.next_trial()
        if task is None:
            return None
        if task.after:
            self._study.go_on_from(task, task.after)
        return self._piece(task)

    def _piece(self, task: TrialTask) -> Piece:
        values = self._study.record(task.number).values
        point = tuple(float(values[name]) / _MOST for name in self._names)
        end = min(stop for stop in self._stops if stop > task.after)
        return Piece(task.number, point, task.after, end)

    def report(self, piece: Piece, value: float) -> Piece | None:
        """Take a value; return the next piece of the trial."""
        accuracy = 0.5 + value / 100  # values of some tasks are below 0; only their order counts
        for epoch in range(piece.begin + 1, piece.end + 1):  # only the last one decides anything
            metrics = EpochMetrics(epoch, 0.5, 0.5, 1.0, accuracy, 1.0)
            if self._study.report(piece.trial, metrics, is_last=epoch == EPOCHS):
                return None
        if piece.end == EPOCHS:
            self._study.finish(piece.trial, TrialEnd(Outcome.COMPLETE, kept_epoch=EPOCHS))
            return None
        end = min(stop for stop in self._stops if stop > piece.end)
        return Piece(piece.trial, piece.point, piece.end, end)


class _AroundStart(BaseSampler):
    """Samples around the start point, less and less often, and else as TPE does.

    Args:
        space: space with one start point.
        number: number of the proposal.
        safe: whether to stop once another trial has beaten the start point's final value.
    """

    def __init__(self, space: SearchSpace, number: int, *, safe: bool) -> None:
        self._tpe = TPESampler(seed=derive_seed(space.seed, number))
        self._random = np.random.default_rng(derive_seed(space.seed, number, 7))
        self._start = {name: float(value) for name, value in space.start_points()[0].items()}
        self._is_near = self._random.random() < 0.5 ** (number / 10)
        self._safe = safe

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        if not self._is_near or (self._safe and self._is_beaten(study)):
            return self._tpe.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        if not self._is_near or (self._safe and self._is_beaten(study)):
            return self._tpe.sample_independent(study, trial, name, distribution)
        low, high = distribution.low, distribution.high
        near = self._random.normal(self._start[name], 0.15 * (high - low))
        return float(np.clip(near, low, high))

    @staticmethod
    def _is_beaten(study: Any) -> bool:
        """Whether another trial was better than the start point after the first rung."""
        at = {
            trial.number: trial.intermediate_values.get(RUNGS[0])
            for trial in study.get_trials(deepcopy=False)
        }
        first = at.pop(0, None)
        others = [value for value in at.values() if value is not None]
        return first is not None and sum(value > first for value in others) >= 3


def _from_quasi_random(space: SearchSpace, number: int) -> BaseSampler:
    """Sobol points before TPE takes over."""
    if number < 12:
        return QMCSampler(
            scramble=True,
            seed=space.seed,
            warn_asynchronous_seeding=False,
            warn_independent_sampling=False,
        )
    return TPESampler(n_startup_trials=10, seed=derive_seed(space.seed, number))


class SyneTune:
    """A scheduler of Syne Tune."""

    def __init__(self, task: Task, seed: int, name: str) -> None:
        from syne_tune.config_space import uniform
        from syne_tune.optimizer import baselines

        self._space = {f"x{i}": uniform(0, 1) for i in range(task.dims)}
        start = {f"x{i}": value for i, value in enumerate(task.start(seed))}
        self._scheduler = getattr(baselines, name)(
            self._space,
            metric="value",
            time_attr="epoch",
            max_t=EPOCHS,
            do_minimize=False,
            random_seed=seed,
            grace_period=RUNGS[0],
            reduction_factor=3,
            points_to_evaluate=[start],
        )
        self._trials: dict[int, Any] = {}

    def next(self) -> Piece | None:
        """Return what a free slot trains."""
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        number = len(self._trials)
        trial = Trial(number, suggestion.config, datetime.now())
        self._trials[number] = trial
        self._scheduler.on_trial_add(trial)
        point = tuple(float(suggestion.config[name]) for name in self._space)
        return Piece(number, point, 0, RUNGS[0])

    def report(self, piece: Piece, value: float) -> Piece | None:
        """Take a value; return the next piece of the trial."""
        trial = self._trials[piece.trial]
        for epoch in range(piece.begin + 1, piece.end + 1):
            result = {"value": value, "epoch": epoch}
            decision = self._scheduler.on_trial_result(trial, result)
        if piece.end == EPOCHS:
            self._scheduler.on_trial_complete(trial, result)
            return None
        if decision != "CONTINUE":
            self._scheduler.on_trial_remove(trial)
            return None
        end = min(stop for stop in (*RUNGS, EPOCHS) if stop > piece.end)
        return Piece(piece.trial, piece.point, piece.end, end)


class Neps:
    """An algorithm of NePS, which begins a configuration again at its last budget."""

    def __init__(self, task: Task, seed: int, name: str, **options: Any) -> None:
        import neps
        import torch
        from neps.optimizers import algorithms
        from neps.optimizers.ask_and_tell import AskAndTell

        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        start = task.start(seed)
        space = {
            f"x{i}": neps.HPOFloat(0, 1, prior=start[i], prior_confidence="medium")
            for i in range(task.dims)
        }
        space["epoch"] = neps.HPOInteger(RUNGS[0], EPOCHS, is_fidelity=True)
        self._names = [f"x{i}" for i in range(task.dims)]
        space_ = neps.SearchSpace(space) if hasattr(neps, "SearchSpace") else space
        self._search = AskAndTell(getattr(algorithms, name)(space_, **options))
        self._done: dict[Point, int] = {}

    def next(self) -> Piece | None:
        """Return what a free slot trains."""
        trial = self._search.ask()
        point = tuple(float(trial.config[name]) for name in self._names)
        begin, end = self._done.get(point, 0), int(trial.config["epoch"])
        self._done[point] = max(begin, end)
        return Piece(trial, point, min(begin, end - 1), end)

    def report(self, piece: Piece, value: float) -> Piece | None:
        """Take a value; return the next piece of the trial."""
        self._search.tell(piece.trial, -value)
        return None


class Smac:
    """SMAC3's multi-fidelity facade: Hyperband with a random forest."""

    def __init__(self, task: Task, seed: int) -> None:
        from ConfigSpace import Configuration, ConfigurationSpace, Float
        from smac import MultiFidelityFacade, Scenario

        space = ConfigurationSpace(seed=seed)
        self._names = [f"x{i}" for i in range(task.dims)]
        space.add([Float(name, (0.0, 1.0)) for name in self._names])
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            n_trials=400,
            min_budget=RUNGS[0],
            max_budget=EPOCHS,
            seed=seed,
            deterministic=True,
            output_directory=Path(self._folder.name),
        )
        start = dict(zip(self._names, task.start(seed), strict=True))
        design = MultiFidelityFacade.get_initial_design(
            scenario, n_configs=10, additional_configs=[Configuration(space, start)]
        )
        self._search = MultiFidelityFacade(
            scenario, lambda config, seed, budget: 0.0, initial_design=design, logging_level=40
        )
        self._done: dict[Point, int] = {}

    def next(self) -> Piece | None:
        """Return what a free slot trains."""
        try:
            info = self._search.ask()
        except StopIteration:
            return None
        point = tuple(float(info.config[name]) for name in self._names)
        begin, end = self._done.get(point, 0), max(RUNGS[0], round(info.budget or EPOCHS))
        self._done[point] = max(begin, end)
        return Piece(info, point, min(begin, end - 1), end)

    def report(self, piece: Piece, value: float) -> Piece | None:
        """Take a value; return the next piece of the trial."""
        from smac.runhistory.dataclasses import TrialValue

        self._search.tell(piece.trial, TrialValue(cost=-value), save=False)
        return None


PROMOTION, HALVING = (
    f"pruner: {{{form}: {{min_epochs: {RUNGS[0]}, factor: 3}}}}"
    for form in ("promotion", "halving")
)
Make = Callable[[Task, int], Searcher]


def ours(way: str, **options: Any) -> Make:
    """Return a maker of searches through tunecnn."""
    return lambda task, seed: Ours(task, seed, way, **options)


FIRST = "tpe, promotion"
CONTENDERS: dict[str, Make] = {
    FIRST: ours(f"sampler: tpe\n{PROMOTION}"),
    "tpe, halving": ours(f"sampler: tpe\n{HALVING}"),
    "tpe, no pruner": ours("sampler: tpe\npruner: none"),
    "univariate tpe, promotion": ours(f"sampler: {{tpe: {{multivariate: false}}}}\n{PROMOTION}"),
    "sobol start, tpe, promotion": ours(f"sampler: tpe\n{PROMOTION}", sampler=_from_quasi_random),
    "near start, tpe, promotion": ours(
        f"sampler: tpe\n{PROMOTION}", sampler=functools.partial(_AroundStart, safe=False)
    ),
    "near start with safeguard, tpe, promotion": ours(
        f"sampler: tpe\n{PROMOTION}", sampler=functools.partial(_AroundStart, safe=True)
    ),
    "random, promotion": ours(f"sampler: random\n{PROMOTION}"),
    "random, halving": ours(f"sampler: random\n{HALVING}"),
    "random, no pruner": ours("sampler: random\npruner: none"),
    "gp, promotion": ours(f"sampler: gp\n{PROMOTION}"),
    "syne tune asha": lambda task, seed: SyneTune(task, seed, "ASHA"),
    "syne tune bohb": lambda task, seed: SyneTune(task, seed, "BOHB"),
    "neps priorband": lambda task, seed: Neps(task, seed, "priorband", base="async_hb"),
    "smac3": Smac,
}


def _one(name: str, index: int, slots: int, seed: int) -> dict[str, Any]:
    task = tasks()[index]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = simulate(task, CONTENDERS[name](task, seed), slots, seed, COSTS[-1])
    return {"contender": name, "task": task.name, "slots": slots, "seed": seed} | {
        f"score_{cost}": found[cost] for cost in COSTS
    }


def _parallel() -> Parallel:
    tasks()  # made once, before the processes are forked
    return Parallel(n_jobs=os.cpu_count(), backend="multiprocessing")


def run(out: Path, seeds: int, names: list[str]) -> None:
    """Run contenders on all tasks and slots, seed by seed; what OUT has already is kept."""
    done = pd.read_parquet(out) if out.exists() else pd.DataFrame(columns=["contender", "seed"])
    with _parallel() as parallel:
        for seed, name in itertools.product(range(seeds), names or list(CONTENDERS)):
            if ((done["contender"] == name) & (done["seed"] == seed)).any():
                continue
            cases = itertools.product([name], range(len(tasks())), SLOTS, [seed])
            rows = parallel(delayed(_one)(*case) for case in cases)
            done = pd.concat([done, pd.DataFrame(rows)], ignore_index=True)
            done.to_parquet(out)
            print(seed, name, flush=True)


def difference(
    frame: pd.DataFrame, name: str, column: str, first: str = FIRST, count: int = 1
) -> tuple[float, float, float]:
    """Return the mean difference of a contender to the first one, and its corrected 95 % interval.

    Pairs have the same task, slots and seed. The tasks are a sample as well, so the interval is
    Student's over their means; its level is corrected for the number of contenders (Bonferroni).
    """
    keys = ["task", "slots", "seed"]
    by_name = frame.set_index(["contender", *keys])[column]
    pairs = (by_name[name] - by_name[first]).dropna().groupby("task").mean()
    error = pairs.std() / math.sqrt(len(pairs))
    half = t.ppf(1 - 0.025 / count, len(pairs) - 1) * error
    return pairs.mean(), pairs.mean() - half, pairs.mean() + half


def show(out: Path) -> None:
    """Print the table of the contenders, each with its seeds, which it shares with the first."""
    frame = pd.read_parquet(out)
    names = [name for name in CONTENDERS if name in set(frame["contender"])]
    print(
        "| contender | seeds |"
        + "".join(f" {cost} trainings |" for cost in COSTS)
        + "".join(f" {slots} slots: - first |" for slots in SLOTS)
        + " all slots: - first |"
    )
    print("|---|" + "---:|" * (len(COSTS) + len(SLOTS) + 2))
    last = f"score_{COSTS[-1]}"
    for name in names:
        part = frame[frame["contender"] == name]
        cells = [str(part["seed"].nunique())]
        cells += [f"{part[f'score_{cost}'].mean():.1f}" for cost in COSTS]
        for some in (*([slots] for slots in SLOTS), SLOTS):
            if name == FIRST:
                cells.append("-")
                continue
            of = frame[frame["slots"].isin(some)]
            if set(of.loc[of["contender"] == name, "slots"]) != set(some):
                cells.append("not run")
                continue
            cells.append(
                "{:+.1f} ({:+.1f} to {:+.1f})".format(
                    *difference(of, name, last, count=len(names) - 1)
                )
            )
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(
        f"\n{frame['task'].nunique()} tasks; intervals at {COSTS[-1]} full trainings, corrected "
        f"for {len(names) - 1} comparisons"
    )


def _form(index: int, trials: int, sampler: str, slots: int, seed: int) -> dict[str, Any]:
    """Search with promotion, and with stopping at the same cost."""
    task = tasks()[index]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = Ours(task, seed, f"sampler: {sampler}\n{PROMOTION}", trials)
        promotion = simulate(task, first, slots, seed, math.inf)
        other = Ours(task, seed, f"sampler: {sampler}\n{HALVING}")
        halving = simulate(task, other, slots, seed, promotion[0] / EPOCHS)
    return {
        "task": task.name,
        "trials": trials,
        "sampler": sampler,
        "slots": slots,
        "seed": seed,
        "epochs": promotion[0],
        "promotion": promotion[-1],
        "halving": halving[-1],
    }


def forms(out: Path, seeds: int) -> None:
    """Compare the stopping and the promotion form of halving for 16, 64 and 256 trials.

    What OUT has already is kept. Random search only for 256 trials, where TPE takes minutes.
    """
    searches = [(16, "tpe"), (16, "random"), (64, "tpe"), (64, "random"), (256, "random")]
    keys = ["task", "trials", "sampler", "slots", "seed"]
    frame = pd.read_parquet(out) if out.exists() else pd.DataFrame(columns=keys)
    with _parallel() as parallel:
        for seed, (trials, sampler) in itertools.product(range(seeds), searches):
            done = set(frame[keys].itertuples(index=False, name=None))
            cases = [
                (index, trials, sampler, slots, seed)
                for (index, task), slots in itertools.product(enumerate(tasks()), (1, 4))
                if (task.name, trials, sampler, slots, seed) not in done
            ]
            rows = parallel(delayed(_form)(*case) for case in cases)
            frame = pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)
            frame.to_parquet(out)
    print(
        "| trials | sampler | cost in full trainings | promotion | halving | difference |\n"
        "|---:|---|---:|---:|---:|---|"
    )
    for (trials, sampler), part in frame.groupby(["trials", "sampler"]):
        pairs = (part["promotion"] - part["halving"]).groupby(part["task"]).mean()
        half = t.ppf(0.975, len(pairs) - 1) * pairs.std() / math.sqrt(len(pairs))
        print(
            f"| {trials} | {sampler} | {part['epochs'].mean() / EPOCHS:.1f} | "
            f"{part['promotion'].mean():.1f} | {part['halving'].mean():.1f} | "
            f"{pairs.mean():+.1f} ({pairs.mean() - half:+.1f} to "
            f"{pairs.mean() + half:+.1f}) |"
        )


def table(run_path: str, out: Path) -> None:
    """Make the table of a task from a run of random search without a pruner."""
    from tunecnn import load_run
    from tunecnn.space.parameters import ChoiceParameter

    found = load_run(run_path)
    columns: dict[str, Any] = {}
    for name, parameter in found.space.searched_settings.items():
        values = found.trials[f"param.{name}"]
        if isinstance(parameter, ChoiceParameter):
            ranks = {value: i for i, value in enumerate(parameter.options)}
            unit = (values.map(ranks) + 0.5) / len(ranks)
        else:
            low, high = parameter.bounds
            scale = np.log if parameter.log else np.asarray
            unit = (scale(values) - scale(low)) / (scale(high) - scale(low))
        columns[f"unit.{name}"] = unit.astype("float32")
    wide = found.epochs.pivot_table(index="trial", columns="epoch", values=found.space.metric)
    wide = wide.add_prefix("epoch_").astype("float32").reset_index(drop=True)
    pd.concat([pd.DataFrame(columns).reset_index(drop=True), wide], axis=1).to_parquet(out)


def main(words: Iterator[str]) -> None:
    """Do what the command line says."""
    what, path = next(words), next(words)
    if what == "table":
        table(path, Path(next(words)))
    elif what == "show":
        show(Path(path))
    elif what == "forms":
        forms(Path(path), int(next(words, "20")))
    else:
        run(Path(path), int(next(words, "20")), list(words))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
