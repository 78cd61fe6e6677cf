"""Whole searches of networks that are not ours."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command import main
from tests.support.networks import NETS
from tests.support.paths import ROOT
from tests.support.searching import Silent, carry_on, listening_to
from tunecnn import load_dataset, load_run
from tunecnn.errors import InputError, RunError
from tunecnn.models.packages import package_version
from tunecnn.workflows.confirm import confirm
from tunecnn.workflows.options import RunOptions
from tunecnn.workflows.prepare import prepare
from tunecnn.workflows.search import search
from tunecnn.workflows.session import RunResult

SPACE = """
name: own
dataset: digits
architecture: nets.py:Small
recipe: fast
epochs: 2
trials: 3
parameters:
  net.width: {choice: [4, 8]}
  net.norm: true
  train_images: 200
start: [baseline, {net.width: 8}]
constraints: [params <= 100_000]
sampler: random
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "own.yaml").write_text(SPACE)
    return tmp_path


def begin(
    folder: Path,
    text: str,
    listener: Silent | None = None,
    name: str = "own",
    *,
    local: bool = True,
) -> RunResult:
    """Search a space whose file is beside the network's, in one thread."""
    (folder / "own.yaml").write_text(text)
    options = RunOptions(runs_dir=folder / "runs", name=name, local=local, cpus_per_trial=1)
    return search(prepare(str(folder / "own.yaml")), options, listening_to(listener or Silent()))


def test_a_search_of_somebodys_network_from_its_start_to_the_loaded_winner(folder):
    result = begin(folder, SPACE)
    run = load_run(result.folder)
    assert run.trials["outcome"].tolist() == ["complete"] * 3
    assert run.trials["params"].iloc[0] == 9 * 4 + 4 + 8 + 64 * 10 + 10
    assert run.trials["param.net.width"].iloc[:2].tolist() == [4, 8]
    assert (result.folder / "code" / "nets.py").read_text() == NETS
    assert run.info.code is not None
    assert {record.config["code"] for record in run.records} == {run.info.code.hash}
    with pytest.warns(UserWarning, match="comes with the code"):
        model = run.load_model()
    validation = load_dataset("digits", run.space.data_split).trial_data.validation
    right = model.probabilities(validation.pixels).argmax(1) == validation.labels
    assert right.mean() == run.best["val_accuracy"]


@pytest.mark.slow
def test_a_resumed_search_uses_the_runs_own_code(folder):
    text = SPACE.replace("trials: 3", "trials: 2")  # the start points
    whole = begin(folder, text, name="whole")
    begun = begin(folder, text, Silent(raise_at=3), name="begun")
    (folder / "nets.py").write_text(NETS.replace("AdaptiveAvgPool2d", "AdaptiveMaxPool2d"))
    listener = Silent()
    resumed = carry_on(begun.folder, listener)
    assert any("has changed since the run was started" in text for text in listener.warnings)
    columns = ["trial", "epoch", "train_loss", "val_loss"]
    pd.testing.assert_frame_equal(
        load_run(resumed.folder).epochs[columns], load_run(whole.folder).epochs[columns]
    )
    with pytest.warns(UserWarning, match="has changed since the run was started"):
        load_run(resumed.folder).confirm(top=1, seeds=1, local=True)


