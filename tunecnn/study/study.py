"""The study of a run: Optuna samples, prunes and stores the trials, in one append-only file.

The results of every ask, report and tell are in the journal, on disk, before anything else
happens, so a killed run can continue from there: a trial that was running is put back into the
queue with its number, its values and its seed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunecnn.errors import InputError, RunError
from tunecnn.files import sha256
from tunecnn.models.counting import CostCounter
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import OBJECTIVES, QUANTITIES
from tunecnn.study.distributions import distribution, suggest
from tunecnn.study.journal import JOURNAL, Journal
from tunecnn.study.pruners import pruner
from tunecnn.study.queue import Queue
from tunecnn.study.records import (
    STUDY_NAME,
    TrialRecord,
    clean,
    epoch_key,
    open_storage,
    quiet_optuna,
    start_key,
    to_record,
)
from tunecnn.study.samplers import random_baseline_sampler, sampler
from tunecnn.trial.config import Scalar, TrialConfig
from tunecnn.trial.messages import Checkpoint, EpochMetrics, Outcome, TrialEnd

_MAX_REDRAWS = 200


@dataclass(frozen=True)
class TrialTask:
    """A trial to train: its number in the study, its config, and the checkpoint to resume from."""

    number: int
    config: TrialConfig
    checkpoint: Checkpoint | None = None


class Study:
    """The study of a run, opened for writing; only one process at a time may open it.

    Args:
        folder: folder of the run; a missing journal is created in it.
        space: search space of the run.
        costs: counts the cost of the networks, for the images of the run.
    """

    def __init__(self, folder: Path, space: SearchSpace, costs: CostCounter) -> None:
        self.space = space
        self._costs = costs
        self._distributions = {name: distribution(p) for name, p in space.searched.items()}
        path = folder / JOURNAL
        self._journal = Journal(path, writable=True)
        self.dropped_line = self._journal.dropped_line
        with open_storage(self._journal, path) as self._storage:
            self._study = optuna.create_study(
                study_name=STUDY_NAME,
                storage=self._storage,
                directions=[OBJECTIVES[name] for name in space.objectives],
                load_if_exists=True,
                pruner=pruner(space),
            )
        trials = self._trials()
        sampled = len(trials)
        # Counted once and then updated, to avoid a pass over a long study for each epoch.
        self._counts = Counter(_counts_as(trial) for trial in trials if trial.state.is_finished())
        self._samplers = {
            "search": sampler(space, sampled),
            "random_baseline": random_baseline_sampler(space, sampled),
        }
        self._running: dict[int, optuna.Trial] = {}
        self._requeue_interrupted()
        self._queue = Queue(self._study, space)

    def next_trial(self) -> TrialTask | None:
        """Return the next trial to train, or None if no trial can start now.

        A proposal that breaks a constraint is recorded as infeasible, is not trained, and does not
        count towards the number of trials. When all requested trials have started, the postponed
        trials follow, one at a time.

        Raises:
            RunError: if 200 proposals in a row are infeasible.
        """
        for _ in range(_MAX_REDRAWS):
            if self.started >= self.space.trials or self._queue.grid_is_done:
                return self._postponed_trial()
            with self._journal.together():
                self._queue.refill()
                sampled = self._draw()
                trial = self._prepare(sampled)
                if trial is None:
                    continue
                self._running[trial.number] = sampled
                if "alone" in sampled.user_attrs:  # postponed before the run was interrupted
                    self._queue.postponed.append(trial.number)
                    continue
                self._count(trial.number, "attempts")
            return trial
        last = self.record(self.sampled - 1).reason
        raise RunError(
            f"{_MAX_REDRAWS} proposals in a row could not be tried (the last one: {last}); widen "
            "the space or relax its constraints"
        )

    def go_on_from(self, number: int, epoch: int) -> bool:
        """Record that a trial continues after an epoch; return whether that is possible.

        It is not if the study does not have all epochs up to that one.
        """
        trial = self._running[number]
        key = start_key(trial.user_attrs["attempts"])
        trial.set_user_attr(key, epoch)
        if [metrics.epoch for metrics in self.record(number).epochs] == list(range(1, epoch + 1)):
            return True
        trial.set_user_attr(key, 0)
        return False

    def place(self, number: int, node: str, device: str) -> None:
        """Record the machine and the device on which a trial is trained."""
        self._running[number].set_user_attr("where", {"node": node, "device": device})

    def report(self, number: int, metrics: EpochMetrics, *, is_last: bool = False) -> bool:
        """Record an epoch; return whether the trial has been pruned, which ends it.

        The pruner is not applied to epochs that an earlier attempt reported, to the last epoch of
        a trial, or with two objectives. A baseline that is a start point is never pruned, since
        all other trials are compared with it.
        """
        trial = self._running[number]
        attrs = trial.user_attrs
        with self._journal.together():
            trial.set_user_attr(epoch_key(attrs["attempts"], metrics.epoch), metrics.to_dict())
            if len(self.space.objectives) > 1 or metrics.diverged:
                return False
            if metrics.epoch in self._frozen(number).intermediate_values:
                return False
            trial.report(getattr(metrics, self.space.metric), metrics.epoch)
            if not trial.should_prune() or is_last or "protected" in attrs:
                return False
            reason = f"stopped after epoch {metrics.epoch} by the pruner"
            self._end(number, TrialState.PRUNED, Outcome.PRUNED, reason)
            return True

    def finish(self, number: int, end: TrialEnd) -> None:
        """Record the end of a trial that was not pruned."""
        with self._journal.together():
            self._finish(number, end)

    def _finish(self, number: int, end: TrialEnd) -> None:
        trial = self._running[number]
        if end.outcome is Outcome.COMPLETE:
            trial.set_user_attr("kept_epoch", end.kept_epoch)
            if end.weights is not None:
                trial.set_user_attr("weights", sha256(end.weights))
            if end.predictions is not None:
                trial.set_user_attr("predictions", sha256(end.predictions))
            kept = self.record(number).kept
            assert kept is not None
            figures = {**trial.user_attrs, **kept.to_dict()}
            values = [float(figures[name]) for name in self.space.objectives]
            self._end(number, TrialState.COMPLETE, Outcome.COMPLETE, "", values)
        elif end.outcome is Outcome.DIVERGED:
            # As a pruned trial, its last finite value informs the sampler; without one, it fails.
            finite = self.record(number).epochs[:-1]
            state = TrialState.PRUNED if finite else TrialState.FAIL
            self._end(number, state, end.outcome, end.reason)
        elif end.outcome is Outcome.OUT_OF_MEMORY:
            trial.set_constraint("memory", 1.0)
            self._end(number, TrialState.PRUNED, end.outcome, end.reason)
        else:  # an error or a timeout
            self._end(number, TrialState.FAIL, end.outcome, end.reason)

    def postpone(self, number: int) -> bool:
        """Postpone a trial that ran out of memory until no other trial runs, if that may help.

        A trial is postponed only once, and only if other trials ran at the same time, possibly in
        the same memory. Returns whether it was postponed.
        """
        trial = self._running[number]
        if "alone" in trial.user_attrs or len(self.running) == 1:
            return False
        trial.set_user_attr("alone", True)
        self._queue.postponed.append(number)
        return True

    def requeue(self, number: int) -> None:
        """Put an interrupted trial back into the queue."""
        self._running.pop(number, None)
        self._set_waiting(number)

    def requeue_running(self) -> None:
        """Put all running trials back into the queue, so that the run can be resumed."""
        self._queue.postponed.clear()
        for number in self.running:
            self.requeue(number)

    def count_failure(self, number: int) -> int:
        """Record that the worker of a trial died; return how often this has happened."""
        return self._count(number, "failures")

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the running trials, without the postponed ones."""
        return tuple(number for number in self._running if number not in self._queue.postponed)

    @property
    def started(self) -> int:
        """Number of trials that have ended or are running; infeasible proposals do not count."""
        return self._counts["search"] + self._counts["random_baseline"] + len(self._running)

    @property
    def sampled(self) -> int:
        """Number of all trials in the study, whatever their outcome."""
        return len(self._trials())

    @property
    def finished(self) -> bool:
        """Whether all requested trials have ended."""
        return not self._running and (
            self.started >= self.space.trials or self._queue.grid_is_done
        )

    @property
    def records(self) -> list[TrialRecord]:
        """Records of all trials, by number."""
        return [to_record(trial) for trial in self._trials()]

    def record(self, number: int) -> TrialRecord:
        """Return the record of a trial."""
        return to_record(self._frozen(number))

    def _draw(self) -> optuna.Trial:
        """Sample a trial of the search or of its random baseline."""
        randoms = self._counts["random_baseline"] + sum(
            trial.user_attrs.get("source") == "random_baseline" for trial in self._running.values()
        )
        source = (
            "random_baseline" if self._queue.random_is_due(randoms, self.started) else "search"
        )
        self._study.sampler = self._samplers[source]
        with quiet_optuna():
            sampled = self._ask()
        if source == "random_baseline":
            sampled.set_user_attr("source", source)
        return sampled

    def _ask(self) -> optuna.Trial:
        """Sample a trial, without the parameters that are inactive for its values."""
        if not self.space.has_conditions:
            return self._study.ask(self._distributions)
        sampled = self._study.ask()
        values: dict[str, Scalar] = {}
        for name in self.space.parents_first:
            if self.space.is_active(name, values):
                values[name] = suggest(sampled, name, self._distributions[name])
        return sampled

    def _postponed_trial(self) -> TrialTask | None:
        """Return a postponed trial if no other trial runs."""
        if not self._queue.postponed or self.running:
            return None
        number = self._queue.postponed.pop(0)
        self._count(number, "attempts")
        config = self._running[number].user_attrs["config"]
        return TrialTask(number, TrialConfig.from_dict(config))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _frozen(self, number: int) -> FrozenTrial:
        study_id = self._storage.get_study_id_from_name(STUDY_NAME)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return self._storage.get_trial(trial_id)

    def _count(self, number: int, name: str) -> int:
        trial = self._running[number]
        count = int(trial.user_attrs.get(name, 0)) + 1
        trial.set_user_attr(name, count)
        return count

    def _prepare(self, sampled: optuna.Trial) -> TrialTask | None:
        """Make the config of a sampled trial, or end the trial if it is infeasible."""
        attrs = sampled.user_attrs
        if "config" in attrs:  # an interrupted trial, which was checked before
            return TrialTask(sampled.number, TrialConfig.from_dict(attrs["config"]))
        try:
            config = self.space.config(clean(sampled.params), sampled.number)
            cost = self._costs.cost(config.architecture, config.net)
        except InputError as error:  # values that are valid, but not together
            self._infeasible(sampled, str(error))
            return None
        sampled.set_user_attr("config", config.to_dict())
        for name in QUANTITIES:
            sampled.set_user_attr(name, getattr(cost, name))
        broken = []
        for constraint in self.space.constraints:
            excess = constraint.violation(cost)
            sampled.set_constraint(str(constraint), excess)
            if excess > 0:
                broken.append(f"breaks {constraint} by {excess:,.0f}")
        if broken:
            self._infeasible(sampled, "; ".join(broken))
            return None
        return TrialTask(sampled.number, config)

    def _infeasible(self, sampled: optuna.Trial, reason: str) -> None:
        self._running[sampled.number] = sampled
        self._end(sampled.number, TrialState.PRUNED, Outcome.INFEASIBLE, reason)

    def _end(
        self,
        number: int,
        state: TrialState,
        outcome: Outcome,
        reason: str,
        values: list[float] | None = None,
    ) -> None:
        trial = self._running.pop(number)
        trial.set_user_attr("outcome", outcome)
        if reason:
            trial.set_user_attr("reason", reason)
        with quiet_optuna():
            self._study.tell(trial, values, state)
        self._counts[_counts_as(self._frozen(number))] += 1
        self._journal.seal()

    def _requeue_interrupted(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._set_waiting(trial.number)

    def _set_waiting(self, number: int) -> None:
        study_id = self._storage.get_study_id_from_name(STUDY_NAME)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._storage.set_trial_state_values(trial_id, TrialState.WAITING)


def _counts_as(trial: FrozenTrial) -> str:
    """Return the source of an ended trial, or `nothing` for an infeasible proposal."""
    attrs = trial.user_attrs
    return (
        "nothing" if attrs.get("outcome") == Outcome.INFEASIBLE else attrs.get("source", "search")
    )
