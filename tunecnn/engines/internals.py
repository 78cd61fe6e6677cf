"""What only Ray's private modules tell or do: here, so that a new version of Ray breaks one file.

As they are in Ray 2.60.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]


def stop_node_warnings() -> None:
    """Keep Ray from printing its own warnings about nodes to stdout, among the results.

    The thread that waits for them is ended first: a closed subscription answers at once, for ever.
    """
    import ray

    worker: Any = ray._private.worker.global_worker
    worker.threads_stopped.set()
    worker.gcs_error_subscriber.close()


def counted_cores() -> int:
    """Return how many cores Ray counts on this machine, or in its control group."""
    from ray._private.utils import get_num_cpus

    return int(get_num_cpus())


def free_resources() -> Mapping[str, Mapping[str, float]]:
    """Return the free resources of each node, by its id."""
    from ray._private.state import state

    free: Mapping[str, Mapping[str, float]] = state.available_resources_per_node()  # type: ignore[no-untyped-call]
    return free


def actor_of(trial: Any) -> Any:
    """Return the handle of the actor that runs a trial of Tune; None without one."""
    return trial.temporary_state.ray_actor


def actor_id(actor: Any) -> str:
    """Return the id of an actor, by its handle."""
    return str(actor._actor_id.hex())


def actor_record(actor: str) -> Record:
    """Return what the cluster knows of an actor, by its id."""
    from ray._private.state import state

    record: Record = state.actor_table(actor)
    return record


def living_actors() -> list[Record]:
    """Return what the cluster knows of each actor that is alive."""
    from ray._private.state import state

    return list(state.actor_table(None, actor_state_name="ALIVE").values())


def jobs() -> dict[str, Record]:
    """Return what the cluster knows of each job, by its id."""
    from ray._private.state import state

    return {job["JobID"]: job for job in state.job_table()}  # type: ignore[no-untyped-call]
