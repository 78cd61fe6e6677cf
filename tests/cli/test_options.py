"""A number on the command line is in its range, or refused in one line, whatever it is."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest
import typer

from tests.support.command import main
from tunecnn import InputError
from tunecnn.cli.app import app
from tunecnn.workflows.options import RANGES, RunOptions

WHOLE: Any = typer.main.get_command(app)
COMMANDS = {
    ("search",): ["--space", "smoke"],
    ("plan",): ["--space", "smoke"],
    ("confirm",): ["nowhere"],
    ("reproduce",): ["--dataset", "digits", "--against", "none"],
    ("train",): [],
    ("watch",): ["nowhere"],
    ("predict",): ["nowhere", "nowhere.png"],
    ("dashboard",): ["nowhere"],
    ("data", "prepare"): ["imagefolder:nowhere"],
    ("data", "report"): ["imagefolder:nowhere"],
}
NAMED = {"until": "accuracy"}
"""Options that a message names by the key of the space."""


def command_of(words: tuple[str, ...]) -> Any:
    found = WHOLE
    for word in words:
        found = found.commands[word]
    return found


def numbers_of(command: Any) -> list[str]:
    """The names of a command's options that are numbers."""
    annotations = inspect.get_annotations(command.callback, eval_str=True)
    signature = inspect.signature(command.callback, eval_str=True).parameters
    found = []
    for name in signature:
        kind = get_args(annotations.get(name, signature[name].annotation))[:1]
        if kind and {int, float} & {kind[0], *get_args(kind[0])}:
            found.append(name)
    return found


NUMBERS = [(words, name) for words in COMMANDS for name in numbers_of(command_of(words))]
ONCE = [(words, name) for words, name in NUMBERS if words == ("search",) or name not in RANGES]
"""The options of a run are the same ones in each command, so one command is enough for them."""


def test_every_command_with_a_number_is_tried():
    whole = WHOLE.commands
    paths = [(name,) for name in whole if name not in ("data", "spaces")]
    paths += [(group, name) for group in ("data", "spaces") for name in whole[group].commands]
    assert {path for path in paths if numbers_of(command_of(path))} == {
        path for path, _ in NUMBERS
    }


@pytest.mark.parametrize("value", ["nan", "9" * 40])
@pytest.mark.parametrize(("words", "name"), ONCE, ids=lambda given: "".join(given))
def test_a_number_out_of_its_range_is_refused_by_its_name(
    words, name, value, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (option,) = [one for one in command_of(words).params if one.name == name]
    assert main(*words, *COMMANDS[words], option.opts[0], value) == 2
    err = capsys.readouterr().err
    assert option.opts[0] in err or NAMED.get(name, name) in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", RANGES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 10**40, "1", True])
def test_python_code_gets_the_same_answer(field, value):
    with pytest.raises(
        InputError, match=rf"{field} must be a (whole )?number from \S+ to [0-9,]+, not"
    ):
        RunOptions(**{field: value})


@pytest.mark.parametrize("option", ["name", "resume_or_start"])
@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/../..", "/tmp/a", "a\nb", "a\x1b[2Jb", "a\0b", 3]
)
def test_a_name_stays_below_the_folder_of_runs_and_prints_in_a_line(option, name):
    with pytest.raises(InputError, match=f"{option} must name a folder below runs_dir"):
        RunOptions(**{option: name})


@pytest.mark.parametrize(
    "name", ["run[v2]", "où est-ce", "~", "-x", "\udcff", "a b", "a/b", "a[/b]"]
)
def test_any_other_name_is_taken(name):
    assert RunOptions(name=name).name == name
