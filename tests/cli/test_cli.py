from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.command import command_names, main
from tests.support.searching import TEXT
from tunecnn import load_run


@pytest.fixture
def space_file(tmp_path: Path) -> str:
    path = tmp_path / "añb c.yaml"
    path.write_text(TEXT)
    return str(path)


def test_help_needs_neither_torch_nor_ray_nor_anything_slow():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tunecnn", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tunecnn.cli.app" in imported
    assert not imported & {"torch", "ray", "optuna", "pandas", "numpy", "pydantic", "matplotlib"}
    assert "search" in done.stdout


def test_every_command_explains_itself(capsys):
    for words in command_names():
        assert main(*words, "--help") == 0
        assert f"Usage: tunecnn {' '.join(words)}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main("--version") == 0
    assert capsys.readouterr().out.strip() == f"tunecnn {version('tunecnn')}"


def test_a_search_prints_a_line_a_trial_and_the_answer(space_file, tmp_path, capsys):
    assert (
        main(
            "search", "--space", space_file, "--local", "--runs-dir", str(tmp_path), "--name", "r"
        )
        == 0
    )
    out = capsys.readouterr().out
    assert sum("complete" in line and "/3" in line for line in out.splitlines()) == 3
    assert "The best of 3 trials trained to the end is trial" in out
    assert out.rstrip().endswith("summary.md")


def test_the_command_for_the_winner_trains_it_to_the_same_figures(space_file, tmp_path, capsys):
    main("search", "--space", space_file, "--local", "--runs-dir", str(tmp_path), "--name", "r")
    command = next(
        line.partition("train it again: ")[2]
        for line in capsys.readouterr().out.splitlines()
        if "train it again" in line
    )
    assert main(*command.split()[1:], "--json") == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    best = load_run(tmp_path / "r").best
    assert (done["val_accuracy"], done["val_loss"]) == (best["val_accuracy"], best["val_loss"])


@pytest.mark.slow
def test_a_search_planned_begins_from_an_earlier_one_and_is_confirmed(
    space_file, tmp_path, capsys
):
    runs = str(tmp_path / "runs")
    words = ("search", "--space", space_file, "--local", "--runs-dir", runs)
    assert main(*words, "--plan") == 0
    assert "epochs: 6 if no trial is stopped early" in capsys.readouterr().out
    assert not Path(runs).exists()
    assert main(*words, "--name", "old", "--confirm", "1x2") == 0
    out = capsys.readouterr().out
    assert "confirmations/top1-seeds2/summary.md" in out
    assert len(load_run(f"{runs}/old").info.evaluations) >= 2
    assert main(*words, "--name", "new", "--from", f"{runs}/old", "--quiet") == 0
    assert "from old: the best 1 of 3 trials" in capsys.readouterr().err
    best = {"net.width": load_run(f"{runs}/old").best["param.net.width"]}
    points = load_run(f"{runs}/new").space.start_points()
    assert points == [{"net.width": 0.2}, *([best] if best != {"net.width": 0.2} else [])]


def test_spaces_and_accents_in_every_path(tmp_path, image_tree, capsys):
    """The data, the space, the runs and Ray's own files all have names that need quotes."""
    tree = tmp_path / "mes données d'été"
    shutil.copytree(image_tree(count=12), tree)
    space = tmp_path / "añb c.yaml"
    space.write_text(
        TEXT.replace("images: 200", "images: 19").replace(
            "dataset: digits", f'dataset: "imagefolder:{tree}"'
        )
    )
    runs = tmp_path / "résultats d'août"
    assert main("search", "--space", str(space), "--local", "--runs-dir", str(runs),
                "--name", "où est-ce") == 0  # fmt: skip
    command = next(
        line.partition("train it again: ")[2]
        for line in capsys.readouterr().out.splitlines()
        if "train it again" in line
    )
    assert main(*shlex.split(command)[1:], "--json") == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done["val_loss"] == load_run(runs / "où est-ce").best["val_loss"]


