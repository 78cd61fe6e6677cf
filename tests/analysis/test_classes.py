from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tunecnn.analysis.classes import (
    class_lines,
    confusion_matrix,
    effective_images,
    guessing_probability,
    image_weights,
    recalls,
)
from tunecnn.data.sheet import DataSheet
from tunecnn.run.frames import predictions_frame
from tunecnn.run.info import DatasetRecord
from tunecnn.trial.messages import Outcome

RANDOM = np.random.default_rng(0)


def run_of(labels: Any, predicted: Any, classes: int = 3, trials: int = 8, different: int = 0):
    """A run with the predictions of trial 4 for the validation and the test images."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    count = len(labels)
    counts = tuple(np.bincount(labels, minlength=classes).tolist())
    dataset = DatasetRecord(
        name="mine", fingerprint="c0ffee", split_fingerprint="d1v1de", train=count, validation=count,
        test=count, input_shape=(1, 8, 8), classes=tuple("abcdefghij"[:classes]),
        sheet=DataSheet(counts=dict.fromkeys(("train", "validation", "test"), counts),
                        different={"validation": different or count}),
    )  # fmt: skip
    frame = predictions_frame(4, labels, predicted)
    return SimpleNamespace(
        info=SimpleNamespace(dataset=dataset),
        validation=frame,
        predictions=frame,
        records=[SimpleNamespace(outcome=Outcome.PRUNED)] * trials,
    )


def test_counts_and_recalls_are_those_of_the_predictions():
    run = run_of([0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 0])
    assert confusion_matrix(run, 4).tolist() == [[1, 2, 0], [0, 2, 0], [1, 0, 0]]
    worst, second, best = recalls(run, 4)
    assert (worst.name, worst.recall, worst.images, worst.mistaken_for) == ("c", 0.0, 1, "a")
    assert (second.name, second.mistaken_for) == ("a", "b")
    assert (best.name, best.recall, best.mistaken_for) == ("b", 1.0, "")
    assert best.interval[0] < 1.0 == best.interval[1]


def test_precision_recall_and_f1_are_scikit_learns():
    from sklearn.metrics import precision_recall_fscore_support

    labels, predicted = RANDOM.integers(0, 5, (2, 200))
    expected = precision_recall_fscore_support(labels, predicted, labels=range(5))
    lines = class_lines(run_of(labels, predicted, classes=5), {4})
    found = [[line.precision, line.recall, line.f1, line.images] for line in lines]
    assert np.allclose(found, np.transpose(expected))
    assert class_lines(run_of(labels, predicted, classes=5), {7}) == ()


@pytest.mark.parametrize("counts", [(400, 400), (780, 20), (500, 0, 40, 260)])
def test_a_balanced_accuracy_is_as_uncertain_as_a_plain_one_over_its_effective_images(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    right = np.random.default_rng(1).random((4000, len(labels))) < 0.8
    for metric in ("val_accuracy", "val_balanced_accuracy"):
        seen = (right * image_weights(labels, metric)).mean(axis=1)
        expected = 0.8 * 0.2 / effective_images(counts, metric)
        assert seen.var() == pytest.approx(expected, rel=0.08)


def test_a_class_without_images_has_no_recall():
    assert [line.name for line in recalls(run_of([0, 2], [0, 2]), 4)] == ["a", "c"]


def test_a_class_that_is_not_there_or_never_predicted_has_no_figures():
    first, second, third = class_lines(run_of([0, 0, 2], [0, 0, 0]), {4})
    assert (first.precision, first.recall) == (pytest.approx(2 / 3), 1.0)
    assert (second.precision, second.recall, second.f1, second.images) == (None, None, None, 0)
    assert (third.precision, third.recall, third.f1) == (None, 0.0, 0.0)


def test_guessing_is_told_from_knowing():
    labels = np.arange(300) % 3
    assert guessing_probability(run_of(labels, labels), 4) == 0
    guessed = guessing_probability(run_of(labels, RANDOM.permutation(labels)), 4)
    assert guessed is not None
    assert guessed > 0.05
    some = np.where(RANDOM.random(300) < 0.4, labels, RANDOM.integers(0, 3, 300))
    assert guessing_probability(run_of(labels, some), 4) == pytest.approx(0, abs=0.01)


def test_the_largest_class_alone_is_no_knowledge():
    labels = [0] * 99 + [1]
    assert guessing_probability(run_of(labels, [0] * 100), 4) == 1


def test_a_rare_class_that_is_always_found_is_knowledge():
    labels = [0] * 95 + [1] * 5
    assert guessing_probability(run_of(labels, labels), 4) == pytest.approx(0, abs=0.01)


def test_copies_and_tries_make_luck_likelier():
    labels = np.arange(128) % 2
    predicted = np.where(np.arange(128) < 96, labels, 1 - labels)  # three quarters are correct
    assert guessing_probability(run_of(labels, predicted), 4) == 0
    copies = guessing_probability(run_of(labels, predicted, different=16), 4)
    once = guessing_probability(run_of(labels, predicted, different=16, trials=1), 4)
    assert once is not None
    assert copies is not None
    assert 0.005 < once < 0.06 < copies < 0.4


def test_without_predictions_nothing_is_said():
    assert guessing_probability(run_of([0, 1], [0, 1]), 5) is None


@pytest.mark.parametrize("classes", [2, 10])
def test_trials_that_guess_are_rarely_taken_for_more(classes):
    labels = np.arange(100) % classes
    found = [
        guessing_probability(run_of(labels, RANDOM.integers(0, classes, 100), classes, 1), 4)
        for _ in range(60)
    ]
    assert sum(value is not None and value < 0.05 for value in found) <= 9  # 3 are expected
