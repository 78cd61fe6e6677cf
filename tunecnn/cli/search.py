"""`tunecnn search`."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from tunecnn.cli.options import (
    Confirm,
    Fit,
    Json,
    Quiet,
    Resume,
    Size,
    SkipBad,
    Splits,
    candidates_in,
    takes_run_options,
)
from tunecnn.cli.output import end, listening_to_user, print_note
from tunecnn.errors import InputError
from tunecnn.workflows.options import RunOptions


@takes_run_options()
def search(
    *,
    space: Annotated[
        str | None,
        typer.Option(help="Space file, or name of a shipped space such as proposed.yaml."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set, instead of the space's; see `tunecnn data list`.")
    ] = None,
    size: Size = None,
    fit: Fit = None,
    skip_bad: SkipBad = False,
    trials: Annotated[
        str | None,
        typer.Option(
            help="Number of trials, instead of the space's; with --resume: of all, or +20 for 20 "
            "more.",
            metavar="N",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs per full trial, instead of the space's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the space's.")] = None,
    hours: Annotated[
        float | None, typer.Option(help="Start no trial once the run has taken this many hours.")
    ] = None,
    device_hours: Annotated[
        float | None,
        typer.Option(help="Start no trial after this many GPU-hours (or core-hours)."),
    ] = None,
    until: Annotated[
        float | None, typer.Option(help="Start no trial once one has this accuracy, such as 0.8.")
    ] = None,
    random_baseline: Annotated[
        float | None,
        typer.Option(help="Share of trials sampled at random for comparison, such as 0.25."),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", help="Use the best trials of this earlier run as start points."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the plan of the search, and train nothing.")
    ] = False,
    confirm: Confirm = None,
    splits: Splits = None,
    resume: Resume = None,
    options: RunOptions,
    quiet: Quiet = False,
    json_lines: Json = False,
) -> None:
    """Search a space: train many configurations, prune weak trials, and summarize the run."""
    from tunecnn.workflows.confirmation_space import check_confirmable
    from tunecnn.workflows.prepare import prepare
    from tunecnn.workflows.search import resume as resume_search
    from tunecnn.workflows.search import search as start_search

    count, is_more = _trial_count(trials)
    candidates = candidates_in(confirm, splits)
    limits = {"hours": hours, "device_hours": device_hours, "accuracy": until}
    budget = {key: value for key, value in limits.items() if value is not None}
    first = dataclasses.replace(options, followed_by=_confirmation(confirm, splits))
    listening = listening_to_user(quiet=quiet, json_lines=json_lines)
    if resume is not None:
        if count is not None and not is_more:
            count = _further_trials(resume, count)
        if candidates is not None:
            _check_search(resume, *candidates, splits)
        if plan:
            _print_plan_of_rest(resume, count or 0, budget, options, candidates, splits)
            return
        result = resume_search(resume, first, listening, count or 0, budget, splits)
    elif is_more:
        raise InputError(f"--trials {trials} adds to a run that exists: give --resume RUN too")
    elif space is None:
        raise InputError("give --space, such as --space proposed.yaml, or --resume RUN")
    else:
        changes: dict[str, Any] = {"dataset": dataset, "epochs": epochs, "seed": seed}
        changes |= {"random_baseline": random_baseline, "trials": count}
        changes |= {"splits": splits, "size": size, "fit": fit, "skip_bad": skip_bad or None}
        prepared = prepare(space, changes, budget, start_from)
        if candidates is not None:
            check_confirmable(prepared.space, *candidates, prepared.space.splits)
        for note in prepared.notes:
            print_note(note, json_lines=json_lines)
        for text in prepared.space.warnings():
            warnings.warn(text, stacklevel=1)
        if plan:
            _print_plan(prepared.space, options, candidates)
            return
        result = start_search(prepared, first, listening)
    end(result, quiet=quiet, json_lines=json_lines)
    if candidates is not None:
        from tunecnn.workflows.confirm import confirm as confirm_search

        top, seeds = candidates
        result = confirm_search(result.folder, top, seeds, {}, options, listening, splits)
        end(result, quiet=quiet, json_lines=json_lines)


def _confirmation(confirm: str | None, splits: int | None) -> tuple[str, ...]:
    """Return the options of the confirmation that follows the search."""
    if confirm is None:
        return ()
    return ("--confirm", confirm, *(("--splits", str(splits)) if splits is not None else ()))


def _further_trials(path: Path, total: int) -> int:
    """Return how many trials a run lacks of a total, which may be asked for again and again."""
    from tunecnn.workflows.search import open_run

    trials = open_run(path).space.trials
    if total < trials:
        raise InputError(
            f"--trials {total}: {path} has {trials:,} trials, and none is removed; give {trials} "
            f"or more, or +N for N more"
        )
    return total - trials


def _print_plan(space: Any, options: RunOptions, candidates: tuple[int, int] | None) -> None:
    """Print the plan of a new search, whose folder must be free."""
    from tunecnn.cli.plan import print_plan
    from tunecnn.workflows.search import new_run_path

    new_run_path(space, options)
    print_plan(space, options, candidates)


def _check_search(path: Path, top: int, seeds: int, splits: int | None) -> None:
    """Check that a run can be confirmed, before it is resumed for hours."""
    from tunecnn.workflows.confirm import check_search
    from tunecnn.workflows.confirmation_space import check_confirmable
    from tunecnn.workflows.search import open_run

    run = open_run(path)
    check_search(path, run.info)
    check_confirmable(run.space, top, seeds, splits or run.space.splits)


def _print_plan_of_rest(
    run: Path,
    more_trials: int,
    budget: dict[str, float],
    options: RunOptions,
    candidates: tuple[int, int] | None,
    splits: int | None,
) -> None:
    """Print the plan of the remaining trials of a resumed search."""
    from tunecnn.cli.plan import print_confirmation, print_plan
    from tunecnn.run.run import Run
    from tunecnn.workflows.search import open_run

    opened = open_run(run, more_trials, budget, splits)
    info, space = opened.info, opened.space
    if options.data_dir is None and info.data_dir:
        options = dataclasses.replace(options, data_dir=Path(info.data_dir))
    ended = Run(run).ended
    print(f"resumed: {ended} of {space.trials} trials have ended; this is the plan of the others")
    if ended >= space.trials:
        if candidates is not None:
            print_confirmation(space, options, candidates, ended)
    else:
        start = () if ended >= len(space.start) else space.start
        rest = space.override(trials=space.trials - ended, start=start)
        print_plan(rest, options, candidates, ended=ended)


def _trial_count(text: str | None) -> tuple[int | None, bool]:
    """Parse `64` or `+20`; return the number, and whether it adds to the trials of a run."""
    if text is None:
        return None, False
    if not (match := re.fullmatch(r"(\+?)0*([1-9]\d{0,8})", text)):
        raise InputError(
            f"--trials must be a whole number from 1 to 999,999,999, or +N, not {text[:40]!r}"
        )
    return int(match[2]), bool(match[1])