def test_a_finished_search_can_be_given_more_trials(space_file, tmp_path, capsys):
    run = ["--runs-dir", str(tmp_path), "--name", "r"]
    assert main("search", "--space", space_file, "--local", "--quiet", *run) == 0
    folder = str(tmp_path / "r")
    assert main("search", "--resume", folder, "--trials", "+2", "--local", "--quiet") == 0
    assert load_run(folder).trials["state"].tolist() == ["COMPLETE"] * 5
    for _ in range(2):  # as a job does that is started again
        assert main("search", "--resume", folder, "--trials", "5", "--local", "--quiet") == 0
    capsys.readouterr()
    assert main("search", "--resume", folder, "--trials", "4", "--local") == 2
    said = f"{folder} has 5 trials, and none is removed; give 5 or more, or +N for N more"
    assert said in capsys.readouterr().err
    assert main("search", "--resume", folder, "--local", "--quiet", "--until", "0.99") == 0
    assert load_run(folder).space.trials == len(load_run(folder).trials) == 5


def test_json_is_one_object_a_line(space_file, tmp_path, capsys):
    assert main("search", "--space", space_file, "--local", "--runs-dir", str(tmp_path),
                "--json", "--trials", "2") == 0  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["note", "trial", "trial", "done"]
    assert lines[-1]["best"]["values"].keys() == {"net.width"}


def test_quiet_prints_the_path_of_the_summary_only(space_file, tmp_path, capsys):
    assert main("search", "--space", space_file, "--local", "--runs-dir", str(tmp_path), "-q",
                "--trials", "1") == 0  # fmt: skip
    (line,) = capsys.readouterr().out.splitlines()
    assert Path(line).is_file()


def test_summarize_writes_the_summary_again(scripted_run, capsys):
    assert main("summarize", str(scripted_run)) == 0
    assert (scripted_run / "summary.md").is_file()
    assert "The best of 3 trials" in capsys.readouterr().out


