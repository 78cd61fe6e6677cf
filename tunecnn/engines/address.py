"""Check that a Ray cluster can be joined, before Ray tries: it would try long, and hide why."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tunecnn.errors import InputError, reason

_GREETING_SECONDS, _KNOCK_SECONDS = 2.0, 5.0
_PROBE_SECONDS = 30.0

_PROBE = """
import sys
from ray._private import services
from ray._raylet import GcsClient
try:
    address = services.canonicalize_bootstrap_address_or_die(sys.argv[1])
    GcsClient(address=address)
except BaseException as error:
    print(f"Failed: {error}", file=sys.stderr, flush=True)
    sys.exit(1)
"""


def answers(address: str, port: int) -> bool:
    """Return whether something accepts connections at an address."""
    try:
        socket.create_connection((address, port), timeout=_GREETING_SECONDS).close()
    except OSError:
        return False
    return True


def check_address(address: str) -> None:
    """Check that a cluster answers at an address and lets us in.

    Args:
        address: `HOST:PORT`, or `auto` for the cluster of which this machine is a node.

    Raises:
        InputError: if the cluster cannot be joined, with the reason and what to do.
    """
    check_form(address)
    if address != "auto":
        _knock(address)
    if reason := _probe(address):
        raise InputError(f"the Ray cluster at {address!r} cannot be joined: {reason}")


def check_form(address: str) -> None:
    """Check that an address is `HOST:PORT` or `auto`, without any attempt to reach it.

    Raises:
        InputError: if it is something else, such as the address of Ray Client.
    """
    if address == "auto":
        return
    scheme, _, rest = address.partition("://")
    if rest and scheme == "ray":
        raise InputError(
            f"{address}: Ray Client is not supported, since the study runs in this process; "
            "run tunecnn on a node of the cluster, with --address auto"
        )
    if rest:
        raise InputError(
            f"{address} is the address of Ray's dashboard, to which jobs are submitted: ray job "
            f"submit --address {address} -- tunecnn search ...; on a node of the cluster, give "
            "--address auto, or HOST:6379"
        )
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise InputError(f"--address must be HOST:PORT, such as 10.0.0.1:6379, not {address!r}")


def check_same(address: str, connected: str) -> None:
    """Check that an address is that of the cluster to which this process is connected.

    Args:
        address: `HOST:PORT`.
        connected: address of the head of that cluster, by its number.

    Raises:
        InputError: if it is not.
    """
    check_form(address)
    if not _numbers(address) & _numbers(connected):
        raise InputError(
            f"this process is connected to the Ray cluster at {connected!r}, not to the one at "
            f"{address!r}: call ray.shutdown() before, or leave the address out"
        )


def _numbers(address: str) -> set[tuple[str, int]]:
    """Return the numbers of the host of an address, each with the port."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {(str(one[4][0]), int(port)) for one in found}


def _knock(address: str) -> None:
    """Check that something listens at an address."""
    host, _, port = address.rpartition(":")
    start = f"the Ray cluster at {address!r} cannot be reached:"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"{start} the host {host!r} is not known") from error
    except TimeoutError as error:
        raise InputError(
            f"{start} no answer within {_KNOCK_SECONDS:g} s; is there a firewall between?"
        ) from error
    except OSError as error:
        raise InputError(
            f"{start} {reason(error)}; `ray start --head` prints the right address"
        ) from error


def _probe(address: str) -> str:
    """Ask the cluster for its id in another process; return why it gives none, in words.

    A client of Ray repeats its question for 20 seconds and more, and writes the answers to stderr.
    The first answer is enough.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE, address],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )
    timer = threading.Timer(_PROBE_SECONDS, process.kill)
    timer.start()
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if "Failed" in line), "")
    finally:
        process.kill()
        code = process.wait()
        timer.cancel()
    if not line and code >= 0:
        return ""
    return _in_words(line)


def _in_words(line: str) -> str:
    if "AuthToken" in line or "Unauthenticated" in line or "authentication" in line.lower():
        source = _token_source()
        if source and os.environ.get("RAY_AUTH_MODE") == "token":
            return f"it does not accept the token of {source}; take the token of the cluster"
        return (
            "it asks for a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH, as on the cluster"
        )
    if "Could not find any running Ray instance" in line:
        return "no Ray runs on this machine; give --address HOST:PORT, or leave --address out"
    if not line or "http2" in line or "TimedOut" in line or "within 5 seconds" in line:
        return "what answers there is no Ray cluster; the port of its head is 6379 by default"
    text = re.sub(r"^.*?Failed(?: to get cluster ID from GCS server)?:", "", line)
    return " ".join(text.split())


def _token_source() -> str:
    """Return where Ray takes its token from, in words; empty if there is none."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        if os.environ.get(name):
            return name
    file = Path.home() / ".ray" / "auth_token"
    return str(file) if file.is_file() else ""
