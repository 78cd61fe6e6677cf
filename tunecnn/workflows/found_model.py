"""A trained network by its path, and what the run around it says of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunecnn.analysis.confirmation import (
    is_trial,
    main_confirmation,
    strongest_first,
    summarize_confirmation,
)
from tunecnn.errors import InputError, TunecnnError, reason
from tunecnn.files import check_regular, whole
from tunecnn.run.folder import RunFolder
from tunecnn.run.info import ConfirmationJob, SearchJob
from tunecnn.run.run import Run

if TYPE_CHECKING:
    from tunecnn.trial.trained import TrainedModel


@dataclass(frozen=True)
class Confirmed:
    """What a confirmation says of a trial's configuration.

    Attributes:
        run: name of the confirmation.
        repeats: the new seeds that were tested, and their new splits of the data, in words.
        test: mean accuracy on the test images, by the run's metric.
        interval: 95 % interval of that mean; None for fewer than two repeats.
    """

    run: str
    repeats: str
    test: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class FoundModel:
    """A model, and the run that it is from.

    Attributes:
        model: the model.
        path: its file.
        run: run whose folder it is in; None if there is none around it.
        trial: number of its trial in the run; None without a run.
    """

    model: TrainedModel
    path: Path
    run: Run | None = None
    trial: int | None = None

    def confirmed(self) -> Confirmed | None:
        """Return what the strongest confirmation that has tested the trial says; None without one.

        One with other numbers of epochs or images says nothing of this model.
        """
        if self.run is None or self.trial is None or not isinstance(self.run.job, SearchJob):
            return None
        for inner in strongest_first(self.run):
            job = inner.job_as(ConfirmationJob)
            if job.searched_with:
                continue
            candidates = job.candidates
            names = {one.name for one in candidates if is_trial(one, self.trial, self.run, inner)}
            for line in summarize_confirmation(inner).candidates:
                test = line.test
                if line.name in names and test.mean is not None:
                    return Confirmed(inner.name, test.in_words, test.mean, test.interval)
        return None


def best_model_of(run: Run) -> int:
    """Return the trial whose model is taken from a run: what a confirmation found, or the best.

    A confirmation with other numbers of epochs or images says nothing of the search's models. It
    warns if the weights of the trial that was found are not kept.

    Raises:
        InputError: if the run keeps no weights.
    """
    is_search = isinstance(run.job, SearchJob)
    main = main_confirmation(run, as_searched=True) if is_search else None
    if main is None or main.trial is None:
        return run.best_kept()
    if main.trial in run.kept:
        return main.trial
    instead = run.best_kept()
    warnings.warn(
        f"{run.path} does not have the weights of trial {main.trial}, which was confirmed; those "
        f"of trial {instead} are taken; networks of trial {main.trial}, trained again, are in "
        f"{main.run.path}",
        stacklevel=2,
    )
    return instead


def find_model(path: Path) -> FoundModel:
    """Load the model of a file, or of the best trial of a run, confirmed if it has been.

    Args:
        path: file of weights, or folder of a run.

    Raises:
        InputError: if it is neither, or the run keeps no weights.
        RunError: if the model cannot be read.
    """
    if path.is_dir():
        run = Run(path)
        trial = best_model_of(run)
        return FoundModel(run.load_model(trial), run.weights_of(trial), run, trial)
    _check_weights(path)  # before torch is imported, which takes seconds
    from tunecnn.trial.trained import load_model

    model = load_model(path)
    around = whole(path).parent.parent
    stem, _, number = path.stem.partition("-")
    if stem == "trial" and number.isdecimal() and RunFolder.is_run(around):
        try:
            run = Run(around)
            if run.weights_of(int(number)).samefile(path):
                run.folder.read_weights(run.record(int(number)))  # they are the trial's
                return FoundModel(model, path, run, int(number))
        except (TunecnnError, OSError):
            pass  # a file beside a run that it is not from
    return FoundModel(model, path)


def _check_weights(path: Path) -> None:
    """Check that a file begins as safetensors do: the length of a JSON object, and its brace.

    Raises:
        InputError: if it does not, or cannot be read.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    if start[8:] != b"{" or int.from_bytes(start[:8], "little") > path.stat().st_size:
        raise InputError(f"{path} is neither weights that tunecnn wrote nor the folder of a run")
