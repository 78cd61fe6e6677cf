"""Options that several commands share, and their exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data files. Default: TUNECNN_DATA, else the platform's cache.",
        show_default=False,
    ),
]
RunsDir = Annotated[Path, typer.Option(help="Folder in which the run is kept.")]
RunName = Annotated[str | None, typer.Option(help="Name of the run's folder.")]
Resume = Annotated[
    Path | None, typer.Option(help="Carry on with this run, after an interruption.")
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join. Default: RAY_ADDRESS, else this machine.")
]
CpusPerTrial = Annotated[float | None, typer.Option(help="Cores a trial. Default: 1.", min=0.01)]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(help="GPUs a trial, such as 0.25. Default: 1 if there are any.", min=0.0),
]
Local = Annotated[
    bool, typer.Option("--local", help="One trial after the other in this process, no Ray.")
]
CheckpointSeconds = Annotated[
    float, typer.Option(help="Time between two checkpoints of a trial.", min=0.0)
]
MaxFailures = Annotated[int, typer.Option(help="How often the worker of a trial may die.", min=0)]
TrialTimeout = Annotated[
    float | None,
    typer.Option(help="Give a trial up after so many seconds.", min=1.0),
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Write although a process elsewhere may; make sure it died."),
]
AllowChanges = Annotated[
    bool, typer.Option("--allow-changes", help="Resume with another torch, numpy or tunecnn.")
]
MinFreeGb = Annotated[
    float, typer.Option(help="Begin no trial when the disk has less room than this.", min=0.0)
]
WaitForWorkers = Annotated[
    float, typer.Option(help="Seconds to wait when the cluster has no room for a trial.", min=1.0)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
