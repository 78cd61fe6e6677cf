from __future__ import annotations

import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.scripted import SPACE, ScriptedRun, properties_of
from tests.support.searching import TEXT, Silent, begin, listening_to
from tunecnn import load_dataset, load_run, train
from tunecnn.analysis.comparison import compare_runs
from tunecnn.analysis.confirmation import main_confirmation, summarize_confirmation
from tunecnn.analysis.search import summarize_search
from tunecnn.errors import InputError
from tunecnn.run.run import Run
from tunecnn.space.space import SearchSpace
from tunecnn.summary.render import write_summary
from tunecnn.summary.run_types import summarize
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.confirmation_space import (
    TrainingScale,
    candidates_of,
    confirmation_space,
    job_of,
)
from tunecnn.workflows.found_model import find_model
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.search import resume


def confirmed(folder: Path, search: Run, accuracy: Callable[[int], float], seeds: int = 5) -> Run:
    candidates = candidates_of(search, 3, {})
    text = confirmation_space(search, candidates, seeds)
    run = ScriptedRun(folder, text, job_of(search, candidates))
    return run.train_all(lambda trial: accuracy(trial.number))


def searched(folder: Path, accuracy: Callable[[int], float], trials: int = 12) -> Run:
    text = SPACE.replace("trials: 6", f"trials: {trials}").replace("epochs: 4", "epochs: 1")
    text = text.replace("pruner: {halving: {min_epochs: 1, factor: 2}}", "pruner: none")
    return ScriptedRun(folder, text).train_all(lambda trial: accuracy(trial.number))


def test_a_config_file_called_as_a_trial_is_not_that_trial(tmp_path):
    search = searched(tmp_path / "search", lambda number: 0.8 + number / 100)
    best = int(search.best["trial"])
    candidates = candidates_of(search, 3, {})
    with pytest.raises(InputError, match=f"another candidate is called 'trial {best}'; give the"):
        candidates_of(search, 3, {f"trial {best}": candidates[-1].config})
    named = [
        candidates[-1],
        dataclasses.replace(candidates[1], name=f"trial {best} of mine", search_accuracy=None),
    ]
    for names, expected in ((named, False), (candidates, True)):
        folder = search.path / "confirmations" / str(expected)
        text = confirmation_space(search, names, 2)
        ScriptedRun(folder, text, job_of(search, names)).train_all(lambda trial: 0.8)
        latest = main_confirmation(load_run(search.path))
        assert latest is not None
        assert latest.has_winner is expected
        shutil.rmtree(folder)


