"""How many trials a cluster can hold now, and what keeps a search waiting."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tunecnn.engines.address import answers
from tunecnn.engines.cluster import Cluster, alive_nodes, count_slots
from tunecnn.engines.internals import free_resources, jobs, living_actors
from tunecnn.words import count_in_words, resources_in_words, seconds_in_words

_COUNT_SECONDS = 5.0
_FIRST_WORD_SECONDS = 10.0
_NEXT_WORD_SECONDS = 60.0


class Room:
    """Number of trials that fit on the cluster now, which can grow and shrink.

    Args:
        cluster: cluster at the start.
        shut_out: ids of the nodes that get no trials, with their names; it changes.
        wait_seconds: seconds without any room after which the session ends.
        clock: function that returns the time in seconds.
        alive: function that returns Ray's description of each node that is alive.
    """

    def __init__(
        self,
        cluster: Cluster,
        shut_out: Mapping[str, str],
        wait_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        alive: Callable[[], list[dict[str, Any]]] = alive_nodes,
    ) -> None:
        self._cluster = cluster
        self._shut_out = shut_out
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._alive = alive
        self._slots = cluster.slots
        self._nodes: list[dict[str, Any]] = []
        self._counted = -_COUNT_SECONDS
        self._seen = clock()
        self._idle_since: float | None = None
        self._next_word = _FIRST_WORD_SECONDS

    @property
    def slots(self) -> int:
        """Number of trials that fit at once, recounted every few seconds."""
        self._count()
        return self._slots

    @property
    def wanted(self) -> int:
        """Number of trials to run or to have ready.

        It is what fits, and never none, so that an autoscaler sees a demand; or as many as the
        user allows at once, even if they do not fit yet.
        """
        return self._cluster.at_once or max(self.slots, 1)

    @property
    def usable(self) -> set[str]:
        """Ids of the nodes that can hold a trial and are not shut out."""
        self._count()
        return {node["NodeID"] for node in self._nodes if self._holds(node)}

    @property
    def unexpected_gpus(self) -> str:
        """Name of a node that has joined with GPUs, where trials use none as no node had one."""
        if not self._cluster.expects_no_gpus:
            return ""
        self._count()
        names = (
            node["NodeManagerHostname"] for node in self._nodes if node["Resources"].get("GPU", 0)
        )
        return next(names, "")

    @property
    def is_shut(self) -> bool:
        """Whether all nodes that could hold a trial are shut out."""
        self._count(again=True)
        return not self._slots and any(node["NodeID"] in self._shut_out for node in self._nodes)

    @property
    def missing_seconds(self) -> float:
        """Seconds for which the cluster has had no room for any trial."""
        return 0.0 if self.slots else self._clock() - self._seen

    def is_alive(self, node_id: str) -> bool:
        """Return whether a node is alive and answers; Ray itself notices a loss only later."""
        for node in self._alive():
            if node["NodeID"] == node_id:
                return answers(node["NodeManagerAddress"], node["NodeManagerPort"])
        return False

    def name_of(self, node_id: str) -> str:
        """Return the name of a node; empty if it is not alive."""
        names = (n["NodeManagerHostname"] for n in self._alive() if n["NodeID"] == node_id)
        return next(names, "")

    def words(self, running: int, ready: int) -> str:
        """Return what to tell a user who waits; empty if there is nothing new to tell.

        Args:
            running: number of trials that are being trained.
            ready: number of trials that wait for a node.
        """
        if running or not ready:
            since, self._idle_since = self._idle_since, None
            waited = 0.0 if since is None else self._clock() - since
            announced, self._next_word = self._next_word > _FIRST_WORD_SECONDS, _FIRST_WORD_SECONDS
            words = f"a trial has begun after {seconds_in_words(waited)} of waiting"
            return words if announced and running else ""
        if self._idle_since is None:
            self._idle_since = self._clock()
        waited = self._clock() - self._idle_since
        if waited < self._next_word:
            return ""
        self._next_word = waited + _NEXT_WORD_SECONDS
        return f"waiting for {seconds_in_words(waited)}: {self._why()}"

    def _why(self) -> str:
        trial = resources_in_words(self._cluster.cpus, self._cluster.gpus)
        if self.slots:
            return (
                f"a trial takes {trial}; {held()} (no limit of time, since a node could hold a "
                "trial once it is free: --wait-for-workers counts only while none could)"
            )
        there = "; ".join(map(node_in_words, self._nodes)) or "no node is alive"
        return (
            f"no node can hold a trial of {trial} ({there}); the run ends after "
            f"{self._wait_seconds:g} s of that (--wait-for-workers)"
        )

    def _holds(self, node: dict[str, Any]) -> bool:
        if node["NodeID"] in self._shut_out:
            return False
        return count_slots([node], self._cluster.cpus, self._cluster.gpus) > 0

    def _count(self, *, again: bool = False) -> None:
        now = self._clock()
        if again or now - self._counted >= _COUNT_SECONDS:
            self._nodes = self._alive()
            usable = [node for node in self._nodes if self._holds(node)]
            self._slots = count_slots(usable, self._cluster.cpus, self._cluster.gpus)
            self._counted = now
        if self._slots:
            self._seen = now


def node_in_words(node: dict[str, Any]) -> str:
    """Return the name of a node and its resources."""
    there = node["Resources"]
    own = resources_in_words(there.get("CPU", 0), there.get("GPU", 0))
    return f"{node['NodeManagerHostname']} has {own}"


def held() -> str:
    """Describe who holds the resources of the connected cluster."""
    free = free_resources()
    nodes = []
    for node in alive_nodes():
        parts = []
        for name, word in (("CPU", "cores"), ("GPU", "GPUs")):
            if total := node["Resources"].get(name, 0):
                left = free.get(node["NodeID"], {}).get(name, 0)
                parts.append(f"{left:g} of {total:g} {word}")
        if parts:
            nodes.append(f"{node['NodeManagerHostname']}: {' and '.join(parts)} free")
    return "; ".join(nodes) + _holders()


def _holders() -> str:
    import ray

    own = ray.get_runtime_context().get_job_id()
    # The supervisor of a submitted job takes no resources.
    actors = Counter(a["JobID"] for a in living_actors() if a["ActorClassName"] != "JobSupervisor")
    actors.pop(own, None)
    if not actors:
        return (
            ", held by workers of this search that are starting, or by tasks, placement groups or "
            "a driver of another job"
        )
    known = jobs()
    return ", held by " + ", ".join(_job(known.get(name), name, n) for name, n in actors.items())


def _job(job: Mapping[str, Any] | None, name: str, actors: int) -> str:
    what = f"job {name} ({count_in_words(actors, 'actor')}"
    if job is None:
        return what + ")"
    command = " ".join(str(job.get("Entrypoint") or "").split())[:60]
    where = f", process {job['DriverPid']} on {job['DriverIPAddress']}"
    return what + (f", {command}" if command else "") + where + ")"
