from __future__ import annotations

import random

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from tests.support.scripted import ScriptedRun, metrics
from tunecnn import load_run, plots
from tunecnn.analysis.diagnostics import (
    best_by,
    complete_trials,
    importance_analysis,
    importances,
    isolation,
    near_bounds,
    pareto_front,
    places,
    rank_correlations,
    repeats,
)
from tunecnn.errors import InputError
from tunecnn.run.run import Run
from tunecnn.space.parameters import ChoiceParameter, FloatParameter, IntParameter
from tunecnn.summary.charts import charts_of
from tunecnn.summary.plots.style import finding_of
from tunecnn.summary.render import write_summary
from tunecnn.summary.run_types import summarize
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd

SPACE = """
name: reviewed
dataset: digits
epochs: 9
trials: {trials}
parameters:
  net.width: {{choice: [0.5, 1.0, 2.0]}}
  net.dropout_dense: {{float: [0.0, 0.5], step: 0.05}}
  learning_rate: {{float: [1e-4, 1e-2], log: true, role: nuisance}}
start: [{points}]
sampler: random
pruner: none
"""


def run_of(
    tmp_path, trials: list[tuple[float, float, float, list[float]]], extra: str = ""
) -> Run:
    """A run with trials of given width, dropout, learning rate and accuracies by epoch."""
    points = ", ".join(
        f"{{net.width: {w}, net.dropout_dense: {d}, learning_rate: {r}}}" for w, d, r, _ in trials
    )
    text = SPACE.format(trials=len(trials), points=points) + extra
    run = ScriptedRun(tmp_path / "reviewed", text)
    for *_, accuracies in trials:
        run.train(accuracies)
    return run.load()


def ends(accuracy: float, third: float | None = None) -> list[float]:
    return [accuracy] * 2 + [accuracy if third is None else third] + [accuracy] * 6


def test_the_isolation_table_has_the_best_of_each_value_of_scientific_parameters(tmp_path):
    run = run_of(
        tmp_path,
        [
            (0.5, 0.0, 1e-3, ends(0.5)),
            (0.5, 0.3, 1e-3, ends(0.6)),
            (2.0, 0.3, 1e-3, ends(0.7)),
            *((2.0, 0.5, 1e-3 + i * 1e-5, ends(0.4)) for i in range(9)),
        ],
    )
    lines = {(line.parameter, line.value): line for line in isolation(run)}
    assert {name for name, _ in lines} == {"net.width", "net.dropout_dense"}
    assert (lines["net.width", "0.5"].accuracy, lines["net.width", "0.5"].complete) == (0.6, 2)
    assert lines["net.width", "2"].trial == 2
    assert ("net.width", "1") not in lines
    assert lines["net.dropout_dense", "0.3 to 0.4"].complete == 2
    best, count = best_by(run, "net.width", "net.dropout_dense", complete_trials(run))
    assert best.loc["0.5", "0.3 to 0.4"] == 0.6
    assert count.to_numpy().sum() == 12
    write_summary(run)
    page = MarkdownIt("commonmark").enable("table").render((run.path / "summary.md").read_text())
    assert "<th>value</th>" in page
    assert "<td>0.3 to 0.4</td>" in page


def test_single_trials_are_no_table_of_values_and_no_picture(tmp_path):
    trials = [(0.5, 0.0, 1e-3, ends(0.5)), (2.0, 0.3, 1e-3, ends(0.7))]
    run = run_of(tmp_path, trials)
    assert isolation(run) == ()
    write_summary(run)
    drawn = {path.name for path in (run.path / "figures").iterdir()}
    assert "curves.svg" in drawn
    assert not {"interaction.svg", "isolation.svg"} & drawn
    said = " ".join((run.path / "summary.md").read_text().split())
    assert (
        "With 2 trials trained to the end, nothing is shown about single values of a parameter "
        "or how well early epochs predict the final ranking." in said
    )


