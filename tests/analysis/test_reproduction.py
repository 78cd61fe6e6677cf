from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import GOLDEN
from tests.support.scripted import ScriptedRun
from tunecnn import load_run
from tunecnn.analysis.published import EXPERIMENTS, published_curves
from tunecnn.analysis.reproduction import Compared, summarize_reproduction
from tunecnn.run.info import ReproductionJob
from tunecnn.summary.markdown import render_markdown
from tunecnn.summary.plots.reproduction import PLOTS
from tunecnn.summary.render import write_summary
from tunecnn.trial.messages import EpochMetrics, Outcome, TrialEnd
from tunecnn.workflows.reproduction_space import reproduction_space

PAGE = GOLDEN / "reproduction.md"
AGAINST_MNIST = ReproductionJob(against="mnist")
TEST_LABELS = np.arange(10).repeat(10)


def reproduce(folder: Path, *, seeds: int, epochs: int, off: float, dataset: str = "mnist"):
    """Make a run whose curves are the published ones, moved by `off` and a little for each seed."""
    text = reproduction_space(dataset, "mnist", ["model1", "model3"], seeds, epochs)
    run = ScriptedRun(folder, text, AGAINST_MNIST, dataset, (1, 28, 28))
    study = run.study
    curves = published_curves("mnist").set_index(["architecture", "epoch"])
    while (trial := study.next_trial()) is not None:
        moved = off + trial.config.seed / 1000
        for epoch in range(1, epochs + 1):
            row = curves.loc[(trial.config.architecture, epoch)]
            metrics = EpochMetrics(
                epoch,
                row["train_loss"],
                row["train_accuracy"],
                row["val_loss"],
                row["val_accuracy"] + moved,
                40.0,
            )
            study.report(trial.number, metrics, is_last=epoch == epochs)
        kept = max(1, epochs - 1) if trial.config.architecture == "proposed" else epochs
        study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=kept))
        result = EXPERIMENTS["mnist"].results[trial.config.architecture]
        predicted = np.where(np.arange(100) % 50 == 3, 8, TEST_LABELS)
        run.evaluate(
            trial.number,
            TEST_LABELS,
            predicted,
            result.test_accuracy + moved,
            result.test_loss - moved,
        )
    return run.load()


def test_the_summary_of_a_reproduction_is_the_golden_file(tmp_path, request):
    run = reproduce(tmp_path / "run", seeds=2, epochs=50, off=-0.0004)
    names = {name: (f"figures/{name}.svg", f"What {name} shows") for name in PLOTS}
    text = render_markdown(summarize_reproduction(run), names)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text)
    assert text == PAGE.read_text()


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "inside"), (-0.08, "outside")])
def test_a_published_result_is_inside_or_outside_of_where_one_more_run_would_lie(
    off, verdict, tmp_path
):
    model1, proposed = summarize_reproduction(
        reproduce(tmp_path / "r", seeds=4, epochs=50, off=off)
    ).models
    for figure in (model1.test_accuracy, model1.test_loss, proposed.val_accuracy):
        assert len(figure.values) == 4
    assert model1.test_accuracy.verdict == proposed.test_accuracy.verdict == verdict
    assert model1.test_accuracy.difference == pytest.approx(off + 0.0015)
    assert model1.val_accuracy.published == pytest.approx(
        published_curves("mnist").query("architecture == 'model1'")["val_accuracy"].iloc[-1]
    )


def test_one_seed_gives_no_verdict(tmp_path):
    summary = summarize_reproduction(reproduce(tmp_path / "r", seeds=1, epochs=50, off=0.0))
    assert summary.models[0].test_accuracy.verdict == "one seed, so no verdict"
    assert "99.08%: one seed, so no verdict. But its published run starts at" in summary.verdict


def test_a_shorter_run_is_held_against_the_curve_at_the_same_epoch(tmp_path):
    summary = summarize_reproduction(reproduce(tmp_path / "r", seeds=2, epochs=3, off=0.0))
    model1 = summary.models[0]
    curve = published_curves("mnist").query("architecture == 'model1'").set_index("epoch")
    assert model1.compared_epoch == 3
    assert model1.val_accuracy.published == curve.loc[3, "val_accuracy"]
    assert model1.test_accuracy.published is None
    assert list(model1.by_epoch) == [1, 2, 3]
    assert "validation accuracy after 3 epochs" in summary.verdict
    assert any("took 50 epochs, this run 3" in text for text in summary.differences)
    assert "cannot be compared with it" in render_markdown(summary, {})


