"""Make the pages of the reference that are made from the code: `python -m tests.reference`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from tests.support.paths import ROOT
from tunecnn.data.options import IMAGE_OPTIONS
from tunecnn.data.registry import NAMED
from tunecnn.run import frames
from tunecnn.space.space import SearchSpace
from tunecnn.space.strategy import Pruner, Sampler, strategy_name
from tunecnn.trial.config import TrialConfig
from tunecnn.trial.recipes import RECIPES, make_config

_OWN = ("nets.py:Net", "imagefolder:images")
_NO_LIMIT = 1e9  # larger ones only keep a number representable
_FRAMES = {
    "run.trials": "TRIAL_DTYPES",
    "run.epochs": "EPOCH_DTYPES",
    "run.evaluations": "EVALUATION_DTYPES",
    "run.predictions and run.validation": "PREDICTION_DTYPES",
}


def columns() -> str:
    """The page about the columns of the data frames."""
    source = Path(frames.__file__).read_text(encoding="utf-8")
    parts = [
        "# Columns\n",
        "Made from `tunecnn/run/frames.py`. In all frames, (`run`, `trial`) names "
        "a trial, also in frames of several runs. `trials.parquet` and `epochs.parquet` in a run's "
        "folder have the same columns.\n",
    ]
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
    parts = [
        "# Commands\n",
        "Made from the code; `tunecnn COMMAND --help` says the same. Which "
        "options have no effect beside others: [options by mode](options.md). What a command "
        "prints with `--json`, and its exit codes: [for programs](following.md#for-programs).\n",
        "## tunecnn\n",
        "Before any command.\n",
        *_parameters(root),
        "",
    ]
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
        yield from _parameters(command)
        yield ""


def _parameters(command: Any) -> Iterator[str]:
    yield "| argument or option | meaning | default |\n|---|---|---|"
    for one in command.params:
        if one.name in ("help", "install_completion", "show_completion"):
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
        if choices := _choices(one):
            text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
        yield f"| {flags} | {text} | {default} |"


def _choices(one: Any) -> list[str]:
    """Return the values of an option that takes one of a few; empty of any other."""
    if hasattr(one, "type_descriptor"):  # Typer since 0.28, without click
        annotation = one.type_descriptor.annotation
        if get_origin(annotation) is Literal:
            return list(get_args(annotation))
        return [member.value for member in annotation] if isinstance(annotation, EnumType) else []
    return list(getattr(one.type, "choices", ()))


def settings() -> str:
    """The page about the settings of a training, and what is taken for keys that a space lacks."""
    recipes = {
        "`published`": make_config("published", "proposed", "cifar10"),
        "`published`, own": make_config("published", *_OWN),
        "`fast`": make_config("fast", "proposed", "cifar10"),
        "`fast`, own": make_config("fast", *_OWN),
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
        "it. The last columns are those of the proposed network on CIFAR-10, and of a network and "
        "images of your own. `optimizer`, `learning_rate`, `momentum` and `patience` depend on the "
        "network; what depends on the data set is in the table below.\n",
        f"| setting | meaning | values | {' | '.join(recipes)} |\n|---|---|---|"
        f"{'---|' * len(recipes)}",
    ]
    for name, field in TrialConfig.model_fields.items():
        if name in ("architecture", "code", "net", "dataset", "epochs", "seed", *IMAGE_OPTIONS):
            continue  # keys of a space
        values = " | ".join(_default(getattr(config, name)) for config in recipes.values())
        meaning = " ".join((field.description or "").split())
        parts.append(f"| `{name}` | {meaning} | {_allowed(field)} | {values} |")
    return "\n".join([*parts, *_by_dataset()]) + "\n"


def _by_dataset() -> Iterator[str]:
    """Yield a table of the settings that depend on the data set, with equal ones in one row."""
    of_dataset = ("batch_size", "validation", "flip", "crop", "pixels", "split")
    rows: dict[tuple[str, ...], list[str]] = {}
    for dataset in (*NAMED, "images of your own"):
        name = dataset if dataset in NAMED else _OWN[1]
        configs = [make_config(recipe, "proposed", name) for recipe in RECIPES]
        values = tuple(
            " / ".join(dict.fromkeys(_default(getattr(config, setting)) for config in configs))
            for setting in of_dataset
        )
        rows.setdefault(values, []).append(dataset)
    yield "\n## Settings that depend on the data set\n"
    yield f"Of the recipes {' and '.join(f'`{one}`' for one in RECIPES)}, where they differ.\n"
    yield f"| data set | {' | '.join(f'`{one}`' for one in of_dataset)} |"
    yield f"|---|{'---|' * len(of_dataset)}"
    yield from (f"| {', '.join(names)} | {' | '.join(values)} |" for values, names in rows.items())


def _allowed(field: FieldInfo) -> str:
    """Return the values of a setting in words."""
    annotation, metadata = field.annotation, [*field.metadata]
    if get_origin(annotation) in (Union, UnionType):  # it may be without a value
        annotation = get_args(annotation)[0]
    if hasattr(annotation, "__metadata__"):
        parts = [
            one.metadata if isinstance(one, FieldInfo) else [one]
            for one in annotation.__metadata__
        ]
        annotation, metadata = annotation.__origin__, [*itertools.chain(*parts)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if annotation is bool:
        return "`true`, `false`"
    bounds = {
        name: getattr(one, name)
        for one in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(one, name)
    }
    forms = {"ge": "{:g} or more", "gt": "above {:g}", "le": "at most {:g}", "lt": "below {:g}"}
    limits = [
        form.format(bounds[name])
        for name, form in forms.items()
        if name in bounds and bounds[name] < _NO_LIMIT
    ]
    return ", ".join(["a whole number", *limits] if annotation is int else limits)


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
