"""No option is ignored in any mode of a command: it has an effect there, or is refused."""

from __future__ import annotations

import pytest
import typer

from tests.support.command import main
from tests.support.paths import ROOT
from tests.support.searching import TEXT, Silent, begin
from tunecnn import load_run
from tunecnn.cli.app import app
from tunecnn.cli.modes import MODES, Mode

TABLE = ROOT / "docs" / "options.md"
COMMANDS = typer.main.get_command(app).commands
OWN = [name for name in COMMANDS if name not in ("spaces", "data")]
REFUSALS = [
    (command, mode, name)
    for command, modes in MODES.items()
    for mode in modes
    for name in mode.refused
]


def options_of(command: str) -> dict[str, str]:
    """The options of a command: how each is written, by name."""
    return {one.name: one.opts[0] for one in COMMANDS[command].params if one.name != "help"}


def table() -> str:
    lines = [
        "# Options by mode",
        "",
        "Made from `tunecnn/cli/modes.py` by "
        "`pytest tests/cli/test_modes.py --update-golden`. An empty cell: the option has its effect. "
        "A number: it has none, and is refused with the reason below.",
    ]
    reasons: list[str] = []
    for command in OWN:
        modes, options = MODES.get(command, ()), options_of(command)
        lines += ["", f"## `tunecnn {command}`", ""]
        heads = [
            f"{'without' if mode.is_without else 'with'} `{options[mode.opened_by]}`"
            + (f" and `{options[mode.unless]}`" if mode.unless else "")
            for mode in modes
        ]
        lines += [
            f"| option | {' | '.join(heads) or 'always'} |",
            "|---|" + "---|" * (len(modes) or 1),
        ]
        for name, flag in options.items():
            cells = []
            for mode in modes:
                reason = mode.refused.get(name)
                if reason and reason not in reasons:
                    reasons.append(reason)
                cells.append(str(reasons.index(reason) + 1) if reason else "")
            lines.append(f"| `{flag}` | {' | '.join(cells) or ''} |")
    lines += ["", "## Reasons", ""]
    lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def test_the_table_of_options_by_mode_is_the_one_in_the_documentation(request):
    if request.config.getoption("--update-golden"):
        TABLE.write_text(table())
    assert TABLE.read_text() == table(), "say what each new option does in each mode"


@pytest.mark.parametrize("command", MODES)
def test_the_table_names_options_that_the_command_has(command):
    for mode in MODES[command]:
        assert {mode.opened_by, *mode.refused} <= options_of(command).keys()


def words(command: str, name: str) -> list[str]:
    """An option as a user writes it, with some value."""
    (option,) = [one for one in COMMANDS[command].params if one.name == name]
    flags = [option.opts[0]] if option.param_type_name == "option" else []
    if getattr(option, "is_flag", False):
        return flags
    values = {"trials": "+1", "confirm": "1x1", "device": "cpu"}
    return [*flags, values.get(name, "1")]


@pytest.mark.parametrize(
    ("command", "mode", "name"), REFUSALS, ids=lambda x: getattr(x, "opened_by", x)
)
def test_an_option_without_effect_is_refused_with_the_reason(
    command: str, mode: Mode, name: str, capsys
):
    given = words(command, name)
    if not mode.is_without:
        given += words(command, mode.opened_by)
    given += ["nowhere"] if command == "confirm" else []
    if mode.opened_by == "plan":
        given += ["--space" if name == "resume_or_start" else "--resume", "x"]
    given += ["--space", "x"] if command == "plan" else []
    assert main(command, *given) == 2
    flags = options_of(command)
    beside = f"{'without' if mode.is_without else 'beside'} {flags[mode.opened_by]}"
    assert capsys.readouterr().err == (
        f"error: {flags[name]} has no effect {beside}, since {mode.refused[name]}; leave it out\n"
    )


def test_a_plan_of_a_resumed_search_trains_nothing(tmp_path, capsys):
    folder = begin(tmp_path, TEXT, Silent(raise_at=1)).folder
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = ("search", "--resume", str(folder), "--plan", "--local", "--trials", "+2")
    assert main(*command) == 0
    out = capsys.readouterr().out
    assert "resumed: 0 of 5 trials have ended; this is the plan of the others" in out
    assert "epochs: 10 if no trial is stopped early" in out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert load_run(folder).space.trials == 3


def test_a_plan_says_what_the_budget_is_and_that_the_name_is_taken(tmp_path, capsys):
    space = tmp_path / "space.yaml"
    space.write_text(TEXT)
    command = (
        "search",
        "--space",
        str(space),
        "--plan",
        "--local",
        "--hours",
        "2",
        "--until",
        "0.9",
    )
    assert main(*command) == 0
    assert (
        "no trial starts after 2 hours or a trial with an accuracy of 90.00%"
        in capsys.readouterr().out
    )
    (tmp_path / "taken").mkdir()
    assert main(*command, "--runs-dir", str(tmp_path), "--name", "taken") == 2
    assert "there is something at" in capsys.readouterr().err
