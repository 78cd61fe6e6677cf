"""`tunecnn runs` and `tunecnn compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tunecnn.cli.options import Json
from tunecnn.console import PlainConsole, print_json
from tunecnn.errors import InputError


def runs(
    runs_dir: Annotated[Path, typer.Option(help="Parent folder of the runs.")] = Path("runs"),
    json_lines: Json = False,
) -> None:
    """List the runs of a folder, newest first."""
    from tunecnn.words import seconds_in_words
    from tunecnn.workflows.runs import list_runs

    found = list_runs(runs_dir)
    if json_lines:
        for run in found:
            started = run.started.isoformat(" ") if run.started else None
            print_json({"event": "run", **asdict(run), "path": str(run.path), "started": started})
        return
    table = Table("run", "type", "state", "trials", "best", "time", "question", box=None)
    for run in found:
        best = "-" if run.best is None else f"{run.best:.2%}"
        table.add_row(
            str(run.path.relative_to(runs_dir)),
            run.type,
            run.state,
            run.trials,
            best,
            seconds_in_words(run.seconds),
            run.problem or run.goal,
        )
    PlainConsole().print(table)
    if not found:
        print(f"there are no runs in {runs_dir}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two searches or more.")],
    figure: Annotated[
        Path | None, typer.Option(help="File for a picture of the best accuracies by time.")
    ] = None,
    json_lines: Json = False,
) -> None:
    """Compare searches: in what they differ, and what they found."""
    from tunecnn.analysis.comparison import cells_of
    from tunecnn.files import check_writable
    from tunecnn.summary.formats import Format
    from tunecnn.workflows.runs import compare as compare_searches

    if figure is not None:
        suffixes = [f".{one}" for one in Format]
        if figure.suffix.lower() not in suffixes:
            raise InputError(f"--figure {figure}: give a file that ends in {', '.join(suffixes)}")
        check_writable(figure, "--figure")
    found = compare_searches(runs)
    if json_lines:
        print_json(
            {
                "event": "comparison",
                "runs": [asdict(line) for line in found.lines],
                "differences": found.differences.T.to_dict(),
                "warnings": found.warnings,
            }
        )
    else:
        console = PlainConsole()
        rows = [cells_of(line) for line in found.lines]
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
        differences = Table("difference", *(line.name for line in found.lines), box=None)
        for name, values in found.differences.iterrows():
            differences.add_row(str(name), *map(str, values))
        console.print(differences)
        for text in found.warnings:
            print(f"warning: {text}")
        print("Best accuracies are those of the luckiest trials; compare confirmed ones.")
    if figure is not None:
        from tunecnn.run.run import Run
        from tunecnn.summary.plots.comparison import comparison

        comparison([Run(path) for path in runs]).savefig(figure)
