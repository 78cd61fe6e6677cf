"""The command `tunecnn`. Everything slow to import is imported by the command that needs it."""

from __future__ import annotations

import dataclasses
import json
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tunecnn.errors import InputError, TunecnnError

app = typer.Typer(
    help="Tune small convolutional networks on a Ray cluster, with a summary you can believe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
spaces_app = typer.Typer(help="List, show and check search spaces.", no_args_is_help=True)
data_app = typer.Typer(
    help="List data sets, and fetch them before a search.", no_args_is_help=True
)
app.add_typer(spaces_app, name="spaces")
app.add_typer(data_app, name="data")

INTERRUPTED = 130

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data files. Default: TUNECNN_DATA, else the platform's cache.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


class Device(StrEnum):
    """Where `tunecnn train` trains."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@app.callback(invoke_without_command=True)
def _global(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"tunecnn {installed('tunecnn')}")
        raise typer.Exit


@app.command()
def search(
    space: Annotated[
        str | None,
        typer.Option(help="A space file, or a shipped space such as proposed.yaml."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set, instead of the space's: see `tunecnn data list`.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials, instead of the space's.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a full trial, instead of the space's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the space's.")] = None,
    data_dir: DataDir = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder in which the run is kept.")] = Path(
        "runs"
    ),
    name: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Carry on with this run, after an interruption.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join. Default: RAY_ADDRESS, else this machine."),
    ] = None,
    cpus_per_trial: Annotated[
        float | None, typer.Option(help="Cores a trial. Default: 1.", min=0.01)
    ] = None,
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(help="GPUs a trial, such as 0.25. Default: 1 if there are any.", min=0.0),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="One trial after the other in this process, no Ray.")
    ] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Time between two checkpoints of a trial.", min=0.0)
    ] = 30.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")] = False,
    json_lines: Json = False,
) -> None:
    """Search a space: train many configurations, stop the weak ones, summarize the run."""
    from tunecnn.search import SearchOptions, Where
    from tunecnn.search import resume as resume_search
    from tunecnn.search import search as begin_search
    from tunecnn.shipped import find_space
    from tunecnn.space import SearchSpace

    if local and (address or gpus_per_trial):
        raise InputError("--local trains in this process: leave out --address, --gpus-per-trial")
    where = Where(local, address, cpus_per_trial, gpus_per_trial)
    options = SearchOptions(data_dir, runs_dir, name, where, checkpoint_seconds)
    listening = _listening(quiet=quiet, json_lines=json_lines)
    overrides = {"dataset": dataset, "trials": trials, "epochs": epochs, "seed": seed}
    changed = {key: value for key, value in overrides.items() if value is not None}
    if resume is not None:
        given = {"space": space, "name": name, **overrides}
        kept = [f"--{key}" for key, value in given.items() if value is not None]
        if kept:
            raise InputError(
                f"a resumed run keeps what it was begun with; leave out {', '.join(kept)}"
            )
        result = resume_search(resume, options, listening)
    elif space is None:
        raise InputError("give --space, such as --space proposed.yaml, or --resume RUN")
    else:
        path = find_space(space)
        checked = SearchSpace.from_yaml(path).override(**changed)
        _warn(checked)
        text = path.read_text(encoding="utf-8-sig")
        result = begin_search(checked, text, changed, options, listening)
    _print_result(result.folder, result.ending, result.summary, quiet=quiet, json_lines=json_lines)
    if result.ending == "interrupted":
        raise typer.Exit(INTERRUPTED)


@app.command()
def summarize(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    json_lines: Json = False,
) -> None:
    """Write a run's summary and pictures again; also for a run that goes on."""
    from tunecnn.render import write_summary
    from tunecnn.runs import load_run

    summary = write_summary(load_run(run))
    _print_result(run, "summarized", summary, quiet=False, json_lines=json_lines)


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Option(help="A config file, such as a run's configs/trial-00003.yaml.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="model1, model2 or proposed. Default: proposed.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="See `tunecnn data list`. Default: digits.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="fast, or the report's own: report. Default: fast.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: --set dropout.block1=0.1; repeatable."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs to train.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    data_dir: DataDir = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.AUTO,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads. Default: torch's own choice.", min=1)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the weights (.safetensors).")] = None,
    json_lines: Json = False,
) -> None:
    """Train one configuration, from a file or from options, and print each epoch."""
    from tunecnn.catalogue import absolute
    from tunecnn.config import TrialConfig
    from tunecnn.config_file import parse_settings, read_config
    from tunecnn.recipes import make_config

    changes: dict[str, Any] = parse_settings(set_ or [])
    changes |= {k: v for k, v in (("epochs", epochs), ("seed", seed)) if v is not None}
    if config is not None and (architecture or dataset or recipe):
        raise InputError(
            "--config has its own architecture, data set and recipe; change one with --set"
        )
    if config is not None:
        settings = TrialConfig.from_dict({**read_config(config).to_dict(), **changes})
    else:
        settings = make_config(
            recipe or "fast", architecture or "proposed", absolute(dataset or "digits"), **changes
        )
    _train(settings, data_dir, device, threads, out, json_lines=json_lines)


@spaces_app.command("list")
def spaces_list() -> None:
    """List the spaces that come with tunecnn."""
    from tunecnn.shipped import shipped_spaces
    from tunecnn.space import SearchSpace

    table = Table("space", "trials", "epochs", "goal", box=None)
    for name, path in shipped_spaces().items():
        space = SearchSpace.from_yaml(path)
        table.add_row(name, str(space.trials), str(space.epochs), space.goal)
    Console().print(table)


@spaces_app.command("show")
def spaces_show(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
) -> None:
    """Print a space file as it is."""
    from tunecnn.shipped import find_space

    print(find_space(space).read_text(encoding="utf-8-sig"), end="")


