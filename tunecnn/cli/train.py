"""`tunecnn train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunecnn.cli.options import DataDir, Json
from tunecnn.console import print_json
from tunecnn.errors import InputError

if TYPE_CHECKING:
    from tunecnn.trial.messages import EpochMetrics


def train(
    config: Annotated[
        Path | None, typer.Option(help="Config file, such as a run's configs/trial-00003.yaml.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Network: model1, model2, proposed, or file.py:Name. Default: proposed."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set; see `tunecnn data list`. Default: digits.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Training recipe: fast or published. Default: fast.")
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Further file or folder that the network's file needs; repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, as in net.dropout_block1=0.1; repeatable."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs. Default: that of the config, else 10.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    data_dir: DataDir = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Device to train on.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: torch's default.", min=1, max=4096)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the weights (.safetensors).")] = None,
    json_lines: Json = False,
) -> None:
    """Train one configuration, from a file or from options, and print the metrics per epoch."""
    from tunecnn.data.registry import absolute
    from tunecnn.trial.config import TrialConfig
    from tunecnn.trial.config_file import parse_settings, read_config
    from tunecnn.trial.recipes import make_config
    from tunecnn.workflows.networks import code_of
    from tunecnn.workflows.train import OneTraining

    changes: dict[str, Any] = parse_settings(set_ or [])
    if taken := sorted(changes.keys() & {"dataset", "architecture", "recipe"}):
        raise InputError(f"--set {taken[0]}: give it as --{taken[0]}, or in --config")
    changes |= {k: v for k, v in (("epochs", epochs), ("seed", seed)) if v is not None}
    if config is not None:
        settings = TrialConfig.from_dict({**read_config(config).to_dict(), **changes})
    else:
        settings = make_config(
            recipe or "fast", architecture or "proposed", absolute(dataset or "digits"), **changes
        )
    network_code, warning = code_of(settings, config, code or ())
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    settings = settings.replace(code=network_code.hash if network_code else None)
    training = OneTraining(settings, network_code, data_dir, device, threads, out)
    for metrics in training:
        _print_epoch(metrics, json_lines=json_lines)
    kept = training.kept
    assert kept is not None
    if json_lines:
        print_json({"event": "done", "config": settings.to_dict(), **vars(kept)})
    else:
        print(f"kept epoch {kept.epoch}: {kept.val_accuracy:.2%} validation accuracy")


def _print_epoch(metrics: EpochMetrics, *, json_lines: bool) -> None:
    if json_lines:
        print_json({"event": "epoch", **vars(metrics)})
        return
    print(
        f"epoch {metrics.epoch:3d}  loss {metrics.train_loss:.4f}  accuracy "
        f"{metrics.train_accuracy:.2%}  validation loss {metrics.val_loss:.4f}  accuracy "
        f"{metrics.val_accuracy:.2%}  {metrics.seconds:.1f} s",
        flush=True,
    )
