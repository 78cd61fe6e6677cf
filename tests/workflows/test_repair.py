from __future__ import annotations

import json
import re

import pytest

from tests.support.command import main
from tests.support.searching import TEXT, begin


@pytest.mark.parametrize("remains", ["", None])
def test_a_run_without_its_journal_does_not_begin_again(remains, tmp_path, capsys):
    run = begin(tmp_path, TEXT).folder
    journal, seal = (run / f"study.{name}" for name in ("journal", "seal"))
    seal.unlink()
    journal.unlink()
    if remains is not None:
        journal.write_text(remains)
    kept = {path: path.stat().st_mtime_ns for path in run.glob("weights/*")}
    capsys.readouterr()
    for again in (["search", "--resume", str(run), "--local"], ["summarize", str(run)]):
        assert main(*again) == 1
        said = capsys.readouterr().err
        assert re.search(r"study.journal has been (emptied|removed), and with it all trials", said)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert main("repair", str(run)) == 0
    assert "saved 0 lines; lost: all" in capsys.readouterr().out
    assert main("summarize", str(run)) == 0


def test_a_repair_is_no_sign_of_life_of_a_session_that_was_killed(tmp_path, capsys):
    """Its hours count up to the last write of its journal."""
    run = begin(tmp_path, TEXT).folder
    journal = run / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    (run / "study.seal").unlink()
    before = [json.loads(line).get("time", 0) for line in journal.read_bytes().splitlines()[:-1]]
    assert main("repair", str(run)) == 0
    assert json.loads(journal.read_bytes().splitlines()[-1])["time"] == max(before) > 1.7e9