def test_a_confirmation_that_was_cut_off_does_not_hide_one_with_a_verdict(tmp_path):
    search = searched(tmp_path / "search", lambda number: 0.8 + number / 100)
    candidates = candidates_of(search, 1, {})
    text, inner = confirmation_space(search, candidates, 2), search.path / "confirmations"
    first = ScriptedRun(inner / "first", text, job_of(search, candidates))
    first.train_all(lambda trial: 0.8 + trial.number / 1000)
    second = ScriptedRun(inner / "second", text, job_of(search, candidates))
    task = second.study.next_trial()
    second.study.report(task.number, EpochMetrics(1, 0.1, 0.9, 0.1, 0.98, 1.0), is_last=True)
    second.study.finish(task.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    latest = main_confirmation(load_run(search.path))
    assert latest is not None
    assert latest.run.path.name == "first"


def test_a_confirmation_without_results_does_not_hide_an_earlier_one(tmp_path):
    search = searched(tmp_path / "search", lambda number: 0.8 + number / 100)
    candidates = candidates_of(search, 1, {})
    text = confirmation_space(search, candidates, 2)
    inner = search.path / "confirmations"
    ScriptedRun(inner / "first", text, job_of(search, candidates))
    assert "no candidate has been trained" in summarize_search(load_run(search.path)).headline
    shutil.rmtree(inner / "first")
    confirmed(inner / "first", search, lambda number: 0.8)
    ScriptedRun(inner / "second", text, job_of(search, candidates))
    loaded = load_run(search.path)
    assert [run.path.name for run in loaded.confirmations] == ["first", "second"]
    latest = main_confirmation(loaded)
    assert latest is not None
    assert latest.run.path.name == "first"
    assert latest.summary.headline[1:] in summarize_search(loaded).headline


@pytest.mark.parametrize("crop", [None, 0.25])
def test_a_baseline_that_comes_out_best_is_the_best_trial_of_its_search(crop, tmp_path):
    """The search went on to offer the trial that new seeds had put behind the baseline.

    A confirmation by another version may have trained another baseline.
    """
    search = searched(tmp_path / "search", lambda number: 0.8 + number / 100)
    best, baseline = candidates_of(search, 1, {})
    if crop is not None:
        baseline = dataclasses.replace(baseline, config=baseline.config.replace(crop=crop))
    candidates = [best, baseline]
    text, folder = confirmation_space(search, candidates, 3), search.path / "confirmations" / "c"
    inner = ScriptedRun(folder, text, job_of(search, candidates))
    inner.train_all(lambda trial: 0.7 + 0.1 * (trial.number % 2))
    loaded = load_run(search.path)
    latest = main_confirmation(loaded)
    assert latest is not None
    assert latest.summary.pick is not None
    assert latest.summary.pick.name == "the baseline"
    trial = int(loaded.baseline_trial["trial"])
    assert latest.trial == (trial if crop is None else None)
    assert trial != int(loaded.best["trial"])


@pytest.mark.slow
def test_what_only_luck_had_found_is_not_confirmed(tmp_path):
    """Twenty equal configurations: the search sees an improvement, new seeds do not."""
    found, kept = 0, 0
    for repeat in range(20):
        noise = random.Random(repeat)
        draw = lambda _, noise=noise: noise.gauss(0.9, 0.01)  # noqa: E731
        search = searched(tmp_path / f"s{repeat}", draw, trials=20)
        found += search.best["val_accuracy"] > search.baseline_trial["val_accuracy"]
        result = summarize_confirmation(confirmed(tmp_path / f"c{repeat}", search, draw))
        kept += result.candidates[0].test_gain.verdict == "ahead by more than noise"
    assert found >= 18
    assert kept <= 2


def test_what_is_really_better_is_confirmed_with_its_numbers(tmp_path):
    noise = random.Random(0)
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    run = confirmed(
        tmp_path / "c",
        search,
        lambda number: 0.88 + 0.02 * (number % 3 == 0) + noise.gauss(0, 0.002),
    )
    result = summarize_confirmation(run)
    pick = result.pick
    assert pick.name == "trial 7"
    assert pick.search_accuracy == pytest.approx(0.905)  # the mean: its values were tried twice
    assert pick.shrinkage == pytest.approx(0.005, abs=0.003)
    assert pick.test_gain.mean == pytest.approx(0.02, abs=0.003)
    assert pick.test_gain.ahead == 5
    assert pick.test_gain.probability > 0.97
    assert "ahead by more than noise" in result.verdict
    assert "the search overstated it by 0.45 points (90.50%)" in result.verdict
    assert {line.name for line in result.candidates[1:]} == {
        "trial 0 (the baseline)",
        "trial 1",
    }


def test_a_search_is_confirmed_from_end_to_end_and_says_so(tmp_path):
    folder = begin(tmp_path, TEXT).folder
    options = RunOptions(local=True, checkpoint_seconds=0.0)
    stopped = confirm(folder, 2, 2, {}, options, listening_to(Silent(raise_at=4)))
    assert stopped.ending == "interrupted"
    assert not load_run(folder).info.evaluations
    result = confirm(folder, 2, 2, {}, options, listening_to(Silent()))
    assert result.ending == "done"
    inner = load_run(result.folder)
    count = len(inner.job.candidates)
    assert len(inner.complete) == len(inner.evaluations) == 2 * count
    search = load_run(folder)
    assert search.evaluations.empty  # of its own trials; those of the new seeds are counted
    assert len(search.info.evaluations) == len(inner.evaluations)
    assert set(inner.evaluations["candidate"]) == {one.name for one in inner.job.candidates}
    for run in (search, inner):  # every property answers, of every kind of run
        for name in properties_of(run):
            getattr(run, name)
        merged = run.trials.merge(run.evaluations, how="left")
        assert merged["accuracy"].notna().sum() == len(run.evaluations)
    assert set(inner.predictions["candidate"]) == set(inner.evaluations["candidate"])
    first, *others = result.summary.headline, *result.summary.caveats
    said = summarize(search)
    assert said.headline == f"Confirmation: {first[0].lower()}{first[1:]}"
    assert list(said.caveats[: len(others)]) == others
    assert "**Answer.** Confirmation: with 2 new seeds" in (folder / "summary.md").read_text()
    assert (result.folder / "figures" / "confirmed.svg").is_file()
    again = confirm(folder, 2, 2, {}, options, listening_to(Silent()))
    assert len(load_run(again.folder).evaluations) == 2 * count
    with pytest.raises(InputError, match="is a confirmation; only a search can be confirmed"):
        confirm(result.folder, 1, 1, {}, options, listening_to(Silent()))
    with pytest.raises(InputError, match="it has one trial for each seed, and none can be added"):
        resume(result.folder, options, listening_to(Silent()), 1)


def test_a_search_is_confirmed_in_several_splits_of_the_data(tmp_path):
    """Each trial is trained and tested with the images and the scaling of its own split."""
    text = TEXT.replace("train_images: 200", "train_images: 200\n  pixels: standardized")
    folder = begin(tmp_path, text).folder
    options = RunOptions(local=True, checkpoint_seconds=0.0)
    stopped = confirm(folder, 1, 2, {}, options, listening_to(Silent(raise_at=5)), splits=2)
    assert stopped.ending == "interrupted"
    result = confirm(folder, 1, 2, {}, options, listening_to(Silent()), splits=2)
    assert result.folder == stopped.folder
    assert result.folder.name == "top1-seeds2-splits2"
    inner, summary = load_run(result.folder), result.summary
    count = len(inner.job.candidates)
    assert len(inner.complete) == len(inner.evaluations) == 4 * count
    assert (summary.splits, summary.seeds) == (2, 4)
    assert summary.headline.startswith("With 4 new seeds in 2 new splits of the data, ")
    assert all(len(line.test.repeats) == 2 for line in summary.candidates)
    page = (result.folder / "summary.md").read_text()
    assert "the same 4 new seeds, 2 in each of 2 new splits of the data" in page
    assert "splits: 2, none that of the search (split seeds " in page
    for trial in (0, count):  # one of each split, trained alone
        config = inner.config(trial)
        assert config.split_seed == inner.space.data_splits[trial // count].seed
        data = load_dataset("digits", config.data_split)
        *_, alone = train(config, data.trial_data)
        kept = inner.record(trial).kept
        assert (alone.val_loss, alone.train_loss) == (kept.val_loss, kept.train_loss)
        probabilities = inner.load_model(trial).probabilities(data.test.pixels)
        (tested,) = inner.evaluations.loc[inner.evaluations["trial"] == trial, "accuracy"]
        assert tested == pytest.approx((probabilities.argmax(1) == data.test.labels).mean())
    search = summarize(load_run(folder))
    assert search.headline.startswith("Confirmation: with 4 new seeds in 2 new splits of the")
    assert search.leads[0].on == "test images, mean of 4 new seeds in 2 new splits of the data"
    found = find_model(folder)  # the card of the model has the same interval as the page
    lines = {line.name.partition(" (")[0]: line for line in summary.candidates}
    line = lines[f"trial {found.trial}"]
    assert (found.confirmed().interval, found.confirmed().repeats) == (
        line.test.interval,
        "4 new seeds in 2 new splits of the data",
    )
    assert [one["split_seeds"] for one in summary.to_json()["candidates"]] == [
        [split.seed for split in inner.space.data_splits] * 2
    ] * count
    other = begin(tmp_path / "other", text).folder
    confirm(other, 1, 1, {}, options, listening_to(Silent()))
    compared = compare_runs([load_run(folder), load_run(other)])
    assert [line.splits for line in compared.lines] == [2, 0]
    assert "only their test accuracies can be compared" in "".join(compared.warnings)


def test_a_cheap_search_is_confirmed_with_all_images_and_more_epochs(tmp_path):
    """Its accuracies are not compared with these, and its own models are not said to have them."""
    text = TEXT.replace("start: [", "start: [baseline, ").replace("[0.1, 0.2]", "[0.1, 0.2, 1.0]")
    folder, options = begin(tmp_path, text).folder, RunOptions(local=True)
    same = confirm(folder, 2, 1, {}, options, listening_to(Silent()))
    more = TrainingScale("all", 3)
    result = confirm(folder, 2, 1, {}, options, listening_to(Silent()), scale=more)
    assert (same.folder.name, result.folder.name) == (
        "top2-seeds1",
        "top2-seeds1-imagesall-epochs3",
    )
    inner, search = load_run(result.folder), load_run(folder)
    assert inner.info.dataset.train == 1149
    assert set(inner.trials["epochs"]) == {3}
    configs = [inner.config(int(number)) for number in inner.trials["trial"]]
    assert {config.train_images for config in configs} == {None}
    scales = "for 3 epochs of 1,149 training images, in the search for 2 epochs of 200"
    assert any(scales in one for one in result.summary.caveats)
    assert {line.search_accuracy for line in result.summary.candidates} == {None}
    written = (result.folder / "summary.md").read_text()
    assert "overstated" not in written
    assert "The search trained each for 2 epochs of 200 training images, so" in written
    assert "overstated by" in (same.folder / "summary.md").read_text()
    said = (folder / "summary.md").read_text()
    assert scales in said
    assert "as in the search, not for 3 epochs of 1,149 training images:" in said
    assert main_confirmation(search).run.path == inner.path
    assert find_model(folder).confirmed().run.endswith(same.folder.name)
    again = confirm(folder, 2, 1, {}, options, listening_to(Silent()), scale=more)
    assert again.folder == result.folder


def test_a_weaker_confirmation_that_is_made_later_does_not_replace_the_answer(tmp_path):
    """Whoever repeats it until one pleases would be answered by that one."""
    text = TEXT.replace("start: [", "start: [baseline, ").replace("[0.1, 0.2]", "[0.1, 0.2, 1.0]")
    folder, options = begin(tmp_path, text).folder, RunOptions(local=True)
    for seeds, scale in ((2, TrainingScale()), (1, TrainingScale()), (2, TrainingScale(100))):
        confirm(folder, 2, seeds, {}, options, listening_to(Silent()), scale=scale)
    search = load_run(folder)
    assert main_confirmation(search).run.path.name == "top2-seeds2"
    answer = (folder / "summary.md").read_text()
    assert "Confirmation: with 2 new seeds" in answer
    assert (
        "This is top2-seeds2, and there are others (2 confirmations): of those whose resul"
        in answer
    )


@pytest.mark.parametrize(
    ("scale", "name"),
    [(TrainingScale(200, 2), "top1-seeds1"), (TrainingScale(300), "top1-seeds1-images300")],
)
def test_only_what_the_search_does_not_have_is_another_scale(scale, name, tmp_path):
    folder, options = (
        begin(tmp_path, TEXT.replace("0.2]", "0.2, 1.0]")).folder,
        RunOptions(local=True),
    )
    result = confirm(folder, 1, 1, {}, options, listening_to(Silent()), scale=scale)
    assert result.folder.name == name
    wanted = None if scale.train_images == 200 else {"epochs": 2, "train": 200}
    record = load_run(result.folder).job.searched_with
    assert (record and record.model_dump()) == wanted


def test_more_images_than_there_are_cannot_confirm(tmp_path):
    folder = begin(tmp_path, TEXT.replace("0.2]", "0.2, 1.0]")).folder
    with pytest.raises(InputError, match="train_images is 5000, but there are only 1149 training"):
        confirm(
            folder,
            1,
            1,
            {},
            RunOptions(local=True),
            listening_to(Silent()),
            scale=TrainingScale(5000),
        )
    with pytest.raises(InputError, match="epochs must be 1 or more, not 0"):
        candidates_of(load_run(folder), 1, {}, scale=TrainingScale(epochs=0))


def test_confirmations_with_other_numbers_of_images_are_compared_with_a_warning(tmp_path):
    text, options = TEXT.replace("0.2]", "0.2, 1.0]"), RunOptions(local=True)
    folders = [begin(tmp_path, text, name=name).folder for name in ("a", "b")]
    for folder, images in zip(folders, (None, "all"), strict=True):
        confirm(folder, 1, 1, {}, options, listening_to(Silent()), scale=TrainingScale(images))
    warnings = compare_runs([load_run(folder) for folder in folders]).warnings
    assert warnings == ("their confirmations train for different numbers of epochs or images",)


def test_data_that_have_one_split_are_not_split_anew(tmp_path):
    """It is said before the search, not after it."""
    np.savez(
        tmp_path / "own.npz",
        x_train=np.zeros((40, 8, 8), np.uint8),
        y_train=[0, 1] * 20,
        x_val=np.full((8, 8, 8), 9, np.uint8),
        y_val=[0, 1] * 4,
    )
    text = TEXT.replace("dataset: digits", f"dataset: {tmp_path / 'own.npz'}\nsplits: 3")
    with pytest.raises(InputError, match="splits: 3: the data set has validation images of its"):
        begin(tmp_path / "runs", text.replace("train_images: 200", "batch_size: 16"))
    assert not (tmp_path / "runs").exists()


def test_the_search_learns_of_a_confirmation_that_is_resumed_by_its_own_path(tmp_path):
    """Its summary went on to say that the test images had not been used."""
    folder = begin(tmp_path, TEXT).folder
    options = RunOptions(local=True)
    stopped = confirm(folder, 1, 2, {}, options, listening_to(Silent(raise_at=1)))
    assert stopped.ending == "interrupted"
    assert resume(stopped.folder, options, listening_to(Silent())).ending == "done"
    search, inner = load_run(folder), load_run(stopped.folder)
    assert len(search.info.evaluations) == len(inner.info.evaluations) > 0
    assert {one.confirmation for one in search.info.evaluations} == {inner.path.name}
    summary = (folder / "summary.md").read_text()
    assert "Confirmation: with 2 new seeds" in summary
    assert f"used for {len(inner.info.evaluations)} evaluations" in summary


def test_a_confirmation_that_is_not_tested_yet_does_not_hide_another_one_from_the_model(tmp_path):
    folder = begin(tmp_path, TEXT).folder
    options = RunOptions(local=True)
    tested = confirm(folder, 1, 1, {}, options, listening_to(Silent()))
    later = confirm(folder, 1, 2, {}, options, listening_to(Silent(raise_at=1)))
    assert (tested.ending, later.ending) == ("done", "interrupted")
    assert find_model(folder).confirmed().run.endswith(tested.folder.name)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("epochs", [1, 6])
def test_a_killed_confirmation_ends_as_an_uninterrupted_one(epochs, tmp_path):
    """SIGKILL after some epochs of its trials, then the same command again."""
    text = TEXT.replace("trials: 3", "trials: 4").replace("epochs: 2", "epochs: 4")
    whole = begin(tmp_path / "a", text).folder
    killed = Path(shutil.copytree(whole, tmp_path / "b" / whole.name))
    command = [sys.executable, "-m", "tunecnn", "confirm", "--top", "2", "--seeds", "2", "--local"]
    subprocess.run([*command, str(whole)], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)

    def trained() -> int:
        journals = killed.glob("confirm*/**/study.journal")
        return sum(path.read_text().count('"epoch:') for path in journals)

    while trained() < epochs:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, str(killed)], check=True, stdout=subprocess.DEVNULL)
    one, other = (load_run(folder).confirmations[0] for folder in (whole, killed))
    different = ["run", "seconds", "started", "ended", "attempts"]
    assert other.trials.drop(columns=different).equals(one.trials.drop(columns=different))
    figures = ["trial", "accuracy", "loss"]
    assert other.evaluations[figures].equals(one.evaluations[figures])
    assert summarize_confirmation(other).verdict == summarize_confirmation(one).verdict


