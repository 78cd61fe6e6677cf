from __future__ import annotations

import re

import pytest

from tests.support.command import main

SPACE = """
dataset: digits
epochs: 1
trials: 2
parameters: {net.width: {choice: [0.25]}, learning_rate: {float: [0.001, 0.01]}}
pruner: none
"""


@pytest.mark.parametrize("remains", ["", None])
def test_a_run_without_its_journal_does_not_begin_again(remains, tmp_path, capsys):
    (tmp_path / "s.yaml").write_text(SPACE)
    assert main("search", "--space", str(tmp_path / "s.yaml"), "--runs-dir", str(tmp_path),
                "--name", "run", "--local", "-q") == 0  # fmt: skip
    journal, seal = (tmp_path / "run" / f"study.{name}" for name in ("journal", "seal"))
    seal.unlink()
    journal.unlink()
    if remains is not None:
        journal.write_text(remains)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("weights/*")}
    capsys.readouterr()
    for again in (["search", "--resume", str(tmp_path / "run"), "--local"],
                  ["summarize", str(tmp_path / "run")]):  # fmt: skip
        assert main(*again) == 1
        said = capsys.readouterr().err
        assert re.search(r"study.journal has been (emptied|removed), and with it all trials", said)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert main("repair", str(tmp_path / "run")) == 0
    assert "saved 0 lines" in capsys.readouterr().out
    assert main("summarize", str(tmp_path / "run")) == 0
