"""Trials that come before the sampler's proposals: start points, grid points, random trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Grid
from tunecnn.study.distributions import grid
from tunecnn.study.origin import Proposal
from tunecnn.study.records import quiet_optuna, rounded
from tunecnn.trial.config import Scalar

_Key = tuple[tuple[str, Scalar], ...]


class Queue:
    """The enqueued and the postponed trials of a study.

    Args:
        study: study in which missing start points of the space are enqueued.
        space: space with the start points, the sampler and the share of the random baseline.

    Attributes:
        postponed: numbers of the trials that wait until no other trial runs.
    """

    def __init__(self, study: optuna.Study, space: SearchSpace) -> None:
        self._study = study
        self._space = space
        self.postponed: list[int] = []
        trials = study.get_trials(deepcopy=False)
        fixed = (trial.system_attrs.get("fixed_params") for trial in trials)
        self._known = {_key(point) for point in fixed if point is not None}
        self._is_grid = isinstance(space.sampler, Grid)
        self._grid = self._unknown_points()
        self._next_point: dict[str, Scalar] | None = None
        for point in space.different_start_points()[: space.trials]:
            if _key(point) not in self._known:
                self._enqueue(point, Proposal.START)

    @property
    def grid_is_done(self) -> bool:
        """Whether the space is searched by a grid and no point of it is left to try."""
        return self._is_grid and not self.is_waiting and self._peek() is None

    def refill(self) -> None:
        """Enqueue the next point of the grid, if there is one and the queue is empty."""
        if self.is_waiting or (point := self._peek()) is None:
            return
        self._next_point = None
        self._enqueue(point, Proposal.GRID)

    def random_is_due(self, randoms: int, started: int) -> bool:
        """Return whether the next trial belongs to the random baseline.

        Trials that wait in the queue come first.

        Args:
            randoms: number of random-baseline trials that have ended or are running.
            started: number of all trials that have ended or are running.
        """
        if not self._space.random_baseline or self.is_waiting:
            return False
        return is_random(self._space, randoms, started)

    @property
    def is_waiting(self) -> bool:
        """Whether a trial waits in the queue: an interrupted one, or one that was enqueued."""
        return bool(self._waiting())

    @property
    def is_interrupted(self) -> bool:
        """Whether the next trial of the queue is an interrupted one."""
        waiting = self._waiting()
        return bool(waiting) and "attempts" in waiting[0].user_attrs

    def _waiting(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _unknown_points(self) -> Iterator[dict[str, Scalar]]:
        return (point for point in _grid(self._space) if _key(point) not in self._known)

    def _peek(self) -> dict[str, Scalar] | None:
        """Return the next point of the grid without consuming it."""
        if self._next_point is None:
            # A start point may leave values to the sampler, and be a point of the grid with them.
            started = {
                _key(rounded(trial.params))
                for trial in self._study.get_trials(deepcopy=False)
                if trial.user_attrs.get("proposal") == Proposal.START
            }
            points = (point for point in self._grid if _key(point) not in started)
            self._next_point = next(points, None)
        return self._next_point

    def _enqueue(self, point: dict[str, Scalar], proposal: Proposal) -> None:
        self._known.add(_key(point))
        with quiet_optuna():
            self._study.enqueue_trial(point, user_attrs=_attrs(self._space, point, proposal))


def is_random(space: SearchSpace, randoms: int, started: int) -> bool:
    """Return whether one more trial is of the random baseline, after so many of it and in all."""
    return randoms + 1 <= space.random_baseline * (started + 1)


def is_protected(space: SearchSpace, point: Mapping[str, Scalar]) -> bool:
    """Return whether a start point is the baseline, which is trained to its end."""
    return "baseline" in space.start and point == space.baseline_point()


def given_trials(space: SearchSpace) -> Iterator[dict[str, object]]:
    """Yield the trials of a space that no sampler proposes, in the order of their numbers.

    They are its start points, then the points of a grid; where start points leave values to the
    sampler, the points after them depend on these, and are not yielded.

    Yields:
        The attributes of a trial in Optuna, by which it has its values.
    """
    start = space.different_start_points()[: space.trials]
    for point in start:
        yield _stored(space, point, Proposal.START)
    if all(
        space.is_active(name, point) == (name in point)
        for point in start
        for name in space.searched
    ):
        known = set(map(_key, start))
        for point in _grid(space):
            if _key(point) not in known:
                yield _stored(space, point, Proposal.GRID)


def _grid(space: SearchSpace) -> Iterator[dict[str, Scalar]]:
    """Return the points of a grid in the order in which they are tried.

    Where all trials are given with their seeds, as in a confirmation, there are no others.
    """
    given = [point for point in space.start if point != "baseline" and "seed" in point]
    if not isinstance(space.sampler, Grid) or len(given) == space.trials:
        return iter(())
    return iter(grid(space))


def _stored(space: SearchSpace, point: dict[str, Scalar], proposal: Proposal) -> dict[str, object]:
    """Return the attributes of an enqueued trial, as Optuna stores them."""
    attrs = _attrs(space, point, proposal)
    return {"user_attrs": attrs, "system_attrs": {"fixed_params": point}}


def _attrs(
    space: SearchSpace, point: Mapping[str, Scalar], proposal: Proposal
) -> dict[str, object]:
    return {"proposal": proposal, **({"protected": True} if is_protected(space, point) else {})}


def _key(point: Mapping[str, Scalar]) -> _Key:
    return tuple(sorted(point.items()))
