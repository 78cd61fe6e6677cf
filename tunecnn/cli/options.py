"""Options shared by several commands: the fields of `RunOptions`, and those of the output."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tunecnn.errors import InputError
from tunecnn.workflows.options import RANGES, RunOptions, check_candidates


def _range(option: str) -> dict[str, Any]:
    low, high = RANGES[option]
    return {"min": low, "max": high}


DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data files. Default: TUNECNN_DATA, else the platform's cache.",
        show_default=False,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(help="Height and width that all images get, in pixels.", min=1, max=4096),
]
Fit = Annotated[
    str | None,
    typer.Option(help="How an image that is not square gets --size: crop, pad or stretch."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out image files that cannot be read.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Address of a Ray cluster. Default: RAY_ADDRESS, else this machine."),
]
CpusPerTrial = Annotated[
    float | None,
    typer.Option(help="CPU cores per trial. Default: 1.", **_range("cpus_per_trial")),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        help="GPUs per trial, such as 0.25. Default: 1 if there is a GPU.",
        **_range("gpus_per_trial"),
    ),
]
Local = Annotated[
    bool, typer.Option("--local", help="Train one trial at a time in this process, without Ray.")
]
Resume = Annotated[Path | None, typer.Option(help="Resume this run after an interruption.")]
Confirm = Annotated[
    str | None,
    typer.Option(
        help="At the end, confirm the best trials: 3x5 for three trials, five new seeds each "
        "(in each of --splits).",
        metavar="TOPxSEEDS",
    ),
]
Splits = Annotated[
    int | None,
    typer.Option(help="Confirm in this many new splits of the data, instead of the space's."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the path of the summary.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]

RUN_OPTIONS: Mapping[str, Any] = {
    "data_dir": DataDir,
    "runs_dir": Annotated[Path, typer.Option(help="Parent folder of the run's folder.")],
    "name": Annotated[str | None, typer.Option(help="Name of the run's folder.")],
    "resume_or_start": Annotated[
        str | None,
        typer.Option(
            help="Name of the run's folder: resume that run, or start it if there is none.",
            metavar="NAME",
        ),
    ],
    "local": Local,
    "address": Address,
    "cpus_per_trial": CpusPerTrial,
    "gpus_per_trial": GpusPerTrial,
    "checkpoint_seconds": Annotated[
        float,
        typer.Option(
            help="Least seconds between two checkpoints of a trial, each written after an epoch.",
            **_range("checkpoint_seconds"),
        ),
    ],
    "max_failures": Annotated[
        int,
        typer.Option(help="Allowed crashes of a trial's worker.", **_range("max_failures")),
    ],
    "trial_timeout": Annotated[
        float | None,
        typer.Option(
            help="Mark a trial as failed after this many seconds; they count anew after a pause.",
            **_range("trial_timeout"),
        ),
    ],
    "max_trials_at_once": Annotated[
        int | None,
        typer.Option(
            help="Trials that run or wait for a node at once, for an autoscaler to see. Default: "
            "as many as fit.",
            **_range("max_trials_at_once"),
        ),
    ],
    "wait_for_workers": Annotated[
        float,
        typer.Option(
            help="Seconds to wait when the cluster has no room for a trial.",
            **_range("wait_for_workers"),
        ),
    ],
    "min_free_gb": Annotated[
        float,
        typer.Option(
            help="Start no trial below this much free disk space.",
            **_range("min_free_gb"),
        ),
    ],
    "keep_weights": Annotated[
        int | None,
        typer.Option(
            help="Keep the weights of this many of the best trials. Default: 3, or as before.",
            **_range("keep_weights"),
        ),
    ],
    "take_over": Annotated[
        bool,
        typer.Option(
            "--take-over", help="Take the lock from another process that has surely ended."
        ),
    ],
    "allow_changes": Annotated[
        bool,
        typer.Option(
            "--allow-changes",
            help="Resume with other versions of Python, torch, tunecnn or what networks use.",
        ),
    ],
    "track": Annotated[
        list[str],
        typer.Option(
            help="Send the run to a tracker: tensorboard, mlflow, mlflow:URI or wandb; may be "
            "repeated.",
            metavar="TRACKER",
            show_default=False,
        ),
    ],
    "on_end": Annotated[
        str | None,
        typer.Option(
            help="Run this command at the end, with the run's folder and its ending (done, "
            "interrupted or failed) as further arguments.",
            metavar="COMMAND",
        ),
    ],
}
"""The fields of `RunOptions` as command-line options."""


def takes_run_options(
    without: Collection[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a run to a command, which receives them as one argument `options`.

    Args:
        without: fields of `RunOptions` that the command does not support.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        names = [name for name in RUN_OPTIONS if name not in without]

        def with_options(**given: Any) -> None:
            values = {name: given.pop(name) for name in names}
            if "track" in values:
                values["track"] = tuple(values["track"])
            options = RunOptions(**values)
            command(options=options, **given)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name == "options":
                parameters += [_parameter(name) for name in names]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        with_options.__name__ = command.__name__
        with_options.__doc__ = command.__doc__
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return with_options

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=_DEFAULTS[name],
        annotation=RUN_OPTIONS[name],
    )


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunOptions)}


def candidates_in(text: str | None, splits: int | None) -> tuple[int, int] | None:
    """Parse `3x5`; return the number of best trials, and the number of seeds per candidate."""
    if text is None:
        return None
    if not (match := re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", text)):
        raise InputError(f"--confirm must be TOPxSEEDS, such as 3x5, not {text[:40]!r}")
    top, seeds = int(match[1]), int(match[2])
    check_candidates(top, seeds, splits)  # now, and not after the search
    return top, seeds
