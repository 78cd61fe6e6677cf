"""Asynchronous successive halving: which trials go on after a rung.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020). In its *stopping* form,
a trial that arrives at a rung is compared with those that have been there so far, and stops for
good if it is not among the best 1/factor of them. In its *promotion* form, it is paused with a
checkpoint, and goes on as soon as it is among them, if only since more have come that are worse.
Those that are still paused at the end of the search stop there.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from optuna.trial import FrozenTrial, TrialState

from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Halving, Promotion, rungs
from tunecnn.study.origin import Proposal, Source

PAUSED = "paused_after"
"""User attribute with the epoch after which a trial was paused; 0 once it has been promoted."""
_ONE_IN, _FEWEST = 6, 5

_Entry = tuple[float, int]  # the negative value of a trial at a rung, and its number


def is_paused(trial: FrozenTrial) -> bool:
    """Return whether a trial has been paused at a rung, and not been promoted since."""
    if trial.state != TrialState.RUNNING:
        return False
    return trial.user_attrs.get(PAUSED, 0) in trial.intermediate_values


@dataclass(frozen=True)
class Arrival:
    """A trial that has ended an epoch.

    Attributes:
        number: number of the trial.
        epoch: epoch that has ended.
        value: value of the trial after it; higher is better.
        source: `search` or `random_baseline`.
        is_start: whether the trial is a start point of the space.
    """

    number: int
    epoch: int
    value: float
    source: str = Source.SEARCH
    is_start: bool = False

    @classmethod
    def of(cls, trial: FrozenTrial, epoch: int, value: float) -> Self:
        """Return the arrival of a trial of a study."""
        attrs = trial.user_attrs
        source = attrs.get("source", Source.SEARCH)
        return cls(trial.number, epoch, value, source, attrs.get("proposal") == Proposal.START)


class Rungs:
    """Which trials of a study are at which rung, and which of them may go on.

    Trials of the random baseline have rungs of their own. Start points do not count against other
    trials at the first rung, since a few good ones would stop all others there.

    Args:
        space: space with a pruner of the type `Halving` or `Promotion`.
        trials: trials of earlier sessions.

    Attributes:
        epochs: number of epochs before each rung.
        promotes: whether trials are paused at a rung, and promoted later.
    """

    def __init__(self, space: SearchSpace, trials: Iterable[FrozenTrial]) -> None:
        part = space.pruner
        assert isinstance(part, Halving | Promotion)
        self.epochs = rungs(part, space.epochs)
        self.promotes = isinstance(part, Promotion)
        self._factor = part.factor
        self._at: dict[tuple[str, int], list[_Entry]] = defaultdict(list)  # by source and rung
        self._first: dict[str, list[_Entry]] = defaultdict(list)  # rung 0 without start points
        self._starts: set[int] = set()
        self._paused: dict[int, int] = {}  # rung of each paused trial
        self._going: set[int] = set()  # trials that have passed a rung, and have not ended
        self._complete: set[int] = set()
        for trial in trials:
            there = [epoch for epoch in self.epochs if epoch in trial.intermediate_values]
            for epoch in there:
                self._note(Arrival.of(trial, epoch, trial.intermediate_values[epoch]))
            if is_paused(trial):
                self._paused[trial.number] = len(there) - 1
            elif there:
                self._going.add(trial.number)
            if trial.state.is_finished():
                self.end(trial.number, is_complete=trial.state == TrialState.COMPLETE)

    def goes_on(self, arrival: Arrival, *, protected: bool = False) -> bool:
        """Note the value of a trial after an epoch; return whether it goes on.

        Args:
            arrival: trial, epoch and value.
            protected: whether the trial always goes on.
        """
        if arrival.epoch not in self.epochs:
            return True
        rung = self._note(arrival)
        number, source = arrival.number, arrival.source
        if self.promotes:
            best = any(one == number for _, one in self._top(source, rung))
        else:
            counts = rung or number in self._starts
            rivals = self._at[source, rung] if counts else self._first[source]
            best = -arrival.value <= rivals[max(1, len(rivals) // self._factor) - 1][0]
        if protected or best:
            self._going.add(number)
            return True
        self._going.discard(number)
        if self.promotes:
            self._paused[number] = rung
        return False

    def promotable(self) -> int | None:
        """Return the best paused trial that may go on, at the highest rung first, if any."""
        for rung in reversed(range(len(self.epochs))):
            if found := [
                entry
                for source in Source
                for entry in self._top(source, rung)
                if self._paused.get(entry[1]) == rung
            ]:
                return min(found)[1]
        return None

    def needed(self) -> int | None:
        """Return a paused trial that is needed for enough complete ones at the end of a search.

        Of the sampled trials, at least a sixth are trained to the end and at least five; the same
        holds for those of the random baseline.
        """
        for source in Source:
            there = {number for _, number in self._first[source]}
            least = max(math.ceil(len(there) / _ONE_IN), _FEWEST)
            if len(there & (self._complete | self._going)) >= least:
                continue
            for rung in reversed(range(len(self.epochs))):
                for _, number in self._at[source, rung]:
                    if self._paused.get(number) == rung and number in there:
                        return number
        return None

    def promote(self, number: int) -> None:
        """Note that a paused trial goes on."""
        del self._paused[number]
        self._going.add(number)

    def end(self, number: int, *, is_complete: bool) -> None:
        """Note that a trial has ended."""
        self._paused.pop(number, None)
        self._going.discard(number)
        if is_complete:
            self._complete.add(number)

    def unlikely(self) -> list[int]:
        """Return the paused trials that are in the worse half of their rung, and hardly promoted.

        Should one be promoted after all, it starts again from its first epoch.
        """
        found = []
        for source in Source:
            for rung in range(len(self.epochs)):
                entries = self._at[source, rung]
                worse = entries[max(_FEWEST, len(entries) // 2) :]
                found += [number for _, number in worse if self._paused.get(number) == rung]
        return found

    def _note(self, arrival: Arrival) -> int:
        """Note a value; return its rung."""
        rung = self.epochs.index(arrival.epoch)
        entry = (-arrival.value, arrival.number)
        bisect.insort(self._at[arrival.source, rung], entry)
        if arrival.is_start:
            self._starts.add(arrival.number)
        elif not rung:
            bisect.insort(self._first[arrival.source], entry)
        return rung

    def _top(self, source: str, rung: int) -> Iterator[_Entry]:
        """Iterate over the best 1/factor of the trials at a rung."""
        entries = self._at[source, rung]
        best = entries[: len(entries) // self._factor]
        if rung:
            yield from best
            return
        yield from (entry for entry in best if entry[1] in self._starts)
        others = self._first[source]
        yield from others[: len(others) // self._factor]
