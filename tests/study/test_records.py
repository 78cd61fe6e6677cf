from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from tests.support.scripted import ScriptedRun, metrics
from tunecnn.study.records import Ranking
from tunecnn.trial.messages import EpochMetrics, Outcome


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    run = ScriptedRun(tmp_path_factory.mktemp("records") / "run")
    run.train([0.9] * 4)
    return run.study.record(0)


@pytest.mark.parametrize("seed", range(20))
def test_at_each_moment_the_best_is_the_first_of_all_ranked(seed, record):
    """Of few values, several seeds, equal accuracies, equal losses, and trials without a rank."""
    rng = random.Random(seed)
    ranking, complete = Ranking("val_accuracy"), []
    for number in range(12):
        epoch = EpochMetrics(1, 0.5, 0.5, rng.choice([0.1, 0.2]), rng.choice([0.7, 0.8, 0.9]), 1.0)
        outcome = rng.choice([Outcome.COMPLETE] * 4 + [Outcome.PRUNED])
        one = replace(
            record,
            number=number,
            outcome=outcome,
            epochs=(epoch,),
            kept_epoch=1,
            values={"net.width": rng.choice([0.5, 1.0, 2.0]), "seed": number},
        )
        ranking.add(one)
        complete += [one] if outcome is Outcome.COMPLETE else []
        accuracies = {
            one.number: [
                other.epochs[0].val_accuracy
                for other in complete
                if other.values["net.width"] == one.values["net.width"]
            ]
            for one in complete
        }
        expected = sorted(
            complete,
            key=lambda one: (
                -round(fmean(accuracies[one.number]), 12),
                -one.epochs[0].val_accuracy,
                one.epochs[0].val_loss,
                one.number,
            ),
        )
        assert ranking.ranked() == expected
        assert ranking.best == (expected[0] if expected else None)
        assert [ranking.seeds(one) for one in complete] == list(map(len, accuracies.values()))


def test_the_values_of_a_trial_are_those_of_the_baseline_with_any_seed(record):
    one = replace(record, values={"net.width": 1.0, "seed": 7})
    assert one.has_settings({"net.width": 1.0})
    assert not one.has_settings({"net.width": 0.5})
    assert not one.has_settings({"net.width": 1.0, "net.dropout_dense": 0.5})


def test_a_balanced_accuracy_ranks_where_it_is_the_metric(record):
    good = replace(metrics(1, 0.6), val_balanced_accuracy=0.9)
    one, other = (
        replace(record, number=number, epochs=(epoch,), kept_epoch=1, values={"net.width": number})
        for number, epoch in enumerate((good, replace(metrics(1, 0.8), val_balanced_accuracy=0.7)))
    )
    assert Ranking("val_balanced_accuracy", [other, one]).best == one
    assert Ranking("val_accuracy", [other, one]).best == other