def test_the_front_has_what_no_other_trial_beats_in_both_objectives(tmp_path):
    run = run_of(
        tmp_path,
        [
            (1.0, 0.0, 1e-3, ends(0.6)),
            (2.0, 0.0, 1e-3, ends(0.7)),
            (0.5, 0.1, 1e-3, ends(0.5)),
            (0.5, 0.2, 1e-3, ends(0.4)),  # as small, and worse
            (0.5, 0.3, 1e-3, ends(0.5)),  # alike in both
            (2.0, 0.3, 1e-3, ends(0.6)),  # as good as trial 0, and larger
        ],
        "objectives: [val_accuracy, params]\n",
    )
    assert list(pareto_front(run)["trial"]) == [2, 0, 1]
    assert pareto_front(run)["params"].is_monotonic_increasing
    summary = summarize(run)
    assert [line.trial for line in summary.front] == [2, 0, 1]
    write_summary(run)
    text = (run.path / "summary.md").read_text()
    assert "## The front" in text
    assert "| 2 | " + f"{pareto_front(run)['params'].iloc[0]:,}" in text
    assert (run.path / "figures" / "front.svg").is_file()
    axes = plots.front(run).axes[0]
    assert [len(points.get_offsets()) for points in axes.collections] == [6, 3]


def test_a_lucky_seed_is_not_on_the_front_by_itself(tmp_path):
    text = (
        "dataset: digits\nepochs: 1\ntrials: 4\nsampler: grid\nobjectives: [val_accuracy, params]\n"
        "parameters: {net.width: {choice: [1.0, 2.0]}, seed: {choice: [1, 2]}}\n"
    )
    accuracies = {(1.0, 1): 0.7, (1.0, 2): 0.5, (2.0, 1): 0.65, (2.0, 2): 0.65}
    run = ScriptedRun(tmp_path / "front", text).train_all(
        lambda trial: accuracies[trial.config.net["width"], trial.config.seed]
    )
    front = pareto_front(run)
    assert list(front["param.net.width"]) == [1.0, 2.0]
    assert list(front["mean"].round(9)) == [0.6, 0.65]
    assert finding_of(plots.history(run)) == (
        "Highest of a single trial 70.00%, first reached by trial 0"
    )
    (chart,) = (one for one in charts_of(run) if one.title == "Accuracy against cost")
    (rows,) = chart.spec["datasets"].values()
    assert sorted(round(row["a"], 9) for row in rows if row["f"]) == [0.6, 0.65]
    write_summary(run)
    assert (
        "by the mean over the trials with the same values" in (run.path / "summary.md").read_text()
    )


def test_a_search_with_one_objective_has_no_front(tmp_path):
    run = run_of(tmp_path, [(1.0, 0.0, 1e-3, ends(0.6))])
    assert pareto_front(run).empty
    with pytest.raises(InputError, match="had one objective"):
        plots.front(run)


def test_a_best_value_at_the_end_of_its_range_is_warned_of_with_evidence(tmp_path):
    one = run_of(tmp_path / "one", [(2.0, 0.0, 1.1e-4, ends(0.7)), (1.0, 0.2, 1e-3, ends(0.6))])
    assert one.best["trial"] == 0
    assert near_bounds(one) == {}  # two trials show nothing
    trials = [(2.0, 0.0, 1.1e-4 + i * 1e-6, ends(0.74 - i / 100)) for i in range(5)]
    trials += [(1.0, 0.2, 1e-3 + i * 1e-6, ends(0.5 + i / 100)) for i in range(10)]
    assert near_bounds(run_of(tmp_path / "many", trials)) == {
        "net.width": "2 is at the high end of 0.5 to 2",
        "learning_rate": "0.00011 is at the low end of 0.0001 to 0.01",
    }  # there is no dropout below 0


def test_the_end_of_a_choice_is_its_last_option_wherever_the_others_lie(tmp_path):
    """The better trials have 64 and 128, which lie in the lowest fifth of 32 to 512."""
    text = """
name: sizes
dataset: digits
epochs: 1
trials: 40
parameters: {batch_size: {choice: [32, 64, 128, 256, 512]}, momentum: {float: [0.1, 0.9]}}
sampler: random
"""
    run = ScriptedRun(tmp_path / "run", text)
    good = {32: 0.6, 64: 0.8, 128: 0.81}
    best = iter([0.9])
    loaded = run.train_all(
        lambda trial: (
            next(best, 0.6)
            if trial.config.batch_size == 32
            else good.get(trial.config.batch_size, 0.5) + trial.number / 10_000
        )
    )
    assert loaded.best["param.batch_size"] == 32
    assert near_bounds(loaded) == {}


@pytest.mark.slow
def test_in_noise_alone_hardly_any_best_value_is_said_to_be_at_an_end(tmp_path):
    numbers = random.Random(0)
    said = 0
    for repeat in range(40):
        trials = [
            (
                numbers.choice([0.5, 1.0, 2.0]),
                0.1,
                10 ** numbers.uniform(-4, -2),
                ends(0.7 + numbers.gauss(0, 0.05)),
            )
            for _ in range(15)
        ]
        said += bool(near_bounds(run_of(tmp_path / str(repeat), trials)))
    assert said <= 5


