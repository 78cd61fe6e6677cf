"""A copy of a run's study in memory that follows the run, for tools that read Optuna studies."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from tunecnn.errors import RunError
from tunecnn.study.journal import JOURNAL, Journal
from tunecnn.study.records import NONSENSE, STUDY_NAME, open_storage, quiet_optuna, to_record
from tunecnn.study.samplers import CONSTRAINTS
from tunecnn.trial.messages import Outcome
from tunecnn.words import seconds_in_words


class Mirror:
    """A copy of a study in memory: what is changed in it never reaches the run.

    The copy has what tools show: the study under the run's name, named objectives, constraints,
    and a few short attributes for each trial instead of those from which tunecnn resumes.

    Args:
        folder: folder of the run.
        name: name of the study in the copy.
        objectives: names of the objectives.
        run_id: id of the run; None if it is not known.

    Attributes:
        storage: Optuna's storage of the copy.

    Raises:
        RunError: if the journal is damaged.
    """

    def __init__(
        self, folder: Path, name: str, objectives: Sequence[str], run_id: str | None = None
    ) -> None:
        self.storage = InMemoryStorage()
        path = folder / JOURNAL
        with open_storage(Journal(path, run_id=run_id), path) as source:
            self._source = optuna.load_study(study_name=STUDY_NAME, storage=source)
            copy = optuna.create_study(
                study_name=name, storage=self.storage, directions=self._source.directions
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                copy.set_metric_names(list(objectives))
        self._study_id = copy._study_id
        self._ids: list[int] = []
        self.follow()

    def follow(self) -> None:
        """Copy what the run has done since the last call.

        Raises:
            RunError: if the journal is damaged, or the copy has been deleted.
        """
        with quiet_optuna():
            for trial in self._source.get_trials(deepcopy=False):
                try:
                    self._copy(trial)
                except KeyError as error:
                    raise RunError(
                        "the copy has been deleted; start the dashboard again"
                    ) from error

    def _copy(self, trial: FrozenTrial) -> None:
        if trial.number == len(self._ids):
            copy = _ended(trial) if trial.state.is_finished() else _running(trial)
            if self.storage.get_n_trials(self._study_id) != trial.number:  # a reader has added one
                copy.set_user_attr("number in the run", trial.number)
            self._ids.append(self.storage.create_new_trial(self._study_id, copy))
        self._update(self._ids[trial.number], trial)

    def _update(self, copy_id: int, trial: FrozenTrial) -> None:
        copy = self.storage.get_trial(copy_id)
        if copy.state.is_finished():
            return
        for name, value in trial.params.items():
            if name not in copy.params:
                distribution = trial.distributions[name]
                self.storage.set_trial_param(
                    copy_id, name, distribution.to_internal_repr(value), distribution
                )
        for step, accuracy in trial.intermediate_values.items():
            if copy.intermediate_values.get(step) != accuracy:
                self.storage.set_trial_intermediate_value(copy_id, step, accuracy)
        for name, text in _attributes(trial).items():
            if copy.user_attrs.get(name) != text:
                self.storage.set_trial_user_attr(copy_id, name, text)
        if (excess := _excess(trial)) and copy.system_attrs.get(CONSTRAINTS) != excess:
            self.storage.set_trial_system_attr(copy_id, CONSTRAINTS, excess)
        if trial.state != copy.state:
            values = trial.values if trial.state is TrialState.COMPLETE else None
            self.storage.set_trial_state_values(copy_id, trial.state, values)


def _ended(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial that has ended, with the attributes that are shown."""
    excess = _excess(trial)
    return FrozenTrial(
        number=trial.number,
        trial_id=-1,
        state=trial.state,
        value=None,
        values=trial.values if trial.state is TrialState.COMPLETE else None,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=_attributes(trial),
        system_attrs={CONSTRAINTS: excess} if excess else {},
        intermediate_values=trial.intermediate_values,
    )


def _running(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial as it was when it began; the rest follows."""
    state = trial.state if trial.state is TrialState.WAITING else TrialState.RUNNING
    start = None if state is TrialState.WAITING else trial.datetime_start
    return FrozenTrial(
        number=trial.number, trial_id=-1, state=state, value=None, datetime_start=start,
        datetime_complete=None, params={}, distributions={}, user_attrs={}, system_attrs={},
        intermediate_values={},
    )  # fmt: skip


def _excess(trial: FrozenTrial) -> list[float]:
    """Return by how much a trial breaks each constraint; positive if its values are invalid."""
    found = list(trial.constraints.values())
    if trial.user_attrs.get("outcome") == Outcome.INFEASIBLE and not any(v > 0 for v in found):
        found.append(1.0)
    return found


def _attributes(trial: FrozenTrial) -> dict[str, Any]:
    """Return what a person should see of a trial, in a few words each."""
    try:
        record = to_record(trial)
    except NONSENSE as error:
        return {"outcome": f"cannot be read: {error}"}
    shown = {
        "outcome": record.outcome.words,
        "reason": record.reason[:200],
        "proposed by": record.proposal,
        "architecture": str(record.config.get("architecture", "")),
        "parameters": f"{record.params:,}" if record.params else "",
        "seed": str(record.config.get("seed", "")),
        "time": seconds_in_words(record.seconds),
        "node": record.node,
        "device": record.device,
    }
    if record.outcome is Outcome.COMPLETE:
        shown.pop("reason")
    return {name: text for name, text in shown.items() if text}
