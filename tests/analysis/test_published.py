from __future__ import annotations

import pytest

from tunecnn.analysis.published import EXPERIMENTS, published_curves
from tunecnn.data.registry import NAMED
from tunecnn.models.designs import DESIGNS


def test_every_data_set_with_published_results_has_them():
    assert set(EXPERIMENTS) == {
        name for name, facts in NAMED.items() if facts.has_published_results
    }


@pytest.mark.parametrize("dataset", EXPERIMENTS)
def test_the_curves_are_whole(dataset):
    curves = published_curves(dataset)
    assert set(curves["architecture"]) == set(DESIGNS) == set(EXPERIMENTS[dataset].results)
    for _, curve in curves.groupby("architecture"):
        assert curve["epoch"].tolist() == list(range(1, EXPERIMENTS[dataset].epochs + 1))
        assert curve["val_accuracy"].between(0, 1).all()
        assert (curve[["train_loss", "val_loss"]] > 0).all(axis=None)


@pytest.mark.parametrize("dataset", EXPERIMENTS)
def test_the_test_results_go_with_the_ends_of_the_curves(dataset):
    """A figure in the wrong row would be far from its own validation curve."""
    curves = published_curves(dataset)
    for architecture, result in EXPERIMENTS[dataset].results.items():
        curve = curves[curves["architecture"] == architecture].set_index("epoch")
        kept = curve["val_loss"].idxmin() if architecture == "proposed" else curve.index.max()
        assert curve.loc[kept, "val_accuracy"] == pytest.approx(result.test_accuracy, abs=0.015)
        assert 0.5 < result.test_loss / curve.loc[kept, "val_loss"] < 2


def test_nothing_is_published_on_another_data_set():
    assert published_curves("digits").empty
