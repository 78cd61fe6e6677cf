from __future__ import annotations

import json
import multiprocessing
import os
import socket

import pytest

from tunecnn.errors import InputError
from tunecnn.run.lock import run_lock


def held(folder, **changes) -> None:
    """Leave what a holder writes down."""
    holder = {"process": os.getpid(), "host": socket.gethostname(), "since": "noon", **changes}
    (folder / ".holder").write_text(json.dumps(holder))


def dead_process() -> int:
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    return process.pid


def test_a_run_has_one_writer_and_leaves_no_trace_of_it(tmp_path):
    refused = pytest.raises(
        InputError, match=rf"is being written by process {os.getpid()} on .* since 20"
    )
    with run_lock(tmp_path) as left, refused, run_lock(tmp_path):
        pass
    assert left == ""
    assert not list(tmp_path.iterdir())
    with run_lock(tmp_path):
        pass


def test_the_lock_of_a_process_that_died_is_taken_over_and_said(tmp_path):
    process = dead_process()
    held(tmp_path, process=process)
    with run_lock(tmp_path) as left:
        assert left == f"process {process} on {socket.gethostname()} since noon"


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {}])
def test_a_holder_that_may_live_is_believed_unless_told_otherwise(changes, tmp_path):
    held(tmp_path, **changes)
    with pytest.raises(InputError, match="if it has, add --take-over"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path, take_over=True) as left:
        assert "since noon" in left
    assert not list(tmp_path.iterdir())


def test_a_holder_that_cannot_be_read_is_believed_to_live(tmp_path):
    (tmp_path / ".holder").write_text("{")
    with pytest.raises(InputError, match="by another process, and it"), run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be written"), run_lock(tmp_path / "file"):
        pass
