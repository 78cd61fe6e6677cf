"""Overview of a run that every summary has: images, hardware, time and outcomes, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import pandas as pd
from pydantic import computed_field

from tunecnn.run.info import Session
from tunecnn.run.run import Run
from tunecnn.trial.messages import Outcome
from tunecnn.words import count_in_words, seconds_in_words


@dataclass(frozen=True)
class Lead:
    """The best that a run has beside its baseline, which may be better.

    Attributes:
        on: images and seeds on which both are compared.
        candidate: name of the best trial, or of the best candidate of a confirmation.
        accuracy: its accuracy, in [0, 1].
        baseline: accuracy of the baseline.
        difference: accuracy of the candidate less that of the baseline.
        interval: 95 % interval of the difference; None if it cannot be computed.
    """

    on: str
    candidate: str
    accuracy: float
    baseline: float
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class RunOverview:
    """Overview of a run that every summary has.

    Attributes:
        type: type of the run's job.
        name: name of the run.
        goal: question that the run should answer.
        requested: number of trials requested.
        outcomes: number of trials by outcome, in words.
        failures: reasons of the trials that failed, diverged, took too long or ran out of memory,
            by trial number.
        data: statements about the data set, by name.
        hardware: statements about the hardware and versions, by name.
        time: statements about the duration, by name.
        doubts: what makes accuracies on these images doubtful, such as images that are in two
            parts.
        headline: answer to the question, in a sentence with its main number.
        caveats: further sentences: what else was found, and what limits the answer.
        leads: the best candidate beside the baseline, the comparison that counts most first; empty
            if there is none but the baseline.
    """

    type: str
    name: str
    goal: str
    requested: int
    outcomes: dict[str, int]
    failures: dict[int, str]
    data: dict[str, str]
    hardware: dict[str, str]
    time: dict[str, str]
    doubts: tuple[str, ...]
    headline: str
    caveats: tuple[str, ...]
    leads: tuple[Lead, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """The whole answer: the headline and its caveats."""
        return " ".join((self.headline, *self.caveats))


def overview_of(run: Run, answer: Sequence[str], leads: Sequence[Lead] = ()) -> dict[str, Any]:
    """Return the fields of `RunOverview` for a run, by name.

    Args:
        run: run of any type.
        answer: sentences of the answer to its question, the main one first.
        leads: the best candidate beside the baseline.
    """
    return {
        "type": run.job.type,
        "name": run.name,
        "goal": run.space.goal,
        "requested": run.space.trials,
        "outcomes": _outcomes(run.trials),
        "failures": _failures(run.trials),
        "data": _data(run),
        "hardware": _hardware(run),
        "time": _time(run),
        "doubts": tuple(run.info.dataset.sheet.warnings(run.info.dataset.classes)),
        "headline": answer[0],
        "caveats": tuple(answer[1:]),
        "leads": tuple(leads),
    }


def _outcomes(trials: pd.DataFrame) -> dict[str, int]:
    """Count the trials by outcome, in words."""
    counts = trials["outcome"].value_counts()
    return {outcome.words: int(counts[outcome]) for outcome in Outcome if outcome in counts}


def _failures(trials: pd.DataFrame) -> dict[int, str]:
    """Return the reasons of the trials that failed or could not be built, by trial number."""
    is_failed = trials["outcome"].isin([one for one in Outcome if one.is_failure])
    is_unbuilt = (trials["outcome"] == Outcome.INFEASIBLE) & trials["params"].isna()
    failed = trials[is_failed | is_unbuilt]
    return dict(zip(failed["trial"].astype(int), failed["reason"], strict=True))


def _data(run: Run) -> dict[str, str]:
    """Describe the data set, and how it was split and used."""
    dataset = run.info.dataset
    evaluations = evaluations_of(run)
    tested = "not used yet" if run.info.is_tested else "not used"
    if evaluations:
        tested = f"used for {count_in_words(evaluations, 'evaluation')}"
    channels, height, width = dataset.input_shape
    splits = _splits(run)
    first = " in the first split" if splits else ""
    return {
        "data set": f"{dataset.name}, {len(dataset.classes)} classes, images of "
        f"{height}x{width}x{channels}",
        **splits,
        "training images": f"{dataset.train:,}{first}",
        "validation images": f"{dataset.validation:,}{first}",
        "test images": f"{dataset.test:,}, {tested}",
        **_files(run),
        **run.space.image_changes,
        "fingerprint": dataset.fingerprint,
        "split fingerprint": dataset.split_fingerprint,
    }


def _splits(run: Run) -> dict[str, str]:
    """Describe the splits into training and validation images, if there are several."""
    seeds = [str(split.seed) for split in run.space.data_splits]
    if len(seeds) == 1:
        return {}
    return {"splits": f"{len(seeds)}, none that of the search (split seeds {', '.join(seeds)})"}


def _files(run: Run) -> dict[str, str]:
    """Describe how the images were read, and how many each class has."""
    dataset = run.info.dataset
    sheet = dataset.sheet
    parts = sheet.parts_in_words(dataset.classes)
    statements = {
        "files": sheet.files_in_words(),
        "layout": "; ".join(sheet.notes),
        "left out as asked": "; ".join(f"{name} ({why})" for name, why in sheet.bad.items()),
        "classes": "; ".join(parts),
    }
    return {name: text for name, text in statements.items() if text}


def evaluations_of(run: Run) -> int:
    """Return how many evaluations on the test images there were, with those of confirmations.

    A confirmation that is still tested, or was interrupted, has not given the search its own yet.
    """
    known = {(one.confirmation, one.trial, one.time) for one in run.info.evaluations}
    for inner in run.confirmations:
        known |= {(inner.path.name, one.trial, one.time) for one in inner.info.evaluations}
    return len(known)


def balanced_in_words(metric: str) -> str:
    """Return what stands before "accuracy" in a run that ranks by a metric: "", or `balanced `."""
    return "" if metric == "val_accuracy" else "balanced "


COSTS = {"macs": "multiply-accumulates per image", "params": "parameters"}
"""The second objectives of a search, in words."""


def ranked_by(run: Run) -> str:
    """Return what the trials of a run are ranked by, in words."""
    return f"{balanced_in_words(run.space.metric)}validation accuracy"


def images_in_words(run: Run) -> str:
    """Return the number of validation images, and of different ones if some are copies."""
    dataset = run.info.dataset
    different = dataset.different("validation")
    copies = f" ({different:,} different ones)" if different < dataset.validation else ""
    return f"{dataset.validation:,} images{copies}"


def majority_in_words(run: Run) -> str:
    """Return what the largest class alone would reach; empty if none is larger."""
    dataset = run.info.dataset
    if len(set(dataset.sheet.counts["validation"])) == 1:
        return ""
    label, share = dataset.sheet.majority("validation")
    counts = dataset.sheet.counts["validation"]
    there = sum(count > 0 for count in counts)
    which = "the largest class" if counts.count(max(counts)) == 1 else "one of the largest classes"
    return (
        f"Always answering {dataset.classes[label]!r}, {which}, would reach {share:.2%}"
        f" (balanced: {1 / there:.2%})."
    )


def _hardware(run: Run) -> dict[str, str]:
    """Describe the hardware of a run, and its versions."""
    session = _last_that_trained(run)
    engine = session.engine
    nodes = [
        f"{node.name} ({count_in_words(node.cpus, 'core')}, {count_in_words(node.gpus, 'GPU')})"
        for node in engine.nodes
    ]
    known = {node.name for one in run.info.sessions for node in one.engine.nodes}
    if later := sorted(set(run.trials["node"]) - known - {""}):
        nodes.append(f"{', '.join(later)} (joined later)")
    takes = "the process itself, one at a time"
    if engine.cpus_per_trial is not None and engine.gpus_per_trial is not None:
        takes = (
            f"{count_in_words(engine.cpus_per_trial, 'core')}, "
            f"{count_in_words(engine.gpus_per_trial, 'GPU')}; "
            f"at most {engine.slots} at once"
        )
    return {
        "nodes": "; ".join(nodes),
        "processor": run.info.processor,
        "a trial takes": takes,
        "versions": ", ".join(f"{name} {version}" for name, version in session.versions.items()),
    }


def _last_that_trained(run: Run) -> Session:
    """Return the last session in which a trial ended; the last one if none has.

    One that only sent a tracker what it lacked may have had other hardware.
    """
    ended = [
        record.ended.astimezone(UTC) for record in run.records if record.ended and record.epochs
    ]
    for session in reversed(run.info.sessions if ended else ()):
        if session.started <= max(ended):
            return session
    return run.info.last_session


def _time(run: Run) -> dict[str, str]:
    """Describe when a run started, and how long it took."""
    trials = run.trials
    sessions = run.info.sessions
    wall = run.info.wall_seconds
    killed = sum(session.ended is None for session in sessions)
    cut = sum(session.ending is None for session in sessions) - killed
    devices = ", ".join(sorted(set(trials["device"]) - {""})) or "none yet"
    return {
        "started": sessions[0].started.isoformat(timespec="seconds"),
        "sessions": f"{len(sessions)}, {seconds_in_words(wall)} in all"
        + (f", {cut} of them cut off" if cut else "")
        + (f", not counting {killed} that runs, or was cut off" if killed else ""),
        "training": f"{seconds_in_words(trials['seconds'].sum())} of all trials together, "
        f"{trials['epochs'].sum():,} epochs, on {devices}",
    }
