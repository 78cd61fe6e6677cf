from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

import tunecnn.run.lock
from tunecnn.errors import InputError, RunError
from tunecnn.process import seconds_since_boot
from tunecnn.run.lock import Holder, run_lock


def held(folder, age: float = 0.0, **changes) -> Holder:
    """Leave what a holder writes down, and last renewed `age` seconds ago."""
    holder = dataclasses.replace(Holder.here(), **{"since": "noon", **changes})
    file = folder / ".holder"
    file.write_text(json.dumps(dataclasses.asdict(holder)))
    os.utime(file, (time.time() - age, time.time() - age))
    return holder


def dead_process() -> int:
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    return process.pid


def test_a_run_has_one_writer_and_leaves_no_trace_of_it(tmp_path):
    refused = pytest.raises(
        InputError, match=rf"is being written by process {os.getpid()} on .* since 20"
    )
    with run_lock(tmp_path) as lease, refused, run_lock(tmp_path):
        pass
    assert lease.left == ""
    assert not list(tmp_path.iterdir())
    with run_lock(tmp_path):
        pass


def test_the_lock_of_a_process_that_died_is_taken_over_and_said(tmp_path):
    holder = held(tmp_path, process=dead_process())
    with run_lock(tmp_path) as lease:
        assert lease.left == f"process {holder.process} on {holder.host} since noon"


def test_a_later_process_with_the_same_id_is_not_the_holder(tmp_path):
    held(tmp_path, started=1000.0)
    with run_lock(tmp_path) as lease:
        assert "since noon" in lease.left


def test_a_zombie_holds_no_lock(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    import psutil

    held(tmp_path, process=child.pid, started=psutil.Process(child.pid).create_time())
    with pytest.raises(InputError, match="is being written by"), run_lock(tmp_path):
        pass
    child.send_signal(signal.SIGKILL)
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:  # nobody waits for it
        time.sleep(0.01)
    with run_lock(tmp_path) as lease:
        assert "since noon" in lease.left
    child.wait()


ELSEWHERE = {"machine": "another boot", "host": "elsewhere"}


@pytest.mark.parametrize("content", [None, "{", '{"process": 1}'])
def test_a_holder_elsewhere_is_believed_until_its_lease_has_run_out(content, tmp_path):
    def leave(age: float) -> None:
        held(tmp_path, age, **ELSEWHERE)
        if content is not None:  # of another version, or damaged
            (tmp_path / ".holder").write_text(content)
            os.utime(tmp_path / ".holder", (time.time() - age, time.time() - age))

    leave(12)
    words = (
        r"written by .*, 1[2-6] s ago.*its lease runs out in 1[4-8] s: try .* then .*--take-over"
    )
    with pytest.raises(InputError, match=words), run_lock(tmp_path):
        pass
    with run_lock(tmp_path, take_over=True) as lease:
        assert lease.left
    leave(31)
    with run_lock(tmp_path) as lease:
        assert lease.left
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_a_process_elsewhere(tmp_path, monkeypatch):
    held(tmp_path, age=3600.0, **ELSEWHERE)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tunecnn.run.lock.Path.touch", full)
    refused = pytest.raises(InputError, match=f"{tmp_path} cannot be written: No space left")
    with refused, run_lock(tmp_path):
        pass


def test_a_job_that_was_put_back_waits_for_a_lease_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(tunecnn.run.lock, "LEASE_SECONDS", 1.0)
    held(tmp_path, **ELSEWHERE)
    began = time.monotonic()
    with run_lock(tmp_path, wait=True) as lease:
        assert "elsewhere" in lease.left
    assert 0.5 < time.monotonic() - began < 5


def test_a_lease_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(tunecnn.run.lock, "_RENEW_SECONDS", 0.05)
    with run_lock(tmp_path):
        os.utime(tmp_path / ".holder", (1000, 1000))
        while (tmp_path / ".holder").stat().st_mtime < 2000:
            time.sleep(0.01)


@pytest.fixture
def later(monkeypatch):
    """Move the clock on, as while a process is stopped: `later(seconds)`."""

    def move(seconds: float) -> None:
        monkeypatch.setattr(
            tunecnn.run.lock, "seconds_since_boot", lambda: seconds_since_boot() + seconds
        )

    return move


def fails(file):
    raise OSError(5, "Input/output error")


def test_a_lease_outlives_a_file_that_cannot_be_read_for_a_moment(tmp_path, monkeypatch, later):
    read = tunecnn.run.lock.read_own
    with run_lock(tmp_path) as lease:
        monkeypatch.setattr(tunecnn.run.lock, "read_own", fails)
        later(20)
        lease.check()
        monkeypatch.setattr(tunecnn.run.lock, "read_own", read)
        later(50)
        lease.check()
    assert not (tmp_path / ".holder").exists()


def test_a_process_that_cannot_see_whose_run_it_is_writes_no_more(tmp_path, monkeypatch, later):
    with run_lock(tmp_path) as lease:
        monkeypatch.setattr(tunecnn.run.lock, "read_own", fails)
        later(40)
        with pytest.raises(
            RunError, match="could not be renewed for 40 s, so another process may"
        ):
            lease.check()


def test_a_process_that_stopped_too_long_writes_no_more(tmp_path, later):
    with run_lock(tmp_path) as lease:
        later(40)
        lease.check()
        other = held(tmp_path, **ELSEWHERE)
        later(80)
        with pytest.raises(RunError, match="taken over by process .* on elsewhere since noon"):
            lease.check()
    assert Holder.read(tmp_path / ".holder") == other  # it is not removed with ours


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be written"), run_lock(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    "text",
    [
        '{"process": Infinity}',
        "[" * 100_000,
        '{"process": -1, "host": "a", "since": "b"}',
        '{"process": 3, "host": "a", "since": "b", "started": "noon"}',
        "5",
    ],
)
def test_a_holder_that_is_nonsense_holds_nothing(text, tmp_path):
    (tmp_path / ".holder").write_text(text)
    os.utime(tmp_path / ".holder", (0, 0))  # its lease has run out
    assert Holder.read(tmp_path / ".holder") is None
    with run_lock(tmp_path) as lease:
        lease.check()
