"""The study of a run: Optuna samples, prunes and stores the trials, in one append-only file.

The results of every ask, report and tell are in the journal, on disk, before anything else
happens, so a killed run can continue from there: a trial that was running is put back into the
queue with its number, its values and its seed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from tunecnn.errors import InputError, RunError
from tunecnn.files import sha256
from tunecnn.models.counting import CostCounter
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import OBJECTIVES, QUANTITIES, Halving, Promotion
from tunecnn.study.distributions import distribution, suggest
from tunecnn.study.halving import PAUSED, Arrival, Rungs, is_paused
from tunecnn.study.journal import JOURNAL, Journal
from tunecnn.study.origin import Proposal, Source
from tunecnn.study.pruners import pruner
from tunecnn.study.queue import Queue
from tunecnn.study.records import (
    STUDY_NAME,
    TrialRecord,
    epoch_attr,
    epoch_key,
    open_storage,
    quiet_optuna,
    rounded,
    start_key,
    to_record,
)
from tunecnn.study.samplers import Proposer
from tunecnn.trial.config import Scalar, TrialConfig
from tunecnn.trial.messages import Checkpoint, EpochMetrics, Outcome, TrialEnd

_MAX_REDRAWS = 200


@dataclass(frozen=True)
class TrialTask:
    """A trial to train.

    Attributes:
        number: number of the trial in the study.
        config: config of the trial.
        checkpoint: checkpoint to resume from; None to start from the beginning.
        after: number of epochs after which the trial was paused; 0 for one that was not.
        rungs: epochs after which the trial may be paused.
    """

    number: int
    config: TrialConfig
    checkpoint: Checkpoint | None = None
    after: int = 0
    rungs: tuple[int, ...] = ()


class Study:
    """The study of a run, opened for writing; only one process at a time may open it.

    Args:
        folder: folder of the run; a missing journal is created in it.
        space: search space of the run.
        costs: counts the cost of the networks, for the images of the run.
        run_id: id of the run, which its journal must have; None if it is not known.
    """

    def __init__(
        self, folder: Path, space: SearchSpace, costs: CostCounter, run_id: str | None = None
    ) -> None:
        self.space = space
        self._costs = costs
        self._distributions = {name: distribution(p) for name, p in space.searched.items()}
        path = folder / JOURNAL
        self._journal = Journal(path, writable=True, run_id=run_id)
        self.dropped_line, self.last_time = self._journal.dropped_line, self._journal.last_time
        with open_storage(self._journal, path) as self._storage:
            self._study = optuna.create_study(
                study_name=STUDY_NAME,
                storage=self._storage,
                directions=[OBJECTIVES[name] for name in space.objectives],
                load_if_exists=True,
                pruner=pruner(space),
            )
        trials = self._trials()
        # Counted once and then updated, to avoid a pass over a long study for each epoch.
        self._counts = Counter(_counts_as(trial) for trial in trials if trial.state.is_finished())
        self._proposers = {
            Source.SEARCH: Proposer(space),
            Source.RANDOM_BASELINE: Proposer(space, at_random=True),
        }
        self._rungs = (
            Rungs(space, trials) if isinstance(space.pruner, Halving | Promotion) else None
        )
        self._running: dict[int, optuna.Trial] = {}
        self._in_company = set[int]()  # those that ran beside others in their latest attempt
        self._paused = {
            trial.number: optuna.Trial(self._study, self._trial_id(trial.number))
            for trial in trials
            if is_paused(trial)
        }
        self._open_random = {
            number
            for number, trial in self._paused.items()
            if trial.user_attrs.get("source") == Source.RANDOM_BASELINE
        }
        self._requeue_interrupted()
        self._queue = Queue(self._study, space)

    def next_trial(
        self, is_stopped: Callable[[], bool] = lambda: False, *, only_interrupted: bool = False
    ) -> TrialTask | None:
        """Return the next trial to train, or None if no trial can start now.

        A proposal that breaks a constraint is recorded as infeasible, is not trained, and does not
        count towards the number of trials. A paused trial that may be promoted comes before a new
        one. When all requested trials have started, those follow that are needed for enough
        complete ones, and then the postponed trials, one at a time.

        Args:
            is_stopped: whether no trial is wanted any more, asked after each infeasible one: a
                grid may have many in a row.
            only_interrupted: whether only a trial that was interrupted, or postponed, is wanted.

        Raises:
            RunError: if 200 proposals of the sampler in a row are infeasible.
        """
        redraws = 0
        while redraws < _MAX_REDRAWS:
            if is_stopped():
                return None
            if only_interrupted and not self._queue.is_interrupted:
                return self._postponed_trial()
            if not self._queue.is_waiting and (promoted := self._promoted()):
                return promoted
            if self.started >= self.space.trials or self._queue.grid_is_done:
                return self._promoted(needed=True) or self._postponed_trial()
            with self._journal.together():
                self._queue.refill()
                sampled = self._draw()
                trial = self._prepare(sampled)
                if trial is None:
                    # The points of a grid come to an end by themselves.
                    redraws += sampled.user_attrs["proposal"] in (Proposal.RANDOM, Proposal.MODEL)
                    continue
                self._running[trial.number] = sampled
                if "alone" in sampled.user_attrs:  # postponed before the run was interrupted
                    self._queue.postponed.append(trial.number)
                    continue
                self._count(trial.number, "attempts")
            return self._starting(trial)
        last = self.record(self.sampled - 1).reason
        raise RunError(
            f"{_MAX_REDRAWS} proposals in a row could not be tried (the last one: {last}); widen "
            "the space or relax its constraints, or resume the run to try as many again"
        )

    def go_on_from(self, task: TrialTask, epoch: int) -> bool:
        """Record that a trial continues after an epoch; return whether that is possible.

        It is not if the study does not have all epochs up to that one. A promoted trial that
        continues where it was paused makes no new attempt.

        Args:
            task: the trial.
            epoch: epoch of its checkpoint; 0 if it has none, and starts from the beginning.
        """
        number = task.number
        trial = self._running[number]
        if task.after and task.after == epoch:
            return True
        if task.after:
            self._count(number, "attempts")
        if not epoch:
            return False
        key = start_key(trial.user_attrs["attempts"])
        trial.set_user_attr(key, epoch)
        if [metrics.epoch for metrics in self.record(number).epochs] == list(range(1, epoch + 1)):
            return True
        trial.set_user_attr(key, 0)
        return False

    def place(self, number: int, node: str, device: str, precision: str, devices: float) -> None:
        """Record the machine, device and arithmetic with which a trial is trained.

        Args:
            number: number of the trial.
            node: name of the machine.
            device: name of the device.
            precision: arithmetic, such as `bf16`.
            devices: number of GPUs, or of cores without GPUs, that it takes.
        """
        where = {"node": node, "device": device, "precision": precision}
        self._running[number].set_user_attr("where", where)
        self._running[number].set_user_attr("devices", devices)

    def report(self, number: int, metrics: EpochMetrics, *, is_last: bool = False) -> bool:
        """Record an epoch; return whether the trial has been pruned or paused.

        The pruner is not applied to epochs that an earlier attempt reported, to the last epoch of
        a trial, or with two objectives. A baseline that is a start point is never pruned, since
        all other trials are compared with it.
        """
        trial = self._running[number]
        attrs = trial.user_attrs
        with self._journal.together():
            trial.set_user_attr(epoch_key(attrs["attempts"], metrics.epoch), epoch_attr(metrics))
            if len(self.space.objectives) > 1 or metrics.diverged:
                return False
            if metrics.epoch in self._frozen(number).intermediate_values:
                return False
            value = getattr(metrics, self.space.metric)
            protected = is_last or "protected" in attrs
            if self._rungs is None:
                trial.report(value, metrics.epoch)
                goes_on = protected or not trial.should_prune()
            else:
                arrival = Arrival.of(self._frozen(number), metrics.epoch, value)
                goes_on = self._rungs.goes_on(arrival, protected=protected)
                if not goes_on and self._rungs.promotes:
                    # Before the value, without which the trial is not taken for a paused one.
                    trial.set_user_attr(PAUSED, metrics.epoch)
                    self._paused[number] = self._running.pop(number)
                elif goes_on and attrs.get(PAUSED):
                    trial.set_user_attr(PAUSED, 0)  # of an attempt that ended before the value
                trial.report(value, metrics.epoch)
            if goes_on or number in self._paused:
                return not goes_on
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
            figures = {**trial.user_attrs, **vars(kept)}
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

        A trial is postponed only once, and only if others ran during its attempt, possibly in the
        same memory. Returns whether it was postponed.
        """
        trial = self._running[number]
        if "alone" in trial.user_attrs or number not in self._in_company:
            return False
        trial.set_user_attr("alone", True)
        self._queue.postponed.append(number)
        return True

    def stop_paused(self) -> list[TrialRecord]:
        """Stop the paused trials for good; return their records.

        To be called when a search has no trial to start, and none that is running.
        """
        stopped = sorted(self._paused)
        with self._journal.together():
            for number in stopped:
                trial = self._running[number] = self._paused.pop(number)
                reason = f"stopped after epoch {trial.user_attrs[PAUSED]} by the pruner"
                self._end(number, TrialState.PRUNED, Outcome.PRUNED, reason)
        return [self.record(number) for number in stopped]

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
    def paused(self) -> Set[int]:
        """Numbers of the paused trials."""
        return self._paused.keys()

    @property
    def unlikely(self) -> list[int]:
        """Numbers of the paused trials that will hardly be promoted."""
        return self._rungs.unlikely() if self._rungs is not None else []

    @property
    def ended(self) -> int:
        """Number of trials that have ended; infeasible ones do not count."""
        return self._counts[Source.SEARCH] + self._counts[Source.RANDOM_BASELINE]

    @property
    def started(self) -> int:
        """Number of trials that have ended, run or are paused; infeasible ones do not count."""
        return self.ended + len(self._running) + len(self._paused)

    @property
    def sampled(self) -> int:
        """Number of all trials in the study, whatever their outcome."""
        return len(self._trials())

    @property
    def finished(self) -> bool:
        """Whether all requested trials have ended."""
        return (
            not self._running
            and not self._paused
            and (self.started >= self.space.trials or self._queue.grid_is_done)
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
        randoms = self._counts[Source.RANDOM_BASELINE] + len(self._open_random)
        is_due = self._queue.random_is_due(randoms, self.started)
        source = Source.RANDOM_BASELINE if is_due else Source.SEARCH
        proposer = self._proposers[source]
        self._study.sampler = proposer.sampler(self._study)
        with quiet_optuna():
            sampled = self._ask()
        if "proposal" not in sampled.user_attrs:
            sampled.set_user_attr(
                "proposal", Proposal.MODEL if proposer.used_model else Proposal.RANDOM
            )
        if source == Source.RANDOM_BASELINE:
            sampled.set_user_attr("source", source)
        # An interrupted trial has its source from before.
        if sampled.user_attrs.get("source") == Source.RANDOM_BASELINE:
            self._open_random.add(sampled.number)
        return sampled

    def _ask(self) -> optuna.Trial:
        """Sample a trial, without the parameters that are inactive for its values."""
        if not self.space.has_conditions:
            return self._study.ask(self._distributions)
        sampled = self._study.ask()
        values: dict[str, Scalar] = {}
        for name in self.space.parents_first:
            if self.space.is_active(name, values):
                value = suggest(sampled, name, self._distributions[name])
                values |= rounded({name: value})  # else 0.30000000000000004 is no 0.3 of a `when`
        return sampled

    def _promoted(self, *, needed: bool = False) -> TrialTask | None:
        """Promote a paused trial that is among the best of its rung, or needed at the end."""
        if self._rungs is None:
            return None
        number = self._rungs.needed() if needed else self._rungs.promotable()
        if number is None:
            return None
        self._rungs.promote(number)
        trial = self._running[number] = self._paused.pop(number)
        after = int(trial.user_attrs[PAUSED])
        trial.set_user_attr(PAUSED, 0)
        task = TrialTask(number, TrialConfig.from_dict(trial.user_attrs["config"]), after=after)
        return self._starting(task)

    def _starting(self, task: TrialTask) -> TrialTask:
        """Note who runs beside a trial, and add the epochs after which it may be paused."""
        self._in_company.discard(task.number)
        if len(self.running) > 1:
            self._in_company.update(self.running)
        if self._rungs is None or not self._rungs.promotes:
            return task
        ahead = tuple(epoch for epoch in self._rungs.epochs if epoch > task.after)
        return dataclasses.replace(task, rungs=ahead)

    def _postponed_trial(self) -> TrialTask | None:
        """Return a postponed trial if no other trial runs."""
        if not self._queue.postponed or self.running:
            return None
        number = self._queue.postponed.pop(0)
        self._count(number, "attempts")
        config = self._running[number].user_attrs["config"]
        return self._starting(TrialTask(number, TrialConfig.from_dict(config)))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._trial_id(number))

    def _trial_id(self, number: int) -> int:
        study_id = self._storage.get_study_id_from_name(STUDY_NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _count(self, number: int, name: str) -> int:
        trial = self._running[number]
        count = int(trial.user_attrs.get(name, 0)) + 1
        trial.set_user_attr(name, count)
        return count

    def _prepare(self, sampled: optuna.Trial) -> TrialTask | None:
        """Make the config of a sampled trial, or end the trial if it is infeasible."""
        attrs = sampled.user_attrs
        if {"attempts", "config"} <= attrs.keys():  # interrupted, and checked before
            return TrialTask(sampled.number, TrialConfig.from_dict(attrs["config"]))
        try:
            config = self.space.config(rounded(sampled.params), sampled.number)
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
        self._open_random.discard(number)
        trial.set_user_attr("outcome", outcome)
        if reason:
            trial.set_user_attr("reason", reason)
        with quiet_optuna():
            self._study.tell(trial, values, state)
        self._counts[_counts_as(self._frozen(number))] += 1
        if self._rungs is not None:
            self._rungs.end(number, is_complete=state == TrialState.COMPLETE)
        self._journal.seal()

    def _requeue_interrupted(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in self._paused:
                self._set_waiting(trial.number)

    def _set_waiting(self, number: int) -> None:
        self._storage.set_trial_state_values(self._trial_id(number), TrialState.WAITING)


def _counts_as(trial: FrozenTrial) -> str:
    """Return the source of an ended trial, or `nothing` for an infeasible proposal."""
    attrs = trial.user_attrs
    if attrs.get("outcome") == Outcome.INFEASIBLE:
        return "nothing"
    return str(attrs.get("source", Source.SEARCH))
