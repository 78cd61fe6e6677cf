"""The card of an exported model: what it is, how good, and what is not known of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from tunecnn.analysis.intervals import wilson_interval
from tunecnn.analysis.overview import balanced_in_words, ranked_by
from tunecnn.documents import to_yaml
from tunecnn.run.info import SearchJob, Session
from tunecnn.run.run import Run
from tunecnn.study.records import in_zone
from tunecnn.summary.markdown import render_template
from tunecnn.trial.config import VIEWS
from tunecnn.workflows.found_model import FoundModel


def model_card(found: FoundModel, file: str, format_: str, difference: float) -> str:
    """Return the card of an exported model as Markdown.

    Args:
        found: the model, and the run that it is from.
        file: name of the exported file.
        format_: its format.
        difference: largest difference of a probability from the model's in float32.
    """
    model, run = found.model, found.run
    channels, height, width = model.input_shape
    values = {
        "name": Path(file).stem, "file": file, "format": format_, "difference": difference,
        "channels": channels, "height": height, "width": width, "classes": model.classes,
        "config": model.config, "settings": to_yaml(model.config.to_dict()).rstrip(),
        "views": VIEWS.get(model.config.views), "accuracy": _accuracy(found), "run": run,
    }  # fmt: skip
    if run is not None:
        sheet, sessions = run.info.dataset.sheet, _sessions_until(run, found.trial)
        values |= {
            "trial": found.trial,
            "dataset": run.info.dataset,
            "code": run.info.code,
            "doubts": list(sheet.warnings(run.info.dataset.classes)),
            "command": ", then ".join(
                dict.fromkeys(_without_path(session.command) for session in sessions)
            ),
            "versions": ", ".join(map(" ".join, sessions[-1].versions.items())),
        }
    return render_template("model_card.md.j2", **values)


def _accuracy(found: FoundModel) -> list[str]:
    """Say how good the model is: confirmed, on the test images, and in the search."""
    run = found.run
    if run is None or found.trial is None:
        return ["not known: the run is not beside the model"]
    record = run.record(found.trial)
    lines = []
    confirmed = found.confirmed()
    if confirmed is not None:
        low_high = ""
        if confirmed.interval is not None:
            low_high = ", 95 % interval of the mean {:.2%} to {:.2%}".format(*confirmed.interval)
        what = f"mean {balanced_in_words(run.space.metric)}test accuracy"
        lines.append(
            f"confirmed: its configuration, trained with {confirmed.repeats}, has "
            f"{confirmed.test:.2%} {what}{low_high} ({confirmed.run})"
        )
    for one in (one for one in run.info.own_evaluations if one.trial == found.trial):
        low, high = wilson_interval(one.accuracy, run.info.dataset.different("test"))
        lines.append(
            f"this model on the test images: {one.accuracy:.2%} (95 % interval "
            f"{low:.2%} to {high:.2%}, {one.images:,} images)"
        )
    if record.kept is not None:
        accuracy = record.kept.val_accuracy
        low, high = wilson_interval(accuracy, run.info.dataset.different("validation"))
        text = f"{accuracy:.2%} validation accuracy ({low:.2%} to {high:.2%})"
        if run.space.metric != "val_accuracy":
            ranked = f"{getattr(record.kept, run.space.metric):.2%} {ranked_by(run)}"
            text = f"{ranked}, and {text}"
        is_search = isinstance(run.job, SearchJob)
        text = f"in the search: {text}" if is_search else text
        if len(run.complete) > 1 and run.best is not None and run.best["trial"] == found.trial:
            count = len(run.complete)
            text += f"; the best of {count} trials is partly the luckiest, so expect less"
        if is_search and not lines:
            text += "; it has not been confirmed with new seeds"
        lines.append(text)
    return lines


def _sessions_until(run: Run, trial: int | None) -> Sequence[Session]:
    """Return the sessions of a run up to that in which a trial ended."""
    ended = run.record(trial).ended if trial is not None else None
    return [
        session
        for session in run.info.sessions
        if ended is None or session.started <= in_zone(ended)
    ] or run.info.sessions


def _without_path(command: str) -> str:
    """Return a command without the path of its program."""
    words = shlex.split(command)
    return shlex.join([Path(words[0]).name, *words[1:]]) if words else command
