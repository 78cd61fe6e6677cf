"""Which trials a sampler sees; and ours passes Optuna's own conformance classes."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import FrozenTrial, TrialState

from tunecnn.space.space import SearchSpace
from tunecnn.study.halving import PAUSED
from tunecnn.study.samplers import Proposer, Sees
from tunecnn.trial.messages import Outcome

optuna.logging.set_verbosity(optuna.logging.ERROR)


def space(text: str = "") -> SearchSpace:
    return SearchSpace.from_text(
        "epochs: 9\nparameters:\n  net.dropout_dense: {float: [0.0, 0.5]}\n" + text
    )


def seen(study: optuna.Study, proposer: Proposer) -> list[FrozenTrial]:
    """The trials that a proposer's sampler sees."""
    sampler = proposer.sampler(study)
    assert isinstance(sampler, Sees)
    return sampler._view(study)._get_trials(deepcopy=False)


def test_tpe_sees_the_best_the_latest_and_what_is_running():
    study = optuna.create_study(direction="maximize")
    proposer = Proposer(space())
    values = [1.0 if number in (3, 40) else number / 1000 for number in range(400)]
    left = study.ask()
    for value in values[1:]:
        study.tell(study.ask(), value)
    assert [one.number for one in seen(study, proposer)] == [0, 3, 40, *range(152, 400)]
    study.tell(left, 0.999)
    study._thread_local.cached_all_trials = None
    assert [one.number for one in seen(study, proposer)] == [0, 3, 40, *range(153, 400)]


def curves(sampler: str) -> tuple[optuna.Study, Proposer]:
    """Two complete trials, a pruned and a paused one."""
    study = optuna.create_study(direction="maximize")
    for number, values in enumerate([(0.2, 0.8), (0.4, 0.9), (0.1,), (0.3,)]):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        for epoch, value in enumerate(values, 1):
            trial.report(value, epoch)
        if number < 2:
            study.tell(trial, values[-1])
        elif number == 2:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(PAUSED, 1)
    return study, Proposer(space(f"sampler: {sampler}\n"))


def test_tpe_sees_a_paused_trial_as_a_pruned_one():
    states = [one.state.name for one in seen(*curves("tpe"))]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_others_see_the_estimated_final_value_of_pruned_and_paused_trials(sampler):
    """The complete ones gained 0.6 and 0.5 after the first epoch; nothing is above the best."""
    found = seen(*curves(sampler))
    assert [one.state.name for one in found] == ["COMPLETE"] * 4
    assert [one.value for one in found] == pytest.approx([0.8, 0.9, 0.65, 0.85])


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_they_see_what_could_not_be_trained_as_the_worst(sampler):
    """Each was shown as good as the best, or not at all, and proposed again and again."""
    study, proposer = curves(sampler)
    for outcome, state, epochs in (
        (Outcome.DIVERGED, TrialState.PRUNED, 1),
        (Outcome.DIVERGED, TrialState.FAIL, 0),
        (Outcome.OUT_OF_MEMORY, TrialState.PRUNED, 1),
        (Outcome.INFEASIBLE, TrialState.PRUNED, 0),
        (Outcome.ERROR, TrialState.FAIL, 0),
    ):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        if epochs:
            trial.report(0.6, 1)
        if outcome is Outcome.OUT_OF_MEMORY:
            trial.set_constraint("memory", 1.0)
        trial.set_user_attr("outcome", outcome)
        study.tell(trial, state=state)
    found = seen(study, proposer)[4:]
    assert [one.state.name for one in found] == ["COMPLETE"] * 4 + ["FAIL"]
    assert [one.values for one in found[:4]] == [[0.8]] * 4
    assert [one.constraints["memory"] for one in found[:4]] == [-1.0, -1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("sampler", "before", "after"),
    [
        ("{tpe: {startup_trials: 4}}", "random", "model"),
        ("{tpe: {startup_trials: 4, multivariate: false}}", "random", "model"),
        ("{gp: {startup_trials: 4}}", "random", "model"),
        ("random", "random", "random"),
        ("qmc", "random", "random"),
    ],
)
def test_who_proposed_a_trial_is_known(sampler, before, after):
    study, proposer = curves(sampler)
    proposer.sampler(study)
    assert proposer.used_model == (after == "model")
    proposer.sampler(optuna.create_study(direction="maximize"))
    assert proposer.used_model == (before == "model")


def test_without_a_number_cmaes_proposes_at_random_and_says_so():
    choices = SearchSpace.from_text(
        "sampler: {cmaes: {startup_trials: 1}}\nparameters:\n  net.width: {choice: [0.5, 1.0]}\n"
    )
    study, _ = curves("random")
    for one, proposed in (
        (choices, False),
        (space("sampler: {cmaes: {startup_trials: 1}}"), True),
    ):
        proposer = Proposer(one)
        proposer.sampler(study)
        assert proposer.used_model is proposed


class TestSees(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: Sees(TPESampler(n_startup_trials=0, seed=0), list)
