"""`tunecnn watch` and `dashboard`: follow a run from any machine that sees its folder."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunecnn.console import PlainConsole
from tunecnn.words import count_in_words, in_short, seconds_in_words

if TYPE_CHECKING:
    from tunecnn.run.run import Run

_TOP = 5
_MOST_RUNNING = 16


def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    every: Annotated[
        float, typer.Option(help="Seconds between two looks at the run.", min=0.2, max=86_400)
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print its state once.")] = False,
) -> None:
    """Show a run as it goes on: its running trials, the best so far, and what failed."""
    from tunecnn.run.run import Run

    console = PlainConsole()
    if once or not console.is_terminal:
        console.print(view(Run(run)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            started = time.monotonic()
            found = Run(run)
            live.update(view(found), refresh=True)
            if found.state in ("done", "interrupted", "killed"):
                return
            spent = time.monotonic() - started  # a long run takes a while to read
            time.sleep(max(every, 4 * spent))


def view(run: Run) -> Group:
    """Return what a terminal shows of a run."""
    import pandas as pd

    from tunecnn.trial.config import NET
    from tunecnn.trial.messages import Outcome

    trials = run.trials
    ended = run.ended
    lines = [Text(run.name, "bold"), Text(run.space.goal)] if run.space.goal else [Text(run.name)]
    outcomes = ", ".join(
        f"{count} {name}" for name, count in trials["outcome"].value_counts().items()
    )
    head = f"{run.state}: {ended} of {run.space.trials} trials have ended"
    lines.append(Text(head + (f" ({outcomes})" if outcomes else "")))
    if run.info.sessions:
        lines.append(Text(_time(run, ended)))
    parts: list[Text | Table] = list(lines)
    running = trials[trials["outcome"] == Outcome.RUNNING]
    if len(running) and run.state.startswith("running"):
        table = Table("running", "epoch", "accuracy", "seconds", "node", box=None, title=None)
        for _, row in running.head(_MOST_RUNNING).iterrows():
            table.add_row(
                f"trial {row['trial']}",
                f"{row['epochs']}/{run.space.epochs}",
                _percent(row[run.space.metric]),
                f"{row['seconds']:.1f}",
                row["node"],
            )
        parts += [Text(), table]
        if len(running) > _MOST_RUNNING:
            parts.append(Text(f"and {len(running) - _MOST_RUNNING} more"))
    if len(run.configurations):
        names = list(run.space.searched_settings)
        table = Table("best", "accuracy", "epochs", "params", "values", box=None)
        for _, row in run.configurations.head(_TOP).iterrows():
            values = ", ".join(
                f"{name.removeprefix(NET)} {in_short(row[f'param.{name}'])}"
                for name in names
                if not pd.isna(row[f"param.{name}"])
            )
            table.add_row(
                f"trial {row['trial']}",
                _percent(row[run.space.metric]),
                str(row["epochs"]),
                f"{row['params']:,}",
                values,
            )
        parts += [Text(), table]
    failed = [record for record in run.records if record.outcome.is_failure]
    if failed:
        parts.append(Text())
        parts += [
            Text(f"trial {record.number} {record.outcome}: {record.reason}", "red")
            for record in failed[-3:]
        ]
    return Group(*parts)


def _time(run: Run, ended: int) -> str:
    """Say how long the session has taken, and how long it may still take."""
    from tunecnn.run.folder import resume_command
    from tunecnn.run.info import now
    from tunecnn.study.records import in_zone
    from tunecnn.trial.messages import Outcome

    session = run.info.last_session
    if run.state == "killed":
        resume = resume_command(run.path)
        return f"session {len(run.info.sessions)} was killed; carry on with: {resume}"
    spent = ((session.ended or now()) - session.started).total_seconds()
    text = f"session {len(run.info.sessions)}: {seconds_in_words(spent)}"

    def is_of_session(at: datetime | None) -> bool:
        return at is not None and in_zone(at) >= session.started

    # Few paused trials go on, so the time that is left is that of the trials still to start.
    paused = [record for record in run.records if record.outcome is Outcome.PAUSED]
    done = sum(record.counts and is_of_session(record.ended) for record in run.records)
    done += sum(is_of_session(record.started) for record in paused)
    left = run.space.trials - ended - len(paused)
    if session.ended is None and done and left > 0:
        rest = seconds_in_words(spent / done * left)
        text += f", about {rest} left for {count_in_words(left, 'trial')}"
    return text


def _percent(share: float) -> str:
    return "-" if share != share else f"{share:.2%}"


def dashboard(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 8080,
) -> None:
    """Serve Optuna's dashboard on a copy of a run; the run itself cannot be changed from there."""
    from tunecnn.workflows.dashboard import dashboard as serve

    def say(text: str) -> None:
        print(text, flush=True)

    serve(run, host, port, say)