def test_the_rank_correlation_tells_whether_a_rung_foretold_the_end(tmp_path):
    # After two epochs the order is that of the end, after four it is reversed.
    trials = [
        (1.0, 0.1, 1e-3, [0.1 + i / 40] * 3 + [0.9 - i / 40] + [0.5 + i / 40] * 5)
        for i in range(10)
    ]
    found = {rung.epoch: rung for rung in rank_correlations(run_of(tmp_path, trials))}
    assert {epoch: rung.correlation for epoch, rung in found.items()} == pytest.approx(
        {2: 1.0, 4: -1.0}
    )
    assert found[2].complete == 10


def test_of_very_few_trials_no_rank_correlation_is_given(tmp_path):
    assert rank_correlations(run_of(tmp_path, [(1.0, 0.1, 1e-3, ends(0.5))])) == ()


def test_a_trial_with_the_values_of_an_earlier_one_is_counted(scripted_run):
    run = load_run(scripted_run)
    values = [tuple(record.values.items()) for record in run.records]
    assert repeats(run) == len(values) - len(set(values))


LIMITED = """
name: limited
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0, 2.0, 4.0]}
sampler: random
constraints: [params <= 300_000]
"""
SEEDS = """
name: seeds
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0]}
  seed: {choice: [1, 2, 3]}
sampler: grid
"""


def test_proposals_that_were_never_trained_repeat_nothing_and_seeds_do(tmp_path):
    run = ScriptedRun(tmp_path / "limited", LIMITED).train_all(lambda trial: 0.5)
    trained = run.trials[run.trials["outcome"] == "complete"]
    assert (run.trials["outcome"] == "infeasible").any()
    assert repeats(run) == len(trained) - trained["param.net.width"].nunique()
    assert repeats(ScriptedRun(tmp_path / "seeds", SEEDS).train_all(lambda trial: 0.5)) == 4


def test_a_value_with_several_seeds_is_shown_with_their_mean(tmp_path):
    """One lucky seed of the worse width was shown as the better width."""
    accuracies = {0.5: iter([0.84, 0.72, 0.76]), 1.0: iter([0.81, 0.80, 0.82])}
    run = ScriptedRun(tmp_path / "seeds", SEEDS).train_all(
        lambda trial: next(accuracies[trial.config.net["width"]])
    )
    narrow, wide = isolation(run)
    assert (narrow.accuracy, wide.accuracy) == (
        pytest.approx(0.7733, abs=1e-3),
        pytest.approx(0.81),
    )


def test_values_that_few_trials_have_are_not_compared(tmp_path):
    text = """
name: conditional
dataset: digits
epochs: 1
trials: 11
parameters:
  optimizer: {choice: [adamw, sgd]}
  momentum: {float: [0.5, 0.95], when: {optimizer: sgd}}
sampler: random
"""
    run = ScriptedRun(tmp_path / "run", text).train_all(lambda trial: 0.5 + trial.number / 100)
    assert 5 < run.ranked["param.momentum"].count() < 10 < len(run.ranked)
    assert {line.parameter for line in isolation(run)} == {"optimizer"}


DIVERGING = """
dataset: digits
epochs: 3
trials: 48
parameters:
  learning_rate: {float: [0.001, 0.1], log: true}
  net.dropout_dense: {float: [0.0, 0.5]}
sampler: random
"""


def test_what_makes_trials_diverge_has_an_effect(tmp_path):
    """Among those that survive, the learning rate does nothing."""
    run, luck = ScriptedRun(tmp_path / "run", DIVERGING), random.Random(0)
    diverged = 0
    while (trial := run.study.next_trial()) is not None:
        is_bad = trial.config.learning_rate > 0.03
        for epoch in range(1, 4):
            if is_bad and epoch == 2:
                lost = EpochMetrics(2, float("nan"), 0.1, float("nan"), 0.1, 1.0)
                run.study.report(trial.number, lost, is_last=True)
                run.study.finish(trial.number, TrialEnd(Outcome.DIVERGED, reason="not finite"))
                diverged += 1
                break
            accuracy = 0.8 + luck.gauss(0, 0.01)
            run.study.report(trial.number, metrics(epoch, accuracy), is_last=epoch == 3)
        else:
            run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=3))
    searched = run.load()
    frame = importances(searched)
    frame["share"] *= 100  # it is the caller's own
    found = importance_analysis(searched)
    assert list(found.shares.index) == ["learning_rate"]
    assert found.shares["share"].max() <= 1
    assert found.sample == (
        f"{48 - diverged} that reached the end, and {diverged} that diverged, with their last "
        "accuracy"
    )


