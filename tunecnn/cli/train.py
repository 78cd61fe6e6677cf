"""`tunecnn train`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunecnn.cli.options import DataDir, Json
from tunecnn.console import print_json
from tunecnn.errors import InputError, RunError, TunecnnError

if TYPE_CHECKING:
    from tunecnn.trial.messages import EpochMetrics


class Device(StrEnum):
    """Device of `tunecnn train`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, as in net.dropout_block1=0.1; repeatable."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs. Default: that of the config, else 10.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    data_dir: DataDir = None,
    device: Annotated[Device, typer.Option(help="Device to train on.")] = Device.AUTO,
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
    code, warning = code_of(settings, config)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    settings = settings.replace(code=code.hash if code else None)
    _train(settings, code, data_dir, device, threads, out, json_lines=json_lines)


def _train(
    config: Any,
    code: Any,
    data_dir: Path | None,
    device: Device,
    threads: int | None,
    out: Path | None,
    *,
    json_lines: bool,
) -> None:
    from tunecnn.files import check_writable

    if out is not None:
        check_writable(out, "--out")
    if device is Device.CUDA and not _may_have_gpu():
        raise InputError("--device cuda: this machine has no GPU")

    from tunecnn.data.loading import load_dataset

    # Images are refused before torch is imported, which takes seconds.
    dataset = load_dataset(config.dataset, config.data_split, data_dir, config.image_options)

    import torch

    from tunecnn.models.architecture import is_published
    from tunecnn.models.building import describe, importable
    from tunecnn.models.code import prints_aside
    from tunecnn.trial.training import Training

    gpu = torch.cuda.is_available()
    if device is Device.CUDA and not gpu:
        raise InputError("--device cuda: torch finds no GPU on this machine")
    if threads is not None:
        torch.set_num_threads(threads)
    with importable(code):
        try:
            with prints_aside(code):
                training = Training(
                    config,
                    dataset.trial_data,
                    "cuda" if gpu and device is not Device.CPU else "cpu",
                )
        except TunecnnError:
            raise
        except (Exception, SystemExit) as error:
            if is_published(config.architecture):
                raise
            raise InputError(f"{config.architecture}: {describe(error)}") from error
        epochs, has_diverged = iter(training), False
        while True:
            try:
                with prints_aside(code):
                    metrics = next(epochs, None)
            except (Exception, SystemExit) as error:
                if is_published(config.architecture):
                    raise
                what = f"{config.architecture} failed in epoch {training.epoch + 1}"
                raise RunError(f"{what}: {describe(error)}") from error
            if metrics is None:
                break
            _print_epoch(metrics, json_lines=json_lines)
            has_diverged = metrics.diverged
        if has_diverged:
            raise RunError(f"it has diverged: the loss of epoch {training.epoch} is not finite")
        kept = training.kept
        assert kept is not None
        if out is not None:
            from tunecnn.files import write_atomically
            from tunecnn.trial.trained import pack_model

            write_atomically(out, pack_model(training))
    if json_lines:
        print_json({"event": "done", "config": config.to_dict(), **vars(kept)})
    else:
        print(f"kept epoch {kept.epoch}: {kept.val_accuracy:.2%} validation accuracy")


def _may_have_gpu() -> bool:
    """Return false if there is surely no GPU, without the import of torch, which takes seconds."""
    nodes = ("nvidiactl", "nvmap", "kfd", "dxg")  # NVIDIA, its boards with a GPU inside, AMD, WSL
    return sys.platform != "linux" or any(Path("/dev", node).exists() for node in nodes)


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