def test_a_confirmation_that_has_not_ended_says_what_is_missing(tmp_path):
    search = searched(tmp_path / "s", lambda number: 0.9)
    candidates = candidates_of(search, 1, {})
    text = confirmation_space(search, candidates, 2)
    run = ScriptedRun(tmp_path / "c", text, job_of(search, candidates))
    summary = write_summary(load_run(run.path))
    assert summary.verdict.startswith("No candidate has been trained to its end")
    assert summary.pick is None
    missing = "It has not ended: {} of 2 trainings have, and the others may change this."
    assert missing.format(0) in summary.caveats
    run.train([0.9])
    run.folder.write_info(run.folder.read_info().with_session(ending="interrupted"))
    assert missing.format(1) in summarize_confirmation(load_run(run.path)).caveats
    inner = search.path / "confirmations" / "c"
    shutil.copytree(run.path, inner)
    assert summarize_search(load_run(search.path)).headline.startswith("Confirmation so far: ")
    assert (
        "s/c has not ended: 1 of 2 trials have"
        in compare_runs(
            [load_run(search.path), searched(tmp_path / "other", lambda number: 0.9)]
        ).warnings
    )


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_search_that_another_process_holds_is_refused_before_anything_is_trained(tmp_path):
    """Its lock was asked for only when all candidates had been trained and tested."""
    folder = begin(tmp_path, TEXT).folder
    before = files_of(folder)
    holder = {"process": 1, "host": "elsewhere", "since": "noon"}
    (folder / ".holder").write_text(json.dumps(holder))
    options = RunOptions(local=True)
    listener = Silent()
    with pytest.raises(InputError, match=r"process 1 on elsewhere .* add --take-over"):
        confirm(folder, 1, 1, {}, options, listening_to(listener))
    assert listener.epochs == 0
    (folder / ".lock").unlink(missing_ok=True)
    assert files_of(folder) == {**before, folder / ".holder": json.dumps(holder).encode()}
    taking_over = dataclasses.replace(options, take_over=True)
    assert confirm(folder, 1, 1, {}, taking_over, listening_to(listener)).ending == "done"
    assert len(load_run(folder).info.evaluations) == len(
        load_run(folder).confirmations[0].complete
    )