STOPPING = """
name: stopping
dataset: digits
epochs: 9
trials: 24
parameters:
  net.dropout_dense: {choice: [0.0, 0.5]}
  patience: 3
sampler: random
"""


def test_trials_that_stop_themselves_count_with_the_epoch_that_they_keep(tmp_path):
    """Dropout changes when a trial stops, and not how good it is."""
    scripted = ScriptedRun(tmp_path / "stopping", STOPPING)
    luck = random.Random(0)
    while (trial := scripted.study.next_trial()) is not None:
        kept, good = (2, 0.8 + luck.gauss(0, 0.01)), trial.config.net["dropout_dense"] == 0.5
        last = 9 if good else 5
        for epoch in range(1, last + 1):
            value = kept[1] if epoch == kept[0] else kept[1] - 0.02 * epoch
            scripted.study.report(trial.number, metrics(epoch, value), is_last=epoch == 9)
        scripted.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=kept[0]))
    found = importance_analysis(scripted.load())
    assert (found.when, found.shares.empty) == ("at the end", True)
    assert found.nothing == (
        "No parameter has a clear effect on the accuracy at the end of the trials: 24 that reached "
        "the end."
    )


@pytest.mark.parametrize(
    ("parameter", "labels"),
    [
        (ChoiceParameter(choice=["a", 2, True]), ["a", "2", "True"]),
        (IntParameter(int=[1, 4]), ["1", "2", "3", "4"]),
        (FloatParameter(float=[0.0, 0.5], step=0.25), ["0", "0.25", "0.5"]),
        (FloatParameter(float=[0.0, 1.0]), [f"{i / 5:.1g} to {(i + 1) / 5:.1g}" for i in range(5)]),
        (FloatParameter(float=[1e-5, 1.0], log=True),
         ["1e-05 to 0.0001", "0.0001 to 0.001", "0.001 to 0.01", "0.01 to 0.1", "0.1 to 1"]),
        (FloatParameter(float=[0.999, 0.9999]),
         ["0.999 to 0.9992", "0.9992 to 0.9994", "0.9994 to 0.9995", "0.9995 to 0.9997",
          "0.9997 to 0.9999"]),
        (ChoiceParameter(choice=[0.12341, 0.12342]), ["0.12341", "0.12342"]),
        (ChoiceParameter(choice=[1024.0, 2048.0, 0.1234]), ["0.1234", "1024", "2048"]),
        (ChoiceParameter(choice=["b", "a", 3]), ["b", "a", "3"]),
    ],
)  # fmt: skip
def test_every_value_has_one_place(parameter, labels):
    values = parameter.in_order if isinstance(parameter, ChoiceParameter) else parameter.ends()
    found = places(parameter, pd.Series([*values, None]))
    assert list(found.cat.categories) == labels
    assert (found.iloc[0], found.iloc[len(values) - 1]) == (labels[0], labels[-1])
    assert found.isna().tolist() == [False] * len(values) + [True]


def test_an_edge_between_two_places_belongs_to_the_upper_one():
    found = places(FloatParameter(float=[0.0, 1.0]), pd.Series([0.19, 0.2, 0.2 + 0.4, 0.8, 1.0]))
    assert found.tolist() == ["0 to 0.2", "0.2 to 0.4", "0.6 to 0.8", "0.8 to 1", "0.8 to 1"]


def test_trials_that_are_equally_good_have_one_colour_and_a_scale_around_them(tmp_path):
    trials = [(0.5, 0.0, 1e-3, [0.9] * 9), (2.0, 0.5, 1e-3, [0.9] * 9)] * 5
    run = run_of(tmp_path, [(w, d, r + i * 1e-5, e) for i, (w, d, r, e) in enumerate(trials)])
    *_, bar = plots.interaction(run).axes
    assert bar.get_ylim() == pytest.approx((0.895, 0.905))
    assert plots.isolation(run).axes[0].get_ylim() == pytest.approx((0.893, 0.9075))


