from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.scripted import ScriptedRun, finish, metrics
from tunecnn import load_run
from tunecnn.analysis.random_baseline import best_so_far, compare_with_random
from tunecnn.run.run import Run
from tunecnn.summary.markdown import render_markdown
from tunecnn.summary.run_types import summarize
from tunecnn.trial.messages import Outcome, TrialEnd

SPACE = """
dataset: digits
epochs: 2
trials: 24
parameters:
  net.width: {float: [0.1, 2.0]}
start: [baseline]
sampler: {tpe: {startup_trials: 4}}
random_baseline: 0.25
"""


def run_of(tmp_path, accuracy: Callable[[float], float]) -> Run:
    run = ScriptedRun(tmp_path / "controlled", SPACE)
    while (trial := run.study.next_trial()) is not None:
        finish(run.study, trial, accuracy(trial.config.net["width"]), epochs=2)
        if trial.number == 12:  # killed and resumed
            run.reopen()
    return run.load()


def test_a_share_of_the_trials_is_drawn_at_random(tmp_path):
    run = run_of(tmp_path, lambda width: 1 - abs(width - 1.3) / 2)
    control = run.trials[run.trials["source"] == "random_baseline"]
    assert len(control) == 6
    assert list(control["trial"].diff().dropna().unique()) == [4]
    assert run.trials["source"][0] == "search"  # the start point
    near = (run.trials["param.net.width"] - 1.3).abs()
    learned = run.trials["trial"] > 12
    assert near[learned & (run.trials["source"] == "search")].median() < 0.2
    assert near[control.index].median() > 0.2


def test_a_search_that_learns_is_ahead_of_its_control_at_equal_cost(tmp_path):
    run = run_of(tmp_path, lambda width: 0.5 + 0.49 * (width > 1.9))
    found = compare_with_random(run)
    assert (found.search.trials, found.random.trials) == (18, 6)
    assert found.random.seconds == pytest.approx(18.0)
    assert found.expected[0][0] == 1
    for _, typical, (low, high) in found.expected:
        assert low <= typical <= high <= run.trials["val_accuracy"].max()
    text = render_markdown(summarize(run), {})
    assert found.verdict in text
    assert "25% of the trials at random" in text


def test_both_arms_are_compared_at_the_cost_of_the_cheaper_one(tmp_path):
    run = run_of(tmp_path, lambda width: 0.3 + width / 4)
    found, curves = compare_with_random(run), best_so_far(run)
    ours = curves["search"]
    at = ours[ours["seconds"] <= found.random.seconds + 1e-9]["best"].max()
    assert found.search.best_at_equal_cost == at <= found.search.best
    assert f"The best of the search is {at:.2%}" in found.verdict
    assert "there is no verdict" in found.verdict


@pytest.mark.parametrize(
    ("pruner", "words"),
    [
        ("none", "Both had the same epochs."),
        (
            "median",
            "Both had the same epochs and the same pruner, which judged the trials of both",
        ),
        (
            "patient",
            "Both had the same epochs and the same pruner, which judged each trial by itself.",
        ),
        ("promotion", "Both had the same epochs and the same pruner, with rungs of their own."),
    ],
)
def test_it_is_said_whether_the_pruner_knew_the_sources_apart(pruner, words, tmp_path):
    run = ScriptedRun(tmp_path / "run", f"{SPACE}pruner: {pruner}\n")
    study = run.study
    while (trial := study.next_trial()) is not None:
        epoch, stopped = len(study.record(trial.number).epochs), False
        while epoch < 2 and not stopped:
            epoch += 1
            accuracy = 0.5 + trial.config.net["width"] / 10
            stopped = study.report(trial.number, metrics(epoch, accuracy), is_last=epoch == 2)
        if not stopped:
            study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=2))
    loaded = run.load()
    found = compare_with_random(loaded)
    assert found is not None
    assert found.conditions.startswith(words)
    assert found.conditions in render_markdown(summarize(loaded), {})


def test_a_search_without_a_control_is_not_compared(scripted_run):
    assert compare_with_random(load_run(scripted_run)) is None
    assert summarize(load_run(scripted_run)).random_baseline is None


def test_a_winner_among_the_random_trials_is_said_to_be_one(tmp_path):
    number = iter(range(100))
    run = run_of(tmp_path, lambda width: 0.9 if next(number) == 3 else 0.5)
    assert run.best["source"] == "random_baseline"
    summary = summarize(run)
    own = run.ranked[run.ranked["source"] == "search"].iloc[0]
    text = (
        f"so the sampler has not found it: its own best is trial {own['trial']}, with 50.00% "
        "validation accuracy."
    )
    assert any(text in one for one in summary.caveats)
