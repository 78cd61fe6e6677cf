"""A search on a cluster that starts without any node for trials, and grows: `make cluster`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.searching import TEXT
from tunecnn import load_run

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
EMPTY = ("initialization_commands", "setup_commands", "head_setup_commands",
         "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
         "cluster_synced_files", "rsync_exclude", "rsync_filter")  # fmt: skip
CONFIG = {
    "cluster_name": "growing",
    "max_workers": 2,
    "idle_timeout_minutes": 5,
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "provider": {"type": "fake_multinode"},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    **{key: [] for key in EMPTY},
}


@pytest.fixture
def growing(tmp_path) -> Iterator[dict[str, str]]:
    """Ray's fake provider starts a node of one core on this machine for each demand, at most two."""
    config = tmp_path / "cluster.json"
    config.write_text(json.dumps(CONFIG))
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    command = [
        "ray",
        "start",
        "--head",
        "--num-cpus=0",
        "--port=6379",
        "--disable-usage-stats",
        f"--autoscaling-config={config}",
    ]
    subprocess.run(command, env=env, check=True, capture_output=True)
    yield env
    subprocess.run(["ray", "stop", "--force"], env=env, check=False, capture_output=True)


def test_a_search_makes_an_empty_cluster_grow_to_two_nodes(growing, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(TEXT.replace("trials: 3", "trials: 12").replace("epochs: 2", "epochs: 60"))
    began = time.monotonic()
    search = subprocess.Popen(
        ["tunecnn", "search", "--space", str(space), "--runs-dir", str(tmp_path), "--name", "run",
         "--address", "127.0.0.1:6379", "--max-trials-at-once", "2"],
        env=growing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    first = None
    while search.poll() is None:
        time.sleep(0.5)
        if first is None and (tmp_path / "run/study.seal").exists():
            frame = load_run(tmp_path / "run").epochs
            first = time.monotonic() - began if len(frame) else None
    out = search.communicate()[0]
    assert search.returncode == 0, out
    trials = load_run(tmp_path / "run").trials
    assert trials["outcome"].tolist() == ["complete"] * 12
    started = trials.sort_values("started")
    overlap = (started["started"].shift(-1) < started["ended"]).sum()
    assert overlap >= 6  # two at once: on both nodes
    print(f"first epoch after {first:.1f} s, {overlap} trials beside the next one", out)