def test_other_files_of_the_images_are_said_to_be_that(tmp_path):
    run = reproduce(tmp_path / "r", seeds=1, epochs=2, off=0.0, dataset="imagefolder:/mine")
    said = " ".join(summarize_reproduction(run).differences)
    assert "imagefolder:/mine, not the published files of MNIST" in said
    assert "The published runs validate on the first 6,000 training images" in said


def test_classes_are_counted_over_all_seeds(tmp_path):
    model1 = summarize_reproduction(reproduce(tmp_path / "r", seeds=2, epochs=1, off=0.0)).models[
        0
    ]
    # Images 3 and 53, a 0 and a 5, are taken for 8 by both seeds.
    zero, eight = model1.classes[0], model1.classes[8]
    assert (zero.precision, zero.recall, zero.images) == (1.0, 0.9, 10)
    assert eight.precision == pytest.approx(10 / 12)
    assert eight.f1 == pytest.approx(2 * (10 / 12) / (10 / 12 + 1))


def test_a_reproduction_that_has_not_ended_says_what_is_missing(tmp_path):
    text = reproduction_space("mnist", "mnist", ["model1"], 1, 50)
    run = ScriptedRun(tmp_path / "begun", text, AGAINST_MNIST, input_shape=(1, 28, 28))
    summary = write_summary(load_run(run.path))
    assert summary.verdict == "model1 has not been trained to its end yet."
    assert Compared(0.5, ()).verdict == "no value yet"
    assert not list(run.path.glob("figures/*"))  # no picture has anything to say


def test_the_page_has_the_summarys_words_and_its_pictures(tmp_path):
    run = reproduce(tmp_path / "run", seeds=2, epochs=3, off=0.0)
    write_summary(run)
    page = (run.path / "summary.html").read_text()
    summary = summarize_reproduction(run)
    for sentence in (summary.headline, *summary.caveats):
        assert html.escape(sentence, quote=False) in page
    assert page.count('src="data:image/svg+xml;base64,') == len(PLOTS) == 3
    assert "<table>" in page


def test_seeds_that_failed_are_counted_and_in_no_mean(tmp_path):
    text = reproduction_space("mnist", "mnist", ["model1", "model2"], 3, 2)
    run = ScriptedRun(tmp_path / "r", text, AGAINST_MNIST, input_shape=(1, 28, 28))
    study = run.study
    while (trial := study.next_trial()) is not None:
        if trial.config.architecture == "model2" or trial.config.seed == 1:
            diverged = EpochMetrics(1, float("nan"), 0.1, float("nan"), 0.1, 1.0)
            study.report(trial.number, diverged, is_last=True)
            study.finish(trial.number, TrialEnd(Outcome.DIVERGED, reason="not finite"))
        else:
            for epoch in (1, 2):
                metrics = EpochMetrics(epoch, 0.1, 0.9, 0.1, 0.98, 1.0)
                study.report(trial.number, metrics, is_last=epoch == 2)
            study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=2))
    summary = write_summary(load_run(run.path))
    model1, model2 = summary.models
    assert (model1.complete, model1.failed, model1.val_accuracy.values) == (2, 1, (0.98, 0.98))
    assert "Seeds that failed and are left out: 1 of 3." in summary.verdict
    assert "model2: none of 3 trainings finished" in summary.verdict
    assert model2.test_accuracy.verdict == "no value yet"


def test_an_interval_that_holds_everything_gives_no_verdict():
    assert Compared(0.7, (0.1, 0.7)).verdict == "too few seeds to tell"


def test_equal_seeds_are_no_certainty():
    same = Compared(0.9955, (0.9950, 0.9950))
    assert (same.interval, same.verdict) == (None, "equal seeds, so no verdict")
    assert Compared(0.9955, (0.9950,)).verdict == "one seed, so no verdict"
