from __future__ import annotations

import io
import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.collections import LineCollection

import tunecnn
from tests.support.scripted import ScriptedRun, properties_of, run_info
from tunecnn import load_run
from tunecnn.errors import InputError
from tunecnn.run.folder import RunFolder
from tunecnn.run.frames import EPOCH_DTYPES, TRIAL_DTYPES, epochs_frame, to_parquet, trials_frame
from tunecnn.space.parameters import Choice, Float, Int
from tunecnn.summary.plots.search import PLOTS


def test_trials_have_one_row_each_with_the_columns_of_the_contract(scripted_run):
    trials = load_run(scripted_run).trials
    assert list(trials.columns) == [*TRIAL_DTYPES, "param.net.dropout_dense", "param.net.width"]
    assert trials["trial"].tolist() == [0, 1, 2, 3, 4, 5]
    assert trials["state"].tolist() == [
        "COMPLETE",
        "COMPLETE",
        "PRUNED",
        "COMPLETE",
        "PRUNED",
        "FAIL",
    ]
    assert trials["outcome"].tolist()[-2:] == ["diverged", "error"]
    row = trials.iloc[1]
    assert (row["epochs"], row["seconds"], row["best_epoch"], row["kept_epoch"]) == (4, 6.0, 4, 4)
    assert row["val_accuracy"] == pytest.approx(0.925)
    assert (row["dataset"], row["architecture"], row["node"]) == ("digits", "proposed", "desk")
    assert (row["ended"] - row["started"]).total_seconds() >= 0


def test_epochs_have_one_row_each_also_of_trials_that_failed(scripted_run):
    epochs = load_run(scripted_run).epochs
    assert list(epochs.columns) == list(EPOCH_DTYPES)
    assert epochs.groupby("trial").size().to_dict() == {0: 4, 1: 4, 2: 1, 3: 4, 4: 2}
    assert pd.isna(epochs["train_loss"].iloc[-1])


def test_an_empty_run_has_empty_frames_with_the_same_columns(scripted_run):
    full = load_run(scripted_run)
    for empty, other in (
        (trials_frame("r", [], full.space.searched), full.trials),
        (epochs_frame("r", []), full.epochs),
    ):
        assert empty.empty
        assert empty.dtypes.to_dict() == other.dtypes.to_dict()


@pytest.mark.parametrize(
    ("parameter", "value", "dtype"),
    [
        (Float(0.0, 2.0), 1.0, "float64"),
        (Float(0, 2, step=1), 1, "float64"),
        (Int(1, 8), 2, "Int64"),
        (Choice(16, 32), 16, "Int64"),
        (Choice(1, 1.5), 1, "float64"),
        (Choice(2**70, 1), 2**70, "object"),
        (Choice(True, False), False, "boolean"),
        (Choice("adam", "sgd"), "sgd", "object"),
        (Choice(8, "all"), 8, "object"),
    ],
)
def test_a_parameters_column_has_the_type_of_its_possible_values(
    parameter, value, dtype, scripted_run
):
    one = load_run(scripted_run).records[0]
    has, lacks = replace(one, values={"net.some": value}), replace(one, values={})
    expected = str(float(value) if dtype == "float64" else value)
    for records in ([has], [has, lacks], [lacks], []):
        frame = trials_frame("r", records, {"net.some": parameter})
        assert frame["param.net.some"].dtype == dtype
        read = pd.read_parquet(io.BytesIO(to_parquet(frame)))["param.net.some"]
        assert read.isna().tolist() == [not record.values for record in records]
        assert [str(one) for one in read.dropna()] == [
            expected for record in records if record.values
        ]


def test_only_complete_trials_are_ranked(scripted_run):
    run = load_run(scripted_run)
    assert run.ranked["trial"].tolist() == [3, 1, 0]  # not 4, which had 97 % before it diverged
    assert run.best["trial"] == 3
    assert run.baseline_trial["trial"] == 0


def test_a_trials_config_can_be_had_for_training_it_again(scripted_run):
    run = load_run(scripted_run)
    config = run.config(0)
    assert (config.net["dropout_dense"], config.net["width"], config.batch_size) == (0.5, 1.0, 32)
    with pytest.raises(InputError, match="has no trial 6; it has 6"):
        run.config(6)


