from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunecnn.files import drop_partials, partial_of, read_own, stays_below, write_atomically


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "run" / "summary.md"
    victim.write_text("precious")
    path.parent.mkdir()
    path.symlink_to(victim)
    path.with_name(".summary.md.partial").symlink_to(victim)
    write_atomically(path, "new")
    assert (victim.read_text(), path.read_text(), path.is_symlink()) == ("precious", "new", False)


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    contents = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(tmp_path / "a", content), contents * 4))
    assert (tmp_path / "a").read_text() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_old_partial_files_are_dropped_and_links_are_not_followed(tmp_path):
    kept, run = tmp_path / "kept", tmp_path / "run"
    kept.mkdir()
    (kept / "file").touch()
    run.mkdir()
    old, new, link = (partial_of(run / name) for name in ("old", "new", "link"))
    old.touch()
    new.touch()
    link.symlink_to(kept)
    now = new.stat().st_mtime
    os.utime(old, (now - 100, now - 100))
    drop_partials(run, ".*.partial", now + 50)
    assert set(run.iterdir()) == {new, link}
    drop_partials(run, ".*.partial", now + 100)
    assert not list(run.iterdir())
    assert (kept / "file").exists()


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("one.png", True),
        ("folder/one.png", True),
        ("..hidden", True),
        ("../one.png", False),
        ("folder/../../one.png", False),
        ("/one.png", False),
        (".", False),
        ("", False),
        ("one\0.png", False),
        ("one\ud800.png", False),
        (b"one.png", False),
        (None, False),
    ],
)
def test_only_a_name_below_its_folder_is_one(name, below):
    assert stays_below(name) is below


def test_links_pipes_and_devices_are_not_read(tmp_path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    for path, reason in ((link, "it is a symbolic link"), (pipe, "it is not a regular file")):
        with pytest.raises(OSError, match=reason):
            read_own(path)
