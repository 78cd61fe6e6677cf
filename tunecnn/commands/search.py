"""`tunecnn search`, `summarize` and `repair`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

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
from tunecnn.commands.plan import print_plan
from tunecnn.commands.running import (
    end,
    listening_to_user,
    print_result,
    refuse_beside_resume,
    where,
)
from tunecnn.errors import InputError


def search(
    space: Annotated[
        str | None,
        typer.Option(help="A space file, or a shipped space such as proposed.yaml."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set, instead of the space's: see `tunecnn data list`.")
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            help="Trials, instead of the space's; with --resume +20 for twenty more.", metavar="N"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a full trial, instead of the space's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the space's.")] = None,
    hours: Annotated[
        float | None, typer.Option(help="Begin no trial after so many hours of the run.")
    ] = None,
    device_hours: Annotated[
        float | None, typer.Option(help="Begin no trial after so many GPU- (or core-) hours.")
    ] = None,
    until: Annotated[
        float | None, typer.Option(help="Begin no trial once one has this accuracy, as 0.8.")
    ] = None,
    control: Annotated[
        float | None,
        typer.Option(help="Draw this share of the trials at random, as 0.25, to compare with."),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", help="Begin with the best trials of this earlier run."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the search would do, and train nothing.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option(
            help="At the end, confirm the best: 3x5 for three of them, five new seeds each.",
            metavar="TOPxSEEDS",
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
    """Search a space: train many configurations, stop the weak ones, summarize the run."""
    from tunecnn.search import SearchOptions
    from tunecnn.search import resume as resume_search
    from tunecnn.search import search as begin_search
    from tunecnn.shipped import find_space
    from tunecnn.space import SearchSpace

    options = SearchOptions(
        data_dir, runs_dir, name, where(address, cpus_per_trial, gpus_per_trial, local=local),
        checkpoint_seconds, max_failures, trial_timeout, wait_for_workers, min_free_gb,
        take_over=take_over, allow_changes=allow_changes,
    )  # fmt: skip
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    count, is_more = _trial_count(trials)
    candidates = _top_and_seeds(confirm)
    limits = {"hours": hours, "device_hours": device_hours, "accuracy": until}
    budget = {key: value for key, value in limits.items() if value is not None}
    overrides: dict[str, Any] = {"dataset": dataset, "epochs": epochs, "seed": seed}
    overrides["control"] = control
    overrides["trials"] = None if is_more else count
    changed = {key: value for key, value in overrides.items() if value is not None}
    if resume is not None:
        refuse_beside_resume(space=space, name=name, **{"from": start_from}, **overrides)
        result = resume_search(resume, options, listening, count or 0, budget)
    elif is_more:
        raise InputError(f"--trials {trials} adds to a run that there is: give --resume RUN too")
    elif space is None:
        raise InputError("give --space, such as --space proposed.yaml, or --resume RUN")
    else:
        path = find_space(space)
        checked = SearchSpace.from_yaml(path)
        if budget:
            changed["budget"] = {**dict(checked.budget), **budget}
        checked = checked.override(**changed)
        if start_from is not None:
            from tunecnn.warm_start import warm_start

            warm = warm_start(checked, start_from)
            print(warm.words, file=sys.stderr)
            changed["start"] = warm.start
            checked = checked.override(start=warm.start)
        if plan:
            print_plan(
                checked, data_dir, address, cpus_per_trial, gpus_per_trial, local=local,
                measure=False,
            )  # fmt: skip
            return
        for warning in checked.warnings():
            print(f"warning: {warning}", file=sys.stderr)
        text = path.read_text(encoding="utf-8-sig")
        result = begin_search(checked, text, changed, options, listening)
    end(result, quiet=quiet, json_lines=json_lines)
    if candidates is not None:
        from tunecnn.confirm import confirm as confirm_search

        result = confirm_search(result.folder, *candidates, {}, options, listening)
        end(result, quiet=quiet, json_lines=json_lines)


def summarize(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    json_lines: Json = False,
) -> None:
    """Write a run's summary and pictures again; also for a run that goes on."""
    from tunecnn.render import write_summary
    from tunecnn.runs import load_run

    summary = write_summary(load_run(run))
    print_result(run, "summarized", summary, quiet=False, json_lines=json_lines)


def repair(run: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Save what can be read of a damaged journal, so that the run can go on."""
    from tunecnn.repair import repair as repair_run
    from tunecnn.words import list_in_words

    done = repair_run(run)
    if done.old is None:
        print("nothing to repair: every line can be read")
        return
    print(f"saved {done.lines} lines; lost: {list_in_words(done.lost, 'line') or 'none'}")
    if done.again:
        print(f"to be trained again: {list_in_words(done.again, 'trial')}")
    print(f"the damaged journal is kept: {done.old}")
    print(f"carry on with: tunecnn search --resume {shlex.quote(str(run))}")


def _trial_count(text: str | None) -> tuple[int | None, bool]:
    """Read `64`, or `+20`; return the number, and whether it is to be added."""
    if text is None:
        return None, False
    is_more = text.startswith("+")
    digits = text.removeprefix("+")
    if not digits.isdecimal() or int(digits) < 1:
        raise InputError(f"--trials must be a whole number of 1 or more, or +N, not {text!r}")
    return int(digits), is_more


def _top_and_seeds(text: str | None) -> tuple[int, int] | None:
    """Read `3x5`: how many of the best, and how many seeds for each."""
    if text is None:
        return None
    top, times, seeds = text.partition("x")
    if not (times and top.isdecimal() and seeds.isdecimal() and int(top) and int(seeds)):
        raise InputError(f"--confirm must be TOPxSEEDS, such as 3x5, not {text!r}")
    return int(top), int(seeds)