def with_failures(folder: Path, search: Run, validation: dict[int, dict[int, float]]) -> Run:
    """Confirm with accuracies by candidate and round of seeds; where one is missing, it fails."""
    candidates = candidates_of(search, len(validation) - 1, {})
    run = ScriptedRun(
        folder, confirmation_space(search, candidates, 4), job_of(search, candidates)
    )
    while (trial := run.study.next_trial()) is not None:
        accuracy = validation[trial.number % len(candidates)].get(trial.number // len(candidates))
        if accuracy is None:
            end = TrialEnd(Outcome.DIVERGED, reason="the loss is not finite")
        else:
            metrics = EpochMetrics(1, 0.5, 0.5, 1 - accuracy, accuracy, 1.0, accuracy)
            run.study.report(trial.number, metrics, is_last=True)
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=1)
        run.study.finish(trial.number, end)
    return run.load()


def test_a_candidate_without_results_changes_no_verdict(tmp_path):
    """It is neither beaten, nor one for whose choice the others are corrected."""
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * {7: 2, 5: 1}.get(number, 0))
    first, failed, _ = candidates_of(search, 2, {})
    best, baseline = (dict(enumerate(ours)) for ours in ((0.95, 0.96, 0.94), (0.90, 0.92, 0.91)))
    alone, beside = (
        summarize_confirmation(with_failures(tmp_path / str(len(one)), search, one))
        for one in ({0: best, 1: baseline}, {0: best, 1: {}, 2: baseline})
    )
    assert alone.candidates[0].name == beside.candidates[0].name == first.name
    assert alone.candidates[0].validation_gain.interval is not None
    assert alone.candidates[0].validation_gain == beside.candidates[0].validation_gain
    assert f"6 of 12 ({first.name}: 1, {failed.name}: 4, the baseline: 1)" in beside.verdict
    assert "the best of" not in beside.verdict