@spaces_app.command("check")
def spaces_check(
    space: Annotated[str, typer.Argument(help="A space file, or a shipped space.")],
) -> None:
    """Check a space file, and say what a search of it would do."""
    from tunecnn.parameters import Constant, describe
    from tunecnn.shipped import find_space
    from tunecnn.space import SearchSpace

    checked = SearchSpace.from_yaml(find_space(space))
    report = checked.report_point()
    table = Table("parameter", "role", "values", "the report", box=None)
    for name, parameter in checked.parameters.items():
        role = "" if isinstance(parameter, Constant) else parameter.role
        table.add_row(name, role, describe(parameter), str(report.get(name, "")))
    console = Console()
    console.print(table)
    _warn(checked)
    size = checked.size()
    console.print(
        f"{checked.name}: {checked.trials} trials of at most {checked.epochs} epochs on "
        f"{checked.dataset}, "
        + (f"{size:,} different configurations" if size is not None else "a continuum of values"),
        highlight=False,
    )


@data_app.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """List the data sets, and which of them are on this machine."""
    from tunecnn.catalogue import FACTS, IMAGEFOLDER
    from tunecnn.datasets import default_data_dir

    folder = data_dir or default_data_dir()
    table = Table("data set", "here", "what it is", box=None)
    for name, facts in FACTS.items():
        table.add_row(name, "" if name == IMAGEFOLDER else _is_here(name, folder), facts.about)
    console = Console()
    console.print(table)
    console.print(f"data folder: {folder}", highlight=False, soft_wrap=True)


@data_app.command("prepare")
def data_prepare(
    dataset: Annotated[str, typer.Argument(help="Data set: see `tunecnn data list`.")],
    data_dir: DataDir = None,
) -> None:
    """Fetch a data set (or decode an image folder), check it, and say what is in it."""
    from tunecnn.datasets import read_arrays

    arrays = read_arrays(dataset, data_dir)
    height, width, channels = arrays.train_pixels.shape[1:]
    print(
        f"{dataset}: {len(arrays.train_labels):,} training and {len(arrays.test_labels):,} test "
        f"images of {height}x{width}x{channels}, {len(arrays.classes)} classes, content "
        f"{arrays.content_hash()}"
    )


def _warn(space: Any) -> None:
    for text in space.warnings():
        print(f"warning: {text}", file=sys.stderr)


def _is_here(name: str, folder: Path) -> str:
    if name == "digits":
        return "yes"
    from tunecnn.downloads import missing_files

    return "no" if missing_files(name, folder) else "yes"


def _listening(*, quiet: bool, json_lines: bool) -> Any:
    def open_progress(study: Any, folder: Path) -> Any:
        from tunecnn.progress import Progress

        console = Console()
        return Progress(study, folder, console, json_lines=json_lines, quiet=quiet).shown()

    return open_progress


def _print_result(
    folder: Path, ending: str, summary: Any, *, quiet: bool, json_lines: bool
) -> None:
    path = folder / "summary.md"
    if json_lines:
        best = dataclasses.asdict(summary.best) if summary.best else None
        print(json.dumps({"event": ending, "run": str(folder), "best": best,
                          "summary": str(path)}))  # fmt: skip
        return
    console = Console()
    if quiet:
        print(path)
        return
    console.print()
    console.print(summary.verdict, highlight=False)
    if summary.command:
        console.print(f"\ntrain it again: {summary.command}", highlight=False, soft_wrap=True)
    if ending == "interrupted":
        text = f"interrupted; carry on with: tunecnn search --resume {folder}"
        console.print(text, highlight=False, soft_wrap=True)
    console.print(f"summary: {path}", highlight=False, soft_wrap=True)


def _train(
    config: Any,
    data_dir: Path | None,
    device: Device,
    threads: int | None,
    out: Path | None,
    *,
    json_lines: bool,
) -> None:
    import torch

    from tunecnn.datasets import load_dataset
    from tunecnn.training import Training

    dataset = load_dataset(config, data_dir)
    if threads is not None:
        torch.set_num_threads(threads)
    gpu = torch.cuda.is_available()
    if device is Device.CUDA and not gpu:
        raise InputError("--device cuda: torch finds no GPU on this machine")
    training = Training(
        config, dataset.trial_data, "cuda" if gpu and device is not Device.CPU else "cpu"
    )
    for metrics in training:
        if json_lines:
            print(json.dumps({"event": "epoch", **metrics.to_dict()}), flush=True)
        else:
            print(
                f"epoch {metrics.epoch:3d}  loss {metrics.train_loss:.4f}  accuracy "
                f"{metrics.train_accuracy:.2%}  validation loss {metrics.val_loss:.4f}  accuracy "
                f"{metrics.val_accuracy:.2%}  {metrics.seconds:.1f} s",
                flush=True,
            )
    kept = training.kept
    assert kept is not None
    if out is not None:
        from safetensors.torch import save

        from tunecnn.files import write_atomically

        write_atomically(out, save(training.weights()))
    if json_lines:
        print(json.dumps({"event": "done", "config": config.to_dict(), **kept.to_dict()}))
    else:
        print(f"kept epoch {kept.epoch}: {kept.val_accuracy:.2%} validation accuracy")


def main() -> None:
    """Run the command line, and turn errors into one message and an exit code."""
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = app(words, prog_name="tunecnn", standalone_mode=False)
    except TunecnnError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Exception as error:
        # A wrong word on the command line; typer does not export the class of these errors.
        if not hasattr(error, "show"):
            raise
        error.show()
        sys.exit(InputError.exit_code)
    sys.exit(code or 0)
