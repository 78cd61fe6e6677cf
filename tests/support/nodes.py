"""Ray nodes on one machine, each with its own network, host name, processes and files.

It takes root and Linux's namespaces; `reason` says why it cannot be done here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

_BRIDGE = "tunecnnbr"
_NETWORK = "10.79.0"
_BIN = Path(sys.executable).parent


def reason() -> str:
    """Why no nodes can be made here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := [
        name for name in ("ip", "unshare", "nsenter", "mount") if not shutil.which(name)
    ]:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(["unshare", "-m", "-u", "-p", "-n", "-f", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "namespaces are not allowed here"


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Node:
    """A machine of its own, as far as Ray can see.

    Args:
        name: its host name.
        number: last number of its address.
        folder: folder of its own files.
        mounts: what stands at a path on this node instead of what is there.
        env: environment variables of its processes.
    """

    def __init__(
        self, name: str, number: int, folder: Path, mounts: dict[Path, Path], env: dict[str, str]
    ) -> None:
        self.name, self.address = name, f"{_NETWORK}.{number}"
        self._space, self._env = f"tc{number}", env
        folder.mkdir()
        (folder / "ray").mkdir()
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {name}\n")
        _do("ip", "netns", "add", self._space)
        peer = ("peer", "name", "eth0", "netns", self._space)
        _do("ip", "link", "add", self._space, "type", "veth", *peer)
        _do("ip", "link", "set", self._space, "master", _BRIDGE, "up")
        _do("ip", "-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _do("ip", "-n", self._space, "link", "set", device, "up")
        Path("/tmp/ray").mkdir(exist_ok=True)
        binds = {Path("/tmp/ray"): folder / "ray", Path("/etc/hosts"): folder / "hosts", **mounts}
        script = [f"hostname {name}", "mount --make-rprivate /"]
        script += [f"mount --bind {source} {target}" for target, source in binds.items()]
        script += ["mount -t tmpfs -o size=1500m none /dev/shm", "touch " + str(folder / "up")]
        script += ["exec sleep infinity"]
        isolated = [
            "unshare",
            "-m",
            "-u",
            "-p",
            "-f",
            "--mount-proc",
            "sh",
            "-ec",
            "\n".join(script),
        ]
        self._outer = subprocess.Popen(
            ["ip", "netns", "exec", self._space, *isolated], stderr=subprocess.DEVNULL
        )
        while not (folder / "up").exists():
            time.sleep(0.05)
            assert self._outer.poll() is None, "the node did not start"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self._pid = children.split()[0]

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command on the node."""
        values = {
            "RAY_AUTH_MODE": "disabled",
            "RAY_DISABLE_MEMORY_MONITOR": "1",
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            **self._env,
        }
        env = [f"{key}={value}" for key, value in values.items()]
        inside = ["nsenter", "-t", self._pid, "-m", "-n", "-u", "-p", "--"]
        return [*inside, "env", "-u", "RAY_ADDRESS", *env, *command]

    def run(self, *command: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a command on the node."""
        return subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=timeout, check=False
        )

    def kill(self) -> None:
        """End the node with all its processes, at once."""
        subprocess.run(["kill", "-9", self._pid], check=False)
        self._outer.wait()

    def remove(self) -> None:
        """End the node, and take its network away."""
        self.kill()
        for command in (("ip", "link", "del", self._space), ("ip", "netns", "del", self._space)):
            subprocess.run(command, capture_output=True, check=False)


class RayNodes:
    """A Ray cluster of such nodes, whose head is the first one; a context manager."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="tunecnn-nodes-"))
        self._nodes: list[Node] = []
        _do("ip", "link", "add", _BRIDGE, "type", "bridge")
        _do("ip", "addr", "add", f"{_NETWORK}.254/24", "dev", _BRIDGE)
        _do("ip", "link", "set", _BRIDGE, "up")
        return self

    def __exit__(self, *error: object) -> None:
        for node in self._nodes:
            node.remove()
        subprocess.run(["ip", "link", "del", _BRIDGE], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            shutil.rmtree(self._folder)

    @property
    def head(self) -> Node:
        """The node on which the search runs."""
        return self._nodes[0]

    def add(
        self,
        name: str,
        cpus: int,
        gpus: int = 0,
        mounts: dict[Path, Path] | None = None,
        env: dict[str, str] | None = None,
    ) -> Node:
        """Add a node to the cluster; the first one becomes its head."""
        number = len(self._nodes) + 1
        node = Node(name, number, self._folder / name, mounts or {}, env or {})
        self._nodes.append(node)
        first = ["--head", "--port=6379", "--include-dashboard=false"]
        role = first if number == 1 else [f"--address={_NETWORK}.1:6379"]
        size = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=150000000"]
        started = node.run(
            "ray",
            "start",
            *role,
            *size,
            f"--node-ip-address={node.address}",
            "--disable-usage-stats",
        )
        assert started.returncode == 0, started.stderr
        return node
