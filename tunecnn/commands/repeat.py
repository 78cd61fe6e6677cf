"""`tunecnn reproduce` and `confirm`: several seeds of the same networks, tested at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunecnn.commands.options import (
    Address,
    AllowChanges,
    CheckpointSeconds,
    CpusPerTrial,
    DataDir,
    GpusPerTrial,
    Json,
    Local,
    MaxFailures,
    MinFreeGb,
    Quiet,
    Resume,
    RunName,
    RunsDir,
    TakeOver,
    TrialTimeout,
    WaitForWorkers,
)
from tunecnn.commands.running import (
    end,
    listening_to_user,
    refuse_beside_resume,
    where,
)
from tunecnn.errors import InputError


def reproduce(
    dataset: Annotated[
        str | None, typer.Option(help="cifar10 or mnist; others with --against.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Networks of the report. Default: model1,model2,model3."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Trainings of each network. Default: 3.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a training. Default: the report's.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with the results on this data set: for its images in other files. "
            "none: do not compare."
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    name: RunName = None,
    resume: Resume = None,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    local: Local = False,
    checkpoint_seconds: CheckpointSeconds = 30.0,
    max_failures: MaxFailures = 2,
    trial_timeout: TrialTimeout = None,
    wait_for_workers: WaitForWorkers = 300.0,
    min_free_gb: MinFreeGb = 0.5,
    take_over: TakeOver = False,
    allow_changes: AllowChanges = False,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Train the report's networks by its protocol, with several seeds, and compare the results."""
    from tunecnn.catalogue import absolute
    from tunecnn.reproduction import published_for, reproduction_space
    from tunecnn.run_info import ReproductionJob
    from tunecnn.search import SearchOptions
    from tunecnn.search import resume as resume_search
    from tunecnn.search import search as begin_search
    from tunecnn.space import SearchSpace

    options = SearchOptions(
        data_dir, runs_dir, name, where(address, cpus_per_trial, gpus_per_trial, local=local),
        checkpoint_seconds, max_failures, trial_timeout, wait_for_workers, min_free_gb,
        take_over=take_over, allow_changes=allow_changes,
    )  # fmt: skip
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    if resume is not None:
        refuse_beside_resume(
            dataset=dataset, models=models, seeds=seeds, epochs=epochs, against=against, name=name
        )
        result = resume_search(resume, options, listening)
    elif dataset is None:
        raise InputError("give --dataset, such as --dataset mnist, or --resume RUN")
    else:
        dataset = absolute(dataset)
        published = published_for(dataset, against)
        names = None if models is None else [model.strip() for model in models.split(",")]
        text = reproduction_space(dataset, published, names, seeds, epochs)
        space = SearchSpace.from_text(text)
        job = ReproductionJob(against=published)
        result = begin_search(space, text, {}, options, listening, job)
    end(result, quiet=quiet, json_lines=json_lines)


def confirm(
    run: Annotated[Path, typer.Argument(help="The folder of a search.")],
    top: Annotated[int, typer.Option(help="How many of its best trials.")] = 3,
    seeds: Annotated[int, typer.Option(help="New seeds for each.")] = 5,
    config: Annotated[
        list[Path] | None, typer.Option(help="A config file to confirm as well; repeatable.")
    ] = None,
    data_dir: DataDir = None,
    address: Address = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    local: Local = False,
    checkpoint_seconds: CheckpointSeconds = 30.0,
    max_failures: MaxFailures = 2,
    trial_timeout: TrialTimeout = None,
    wait_for_workers: WaitForWorkers = 300.0,
    min_free_gb: MinFreeGb = 0.5,
    take_over: TakeOver = False,
    allow_changes: AllowChanges = False,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Train what a search found again, with new seeds, beside the report's design, and test it.

    After an interruption, the same command carries on.
    """
    from tunecnn.config_file import read_config
    from tunecnn.confirm import confirm as confirm_search
    from tunecnn.search import SearchOptions

    options = SearchOptions(
        data_dir, Path(), None, where(address, cpus_per_trial, gpus_per_trial, local=local),
        checkpoint_seconds, max_failures, trial_timeout, wait_for_workers, min_free_gb,
        take_over=take_over, allow_changes=allow_changes,
    )  # fmt: skip
    configs = {str(path): read_config(path) for path in config or []}
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    result = confirm_search(run, top, seeds, configs, options, listening)
    end(result, quiet=quiet, json_lines=json_lines)
