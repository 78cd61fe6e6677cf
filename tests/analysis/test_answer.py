from __future__ import annotations

import io

import numpy as np

from tests.support.scripted import ScriptedRun, finish, metrics
from tunecnn.analysis.search import summarize_search
from tunecnn.analysis.winner import ImageGain, SeedGain
from tunecnn.run.artifacts import Artifacts
from tunecnn.trial.messages import Outcome, TrialEnd

REPEATED = """
name: repeated
dataset: digits
epochs: 1
trials: 6
parameters:
  net.width: {choice: [0.5, 1.0]}
sampler: random
"""


def test_a_lucky_seed_of_worse_values_is_named_beside_the_winner(tmp_path):
    run = ScriptedRun(tmp_path / "run", REPEATED)
    lucky = iter([0.95, *[0.60] * 5])
    run.train_all(lambda t: 0.80 if t.config.net["width"] == 0.5 else next(lucky))
    loaded = run.load()
    best = loaded.trials.loc[loaded.trials["val_accuracy"].idxmax()]
    summary = summarize_search(loaded)
    assert summary.best is not None
    assert summary.best.val_accuracy == 0.80
    seeds = int((loaded.trials["param.net.width"] == 1.0).sum())
    assert (
        f"Trial {best['trial']} reached 95.00%, but its values were tried with {seeds} seeds, "
        in summary.verdict
    )


def test_a_winner_with_the_values_of_the_baseline_is_not_said_to_beat_it(tmp_path):
    """The first trial of the baseline was unlucky, or failed; random search tried it again."""
    for first in (0.7, None):
        run = ScriptedRun(tmp_path / str(first), f"{REPEATED}start: [baseline]\n")
        trial = run.study.next_trial()
        assert trial is not None
        if first is None:
            run.study.finish(trial.number, TrialEnd(Outcome.DIVERGED, reason="not finite"))
        else:
            finish(run.study, trial, first, epochs=1)
        run.train_all(lambda t: 0.9 if t.config.net["width"] == 1.0 else 0.6)
        summary = summarize_search(run.load())
        assert summary.gain is None
        assert "It is the baseline itself." in summary.caveats


def test_a_start_point_is_given_by_hand_only_as_far_as_it_was(tmp_path):
    texts = {
        "start: [{net.width: 0.5, rate: 0.0031622776601683794}]": "Trial 0 is a start point, which was given by hand",
        "start: [{net.width: 0.5}]": "A start point gave some values of trial 0; the sampler",
    }
    for number, (start, said) in enumerate(texts.items()):
        text = REPEATED.replace("sampler:", "  rate: {float: [0.001, 0.01]}\nsampler:")
        text = f"{text}{start}\n".replace("rate:", "learning_rate:")
        run = ScriptedRun(tmp_path / str(number), text)
        run.train_all(lambda trial: 0.9 - trial.number / 100)
        caveats = summarize_search(run.load()).caveats
        assert [one[: len(said)] for one in caveats if "start point" in one] == [said]
        info = run.folder.read_info()
        changed = {"start": list(run.space.start)}  # as `--from` records it
        run.folder.write_info(info.model_copy(update={"changes": changed}))
        found = " ".join(summarize_search(run.load()).caveats)
        assert ("or taken from an earlier run" in found) == (not number)