def test_of_trials_that_are_equally_good_the_pictures_name_the_first(tmp_path):
    trials = [
        (0.5, 0.0, 1e-3, 0.8),
        (2.0, 0.5, 2e-3, 0.9),
        (1.0, 0.25, 3e-3, 0.9),
        (1.0, 0.5, 4e-3, 0.7),
    ]
    run = run_of(tmp_path, [(width, drop, rate, [best] * 9) for width, drop, rate, best in trials])
    assert run.best["trial"] == 1
    assert plots.history(run).get_suptitle().replace("\n", " ") == (
        "Best 90.00%, first reached by trial 1; nothing gained in 2 complete trials after it"
    )
    assert plots.interaction(run).get_suptitle().startswith("Best 90.00% at net.width 2")


def test_the_picture_of_width_and_dropout_has_the_mean_of_several_seeds(tmp_path):
    text = """
        name: seeds
        dataset: digits
        epochs: 9
        trials: 8
        parameters:
          net.width: {choice: [0.5, 1.0]}
          net.dropout_dense: {choice: [0.0, 0.5]}
          seed: {choice: [0, 1]}
        sampler: grid
        pruner: none
    """
    scripted = ScriptedRun(tmp_path / "seeds", text)
    for accuracy in (0.5, 0.9, 0.7, 0.8, 0.4, 0.3, 0.6, 0.2):
        scripted.train(ends(accuracy))
    run = scripted.load()
    by_seeds = run.trials.groupby(["param.net.width", "param.net.dropout_dense"])["val_accuracy"]
    best, count = best_by(run, "net.width", "net.dropout_dense", complete_trials(run))
    assert best.to_numpy() == pytest.approx(by_seeds.mean().unstack().to_numpy())
    assert (count.to_numpy() == 2).all()
    highest = by_seeds.mean().max()
    assert highest < 0.9
    assert plots.interaction(run).get_suptitle().startswith(f"Best {highest:.2%} at")


def test_of_trials_that_are_equally_good_no_value_is_the_better_one(tmp_path):
    """The order of a grid is no evidence."""
    trials = [
        (width, 0.1, 1e-3 + i * 1e-6, ends(0.9)) for width in (2.0, 1.0, 0.5) for i in range(10)
    ]
    assert near_bounds(run_of(tmp_path, trials)) == {}


@pytest.mark.parametrize(
    "parameters", ["{}", f"{{seed: {{choice: {list(range(24))}}}}}"], ids=["nothing", "seeds"]
)
def test_a_run_that_searches_nothing_has_a_summary(parameters, tmp_path):
    """As one does to see how far seeds differ."""
    sampler = "random" if parameters == "{}" else "grid"
    text = (
        f"dataset: digits\nepochs: 1\ntrials: 24\nparameters: {parameters}\nsampler: {sampler}\n"
    )
    accuracies = iter(range(500, 600))
    scripted = ScriptedRun(tmp_path / "run", text)
    run = scripted.train_all(lambda task: next(accuracies) / 1000)
    assert importance_analysis(run).shares.empty
    write_summary(run)
    assert "mean validation accuracy of 51.15%" in (run.path / "summary.md").read_text()


def test_trials_that_all_diverged_are_not_said_to_be_trained_to_the_end(tmp_path):
    text = SPACE.format(trials=3, points="").replace("epochs: 9", "epochs: 1")
    run = ScriptedRun(tmp_path / "run", text)
    while (trial := run.study.next_trial()) is not None:
        lost = EpochMetrics(1, float("nan"), 0.1, float("nan"), 0.1, 1.0)
        run.study.report(trial.number, lost, is_last=True)
        run.study.finish(trial.number, TrialEnd(Outcome.DIVERGED, reason="not finite"))
    title = plots.interaction(run.load()).get_suptitle()
    assert title == "No trial has been trained to the end yet"


def test_the_picture_of_all_trials_names_the_one_that_reached_the_best_first(tmp_path):
    """A paused trial goes on when later ones have ended."""
    points = ", ".join(f"{{net.width: {width}}}" for width in (0.5, 1.0))
    text = SPACE.format(trials=2, points=points).replace("epochs: 9", "epochs: 1")
    run = ScriptedRun(tmp_path / "run", text)
    first, second = run.study.next_trial(), run.study.next_trial()
    for trial in (second, first):
        run.study.report(trial.number, metrics(1, 0.9), is_last=True)
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    title = plots.history(run.load()).get_suptitle().replace("\n", " ")
    assert title == (
        "Best 90.00%, first reached by trial 1; nothing gained in 1 complete trial after it"
    )