def test_repair_says_what_is_lost_and_what_will_be_trained_again(scripted_run, capsys):
    assert main("repair", str(scripted_run)) == 0
    assert capsys.readouterr().out == "nothing to repair: every line can be read\n"
    journal = scripted_run / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    outcome = max(number for number, line in enumerate(lines) if b'"outcome"' in line)
    lines[outcome] = b"?" * (len(lines[outcome]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    assert main("summarize", str(scripted_run)) == 1
    err = capsys.readouterr().err
    assert f"`tunecnn repair {scripted_run}` saves what can be read" in err
    assert main("repair", str(scripted_run)) == 0
    out = capsys.readouterr().out
    assert "lost: line" in out
    assert "to be trained again: trial 5" in out
    assert "study.journal.damaged-1" in out
    assert main("summarize", str(scripted_run)) == 0


def test_train_takes_settings_and_writes_weights(tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    assert main("train", "--architecture", "model1", "--set", "net.width=0.1", "--set",
                "train_images=100", "--epochs", "1", "--out", str(out), "--device", "cpu") == 0  # fmt: skip
    assert "kept epoch 1" in capsys.readouterr().out
    from safetensors.torch import load_file

    assert load_file(out)["blocks.0.convs.0.weight"].shape == (3, 1, 3, 3)


def test_spaces_are_listed_shown_and_checked(capsys):
    assert main("spaces", "list") == 0
    assert "proposed.yaml" in capsys.readouterr().out
    assert main("spaces", "show", "proposed") == 0
    assert "- baseline  # the proposed design itself" in capsys.readouterr().out
    assert main("spaces", "check", "published.yaml") == 0
    assert "3 trials of at most 100 epochs on cifar10, 3 different" in capsys.readouterr().out


def test_data_are_listed_and_prepared(tmp_path, capsys):
    assert main("data", "list", "--data-dir", str(tmp_path)) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["digits"].split()[1] == "yes"
    assert lines["mnist"].split()[1] == "no"
    assert main("data", "prepare", "digits") == 0
    assert "10 classes, images of 8x8x1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search"], "give --space, such as --space proposed.yaml, or --resume RUN"),
        (["search", "--space", "propsed.yaml"], "did you mean 'proposed.yaml'? allowed: digits.yaml"),
        (["search", "--space", "smoke", "--trials", "0"], "--trials must be a whole number from 1 "),
        (["search", "--space", "smoke", "--trials", "ten"], "or +N, not 'ten'"),
        (["search", "--space", "smoke", "--trials", "+5"], "adds to a run that exists: give --resume"),
        (["search", "--space", "smoke", "--confirm", "3"], "must be TOPxSEEDS, such as 3x5, not '3'"),
        (["search", "--space", "smoke", "--confirm", "3x9999"], "seeds must be from 1 to 1,000, not 9999"),
        (["search", "--space", "smoke", "--confirm", "999x5"], "top must be from 1 to 100, not 999"),
        (["search", "--space", "smoke", "--confirm", "9" * 5000 + "x1"], "must be TOPxSEEDS, such as 3x5, not '999"),
        (["search", "--space", "smoke", "--trials", "9" * 5000], "or +N, not '999"),
        (["search", "--space", "smoke", "--name", "../up"], "name must name a folder below runs_dir, not '../up'"),
        (["search", "--space", "smoke", "--resume-or-start", ".."], "resume_or_start must name a folder below"),
        (["search", "--space", "smoke", "--random-baseline", "0.5"], "random_baseline: random trials are a base"),
        (["search", "--space", "smoke", "--from", "nowhere"], "nowhere is not the folder of a run"),
        (["search", "--space", "smoke", "--dataset", "cifar"], "did you mean 'cifar10'"),
        (["search", "--resume", "nowhere"], "nowhere is not the folder of a run"),
        (["search", "--resume", "nowhere", "--trials", "3"], "nowhere is not the folder of a run"),
        (["search", "--space", "smoke", "--dataset", "imagefolder:/none"], "/none is not a folder"),
        (["search", "--space", "smoke", "--runs-dir", "/dev/null"],
         ": /dev/null is not a folder"),
        (["summarize", "nowhere"], "nowhere is not the folder of a run"),
        (["search", "--space", "smoke", "--splits", "3"], "--splits has no effect without --confirm"),
        (["search", "--space", "smoke", "--confirm", "3x5", "--splits", "101"], "splits must be from 1 to 100"),
        (["confirm", "nowhere", "--splits", "0"], "splits must be from 1 to 100, not 0"),
        (["confirm", "nowhere", "--train-images", "0"], "--train-images must be all, or a whole number from 1 to"),
        (["confirm", "nowhere", "--train-images", "some"], "not 'some'"),
        (["confirm", "nowhere"], "nowhere is not the folder of a run"),
        (["reproduce"], "give --dataset, such as --dataset mnist, or --resume RUN"),
        (["reproduce", "--dataset", "digits"], "no results were published on digits, so there is n"),
        (["reproduce", "--dataset", "mnist", "--models", "model9"], "unknown model 'model9'"),
        (["reproduce", "--dataset", "mnist", "--seeds", "0"], "seeds must be from 1 to 1,000, not 0"),
        (["reproduce", "--dataset", "mnist", "--epochs", "0"], "epochs must be from 1 to 1,000,000,000, not 0"),
        (["reproduce", "--resume", "nowhere", "--seeds", "2"], "--seeds has no effect beside --resume"),
        (["train", "--set", "epochs"], "--set epochs: write it as name=value"),
        (["train", "--set", "epochs=ten"], "epochs must be a whole number, not 'ten'"),
        (["train", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["train", "--recipe", "quick"], "unknown recipe 'quick'"),
        (["train", "--config", "x.yaml", "--dataset", "mnist"], "the config has its own: change it there"),
        (["search", "--space", "smoke", "--local", "--address", "auto"], "--address has no effect beside --local"),
        (["train", "--device", "cuda"], "this machine has no GPU"),
        (["train", "--out", "/dev/null/w"], "--out /dev/null/w: cannot be written: "),
        (["train", "--out", "/"], "--out /: cannot be written: Is a directory"),
        (["data", "prepare", "cifar11"], "unknown data set 'cifar11'; did you mean 'cifar10'"),
        (["spaces", "check", "none"], "there is no space 'none'"),
        (["spaces", "check", "~nobody-here/x"], "there is no home folder of ~nobody-here"),
        (["data", "report", "imagefolder:~nobody-here/x"], "there is no home folder of ~nobody-here"),
        (["train", "--data-dir", "~nobody-here"], "there is no home folder of ~nobody-here"),
        (["train", "--set", "dataset=mnist"], "--set dataset: give it as --dataset, or in --config"),
        (["train", "--set", f"seed=0x{'f' * 5000}"], "is a number of 20,000 bits, more than 1024"),
        (["data", "report", f"imagefolder:{'x' * 5000}"], "File name too long"),
        (["serach"], "No such command 'serach'. Did you mean 'search'?; see tunecnn --help\n"),
        (["runs", "here", "there"], "unexpected extra argument(s) (here there); see tunecnn runs -"),
        (["train", "--device", "tpu"], "'--device': 'tpu' is not one of 'auto', 'cpu', 'cuda'; see"),
        (["train", "--threads", "0"], "it must be greater than or equal to 1; see tunecnn train -"),
        (["predict", "model.safetensors"], "Missing argument 'images'; see tunecnn predict --help"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message_exit_2_and_nothing_written(
    words, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(*words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", ["search --space", "plan --space", "spaces show", "spaces check"]
)
def test_a_space_that_is_no_text_is_refused_by_every_command(words, tmp_path, capsys):
    path = tmp_path / "space.yaml"
    path.write_bytes("name: größe".encode("utf-16"))
    assert main(*words.split(), str(path)) == 2
    assert capsys.readouterr().err == f"error: {path}: is not UTF-8 text (byte 0)\n"


def test_what_is_there_but_something_else_is_named(scripted_run, tmp_path, capsys):
    assert main("reproduce", "--resume", str(scripted_run)) == 2
    message = (
        f"{scripted_run} is a search; go on with it by tunecnn search --resume {scripted_run}"
    )
    assert capsys.readouterr().err == f"error: {message}\n"
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main("summarize", str(scripted_run), "--out", str(out)) == 2
        said = f"error: --out {out}: {tmp_path / 'file'} is not a folder\n"
        assert capsys.readouterr().err == said


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train", "--config", "FILE.yaml"], 2),
        (["train", "--dataset", "FILE.npz"], 2),
        (["train", "--dataset", "FILE.py:images"], 2),
        (["predict", "FILE.safetensors", "image.png"], 2),
        (["evaluate", "FILE.safetensors"], 2),
    ],
)
def test_a_pipe_or_device_is_refused_and_not_waited_for(
    what, words, code, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for suffix in ("yaml", "npz", "py", "safetensors"):
        path = tmp_path / f"FILE.{suffix}"
        os.mkfifo(path) if what == "pipe" or suffix == "py" else path.symlink_to("/dev/zero")
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    assert main(*words) == code
    assert "it is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("here/cifar-10-python.tar.gz", "cifar10"),
        ("here/train.parquet", "huggingface:here"),
    ],
)
def test_a_pipe_among_the_files_of_a_data_set_is_named(file, name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir(parents=True)
    os.mkfifo(file)
    assert main("data", "prepare", name, "--data-dir", "here") == 2
    assert f"{file} cannot be read: it is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [(["search", "--trials", "ten"], "--trials"), (["serch"], "serch"), (["train", "--x"], "--x")],
)
def test_a_wrong_word_on_the_command_line_is_exit_2(words, named, capsys):
    assert main(*words) == 2
    assert named in capsys.readouterr().err


def test_a_space_is_found_from_any_folder_and_a_path_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke.yaml").write_text("name: mine\nepochs: 0\n")
    assert main("spaces", "check", "smoke.yaml") == 2
    assert "smoke.yaml:2: epochs: must be 1 or more" in capsys.readouterr().err
    assert main("spaces", "check", "model1.yaml") == 0


def test_debug_shows_where_an_error_comes_from(capsys):
    for words in (["--debug", "spaces", "check", "none"], ["spaces", "check", "none", "--debug"]):
        assert main(*words) == 2
        assert "Traceback" in capsys.readouterr().err
    assert main("spaces", "check", "none") == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_confirmation_of_other_candidates_is_another_one(space_file, tmp_path, capsys):
    """Under one name there was one answer, whatever the search or a config had become since."""
    run = tmp_path / "r"
    assert main("search", "--space", space_file, "--local", "--runs-dir", str(tmp_path),
                "--name", "r", "--quiet") == 0  # fmt: skip
    config = tmp_path / "mine.yaml"
    shutil.copy(next((run / "configs").glob("*.yaml")), config)
    words = ("confirm", str(run), "--top", "1", "--seeds", "1", "--config", str(config), "--local")
    text = config.read_text()
    for rate in ("0.002", "0.003", "0.002"):
        lines = [line for line in text.splitlines() if not line.startswith("learning_rate")]
        config.write_text("\n".join([*lines, f"learning_rate: {rate}"]))
        assert main(*words) == 0
    folders = {path.name for path in (run / "confirmations").iterdir()}
    assert folders == {"top1-seeds1-mine", "top1-seeds1-mine-2"}
    assert len(load_run(run).info.evaluations) == sum(
        len(inner.trials) for inner in load_run(run).confirmations
    )


def test_a_word_without_end_is_cut_in_the_middle_of_its_message(tmp_path, capsys):
    (tmp_path / "long.yaml").write_text(f"dataset: digits\nrecipe: {'x' * 200_000}\n")
    assert main("plan", "--space", str(tmp_path / "long.yaml")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "characters) ... x" in line
    assert len(line) < 2000


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265", "head", "head:0"])
def test_the_form_of_an_address_is_checked_before_the_space(address, capsys):
    assert main("search", "--space", "nowhere.yaml", "--address", address) == 2
    assert address in capsys.readouterr().err


def test_a_training_that_diverges_fails_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "m.safetensors"
    words = ["--epochs", "2", "--set", "learning_rate=1e20", "--set", "optimizer=sgd",
             "--set", "net.width=0.1", "--device", "cpu", "--out", str(out)]  # fmt: skip
    assert main("train", *words) == 1
    said = capsys.readouterr()
    assert "error: it has diverged: the loss of epoch" in said.err
    assert "kept epoch" not in said.out
    assert not out.exists()


@pytest.mark.parametrize("words", [(), ("data",), ("spaces",)])
def test_help_without_a_command_is_no_error_without_words(words, capsys):
    assert main(*words) == 2
    said = capsys.readouterr()
    assert "Usage: tunecnn" in said.out + said.err
    assert "error:" not in said.err


def test_a_plan_confirms_no_more_trials_than_there_are(space_file, capsys):
    assert main("plan", "--space", space_file, "--local", "--confirm", "50x5") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "confirmation: 20 trainings of 2 epochs (3 trials and the baseline" in said


def test_a_folder_that_is_no_run_is_not_resumed(space_file, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    where = ("--runs-dir", str(tmp_path), "--name", "taken", "--local")
    assert main("search", "--space", space_file, *where) == 2
    said = capsys.readouterr().err
    assert "there is something at" in said
    assert "--resume" not in said


def test_a_home_is_known_wherever_a_path_may_be(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main("runs", "--runs-dir=~/nowhere") == 2
    assert f"there is no folder {tmp_path}/nowhere" in capsys.readouterr().err


def test_a_summary_elsewhere_is_of_the_run(scripted_run, tmp_path, capsys):
    assert main("summarize", str(scripted_run), "--out", str(tmp_path / "out"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == str(scripted_run)
    assert found["summary"] == str(tmp_path / "out" / "summary.md")


def test_a_warning_before_the_first_trial_is_an_event_too(tmp_path, capsys):
    (tmp_path / "one.yaml").write_text(TEXT.replace("[0.1, 0.2]", "[0.2]"))
    words = ("--space", str(tmp_path / "one.yaml"), "--epochs", "1", "--trials", "1", "--local")
    assert main("search", *words, "--runs-dir", str(tmp_path), "--json") == 0
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert any(
        one["event"] == "warning" and "net.width has only one value" in one["text"]
        for one in events
    )
    assert "has only one value" not in said.err
