from __future__ import annotations

import json

import jsonschema
import pandas as pd
import pytest

from tests.support.command import main
from tests.support.paths import GOLDEN, ROOT
from tests.support.scripted import ScriptedRun, metrics
from tests.support.searching import TEXT, Silent, begin, listening_to
from tunecnn import load_run
from tunecnn.run.info import ReproductionJob
from tunecnn.summary import plots
from tunecnn.summary.formats import Format
from tunecnn.summary.markdown import render_markdown
from tunecnn.summary.plots.style import finding_of
from tunecnn.summary.render import json_schema, render_json, write_summary
from tunecnn.summary.run_types import summarize
from tunecnn.trial.config_file import read_config
from tunecnn.trial.messages import Outcome, TrialEnd
from tunecnn.words import seconds_in_words
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.reproduction_space import reproduction_space

SCHEMA = ROOT / "docs" / "summary.schema.json"
PAGE = GOLDEN / "summary.md"


def test_the_summary_is_the_golden_file(scripted_run, request):
    text = render_markdown(
        summarize(load_run(scripted_run)), {"curves": ("figures/curves.svg", "Curves_rise")}
    )
    text = text.replace(str(scripted_run), "RUN")
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text)
    assert text == PAGE.read_text()


def test_the_schema_of_the_json_is_the_one_in_the_documentation(request):
    schema = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--update-golden"):
        SCHEMA.write_text(schema)
    assert schema == SCHEMA.read_text()


def test_the_json_is_valid_and_says_what_the_summary_says(scripted_run):
    summary = summarize(load_run(scripted_run))
    found = json.loads(render_json(summary))
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert found["verdict"] == summary.verdict
    assert found["best"]["values"] == summary.best.values
    assert found["failures"] == {str(number): why for number, why in summary.failures.items()}
    broken = {**found, "best": {**found["best"], "trial": "third"}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, json.loads(SCHEMA.read_text()))


def test_a_run_without_a_complete_trial_has_a_summary(tmp_path):
    run = ScriptedRun(tmp_path / "begun")
    run.study.next_trial()
    summary = summarize(run.load())
    assert summary.verdict.startswith("No trial has been trained to its end yet (ended: 0)")
    assert summary.outcomes == {"running": 1}
    write_summary(run.load())
    assert "No trial has been" in (run.path / "summary.md").read_text()


def test_a_summary_writes_every_file_that_it_names(scripted_run):
    write_summary(load_run(scripted_run))
    for line in (scripted_run / "summary.md").read_text().splitlines():
        if line.startswith("!["):
            link = line.rpartition("(")[2].rstrip(")")
            assert (scripted_run / link).read_text().startswith("<?xml")
    assert len(pd.read_parquet(scripted_run / "trials.parquet")) == 6
    assert len(pd.read_parquet(scripted_run / "epochs.parquet")) == 15
    assert read_config(scripted_run / "configs" / "trial-00001.yaml") == load_run(
        scripted_run
    ).config(1)
    assert not list(scripted_run.rglob("*.partial"))


def test_a_summary_of_a_run_that_cannot_be_written_goes_elsewhere(scripted_run, tmp_path, capsys):
    before = sorted(scripted_run.rglob("*"))
    assert main("summarize", str(scripted_run), "--out", str(tmp_path / "a b")) == 0
    assert sorted(scripted_run.rglob("*")) == before
    config = tmp_path / "a b" / "configs" / "trial-00003.yaml"
    assert f"tunecnn train --config '{config}'" in capsys.readouterr().out
    assert read_config(config) == load_run(scripted_run).config(3)
    for name in ("summary.html", "summary.md", "summary.json", "figures/curves.svg"):
        assert (tmp_path / "a b" / name).is_file()
    assert str(config) in (tmp_path / "a b" / "summary.html").read_text().replace("&#39;", "'")


