"""Join or start a Ray cluster, and count how many trials fit on it.

Ray is imported inside the functions, because it reads the environment when it is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from tunecnn.engines.address import check_address, check_same
from tunecnn.engines.internals import counted_cores, stop_node_warnings
from tunecnn.engines.watchdog import Process, Watchdog
from tunecnn.errors import InputError, RunError
from tunecnn.process import usable_cores
from tunecnn.run.info import EngineRecord, NodeRecord
from tunecnn.words import count_in_words, resources_in_words

# Defaults of environment variables: a value that the user has set is kept.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the old reporter can be silenced
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # else Tune retries on its own, not the study
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_enable_worker_prestart": "0",  # Tune's actors never run in these workers,
    "RAY_prestart_worker_first_driver": "0",  # nor in these
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the journal has the data that these would write
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the session has its own
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # an interrupted epoch is lost either way
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the study records the text of each error
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's own snapshots are never read
}


# For a cluster that is started here: version 1 of its autoscaler, which has nothing to scale,
# would delay the shutdown by a second, waiting for a process that has already ended.
QUICK = {"RAY_enable_autoscaler_v2": "1"}


@dataclass(frozen=True)
class Resources:
    """Resources of one trial; `gpus` may be a fraction, and None stands for the default.

    The default is one core, since two trials with one thread each get more done than one trial
    with two threads, and one GPU if the cluster has any. `at_once` is the number of trials that
    may run or wait for a node at once; None for as many as fit.
    """

    cpus: float | None = None
    gpus: float | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class Cluster:
    """A connected cluster.

    Attributes:
        nodes: machines of the cluster.
        cpus: number of cores per trial.
        gpus: number of GPUs per trial.
        slots: number of trials that fit at once; 0 if no node can hold one yet.
        at_once: number of trials that may run or wait for a node at once; None for `slots`.
        limit: what limits the number of trials at once, if it is not what users would expect.
        expects_no_gpus: whether trials use no GPU only because no node had one.
        watchdog: thread that ends this process with a word if the cluster is lost.
        leave: ends the connection, unless it was there before; nothing may need Ray any more.
    """

    nodes: tuple[NodeRecord, ...]
    cpus: float
    gpus: float
    slots: int
    at_once: int | None = None
    limit: str = ""
    expects_no_gpus: bool = False
    watchdog: Watchdog = field(default_factory=lambda: Watchdog({}), compare=False)
    leave: Callable[[], None] = field(default=lambda: None, compare=False)

    @property
    def threads(self) -> int:
        """Number of torch threads per trial: as many as its cores, and at least one."""
        return max(1, int(self.cpus))

    def record(self) -> EngineRecord:
        """Return the record of the hardware on which trials run."""
        return EngineRecord(
            engine="ray",
            nodes=self.nodes,
            threads=self.threads,
            slots=min(filter(None, (self.at_once, self.slots)), default=0),
            cpus_per_trial=self.cpus,
            gpus_per_trial=self.gpus,
        )


@contextlib.contextmanager
def connected(address: str | None, resources: Resources) -> Iterator[Cluster]:
    """Join a running cluster, or start a local one, for as long as the context lasts.

    Args:
        address: address of a running cluster; None for `RAY_ADDRESS` or, if that is not set, a
            local cluster.
        resources: resources of one trial.

    Raises:
        InputError: if the cluster cannot be reached, this process is connected to another one, or
            this machine alone cannot hold one trial.
        RunError: if Ray cannot be started here.
    """
    given, address = address, address or os.environ.get("RAY_ADDRESS") or "local"
    _set_environment(local=address == "local")
    ours = "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
    if ours and address != "local":
        check_address(address)  # before Ray is imported, which takes a second
    import ray

    if not ours and given not in (None, "auto", "local"):
        check_same(given, ray.get_runtime_context().gcs_address)
    with contextlib.ExitStack() as connection:
        if ours:
            _start(address)
            connection.callback(ray.shutdown)
        watchdog = connection.enter_context(_watchdog())
        if ours and address != "local":
            connection.callback(ray.shutdown)  # it would wait for a head that is gone: watched
        cluster = _fit(resources, watchdog, can_grow=address != "local")
        yield replace(cluster, leave=connection.close)


def _set_environment(*, local: bool) -> None:
    for name, value in {**QUIET, **(QUICK if local else {})}.items():
        os.environ.setdefault(name, value)
    if local and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        # Ray listens on every interface, and anyone who can reach it could run code here. If a
        # notebook has imported Ray before, it has read the environment, and would refuse itself.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _start(address: str) -> None:
    import ray

    local = address == "local"
    try:
        # These imports take half a second, while Ray's processes start.
        threading.Thread(target=import_module, args=("ray.tune",), daemon=True).start()
        ray.init(
            address=address,
            num_cpus=_usable_cores() if local else None,
            include_dashboard=False if local else None,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        stop_node_warnings()
    except (OSError, RuntimeError, ValueError) as error:
        if local:
            raise RunError(f"Ray cannot be started on this machine: {error}") from error
        message = " ".join(str(error).split())
        if message.startswith("Version mismatch"):
            raise InputError(
                f"the Ray cluster at {address!r} cannot be joined: {message}; install the "
                "versions of the cluster here"
            ) from error
        raise InputError(f"the Ray cluster at {address!r} cannot be reached: {message}") from error


def _usable_cores() -> int | None:
    """Return how many cores this process may use, if they are fewer than Ray would count.

    Ray counts those of the machine or its control group, and not those of `taskset` or `srun`.
    """
    usable = usable_cores()
    return usable if usable < counted_cores() else None


def _watchdog() -> Watchdog:
    """Return the watchdog of the connected cluster."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    host = host.strip("[]")  # of an IPv6 address
    parts = {"head": Process("the head of the Ray cluster", host, int(port), patience=45.0)}
    own = ray.get_runtime_context().get_node_id()
    for node in alive_nodes():
        if node["NodeID"] == own:
            where = node["NodeManagerAddress"], node["NodeManagerPort"]
            parts["raylet"] = Process("Ray on this machine", *where, patience=5.0)
    return Watchdog(parts)