def test_candidates_are_ranked_by_the_seeds_that_they_share_with_the_baseline(tmp_path):
    """Else a baseline whose worst seeds failed would be the best."""
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    ours, theirs = (0.93, 0.94, 0.95, 0.60), (0.91, 0.915, 0.93)
    values = {
        index: dict(enumerate(theirs if "baseline" in name else ours))
        for index, name in enumerate(names)
    }
    result = summarize_confirmation(with_failures(tmp_path / "c", search, values))
    assert result.pick.name == "trial 7"
    assert result.pick.validation_gain.mean == pytest.approx(0.0217, abs=1e-4)
    (lead,) = result.leads
    assert lead.on == "validation images, mean of 3 new seeds"
    assert lead.accuracy - lead.baseline == pytest.approx(lead.difference)
    assert "Trainings that failed, and are left out: 1 of 8 (the baseline: 1)." in result.caveats


def test_a_baseline_is_ahead_seed_by_seed_also_where_its_mean_is_lower(tmp_path):
    """Its worst seed is one that the other candidate has not, since it failed there."""
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    values = {
        index: dict(
            enumerate((0.94, 0.95, 0.96, 0.60) if "baseline" in name else (0.92, 0.93, 0.94))
        )
        for index, name in enumerate(names)
    }
    result = summarize_confirmation(with_failures(tmp_path / "c", search, values))
    assert result.headline == (
        "With 4 new seeds, nothing is ahead of the baseline in mean validation accuracy, with the "
        "seeds that both have; its own is 86.25%."
    )


