"""Make the pages of the reference that are made from the code: `python -m tests.reference`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from tests.support.paths import ROOT
from tunecnn.data.options import IMAGE_OPTIONS
from tunecnn.run import frames
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Pruner, Sampler, strategy_name
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.recipes import make_config

_FRAMES = {
    "run.trials": "TRIAL_DTYPES",
    "run.epochs": "EPOCH_DTYPES",
    "run.evaluations": "EVALUATION_DTYPES",
    "run.predictions and run.validation": "PREDICTION_DTYPES",
}


def columns() -> str:
    """The page about the columns of the data frames."""
    source = Path(frames.__file__).read_text(encoding="utf-8")
    parts = ["# Columns\n", "Made from `tunecnn/run/frames.py`. In all frames, (`run`, `trial`) names "
             "a trial, also in frames of several runs. `trials.parquet` and `epochs.parquet` in a run's "
             "folder have the same columns.\n"]  # fmt: skip
    for name, constant in _FRAMES.items():
        dtypes: Mapping[str, str] = getattr(frames, constant)
        found = re.search(rf'^{constant} = {{.*?^}}\n"""(.*?)"""', source, re.S | re.M)
        parts.append(f"## {name}\n")
        if found:
            parts.append(found[1].strip() + "\n")
        parts.append("| column | type |\n|---|---|")
        parts += [f"| `{column}` | {dtype} |" for column, dtype in dtypes.items()]
        parts.append("")
    return "\n".join(parts)


def commands() -> str:
    """The page about the commands."""
    from tunecnn.cli.app import app

    root = typer.main.get_command(app)
    parts = ["# Commands\n", "Made from the code; `tunecnn COMMAND --help` says the same. Which "
             "options have no effect beside others: [options by mode](options.md).\n"]  # fmt: skip
    parts += _commands(root, "tunecnn")
    return "\n".join(parts) + "\n"


def _commands(group: Any, prefix: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
            continue
        yield f"## {prefix} {name}\n"
        yield f"{command.help}\n"
        if command.epilog:
            yield f"    {command.epilog.removeprefix('Example: ')}\n"
        yield "| argument or option | meaning | default |\n|---|---|---|"
        for one in command.params:
            if one.name == "help":
                continue
            flags = ", ".join(f"`{flag}`" for flag in one.opts) if one.opts else ""
            if one.param_type_name == "argument":
                flags = f"`{one.name.upper()}`"
            default = (
                "" if one.default in (None, False, (), []) or one.required else f"`{one.default}`"
            )
            if one.required:
                default = "required"
            text = (one.help or "").replace("|", "\\|")
            yield f"| {flags} | {text} | {default} |"
        yield ""


def settings() -> str:
    """The page about the settings of a training, and what is taken for keys that a space lacks."""
    recipes = {
        "`published`": make_config("published", "proposed", "cifar10"),
        "`fast`": make_config("fast", "proposed", "cifar10"),
        "`fast`, own images and network": make_config("fast", "nets.py:Net", "imagefolder:images"),
    }
    parts = [
        "# Settings and defaults\n",
        "Made from the code.\n",
        "## Keys that a space lacks\n",
        "| key | without it |\n|---|---|",
    ]
    for name, field in SearchSpace.model_fields.items():
        parts.append(f"| `{name}` | {_default(field.default)} |")
    parts += [
        "",
        "## Settings of the training\n",
        "Each can be searched or fixed under `parameters`, except `split`, `split_seed`, `validation` "
        "and `train_images`, which can only be fixed; what a space does not give is taken from its "
        "recipe. None stands for a setting without a value (`-` in the columns); a space cannot write "
        "it. The columns are those of the proposed network on CIFAR-10, and of a network and images "
        "of your own; `split`, `batch_size`, `validation`, `flip`, `crop` and `pixels` depend on the "
        "data set.\n",
        f"| setting | meaning | {' | '.join(recipes)} |\n|---|---|{'---|' * len(recipes)}",
    ]
    for name, field in TrialConfig.model_fields.items():
        if name in ("architecture", "code", "net", "dataset", "epochs", "seed", *IMAGE_OPTIONS):
            continue  # keys of a space
        values = " | ".join(_default(getattr(config, name)) for config in recipes.values())
        meaning = " ".join((field.description or "").split())
        parts.append(f"| `{name}` | {meaning} | {values} |")
    return "\n".join(parts) + "\n"


def _default(value: Any) -> str:
    """Return a default as it is written in a space."""
    if isinstance(value, Sampler | Pruner):
        return f"`{strategy_name(value)}`"
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`" if isinstance(value, int | float | str) and value != "" else "-"


PAGES = {"columns.md": columns, "commands.md": commands, "settings.md": settings}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
