"""The benchmarks that wait for a machine, or are quoted, must not break unnoticed."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from benchmarks import experiment, samplers
from benchmarks.results import DOCS, keep, table, watch, with_tables

ROOT = DOCS.parent


def test_a_watched_process_tells_when_it_said_what_and_how_much_it_took():
    code = 'import time; print(\'{"event": "x"}\', flush=True); time.sleep(2.5)'
    seen = watch([sys.executable, "-c", code])
    assert seen.seconds > 2.5
    assert seen.events[0]["event"] == "x"
    assert seen.events[0]["at"] < 2
    assert 1 < seen.peak_mb < 500
    with pytest.raises(subprocess.CalledProcessError):
        watch([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_watched_process_is_ended_by_what_was_waited_for():
    code = "import time; print('{\"value\": 1}', flush=True); time.sleep(30)"
    assert watch([sys.executable, "-c", code], lambda event: event["value"] == 1).seconds < 20


def test_what_is_kept_has_its_machine_and_comes_into_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.results.DOCS", tmp_path)
    rows = [{"way": "a", "s": 1.25, "n": 1200}, {"way": "b", "s": 0.333, "n": 7}]
    keep("speed", rows, rounds=3)
    kept = json.loads((tmp_path / "performance" / "speed.json").read_text())
    assert kept["rows"] == rows
    assert kept["rounds"] == 3
    assert {"torch", "ray", "optuna"} <= kept["versions"].keys()
    page = with_tables("# x\n<!-- speed -->\nold\n<!-- end -->\nrest\n")
    assert page == f"# x\n<!-- speed -->\n{table(rows)}\n<!-- end -->\nrest\n"
    assert "| b | 0.333 | 7 |" in capsys.readouterr().out


def test_the_page_shows_what_was_measured():
    page = (DOCS / "performance.md").read_text()
    assert page == with_tables(page)
    named = set(re.findall(r"<!-- (\w+) -->", page)) - {"end"}
    assert named == {path.stem for path in (DOCS / "performance").glob("*.json")}


def test_the_page_of_the_experiment_shows_what_the_results_hold():
    page = (DOCS / "experiment.md").read_text()
    assert page == with_tables(page, experiment.rows_of)
    assert set(re.findall(r"<!-- (\w+) -->", page)) - {"end"} == set(experiment.TABLES)
    assert set(re.findall(r"images/([\w-]+)\.svg", page)) >= set(experiment.FIGURES)


@pytest.mark.parametrize("name", ["tpe, promotion", "random, halving"])
def test_the_samplers_are_compared_where_values_are_negative(name):
    task = samplers.Task(
        "hill", 3, lambda at, epochs: [-9 * sum(at) - 1 / one for one in epochs], 0.1, -13.5, 0
    )
    found = samplers.simulate(task, samplers.CONTENDERS[name](task, 0), slots=2, seed=0, cost=5)
    assert 0 < found[5] <= 100


@pytest.mark.slow
def test_the_gpu_benchmark_runs_dry():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    for part in ("step", "waits", "packing", "memory"):
        assert f"\n{part}\n| " in done.stdout