def _fit(resources: Resources, watchdog: Watchdog, *, can_grow: bool) -> Cluster:
    """Decide the resources of one trial, and count how many trials fit."""
    nodes = alive_nodes()
    total_gpus = sum(node["Resources"].get("GPU", 0) for node in nodes)
    gpus = resources.gpus if resources.gpus is not None else (1 if total_gpus else 0)
    cpus = resources.cpus if resources.cpus is not None else 1
    slots = count_slots(nodes, cpus, gpus)
    named = tuple(
        NodeRecord(
            name=node["NodeManagerHostname"],
            cpus=node["Resources"].get("CPU", 0),
            gpus=node["Resources"].get("GPU", 0),
        )
        for node in nodes
    )
    if slots < 1 and not can_grow:
        there = "; ".join(f"{n.name} has {resources_in_words(n.cpus, n.gpus)}" for n in named)
        raise InputError(
            f"this machine cannot hold one trial of {resources_in_words(cpus, gpus)} "
            f"({there}); lower --cpus-per-trial or --gpus-per-trial"
        )
    limit = limit_in_words(nodes, cpus, gpus)
    without = resources.gpus is None and not total_gpus
    return Cluster(named, cpus, gpus, slots, resources.at_once, limit, without, watchdog)


def limit_in_words(nodes: list[dict[str, Any]], cpus: float, gpus: float) -> str:
    """Say that the cores keep GPUs idle, and what to do; an empty string if they do not."""
    by_gpus, by_both = count_slots(nodes, 0, gpus), count_slots(nodes, cpus, gpus)
    if not gpus or not cpus or by_both >= by_gpus:
        return ""
    lower = min(
        (
            node["Resources"].get("CPU", 0) / count_slots([node], 0, gpus)
            for node in nodes
            if count_slots([node], 0, gpus)
        ),
        default=0.0,
    )
    advice = (
        f"; --cpus-per-trial {int(lower * 100) / 100:g} would use all of them" if lower else ""
    )
    return (
        f"{count_in_words(by_both, 'trial')} at once, since each takes "
        f"{count_in_words(cpus, 'core')}: "
        f"the GPUs alone would hold {by_gpus}{advice}"
    )


def alive_nodes() -> list[dict[str, Any]]:
    """Return Ray's description of each node of the cluster that is alive."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def count_slots(nodes: list[dict[str, Any]], cpus: float, gpus: float) -> int:
    """Count the trials that fit on the nodes at once; a fraction never spans two GPUs."""
    slots = 0
    for node in nodes:
        there = node["Resources"]
        fits = [there.get("CPU", 0) / cpus] if cpus else []
        if gpus:
            fits.append(there.get("GPU", 0) * int(1 / gpus + 1e-6))
        slots += int(min(fits) + 1e-6) if fits else 1
    return slots
