"""Our sampler passes Optuna's own conformance classes, and sees a part of a long study."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from tunecnn.study.samplers import BoundedTpe

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_tpe_sees_the_best_the_latest_and_what_is_running():
    sampler = BoundedTpe(seed=0, n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    among = {"x": optuna.distributions.FloatDistribution(0, 1)}
    values = [1.0 if number in (3, 40) else number / 1000 for number in range(400)]
    left = study.ask(among)
    for value in values[1:]:
        study.tell(study.ask(among), value)
    seen = [trial.number for trial in sampler._part(study)._get_trials(deepcopy=False)]
    assert seen == [0, 3, 40, *range(152, 400)]
    study.tell(left, 0.999)
    study._thread_local.cached_all_trials = None
    seen = [trial.number for trial in sampler._part(study)._get_trials(deepcopy=False)]
    assert seen == [0, 3, 40, *range(153, 400)]


class TestBoundedTpe(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: BoundedTpe(n_startup_trials=0, seed=0)
