"""`Run`: a run as data frames; reading it imports neither torch nor ray."""

from __future__ import annotations

import functools
import io
import os
import warnings
from collections.abc import Callable
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from pydantic import BaseModel

from tunecnn.errors import InputError, RunError, TunecnnError
from tunecnn.files import whole
from tunecnn.run.folder import RunFolder, resume_command
from tunecnn.run.frames import (
    PREDICTION_DTYPES,
    epochs_frame,
    evaluations_frame,
    predictions_frame,
    trials_frame,
)
from tunecnn.run.info import ConfirmationJob, Job, ReproductionJob
from tunecnn.run.lock import writer_in_words
from tunecnn.study.records import Ranking, TrialRecord, read_records, read_reports
from tunecnn.trial.config import NET, REPEATS, Scalar, TrialConfig
from tunecnn.words import in_utf8, listed

if TYPE_CHECKING:
    import pandas as pd

    from tunecnn.trial.trained import TrainedModel


_J = TypeVar("_J", bound=BaseModel)


def _kept(make: Callable[[Run], pd.DataFrame]) -> Callable[[Run], pd.DataFrame]:
    """Make a frame once, and give a copy each time: the caller may change it."""
    name = f"_{make.__name__}"

    @functools.wraps(make)
    def copied(run: Run) -> pd.DataFrame:
        import pandas as pd

        if name not in run.__dict__:
            run.__dict__[name] = make(run)
        # From pandas 3 on, a copy takes memory only where it is changed.
        whole: pd.DataFrame = run.__dict__[name]
        return whole.copy(deep=pd.__version__ < "3")

    return copied