def test_what_is_said_of_a_lead_follows_from_its_interval(tmp_path):
    labels, both = np.arange(288) % 10, "start: [baseline, {net.width: 0.5}]\n"
    for wrong in ((10, 3), (9, 1), (5, 4), (40, 2), (1, 0)):  # baseline, other trial
        run = ScriptedRun(tmp_path / "-".join(map(str, wrong)), REPEATED + both)
        files = Artifacts(run.path, print)
        for count, shift in zip(wrong, (0, 100), strict=True):
            trial = run.study.next_trial()
            assert trial is not None
            predicted = labels.copy()
            predicted[shift : shift + count] += 1
            content = io.BytesIO()
            np.save(content, np.stack([labels, predicted]).astype(np.int32))
            end = TrialEnd(Outcome.COMPLETE, kept_epoch=1, predictions=content.getvalue())
            run.study.report(trial.number, metrics(1, 1 - count / 288), is_last=True)
            files.write_files(trial.number, end=end)
            run.study.finish(trial.number, end)
        summary = summarize_search(run.load())
        assert isinstance(summary.gain, ImageGain)
        assert summary.gain.interval is not None
        low, high = summary.gain.interval
        assert ("more than luck" in summary.verdict) == (low > 0 or high < 0)
        assert ("may be chance" in summary.verdict) == (low <= 0 <= high)


SEEDS = """
name: seeds
dataset: digits
epochs: 1
trials: 10
parameters:
  seed: {choice: [1, 2, 3, 4, 5]}
  net.width: {choice: [0.5, 1.0]}
sampler: grid
"""


def test_with_several_seeds_the_means_are_compared(tmp_path):
    """The luckiest of five seeds is far above the first one of the baseline, the mean is not."""
    of_seed = {1: -0.03, 2: 0.0, 3: 0.05, 4: 0.0, 5: -0.02}
    run = ScriptedRun(tmp_path / "run", SEEDS)
    run.train_all(lambda t: 0.87 + of_seed[t.config.seed] + 0.01 * (t.config.net["width"] < 1))
    summary = summarize_search(run.load())
    assert isinstance(summary.gain, SeedGain)
    assert (round(summary.gain.difference, 6), summary.gain.seeds) == (0.01, 5)
    said = " ".join(summary.caveats)
    assert (
        "a mean of 88.00% over 5 seeds, the baseline one of 87.00% over 5 seeds: 1.00 points "
        "more with 5 seeds in common, " in said
    )
    (lead,) = summary.leads
    assert lead.on == "validation images, means of 5 and 5 seeds"
    assert (round(lead.accuracy, 6), round(lead.baseline, 6)) == (0.88, 0.87)


def test_seeds_alone_are_no_competitors(tmp_path):
    text = SEEDS.replace("  net.width: {choice: [0.5, 1.0]}\n", "").replace("10", "5")
    run = ScriptedRun(tmp_path / "run", text)
    run.train_all(lambda t: 0.8 + t.config.seed / 100)
    loaded = run.load()
    assert len(loaded.configurations) == 1
    assert loaded.ranked["seeds"].tolist() == [5] * 5
    summary = summarize_search(loaded)
    assert "mean validation accuracy of 83.00% over 5 seeds, by which they" in summary.headline
    assert "It is the baseline itself." in summary.caveats


def test_of_a_single_trial_no_luck_is_spoken(tmp_path):
    run = ScriptedRun(tmp_path / "run", REPEATED.replace("trials: 6", "trials: 1"))
    run.train_all(lambda t: 0.8)
    assert not any("luckiest" in one for one in summarize_search(run.load()).caveats)


def test_a_baseline_that_a_grid_has_and_the_pruner_stopped_is_there(tmp_path):
    text = REPEATED.replace("epochs: 1", "epochs: 3").replace("sampler: random", "sampler: grid")
    text = (
        text.replace("trials: 6", "trials: 2") + "pruner: {halving: {min_epochs: 1, factor: 2}}\n"
    )
    run = ScriptedRun(tmp_path / "run", text)
    for _ in range(2):
        trial = run.study.next_trial()
        assert trial is not None
        is_baseline = trial.config.net["width"] == 1.0
        finish(run.study, trial, 0.5 if is_baseline else 0.9, epochs=3)
    loaded = run.load()
    assert loaded.trials["outcome"].tolist() == ["complete", "pruned"]
    assert (
        "The baseline was not trained to the end in this run." in summarize_search(loaded).caveats
    )