NOTHING = {
    "front": "had one objective",
    "isolation": "has too few complete trials for single parameters",
    "random_baseline": "had no random baseline",
    "importances": "shows no clear effect of any parameter",
    "confusion": "keeps no predictions of its best trial",
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_picture_that_has_nothing_to_say_is_not_drawn(name, scripted_run):
    with pytest.raises(InputError, match=NOTHING[name]):
        PLOTS[name].draw(load_run(scripted_run))


@pytest.mark.parametrize("name", [name for name in PLOTS if name not in NOTHING])
def test_every_picture_is_drawn_from_the_runs_trials(name, scripted_run):
    figure = PLOTS[name].draw(load_run(scripted_run))
    drawn = [collection for axes in figure.axes for collection in axes.collections]
    bundles = [collection for collection in drawn if isinstance(collection, LineCollection)]
    points = sum(len(some.get_offsets()) for some in drawn if some not in bundles)
    lines = sum(len(axes.lines) for axes in figure.axes)
    lines += sum(len(bundle.get_segments()) for bundle in bundles)
    expected = {
        "history": (5, 1),  # the start point has two marks
        "curves": (0, 9),
        "parameters": (8, 2),
        "interaction": (1, 0),  # that of the colour bar
    }
    assert (points, lines) == expected[name]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not the folder of a run: it has no run.json"):
        load_run(tmp_path)


def test_a_run_is_not_begun_over_another(tmp_path):
    path = tmp_path / "my runs"
    RunFolder.create(path, "", run_info())
    message = f"there is a run at .* already; .* --name, or carry on .* --resume '{path}'"
    with pytest.raises(InputError, match=message):
        RunFolder.create(path, "", run_info())


def test_a_run_has_one_writer(scripted_run):
    first, second = RunFolder(scripted_run), RunFolder(scripted_run)
    refused = pytest.raises(InputError, match=r"is being written by process \d+ on ")
    with first.lock(), refused, second.lock():
        pass
    with second.lock():
        pass


def test_reading_a_run_loads_neither_torch_nor_ray(scripted_run):
    code = (
        "import sys, tunecnn; run = tunecnn.load_run(sys.argv[1]); run.trials; run.epochs; "
        "run.best; tunecnn.plots.curves(run); sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, scripted_run], check=False).returncode == 0


def test_no_question_to_a_run_changes_it(scripted_run):
    def files():
        return {path: path.read_bytes() for path in scripted_run.rglob("*") if path.is_file()}

    before, run = files(), load_run(scripted_run)
    asked = properties_of(run)
    assert {"trials", "epochs", "best", "predictions"} <= set(asked)
    for name in asked:
        getattr(run, name)
    assert files() == before


def test_trials_with_the_same_values_are_ranked_by_their_mean(tmp_path):
    """Of two configurations with three seeds each, one has the luckiest seed."""
    text = (
        "dataset: digits\nepochs: 1\ntrials: 6\nsampler: grid\nparameters: "
        "{net.width: {choice: [0.5, 1.0]}, seed: {choice: [1, 2, 3]}}\n"
    )
    accuracies = {(0.5, 1): 0.90, (1.0, 1): 0.93, (1.0, 2): 0.85, (1.0, 3): 0.86}
    run = ScriptedRun(tmp_path / "run", text).train_all(
        lambda trial: accuracies.get((trial.config.net["width"], trial.config.seed), 0.89)
    )
    assert run.best["param.net.width"] == 0.5
    assert run.best["mean"] == pytest.approx((0.90 + 0.89 + 0.89) / 3)
    assert list(run.configurations["seeds"]) == [3, 3]


GRID = "dataset: digits\nepochs: 1\ntrials: 6\nsampler: grid\nparameters: "


def test_equal_means_are_ties_whatever_the_rounding(tmp_path):
    """Three times 250 of 288 images have a mean that is not 250 / 288 in the last digit."""
    values = "{net.width: {choice: [0.5, 1.0]}, seed: {choice: [1, 2, 3]}}\n"
    run = ScriptedRun(tmp_path / "run", GRID + values)
    run.train_all(
        lambda trial: (250 + (trial.config.net["width"] == 0.5) * (trial.config.seed - 2)) / 288
    )
    assert run.load().ranked["mean"].nunique() == 1


def test_the_baseline_is_the_best_of_its_seeds_as_the_winner_is(tmp_path):
    values = "{net.width: {choice: [0.5, 1.0]}, seed: {choice: [1, 2, 3]}}\n"
    run = ScriptedRun(tmp_path / "run", GRID + values)
    run.train_all(
        lambda trial: 0.8 + trial.config.seed / 100 + 0.05 * (trial.config.net["width"] == 0.5)
    )
    loaded = run.load()
    assert loaded.baseline_trial["param.net.width"] == 1.0
    assert loaded.baseline_trial["val_accuracy"] == pytest.approx(0.83)
    title = PLOTS["curves"].draw(loaded).get_suptitle().replace("\n", " ")
    assert "reaches 88.00% (mean of 3 seeds: 87.00%), the baseline 83.00% (mean of 3" in title


CONSTRAINED = """
name: constrained
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0]}
sampler: random
constraints: [params <= 100000]
"""


def test_proposals_that_break_a_constraint_are_no_trials_that_have_ended(tmp_path):
    run = ScriptedRun(tmp_path / "run", CONSTRAINED)
    run.train_all(lambda t: 0.9)
    loaded = run.load()
    assert len(loaded.trials) > loaded.ended == loaded.space.trials


def test_what_is_done_to_a_frame_changes_no_run(scripted_run):
    run = load_run(scripted_run)
    best, words = run.best_kept() if run.kept else run.best["trial"], repr(run)
    for frame in (run.trials, run.epochs, run.ranked, run.configurations):
        frame["val_accuracy"] = 100.0
        frame.loc[:, "seed"] = 3
        frame.pop("trial")
    assert repr(run) == words
    assert (run.best_kept() if run.kept else run.best["trial"]) == best
    assert run.trials["val_accuracy"].max() <= 1


def test_a_run_is_the_same_in_another_folder(scripted_run, tmp_path, monkeypatch):
    monkeypatch.chdir(scripted_run.parent)
    run = tunecnn.load_run(scripted_run.name)
    monkeypatch.chdir(tmp_path.parent)
    assert run.path == scripted_run
    assert run.weights_of(0).is_absolute()


@pytest.mark.parametrize("trial", ["1", 1.0, None])
def test_a_trial_is_given_by_its_number(trial, scripted_run):
    run = load_run(scripted_run)
    for ask in (run.record, run.config):
        with pytest.raises(InputError, match="a trial is given by its number, not"):
            ask(trial)


def test_a_notebook_shows_a_picture_by_itself(scripted_run, tmp_path):
    for given in ((scripted_run,), (load_run(scripted_run),)):
        shown = PLOTS["history"].draw(*given)._repr_png_()
        assert shown.startswith(b"\x89PNG")
    other = shutil.copytree(scripted_run, tmp_path / "other")
    assert tunecnn.plots.comparison([str(scripted_run), other]).get_suptitle()
    assert tunecnn.plots.history(run=str(scripted_run)).get_suptitle()
