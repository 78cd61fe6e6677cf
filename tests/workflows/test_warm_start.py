from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scripted import SPACE
from tunecnn import load_run
from tunecnn.errors import InputError
from tunecnn.space.space import SearchSpace
from tunecnn.summary.run_types import summarize
from tunecnn.workflows.warm_start import warm_start


def space_of(text: str = SPACE) -> SearchSpace:
    return SearchSpace.from_text(text).override(trials=12)


def test_the_best_trials_of_an_earlier_run_become_start_points(scripted_run):
    warm = warm_start(space_of(), scripted_run)
    points = space_of().override(start=warm.start).start_points()
    report, *others = points
    assert report == space_of().baseline_point()
    assert 1 <= len(others) <= 3
    assert (
        "of 3 trials in the space that were trained to the end are start points; 0 do not lie"
        in warm.words
    )


def test_an_earlier_run_has_its_name_from_inside_of_its_folder(scripted_run, monkeypatch):
    monkeypatch.chdir(scripted_run)
    assert warm_start(space_of(), Path()).words.startswith(f"from {scripted_run.name}: ")
    assert summarize(load_run(".")).name == scripted_run.name


def test_trials_outside_the_space_are_left_out_and_counted(scripted_run):
    narrow = SPACE.replace("choice: [0.5, 1.0]", "choice: [0.5, 0.7]").replace("[baseline]", "[]")
    old = load_run(scripted_run).ranked["param.net.width"]
    warm = warm_start(space_of(narrow), scripted_run)
    assert f"; {(old == 1.0).sum()} do not lie in the space" in warm.words
    assert all(point["net.width"] == 0.5 for point in warm.start)


def test_what_the_earlier_space_left_to_the_network_is_a_value_of_it(scripted_run):
    wider = SPACE.replace(
        "  batch_size: 32", "  batch_size: 32\n  net.dense_units: {choice: [256, 512]}"
    )
    warm = warm_start(space_of(wider), scripted_run)
    assert all(point["net.dense_units"] == 512 for point in warm.start[1:])
    assert len(warm.start) > 1


def test_a_run_of_another_space_is_refused(scripted_run):
    other = "dataset: digits\nparameters: {batch_size: {choice: [8, 16]}}\n"
    with pytest.raises(InputError, match="not one of the 3 trials .* lies in the space"):
        warm_start(space_of(other), scripted_run)