@pytest.mark.slow
def test_pictures_come_in_other_formats_on_request_and_always_the_same(scripted_run):
    write_summary(load_run(scripted_run), [Format.png, Format.pdf])
    folder = scripted_run / "figures"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["curves.png"].startswith(b"\x89PNG")
    assert before["curves.pdf"].startswith(b"%PDF")
    write_summary(load_run(scripted_run), [Format.png, Format.pdf])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.21, "3.2 s"), (65, "1 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations_are_written_for_people(seconds, words):
    assert seconds_in_words(seconds) == words


CONDITIONAL = """
name: conditional
dataset: digits
epochs: 1
trials: 40
parameters:
  net.dropout_dense: {float: [0.0, 0.5]}
  optimizer: {choice: [muon, adamw, sgd]}
  momentum: {float: [0.5, 0.95], when: {optimizer: sgd}}
  net.width: {float: [0.5, 1.0], when: {optimizer: adamw}}
sampler: random
"""


def test_all_panels_of_the_parameters_have_one_scale_with_every_better_trial_on_it(tmp_path):
    run = ScriptedRun(tmp_path / "run", CONDITIONAL)
    loaded = run.train_all(
        lambda trial: (0.6 if trial.config.optimizer == "sgd" else 0.9) + trial.number / 1000
    )
    figure = plots.parameters(loaded)
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    limits = {axes.get_ylim() for axes in panels}
    assert len(limits) == 1
    low, high = limits.pop()
    best = float(loaded.trials["val_accuracy"].max())
    assert low < best <= high
    for axes in panels[:2]:
        dots = [y for one in axes.collections for _, y in one.get_offsets()]
        assert len(dots) == 40
        assert all(low <= y <= high for y in dots)


def test_curves_that_end_close_together_are_seen_on_their_way(tmp_path):
    run = ScriptedRun(tmp_path / "run", CONDITIONAL.replace("epochs: 1", "epochs: 20"))
    while (trial := run.study.next_trial()) is not None and trial.number < 3:
        for epoch in range(1, 21):
            value = 0.5 + epoch / 50 + trial.number / 10_000
            run.study.report(trial.number, metrics(epoch, value), is_last=epoch == 20)
        run.study.finish(trial.number, TrialEnd(Outcome.COMPLETE, kept_epoch=20))
    low, high = plots.curves(run.load()).axes[0].get_ylim()
    assert low <= 0.5 + 6 / 50 + 0.001
    assert high > 0.5 + 20 / 50


def test_a_baseline_too_low_for_the_scale_is_said_to_be_below_it(tmp_path):
    text = CONDITIONAL.replace("sampler: random", "start: [baseline]")
    run = ScriptedRun(tmp_path / "run", text)
    loaded = run.train_all(lambda trial: 0.9 if trial.number else 0.2)
    legend = plots.curves(loaded).legends[0].get_texts()
    assert "the baseline (trial 0, below the edge)" in [one.get_text() for one in legend]


def test_a_parameter_that_no_trial_has_yet_is_no_traceback(tmp_path):
    text = CONDITIONAL.replace("sampler: random", "start: [{optimizer: muon}]")
    run = ScriptedRun(tmp_path / "run", text.replace("trials: 40", "trials: 1"))
    loaded = run.train_all(lambda trial: 0.9)
    assert "trial 0" in summarize(loaded).verdict
    write_summary(loaded)


def test_the_pictures_of_each_type_of_run_can_be_drawn(tmp_path):
    """In other folders of the tests, pictures are blank."""
    search = begin(tmp_path / "search", TEXT).folder
    confirmation = confirm(search, 1, 2, {}, RunOptions(local=True), listening_to(Silent())).folder
    text = reproduction_space("digits", None, ["model1", "proposed"], seeds=2, epochs=1)
    reproduction = begin(tmp_path / "again", text, job=ReproductionJob(against=None)).folder
    for folder, names in (
        (search, {"curves", "history", "parameters", "confusion"}),
        (confirmation, {"confirmed", "confusion"}),
        (reproduction, {"accuracy", "loss", "confusion"}),
    ):
        drawn = {file.stem: file.read_text() for file in (folder / "figures").glob("*.svg")}
        assert names <= drawn.keys()
        finding = finding_of(plots.confusion(folder))  # that of the type of run
        assert f"![{finding}](figures/confusion.svg)" in (folder / "summary.md").read_text()
        for text in drawn.values():
            assert text.count("<path") > 10