def test_candidates_that_share_no_seed_with_the_baseline_are_not_compared(tmp_path):
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    values = {
        index: {0: 0.80} if "baseline" in name else {1: 0.81} for index, name in enumerate(names)
    }
    result = summarize_confirmation(with_failures(tmp_path / "c", search, values))
    assert "shares no seed with the baseline, so nothing is compared" in result.headline
    assert "nothing has a higher" not in result.headline


def test_a_winner_that_new_seeds_refute_is_shown_with_them(tmp_path):
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    values = {
        index: dict.fromkeys(range(3), 0.85 if "baseline" in name else 0.80)
        for index, name in enumerate(names)
    }
    result = summarize_confirmation(with_failures(tmp_path / "c", search, values))
    assert "nothing has a higher mean validation accuracy than the baseline" in result.headline
    (lead,) = result.leads
    assert (lead.candidate, round(lead.difference, 9)) == ("trial 7", -0.05)


def test_of_equal_candidates_the_baseline_comes_first_whatever_the_rounding(tmp_path):
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    ours, theirs = (267, 267, 275), (268, 268, 273)  # a mean difference of rounding alone
    values = {
        index: {seed: count / 288 for seed, count in enumerate(ours if "base" in name else theirs)}
        for index, name in enumerate(names)
    }
    result = summarize_confirmation(with_failures(tmp_path / "c", search, values))
    assert result.candidates[0].is_baseline


