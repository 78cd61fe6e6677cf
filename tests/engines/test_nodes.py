from __future__ import annotations

import os

import pytest

from tunecnn.engines import cluster
from tunecnn.engines.cluster import Cluster, limit_in_words
from tunecnn.engines.nodes import Blame, Nodes, Place
from tunecnn.engines.room import Room
from tunecnn.engines.worker import assigned_device, memory_share

A0, A1, A2 = (Place("a", "alpha", f"GPU {n}") for n in (0, 1, 2))
B0 = Place("b", "beta", "GPU 0")


def test_a_device_is_to_blame_for_the_errors_of_two_trials():
    nodes = Nodes(max_failures=2)
    assert nodes.failed(A0, 1) is None
    assert nodes.failed(A0, 2) is Blame.DEVICE


def test_a_node_is_to_blame_for_the_errors_of_three_devices():
    nodes = Nodes(max_failures=2)
    assert [nodes.failed(place, n) for n, place in enumerate((A0, A1, A2))] == [
        None,
        None,
        Blame.NODE,
    ]


def test_a_trial_whose_error_comes_back_elsewhere_is_to_blame_and_the_nodes_are_not():
    nodes = Nodes(max_failures=2)
    assert nodes.failed(A0, 1) is None
    assert nodes.avoided(1, {"a", "b"}) == ("a",)
    assert nodes.avoided(2, {"a", "b"}) == ()
    assert nodes.failed(B0, 1) is Blame.TRIAL
    assert nodes.failed(A0, 2) is None  # its first failure, not the device's second


def test_a_trial_with_one_node_only_is_to_blame_after_the_allowed_failures():
    nodes = Nodes(max_failures=2)
    assert nodes.avoided(1, {"a"}) == ()
    assert [nodes.failed(A0, 1) for _ in range(3)] == [None, None, Blame.TRIAL]
    assert nodes.failures(1) == (3, 1)


def test_progress_clears_a_device():
    nodes = Nodes(max_failures=2)
    assert nodes.failed(A0, 1) is None
    nodes.worked(A0, 2)
    assert nodes.failed(A0, 3) is None


def test_workers_that_cannot_begin_shut_a_node_out_for_all_trials():
    nodes = Nodes(max_failures=2)
    assert [nodes.unfit(A0), nodes.unfit(A1)] == [False, True]
    nodes.shut(A0)
    assert nodes.avoided(7, {"b"}) == ("a",)


def test_a_trial_that_takes_each_node_down_is_to_blame_at_last():
    nodes = Nodes(max_failures=0)
    assert [nodes.lost(1) for _ in range(6)] == [False] * 5 + [True]
    nodes.worked(A0, 1)
    assert not nodes.lost(1)


def node(name: str, cpus: float, gpus: float = 0) -> dict[str, object]:
    return {
        "NodeID": name,
        "Alive": True,
        "NodeManagerHostname": name,
        "Resources": {"CPU": cpus, "GPU": gpus},
    }


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def room(nodes: list[dict[str, object]], at_once: int | None = None):
    clock, shut = Clock(), {}
    cluster = Cluster((), 1, 0, 0, at_once)
    return Room(cluster, shut, 300, clock, lambda: nodes), clock, shut


def test_an_empty_cluster_has_one_trial_ready_so_that_an_autoscaler_sees_a_demand():
    nodes: list[dict[str, object]] = []
    there, clock, _ = room(nodes)
    assert (there.slots, there.wanted) == (0, 1)
    nodes.append(node("a", 3))
    clock.now = 6.0
    assert (there.slots, there.wanted) == (3, 3)
    assert room([node("a", 3)], at_once=8)[0].wanted == 8
    assert room([node("a", 3)], at_once=2)[0].wanted == 2


def test_a_node_that_is_shut_out_has_no_room():
    there, clock, shut = room([node("a", 2), node("b", 1)])
    assert (there.slots, there.usable, there.is_shut) == (3, {"a", "b"}, False)
    shut["a"] = "a"
    clock.now = 6.0
    assert (there.slots, there.usable, there.is_shut) == (1, {"b"}, False)
    shut["b"] = "b"
    assert there.is_shut
    assert there.missing_seconds == 0.0
    clock.now = 20.0
    assert there.missing_seconds == 14.0