def test_a_resumed_search_needs_the_packages_of_its_network_as_they_were(
    folder, tmp_path_factory, monkeypatch
):
    """As after `pip install -e`, where the source is edited between two sessions."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "heads_of_a_test.py").write_text("WIDTH = 1\n")
    monkeypatch.syspath_prepend(elsewhere)
    monkeypatch.setenv("PYTHONPATH", str(elsewhere), prepend=os.pathsep)  # where it is built
    (folder / "nets.py").write_text(NETS + "\nimport heads_of_a_test\n")
    text = SPACE.replace("trials: 3", "trials: 1")
    path = begin(folder, text, Silent(raise_at=1)).folder
    (elsewhere / "heads_of_a_test.py").write_text("WIDTH = 2\n")
    package_version.cache_clear()
    with pytest.raises(InputError, match=r"have changed \(heads_of_a_test \(source \w+\) then"):
        carry_on(path)
    assert carry_on(path, allow_changes=True).ending == "done"


def test_a_network_that_fails_in_a_training_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    failing = "if len(images) > 2: raise KeyError('no')\n        return self.net"
    Path("bad.py").write_text(NETS.replace("return self.net", failing))
    assert main("train", "--architecture", "bad.py:Small", "--set", "train_images=100") == 1
    assert re.fullmatch(
        r"error: bad\.py:Small failed in epoch 1: KeyError \(bad\.py:\d+\): 'no'\n",
        capsys.readouterr().err,
    )


def test_a_training_takes_further_files_of_its_network(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    Path("sizes.py").write_text("CLASSES = 10\n")
    Path("needs.py").write_text("from sizes import CLASSES\n" + NETS)
    given = (
        "train",
        "--architecture",
        "needs.py:Small",
        "--set",
        "train_images=60",
        "--epochs",
        "1",
    )
    assert main(*given) == 2
    assert "(tunecnn train: --code sizes.py)" in capsys.readouterr().err
    assert main(*given, "--code", "sizes.py") == 0
    assert "kept epoch 1: " in capsys.readouterr().out


@pytest.mark.slow
def test_a_confirmation_and_a_training_use_the_runs_own_code(folder, capsys):
    begun = begin(folder, SPACE)
    (folder / "nets.py").unlink()
    options = RunOptions(local=True)
    found = confirm(begun.folder, 1, 1, {}, options, listening_to(Silent()))
    inner = load_run(found.folder)
    assert inner.info.code == load_run(begun.folder).info.code.model_copy(
        update={"source": inner.info.code.source}
    )
    best = load_run(begun.folder).ranked.iloc[0]
    config = begun.folder / "configs" / f"trial-{best['trial']:05d}.yaml"
    assert main("train", "--config", str(config), "--device", "cpu", "--threads", "1") == 0
    accuracy = best["val_accuracy"]
    assert f"{accuracy:.2%} validation accuracy" in capsys.readouterr().out


def test_code_of_a_run_that_was_edited_is_refused_and_reading_never_runs_it(folder):
    result = begin(folder, SPACE, Silent(raise_at=3))
    copy = result.folder / "code" / "nets.py"
    copy.write_text("raise SystemExit(1)\n" + copy.read_text())
    for use in (
        load_run,
        carry_on,
        lambda folder: confirm(folder, 1, 2, {}, RunOptions(local=True), listening_to(Silent())),
    ):
        with pytest.raises(
            RunError, match="code is not the code that the run was started with"
        ) as caught:
            use(result.folder)
    assert f"copy it and what is in {copy.parent} into one folder, and tunecnn se" in str(
        caught.value
    )


def test_a_network_that_does_not_suit_the_images_is_refused_before_anything_is_written(folder):
    (folder / "nets.py").write_text(NETS.replace("16 * width", "17 * width"))
    with pytest.raises(InputError, match=r"nets.py:Small on digits: Small cannot process images"):
        begin(folder, SPACE)
    assert not list(folder.glob("runs/*"))


@pytest.mark.slow
def test_values_that_cannot_be_built_together_are_warned_of_and_become_infeasible(folder):
    text = NETS.replace("super().__init__()", "super().__init__(); assert width < 8, 'too wide'")
    (folder / "nets.py").write_text(text)
    listener = Silent()
    result = begin(folder, SPACE, listener)
    assert any(
        "net.width = 8 cannot be built: Small cannot be built" in text
        for text in listener.warnings
    )
    outcomes = load_run(result.folder).trials["outcome"].value_counts()
    assert outcomes["complete"] == 3
    assert outcomes["infeasible"] >= 1


@pytest.mark.slow
def test_the_published_networks_as_somebodys_file_give_the_same_figures(tmp_path):
    source = (ROOT / "tunecnn" / "models" / "published.py").read_text()
    (tmp_path / "mine.py").write_text(source)
    ours = SPACE.replace("nets.py:Small", "model2").replace("  net.norm: true\n", "")
    ours = (
        ours.replace("fast", "published")
        .replace("[4, 8]", "[0.1, 0.2]")
        .replace("{net.width: 8}", "{net.width: 0.2}")
        .replace("[baseline, ", "[")
    )
    frames = []
    for name in ("model2", "mine.py:Model2"):
        result = begin(tmp_path, ours.replace("model2", name), name=name.partition(".")[0])
        run = load_run(result.folder)
        frames.append(
            (run.epochs.drop(columns=["run", "seconds"]), run.trials[["params", "macs", "seed"]])
        )
    for one, other in zip(*frames, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.slow
def test_check_plan_and_search_say_the_same_of_code_that_cannot_be_imported(folder, capsys):
    (folder / "nets.py").write_text("import nosuchpackage\n" + NETS)
    assert main("spaces", "check", str(folder / "own.yaml")) == 0  # the file does not run
    for words in (["plan", "--local"], ["search", "--local", "--runs-dir", str(folder / "runs")]):
        capsys.readouterr()
        assert main(words[0], "--space", str(folder / "own.yaml"), *words[1:]) == 2
        assert "ModuleNotFoundError (nets.py:1)" in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_an_argument_that_a_network_swallows_is_warned_of(folder, capsys):
    (folder / "nets.py").write_text(
        NETS + "\nclass Open(Small):\n"
        "    def __init__(self, input_shape, classes, **kwargs):\n"
        "        super().__init__(input_shape, classes, kwargs.get('channels', 4))\n"
        "        self.drop = nn.Dropout(kwargs.get('drop', 0.1))\n"
    )
    text = SPACE.replace("Small", "Open").replace("start: [baseline, {net.width: 8}]\n", "")
    text = text.replace("net.width: {choice: [4, 8]}", "net.SIZE: {choice: [4, 8]}")
    text = text.replace("net.norm: true", "net.drop: {choice: [0.1, 0.5]}")
    for name, warnings in (("channels", 0), ("chanels", 1)):
        (folder / "own.yaml").write_text(text.replace("SIZE", name))
        assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
        shown = capsys.readouterr()
        found = (shown.out + shown.err).count("changes neither the layers of nets.py:Open nor wha")
        assert found == warnings


def test_a_fixed_argument_that_a_network_swallows_is_warned_of(folder, capsys):
    (folder / "nets.py").write_text(
        NETS + "\nclass Open(Small):\n"
        "    def __init__(self, input_shape, classes, **kwargs):\n"
        "        super().__init__(input_shape, classes, kwargs.get('channels', 4))\n"
    )
    text = SPACE.replace("Small", "Open").replace("start: [baseline, {net.width: 8}]\n", "")
    text = text.replace("  net.width: {choice: [4, 8]}\n", "").replace(
        "net.norm: true", "net.SIZE: 8"
    )
    for name, warnings in (("channels", 0), ("chanels", 1)):
        (folder / "own.yaml").write_text(text.replace("SIZE", name))
        assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
        shown = capsys.readouterr()
        found = (shown.out + shown.err).count(
            f"net.{name} changes neither the layers of nets.py:O"
        )
        assert found == warnings


def test_an_argument_that_the_network_never_reads_is_warned_of(folder, capsys):
    text = NETS.replace("norm: bool = True", "norm: bool = True, rate: float = 0.5")
    (folder / "nets.py").write_text(text)
    (folder / "own.yaml").write_text(SPACE.replace("net.norm: true", "net.rate: {float: [0, 1]}"))
    assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
    shown = capsys.readouterr()
    assert "net.rate changes nothing: no line of Small (nets.py:" in shown.out + shown.err
    assert "net.width changes nothing" not in shown.out + shown.err


def test_random_numbers_in_evaluation_are_warned_of(folder, capsys):
    def shown(logits: str, linear: str = "nn.Linear(16 * width, classes)") -> str:
        own = NETS.replace("nn.Linear(16 * width, classes)", linear)
        (folder / "nets.py").write_text(own.replace("self.net(images)", logits))
        assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
        both = capsys.readouterr()
        return both.out + both.err

    warned = "nets.py:Small draws random numbers in evaluation as well (bernoulli), so"
    assert warned in shown("nn.functional.dropout(self.net(images), 0.5)")
    at_one_width = (
        "nn.functional.dropout(self.net(images), 0.5 if len(self.net[0].bias) < 8 else 0)"
    )
    assert warned in shown(at_one_width)
    in_training = "nn.functional.dropout(self.net(images), 0.5, training=self.training)"
    assert "random numbers" not in shown(in_training)
    # Weights that the first images make are random as well, and made once.
    assert "random numbers" not in shown("self.net(images)", linear="nn.LazyLinear(classes)")


def test_a_file_that_the_code_names_and_that_does_not_travel_is_warned_of(folder, capsys):
    (folder / "nets.py").write_text(
        NETS + "\nfrom pathlib import Path\nWEIGHTS = Path(__file__).with_name('body.pt')\n"
    )
    for is_there in (False, True):
        assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
        shown = capsys.readouterr()
        said = "nets.py names the file body.pt, which is beside it and does not travel with it"
        assert (said in shown.out + shown.err) == is_there
        (folder / "body.pt").write_bytes(b"weights")
    text = SPACE.replace("architecture: nets", "code: [nets.py, body.pt]\narchitecture: nets")
    (folder / "own.yaml").write_text(text)
    assert main("plan", "--space", str(folder / "own.yaml"), "--local") == 0
    shown = capsys.readouterr()
    assert said not in shown.out + shown.err


def test_an_installed_function_that_could_not_be_loaded_later_is_refused(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "lib3.py").write_text(
        "from torch import nn\n"
        "def small(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
        "def told(num_classes) -> nn.Module:\n"
        "    return small(num_classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    text = "dataset: digits\nepochs: 1\ntrials: 1\nparameters: {learning_rate: {choice: [0.01]}}\n"
    with pytest.raises(InputError, match="lib3:small does not say that it returns a network"):
        begin(tmp_path, f"{text}architecture: lib3:small\n")
    result = begin(tmp_path, f"{text}architecture: lib3:told\n")
    assert result.summary.trained == 1


def test_a_run_whose_network_misses_a_file_is_refused_and_stays_as_it_is(tmp_path, monkeypatch):
    """Its proposals are none that break a constraint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.txt").write_text("8")
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, input_shape, classes, bias: bool = True):\n"
        "        width = int(open('body.txt').read())\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, width, bias), nn.Linear(width, 10))\n"
    )
    (tmp_path / "s.yaml").write_text(
        "dataset: digits\narchitecture: nets.py:Net\nepochs: 1\ntrials: 2\nsampler: random\n"
        "parameters: {net.bias: {choice: [true, false]}, train_images: 100}\n"
    )
    assert main("search", "--space", "s.yaml", "--local", "-q", "--name", "run") == 0
    (tmp_path / "body.txt").unlink()
    before = (tmp_path / "runs" / "run" / "study.journal").read_bytes()
    assert main("search", "--resume", "runs/run", "--trials", "+2", "--local", "-q") == 2
    assert (tmp_path / "runs" / "run" / "study.journal").read_bytes() == before