def test_other_candidates_are_confirmed_with_other_seeds(tmp_path):
    search = searched(tmp_path / "search", lambda number: 0.8 + number / 100)
    texts = [confirmation_space(search, candidates_of(search, top, {}), 2) for top in (1, 2, 1)]
    seeds = [
        {int(one["seed"]) for one in SearchSpace.from_text(text).start_points()} for text in texts
    ]
    assert not seeds[0] & seeds[1]
    assert texts[0] == texts[2]  # so that it can be resumed


def test_without_a_baseline_or_another_candidate_nothing_is_compared(tmp_path):
    search = searched(tmp_path / "s", lambda number: 0.90 + 0.01 * (number == 7))
    names = [one.name for one in candidates_of(search, 1, {})]
    baseline = next(index for index, name in enumerate(names) if "baseline" in name)
    for missing, words in (
        (baseline, "trial 7 has 92.00% mean validation accuracy; the baseline has not been"),
        (1 - baseline, "has 92.00% mean validation accuracy; no other candidate has been"),
    ):
        values = {0: {}, 1: {}} | {1 - missing: dict.fromkeys(range(4), 0.92)}
        run = with_failures(tmp_path / f"c{missing}", search, values)
        result = summarize_confirmation(run)
        assert words in result.headline
        assert not result.leads


def test_a_search_for_balanced_accuracy_is_confirmed_by_it(tmp_path):
    text = SPACE.replace("epochs: 4", "epochs: 1\nobjectives: [val_balanced_accuracy]")
    text = text.replace("pruner: {halving: {min_epochs: 1, factor: 2}}", "pruner: none")
    run = ScriptedRun(tmp_path / "s", text)
    while (trial := run.study.next_trial()) is not None:
        balanced = 0.8 if trial.number == 3 else 0.6
        metrics = EpochMetrics(1, 0.5, 0.5, 0.5, 0.9, 1.0, balanced)
        run.study.report(trial.number, metrics, is_last=True)
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    search = run.load()
    assert "with 80.00% balanced validation accuracy, and 90.00%" in summarize(search).headline
    candidates = candidates_of(search, 2, {})
    inner = ScriptedRun(
        tmp_path / "c", confirmation_space(search, candidates, 2), job_of(search, candidates)
    )
    while (trial := inner.study.next_trial()) is not None:
        best = candidates[trial.number % len(candidates)].name == "trial 3"
        metrics = EpochMetrics(1, 0.5, 0.5, 0.5, 0.8 - 0.1 * best, 1.0, 0.5 + 0.2 * best)
        inner.study.report(trial.number, metrics, is_last=True)
        inner.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=1))
    result = summarize_confirmation(inner.load())
    assert result.pick.name == "trial 3"
    assert result.pick.search_accuracy == pytest.approx(0.8)
    assert "70.00% mean balanced validation accuracy" in result.verdict
    assert result.leads[0].on == "validation images, balanced mean of 2 new seeds"