class Run:
    """A snapshot of a run: its trials, their epochs and their evaluations.

    A run can be read while it is running; read it again for a newer snapshot.

    Attributes:
        path: folder of the run.
        folder: the files in it.
        info: content of `run.json`.
        space: search space of the run.

    Raises:
        InputError: if it is not the folder of a run.
        RunError: if its journal is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder.open(Path(path))
        self.path = self.folder.path
        self.info = self.folder.read_info()
        self.space = self.folder.read_space(self.info)
        # The journal is made before the first session is recorded.
        self._records: list[TrialRecord] = []
        if self.info.sessions:
            self._records = read_records(self.path, self.info.id, self.space)

    @property
    def name(self) -> str:
        """The name of the run's folder; a confirmation's has that of its search before it."""
        return name_of(self.path)

    @property
    def state(self) -> str:
        """What has become of it: `not started`, `running`, `done`, `interrupted` or `killed`.

        It is `running or killed` if only the machine that runs it could tell.
        """
        if not self.info.sessions:
            return "not started"
        return self.info.last_session.ending or writer_in_words(self.path)

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self._in_words()}>"

    def _repr_html_(self) -> str:
        from html import escape

        goal = f"<br>{escape(self.space.goal)}" if self.space.goal else ""
        return f"<b>{escape(self.name)}</b>: {escape(self._in_words())}{goal}"

    def _in_words(self) -> str:
        ended = self.ended
        best, of = "", self.space.name
        if isinstance(self.job, ConfirmationJob):
            of = self.path.parent.parent.name  # the folder of its search
        elif self.best is not None:
            accuracy = float(self.best[self.space.metric])
            best = f", best {accuracy:.2%} (trial {int(self.best['trial'])})"
        return (
            f"{self.job.type} of {of} on {self.space.dataset}, {self.state}, "
            f"{ended} of {self.space.trials} trials ended{best}"
        )

    @cached_property
    def _candidates(self) -> dict[int, str]:
        """The name of the candidate of each trial of a confirmation."""
        job = self.info.job
        if not isinstance(job, ConfirmationJob):
            return {}
        return {record.number: job.candidate_of(record.number).name for record in self._records}

    @property
    @_kept
    def trials(self) -> pd.DataFrame:
        """One row per trial; the columns are those of `tunecnn.run.frames.TRIAL_DTYPES`."""
        return trials_frame(self.name, self._records, self.space.searched)

    @property
    @_kept
    def epochs(self) -> pd.DataFrame:
        """One row for each epoch of each trial: `tunecnn.run.frames.EPOCH_DTYPES`."""
        return epochs_frame(self.name, self._records)

    @cached_property
    def reports(self) -> list[tuple[int, int]]:
        """The (trial, epoch) of each epoch, in the order in which they were reported first."""
        return read_reports(self.path, self.info.id) if self._records else []

    @property
    @_kept
    def evaluations(self) -> pd.DataFrame:
        """One row per evaluation on the test images: `tunecnn.run.frames.EVALUATION_DTYPES`."""
        return evaluations_frame(self.name, self.info.own_evaluations, self._candidates)

    @cached_property
    def confirmations(self) -> list[Self]:
        """The confirmations of a search, in the order in which they were started."""
        inner = []
        for info in self.path.glob("confirmations/*/run.json"):
            try:
                if info.parent.is_symlink():
                    raise RunError("it is a symbolic link")
                run = type(self)(info.parent)
                if run.job_as(ConfirmationJob).search != self.info.id:
                    raise RunError("it is that of another search")
                run.predictions  # noqa: B018  without which it says nothing
            except TunecnnError as error:
                warnings.warn(f"{info.parent} is left out: {error}", stacklevel=2)
                continue
            if run.info.sessions:
                inner.append(run)
        return sorted(inner, key=lambda run: run.info.sessions[0].started)

    @property
    @_kept
    def predictions(self) -> pd.DataFrame:
        """One row for each tested trial and test image: `tunecnn.run.frames.PREDICTION_DTYPES`."""
        read = self.folder.read_predictions
        return self._keyed([read(one) for one in self.info.own_evaluations])

    @property
    @_kept
    def validation(self) -> pd.DataFrame:
        """One row per validation image of each trial whose predictions are kept.

        The columns are `tunecnn.run.frames.PREDICTION_DTYPES`. In a confirmation with several
        splits, the trials of each have validation images of their own: `image` counts those of
        the trial's split, which `param.split_seed` in `trials` tells.
        """
        import numpy as np

        parts = []
        for record in self.complete:
            if (content := self.folder.read_validation(record)) is not None:
                labels, predicted = np.load(io.BytesIO(content), allow_pickle=False)
                parts.append(predictions_frame(record.number, labels, predicted))
        return self._keyed(parts)

    def _keyed(self, parts: list[pd.DataFrame]) -> pd.DataFrame:
        """Join frames of predictions, with the names of the run and of each trial's candidate."""
        import pandas as pd

        whole = pd.concat(parts) if parts else pd.DataFrame(columns=list(PREDICTION_DTYPES))
        candidates = [self._candidates.get(int(trial), "") for trial in whole["trial"]]
        whole = whole.assign(run=self.name, candidate=candidates)
        return whole[list(PREDICTION_DTYPES)].astype(PREDICTION_DTYPES).reset_index(drop=True)

    def load_model(self, trial: int) -> TrainedModel:
        """Load the network of a trial: a module that takes uint8 images.

        Args:
            trial: number of the trial.

        Raises:
            InputError: if there is no such trial, or its weights were not kept.
            RunError: if its weights cannot be read, or are damaged.
        """
        from tunecnn.trial.trained import unpack_model

        record, kept = self.record(trial), self.kept
        if trial not in kept:
            raise InputError(
                f"{self.path} keeps no weights of trial {trial}; of these it does: "
                f"{listed(kept) or 'none'}"
            )
        content = self.folder.read_weights(record)
        return unpack_model(content, str(self.weights_of(trial)))

    def best_kept(self) -> int:
        """Return the number of the best trial whose weights are kept.

        It warns if that is not the best trial, whose weights are usually kept.

        Raises:
            InputError: if there is none.
        """
        kept = self.kept
        ranked = [int(number) for number in self.ranked["trial"]]
        found = next((number for number in ranked if number in kept), None)
        if found is None:
            raise InputError(f"{self.path} has no trial whose weights are kept")
        if found != ranked[0]:
            warnings.warn(
                f"{self.path} does not have the weights of trial {ranked[0]}, its best one; those "
                f"of trial {found} are taken",
                stacklevel=2,
            )
        return found

    def weights_of(self, trial: int) -> Path:
        """Return the path of a trial's weights, whether they are kept or not."""
        return self.folder.weights_path(self.record(trial))

    @property
    def kept(self) -> list[int]:
        """The complete trials whose weights are kept."""
        # A broken link is there, and is refused where it is read.
        return [
            one.number for one in self.complete if os.path.lexists(self.weights_of(one.number))
        ]

    def check_begun(self) -> None:
        """Check that the run has begun, in readers that need more than its trials.

        Raises:
            RunError: if it has not.
        """
        if not self.info.sessions:
            raise RunError(
                f"{self.path} has not begun: if nothing begins it now, do it with: "
                f"{resume_command(self.path)}"
            )

    @property
    def job(self) -> Job:
        """Purpose of the run."""
        return self.info.job

    def job_as(self, job_type: type[_J]) -> _J:
        """Return the job of a run that must be of some type.

        Raises:
            InputError: if it is of another type.
        """
        job = self.info.job
        if not isinstance(job, job_type):
            needed = str(job_type.model_fields["type"].default)
            raise InputError(f"{self.path} is a {job.type}, but a {needed} is needed")
        return job

    @property
    @_kept
    def ranked(self) -> pd.DataFrame:
        """The trials that were trained to their end, best first by the first objective.

        Trials with the same values are seeds of one configuration: they are ranked by their mean,
        which is in the column `mean`, and their number is in the column `seeds`.
        """
        import pandas as pd

        ranking = Ranking(self.space.metric, self._records)
        ranked = ranking.ranked()
        rows = pd.Index(self.trials["trial"]).get_indexer([record.number for record in ranked])
        frame: pd.DataFrame = self.trials.iloc[rows]
        return frame.assign(
            mean=pd.array([ranking.mean(record) for record in ranked], "float64"),
            seeds=pd.array([ranking.seeds(record) for record in ranked], "int64"),
        )

    @property
    @_kept
    def configurations(self) -> pd.DataFrame:
        """The best trial of each configuration that was trained to its end, best first."""
        if not self.setting_columns:
            return self.ranked.head(1)
        return self.ranked.drop_duplicates(self.setting_columns)

    @property
    def setting_columns(self) -> list[str]:
        """Columns of `trials` that define a configuration."""
        return [f"param.{name}" for name in self.space.searched_settings]

    @property
    def best(self) -> pd.Series | None:
        """The row of `ranked` that comes first; None if no trial is complete.

        It is the luckiest of several noisy trials, so its accuracy is biased upwards.
        """
        return None if self.ranked.empty else self.ranked.iloc[0]

    @property
    def baseline_trial(self) -> pd.Series | None:
        """The row of the best trial with the values of the baseline; None without one.

        It is compared with the best trial, which is the luckiest of its seeds as well. Without a
        complete one, it is the first. A reproduction has none: no network is better than it.
        """
        number = self._baseline_number
        return None if number is None else self.trials[self.trials["trial"] == number].iloc[0]

    @cached_property
    def _baseline_number(self) -> int | None:
        baseline = self.space.baseline_point()
        if self.space.departures() or isinstance(self.job, ReproductionJob):
            return None
        same = [record for record in self._records if record.has_settings(baseline)]
        if not same:
            return None
        numbers = [record.number for record in same]
        complete = self.ranked[self.ranked["trial"].isin(numbers)]["trial"]
        return int(numbers[0] if complete.empty else complete.iloc[0])

    @property
    def records(self) -> list[TrialRecord]:
        """The records of all trials in the study, by number."""
        return self._records

    @property
    def ended(self) -> int:
        """Number of requested trials that have ended."""
        return sum(record.counts for record in self._records)

    @property
    def has_ended(self) -> bool:
        """Whether all requested trials have ended."""
        return self.ended >= self.space.trials

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that were trained to their end, by number."""
        return [record for record in self._records if record.is_complete]

    def record(self, trial: int) -> TrialRecord:
        """Return the record of a trial.

        Raises:
            InputError: if there is no such trial.
        """
        if not isinstance(trial, Integral):
            raise InputError(f"a trial is given by its number, not {trial!r:.60}")
        if not 0 <= trial < len(self._records):
            raise InputError(f"{self.path} has no trial {trial}; it has {len(self._records)}")
        return self._records[trial]

    def config(self, trial: int) -> TrialConfig:
        """Return the config of a trial."""
        return TrialConfig.from_dict(self.record(trial).config)

    def training_of(self, config: TrialConfig) -> dict[str, Scalar]:
        """Return what a config trains, and how, without its seeds: all arguments are in it."""
        settings = {
            name: value
            for name, value in config.to_dict().items()
            if not name.startswith(NET) and name not in REPEATS
        }
        return {**settings, **self.arguments_of(config)}

    def arguments_of(self, config: TrialConfig) -> dict[str, Scalar]:
        """Return all arguments of the network of a config, by their names in a space."""
        filled = self.space.network(config.architecture).filled(config.net)
        return {f"{NET}{name}": value for name, value in filled.items() if value is not None}


def name_of(path: Path) -> str:
    """Return the name of the run in a folder; that of a confirmation begins with its search's."""
    path = whole(path)
    inside = path.parent.name == "confirmations"
    return in_utf8(f"{path.parent.parent.name}/{path.name}" if inside else path.name)


def as_run(run: Run | str | Path) -> Run:
    """Return a run, or that of a folder.

    Raises:
        InputError: if it is not the folder of a run.
        RunError: if its journal is damaged.
    """
    return run if isinstance(run, Run) else Run(run)
