from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading

import pytest

from tunecnn.engines.address import check_address, check_same
from tunecnn.errors import InputError


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "http://10.0.0.1:8265",
            r"dashboard.*ray job submit --address http://10\.0\.0\.1:8265 --",
        ),
        ("https://jobs.example", r"dashboard"),
        ("ray://10.0.0.1:10001", r"Ray Client is not supported.*--address auto"),
        ("10.0.0.1", r"must be HOST:PORT, such as 10\.0\.0\.1:6379, not '10\.0\.0\.1'"),
        ("10.0.0.1:", "must be HOST:PORT"),
        (":6379", "must be HOST:PORT"),
        ("head:port", "must be HOST:PORT"),
        ("127.0.0.1:65536", "must be HOST:PORT"),
        ("127.0.0.1:1", r"cannot be reached: Connection refused; `ray start --head` prints"),
        ("a..b:6379", r"the host 'a\.\.b' is not known"),
        ("no-such-host.invalid:6379", r"the host 'no-such-host\.invalid' is not known"),
    ],
)
def test_an_address_that_is_none_of_a_cluster_is_refused_with_what_to_do(address, words):
    with pytest.raises(InputError, match=words) as error:
        check_address(address)
    assert "\n" not in str(error.value)


def test_a_process_that_is_connected_elsewhere_says_so():
    check_same("localhost:6379", "127.0.0.1:6379")
    for other in ("127.0.0.1:6380", "10.9.8.7:6379", "no-such-host.invalid:6379"):
        with pytest.raises(InputError, match=rf"at '127.0.0.1:6379', not to the one at '{other}'"):
            check_same(other, "127.0.0.1:6379")


@pytest.mark.slow
def test_a_server_that_is_not_ray_is_not_waited_for():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(InputError, match="what answers there is no Ray cluster"):
        check_address(f"127.0.0.1:{server.server_port}")
    server.shutdown()


TOKEN = "0123456789abcdef" * 2
CLUSTER = """
import os, sys, ray
context = ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_cluster_with_a_token_says_what_is_wrong_with_ours(monkeypatch, tmp_path):
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = cluster.stdout.readline().strip()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(InputError, match="it asks for a token; set RAY_AUTH_MODE=token, and"):
        check_address(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 32)
    with pytest.raises(InputError, match="does not accept the token of RAY_AUTH_TOKEN"):
        check_address(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    check_address(address)
    cluster.stdin.close()
    cluster.wait()
