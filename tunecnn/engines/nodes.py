"""Whether a trial or its node is to blame for a failed worker, and which nodes are shut out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum, auto

_DEVICE_TRIALS = 2  # of different configs: with one alone, its config may be the reason
_NODE_TRIALS = 3
_UNFIT_WORKERS = 2
_LOST_NODES = 5


@dataclass(frozen=True)
class Place:
    """Where a worker runs.

    Attributes:
        node_id: Ray's id of the node; empty if it is not known.
        node: name of the node, or its address.
        device_id: name of the device on the node, such as `GPU 3`; empty for a CPU.
    """

    node_id: str
    node: str
    device_id: str = ""

    def __str__(self) -> str:
        return f"{self.device_id} of {self.node}" if self.device_id else self.node


class Blame(Enum):
    """Who is to blame for a failure of a worker."""

    TRIAL = auto()
    DEVICE = auto()
    NODE = auto()


class Nodes:
    """The nodes of a cluster: what failed on them, and which of them get no more trials.

    A device fails if two trials in a row end there with an error of the device, a node if three
    do, or if two workers cannot begin. A trial with an error of the device is tried elsewhere; it
    is to blame if the error comes back there.

    Args:
        max_failures: number of failures after which a trial is to blame even if it has been on one
            node only.
    """

    def __init__(self, max_failures: int) -> None:
        self._max_failures = max_failures
        self.shut_out: dict[str, str] = {}
        """Name of each node that gets no more trials, by Ray's id."""
        self._faults: dict[Place, dict[int, None]] = defaultdict(dict)
        self._unfit: dict[str, int] = defaultdict(int)
        self._failed_on: dict[int, list[str]] = defaultdict(list)
        self._lost_with: dict[int, int] = defaultdict(int)

    def avoided(self, trial: int, usable: set[str]) -> tuple[str, ...]:
        """Return the nodes on which a trial must not run.

        Args:
            trial: number of the trial.
            usable: nodes that can hold a trial.
        """
        elsewhere = set(self.shut_out) | set(self._failed_on.get(trial, ()))
        return tuple(sorted(elsewhere if usable - elsewhere else self.shut_out))

    def shut(self, place: Place) -> None:
        """Give a node no more trials."""
        self.shut_out[place.node_id] = place.node

    def worked(self, place: Place, trial: int) -> None:
        """Note that a trial has made progress somewhere, so earlier failures there were not it."""
        self._faults.pop(place, None)
        self._unfit.pop(place.node_id, None)
        self._lost_with.pop(trial, None)

    def unfit(self, place: Place) -> bool:
        """Count a worker that could not begin; return whether its node has to be shut out."""
        self._unfit[place.node_id] += 1
        return self._unfit[place.node_id] >= _UNFIT_WORKERS

    def lost(self, trial: int) -> bool:
        """Count a node that was lost under a trial; return whether the trial is to blame."""
        self._lost_with[trial] += 1
        return self._lost_with[trial] > _LOST_NODES

    def failures(self, trial: int) -> tuple[int, int]:
        """Return how often devices had an error under a trial, and on how many nodes."""
        return len(self._failed_on[trial]), len(set(self._failed_on[trial]))

    def failed(self, place: Place, trial: int) -> Blame | None:
        """Count an error of a device under a trial.

        Returns:
            Who is to blame; None if it is not clear yet, so that the trial is tried again.
        """
        nodes = self._failed_on[trial]
        nodes.append(place.node_id)
        if len(set(nodes)) > 1 or len(nodes) > self._max_failures:
            for trials in self._faults.values():
                trials.pop(trial, None)
            return Blame.TRIAL
        self._faults[place][trial] = None
        here = {
            trial
            for at, trials in self._faults.items()
            if at.node_id == place.node_id
            for trial in trials
        }
        if len(self._faults[place]) >= _DEVICE_TRIALS:
            return Blame.DEVICE
        return Blame.NODE if len(here) >= _NODE_TRIALS else None