def test_gpus_that_join_a_session_without_any_are_named():
    for expects_no_gpus in (True, False):
        cluster = Cluster((), 1, 0, 0, expects_no_gpus=expects_no_gpus)
        clock, nodes = Clock(), [node("a", 2)]
        there = Room(cluster, {}, 300, clock, lambda nodes=nodes: nodes)
        assert there.unexpected_gpus == ""
        nodes.append(node("b", 2, 1))
        clock.now = 6.0
        assert there.unexpected_gpus == ("b" if expects_no_gpus else "")


def test_waiting_without_a_node_is_said_with_its_limit():
    there, clock, _ = room([node("small", 0.5)])
    assert there.words(0, 1) == ""
    clock.now = 12.0
    assert there.words(0, 1) == (
        "waiting for 12.0 s: no node can hold a trial of 1 core and 0 GPUs (small has 0.5 cores and "
        "0 GPUs); the run ends after 300 s of that (--wait-for-workers)"
    )
    clock.now = 30.0
    assert there.words(0, 1) == ""  # not again so soon
    clock.now = 75.0
    assert there.words(0, 1).startswith("waiting for 1 min 15 s: no node")
    assert there.words(1, 0) == "a trial has begun after 1 min 15 s of waiting"
    assert there.words(1, 0) == ""


def test_trials_that_no_longer_wait_have_not_begun_where_the_run_ends():
    there, clock, _ = room([node("small", 0.5)])
    assert there.words(0, 1) == ""
    clock.now = 301.0
    assert there.words(0, 1).startswith("waiting for 5 min 1 s")
    assert there.words(0, 0) == ""


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "words"),
    [
        ([node("a", 16, 4)], 1, 1, ""),
        ([node("a", 8, 0)], 2, 0, ""),
        ([node("a", 5, 4)], 1, 1 / 3, "5 trials at once, since each takes 1 core: the GPUs alone "
                                      "would hold 12; --cpus-per-trial 0.41 would use all of them"),
        ([node("a", 0, 2)], 1, 1, "0 trials at once, since each takes 1 core: the GPUs alone "
                                  "would hold 2"),
    ],
)  # fmt: skip
def test_cores_that_keep_gpus_idle_are_named(nodes, cpus, gpus, words):
    assert limit_in_words(nodes, cpus, gpus) == words


NOSET = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(
    ("assigned", "environ", "available", "index"),
    [
        ([], {}, True, None),  # a trial on the CPU of a machine with a GPU
        ([3], {"CUDA_VISIBLE_DEVICES": "3"}, True, 0),
        ([3], NOSET, True, 3),
        ([3], {**NOSET, "CUDA_VISIBLE_DEVICES": "2,3"}, True, 1),
        (["GPU-1f"], {**NOSET, "CUDA_VISIBLE_DEVICES": "GPU-0a,GPU-1f"}, True, 1),
        ([0], {**NOSET, "CUDA_VISIBLE_DEVICES": ""}, True, 0),
        ([3], {"RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1"}, True, 3),
        (
            [3],
            {"RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1,3"},
            True,
            1,
        ),
    ],
)
def test_a_worker_uses_the_gpu_that_it_was_given(assigned, environ, available, index):
    assert assigned_device(assigned, environ, available, has_device=True) == (index, "")


@pytest.mark.parametrize("gigabytes", [2, 24, 141])
def test_the_shares_of_a_gpu_leave_room_for_a_context_of_each_process(gigabytes):
    total = gigabytes * 2**30
    for count in (2, 4):
        share = memory_share(1 / count, total)
        assert 0.5 / count <= share < 1 / count
        if gigabytes > 2:
            assert count * (share * total + 2**29) <= total * (1 + 1e-9)


def test_a_gpu_that_is_held_in_name_only_is_said():
    index, unused = assigned_device([0], {}, is_available=False, has_device=False)
    assert index is None
    assert unused.startswith("its trials hold a GPU and train on the CPU")
    with pytest.raises(RuntimeError, match="install a build of torch for the driver"):
        assigned_device([0], {}, is_available=False, has_device=True)


def test_a_local_cluster_has_no_more_cores_than_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    monkeypatch.setattr("ray._private.utils.get_num_cpus", lambda: 8)
    assert cluster._usable_cores() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cluster._usable_cores() is None  # a control group allows fewer
