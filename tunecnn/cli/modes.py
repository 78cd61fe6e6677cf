"""Modes of the commands, and the options that have no effect in a mode and are refused there.

A mode of a command is selected by the presence or absence of one option. An option that has no
effect in a mode is refused with the reason, never ignored. `docs/options.md` has the full table
of the options of each command by mode; a test compares it with this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from tunecnn.cli.groups import arrange
from tunecnn.errors import InputError
from tunecnn.files import expanded
from tunecnn.workflows.options import BY_NAME, IN_PROCESS, NEW_RUN, SAME_FOLDER


@dataclass(frozen=True)
class Mode:
    """A mode of a command.

    Attributes:
        opened_by: name of the option that selects the mode.
        refused: reasons why options have no effect in the mode, by option name.
        is_without: whether the mode applies when the option is absent.
        unless: name of an option beside which the mode does not apply.
    """

    opened_by: str
    refused: Mapping[str, str]
    is_without: bool = False
    unless: str = ""


def _each(names: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_KEPT = "a resumed run keeps what it was started with"
_TRAINS_NOTHING = "a plan trains nothing"

_NEW = Mode("resume", NEW_RUN, is_without=True, unless="resume_or_start")
_BY_NAME = Mode("resume_or_start", BY_NAME)
_LOCAL = Mode("local", IN_PROCESS)
_UNCONFIRMED = Mode(
    "confirm", _each("splits", "only a confirmation splits the data anew"), is_without=True
)
_JSON = Mode("json_lines", _each("quiet", "with --json nothing else is printed anyway"))

MODES: Mapping[str, tuple[Mode, ...]] = {
    "search": (
        Mode(
            "resume",
            _each("space dataset size fit skip_bad epochs seed random_baseline start_from", _KEPT)
            | dict(SAME_FOLDER),
        ),
        _NEW,
        _BY_NAME,
        _LOCAL,
        Mode(
            "plan",
            _each(
                "checkpoint_seconds max_failures trial_timeout wait_for_workers "
                "max_trials_at_once resume_or_start min_free_gb take_over allow_changes track "
                "on_end",
                _TRAINS_NOTHING,
            )
            | _each("quiet json_lines", "a plan is a table for people"),
        ),
        _UNCONFIRMED,
        _JSON,
    ),
    "reproduce": (
        Mode("resume", _each("dataset models seeds epochs against", _KEPT) | dict(SAME_FOLDER)),
        _NEW,
        _BY_NAME,
        _LOCAL,
        _JSON,
    ),
    "confirm": (_LOCAL, _JSON),
    "plan": (
        Mode("local", {name: IN_PROCESS[name] for name in ("address", "gpus_per_trial")}),
        _UNCONFIRMED,
    ),
    "train": (
        Mode(
            "config",
            _each("architecture dataset recipe", "the config has its own: change it there"),
        ),
    ),
}
"""The modes of each command in which at least one option has no effect."""


def _at_home(value: Any) -> Any:
    """Replace the `~` of a path, which no shell does in `--runs-dir=~/runs`."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return expanded(value) if isinstance(value, Path) else value


class ModalCommand(TyperCommand):
    """A command that refuses options without effect in combination with the other options.

    The `~` of its paths is the user's home, wherever it stands.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        arrange(self)

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            InputError: if a given option has no effect.
        """
        for name, value in ctx.params.items():
            ctx.params[name] = _at_home(value)
        flags = {parameter.name: parameter.opts[0] for parameter in self.params}
        given = {
            name for name in ctx.params if ctx.get_parameter_source(name).name == "COMMANDLINE"
        }
        for mode in MODES.get(str(self.name), ()):
            if (mode.opened_by in given) == mode.is_without or mode.unless in given:
                continue
            beside = f"{'without' if mode.is_without else 'beside'} {flags[mode.opened_by]}"
            for name in sorted(given & mode.refused.keys()):
                reason = mode.refused[name]
                raise InputError(
                    f"{flags[name]} has no effect {beside}, since {reason}; leave it out"
                )
        return super().invoke(ctx)
