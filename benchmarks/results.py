"""Measure whole processes, and keep what was measured as JSON and as tables.

    python -m benchmarks.results        write the tables of docs/performance.md anew

A benchmark gives its rows to `keep`, which writes `docs/performance/<name>.json` with the hardware
and the versions, and prints the table. `docs/performance.md` shows the same rows between two
comments, so no figure there is typed by hand.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tunecnn.trial.environment import processor, versions

DOCS = Path(__file__).parent.parent / "docs"
_SAMPLE_SECONDS = 1.0

Row = Mapping[str, Any]


def keep(name: str, rows: Sequence[Row], **facts: Any) -> None:
    """Print the rows of a benchmark as a table, and keep them with what they were measured on.

    Args:
        name: of the benchmark; its file is `docs/performance/<name>.json`.
        rows: of the table; all have the keys of the first, which are the heads of its columns.
        facts: what else a reader has to know: the workload, the number of rounds, breakdowns.
    """
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "versions": versions(),
        "rows": [dict(row) for row in rows],
        **facts,
    }
    path = DOCS / "performance" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(table(rows), flush=True)


def table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    names = list(rows[0])
    numeric = [not isinstance(rows[0][name], str) for name in names]
    lines = [
        "| " + " | ".join(names) + " |",
        "|" + "|".join("---:" if is_number else "---" for is_number in numeric) + "|",
    ]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def measured(name: str) -> Sequence[Row]:
    """Return the rows of a benchmark as they were measured last."""
    path = DOCS / "performance" / f"{name}.json"
    rows: Sequence[Row] = json.loads(path.read_text())["rows"]
    return rows


def with_tables(page: str, rows: Callable[[str], Sequence[Row]] = measured) -> str:
    """Return a page with each table that it names filled in anew.

    Args:
        page: Markdown with `<!-- name -->` before and `<!-- end -->` after each table.
        rows: function that gives the rows of a table by its name.
    """

    def filled(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{table(rows(match[1]))}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", filled, page, flags=re.S)


def middle(values: Sequence[float]) -> str:
    """Write a median with the range that it lies in, or a single value."""
    found = f"{statistics.median(values):.3g}"
    return found if len(values) == 1 else f"{found} ({min(values):.3g} to {max(values):.3g})"


@dataclass
class Watched:
    """What became of a process that was watched.

    Attributes:
        seconds: from its start to its end.
        peak_mb: memory of it and all of its children together, shared pages counted once.
        events: the JSON objects that it printed, each with `at`, seconds from its start.
    """

    seconds: float = 0.0
    peak_mb: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)


def never(event: Any) -> bool:
    """Wait for no event, but for the end."""
    return False


def watch(command: Sequence[str], until: Callable[[Any], bool] = never) -> Watched:
    """Run a command, note when it prints a line of JSON, and how much memory it takes.

    It is ended early by an event for which `until` holds.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    found = Watched()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, ended, found))
    sampler.start()
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            found.events.append({"at": time.perf_counter() - began, **event})
            if until(event):
                process.terminate()
    code = process.wait()
    found.seconds = time.perf_counter() - began
    ended.set()
    sampler.join()
    if code and not any(map(until, found.events)):
        raise subprocess.CalledProcessError(code, command)
    return found


def _sample(pid: int, ended: threading.Event, found: Watched) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            found.peak_mb = max(found.peak_mb, sum(map(_proportional_mb, family)))


def _proportional_mb(process: psutil.Process) -> float:
    with contextlib.suppress(OSError, psutil.Error):
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        return int(re.findall(r"^Pss:\s+(\d+)", text, flags=re.M)[0]) / 1e3
    return 0.0


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    page = DOCS / "performance.md"
    page.write_text(with_tables(page.read_text()))
