from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

from markdown_it import MarkdownIt

from tests.support.command import main
from tests.support.searching import TEXT, begin
from tunecnn import load_run
from tunecnn.trial.recipes import make_config
from tunecnn.workflows.found_model import FoundModel, find_model
from tunecnn.workflows.model_card import model_card


def test_names_in_a_card_are_text_and_no_markup():
    model = SimpleNamespace(
        config=make_config("fast", "model1", "digits", views="mirrored"),
        input_shape=(1, 8, 8),
        classes=("*cat*", "<b>dog</b>", "a_b|c"),
    )
    card = model_card(FoundModel(model, Path("w.safetensors")), "my*model*.onnx", "onnx", 2e-7)
    page = MarkdownIt().render(card)
    assert "classes, by index: *cat*, &lt;b&gt;dog&lt;/b&gt;, a_b|c</li>" in page
    assert "<h1>my*model*</h1>" in page
    assert "<code>my*model*.onnx</code>" in page
    assert "; they are made inside the model</li>" in page
    assert "not known: the run is not beside the model" in page
    assert "both in float32: 2e-07 (64 random images)" in page
    assert "architecture: model1" in page


def test_a_card_has_the_commands_up_to_the_session_of_its_trial(tmp_path):
    folder = begin(tmp_path, TEXT).folder
    time.sleep(1.1)  # the start of a session is noted to the second
    assert main("search", "--resume", str(folder), "--trials", "+9", "--local") == 0
    run = load_run(folder)
    assert max(run.kept) > 2  # of the second session
    for trial in run.kept:
        card = model_card(find_model(run.weights_of(trial)), "m.onnx", "onnx", 0.0)
        (line,) = (one for one in card.splitlines() if "command: " in one)
        assert ("--resume" in line) == (trial > 2)


def test_a_card_names_the_figure_by_which_the_search_ranked(tmp_path):
    text = TEXT + "objectives: [val_balanced_accuracy]\n"
    run = load_run(begin(tmp_path, text).folder)
    card = model_card(find_model(run.weights_of(int(run.best["trial"]))), "m.onnx", "onnx", 0.0)
    (line,) = (one for one in card.splitlines() if "in the search: " in one)
    assert f"{run.best['val_balanced_accuracy']:.2%} balanced validation accuracy, and " in line
    assert f" {run.best['val_accuracy']:.2%} validation accuracy (" in line
    assert "; the best of 3 trials is partly the luckiest" in line
