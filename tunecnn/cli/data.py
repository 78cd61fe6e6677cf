"""`tunecnn data`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tunecnn.cli.options import DataDir, Fit, Json, Size, SkipBad
from tunecnn.console import PlainConsole, print_json
from tunecnn.files import expanded
from tunecnn.words import listed

if TYPE_CHECKING:
    from tunecnn.data.images import Dataset

data_app = typer.Typer(
    help="List data sets, download or decode them, and look at them before a search.",
    no_args_is_help=True,
)
DatasetName = Annotated[str, typer.Argument(help="Data set; see `tunecnn data list`.")]
Background = Annotated[
    str | None, typer.Option(help="Colour behind transparent pixels and of padding.")
]
Scale = Annotated[
    float | None, typer.Option(help="Value that becomes white in images of more than 8 bits.")
]
Groups = Annotated[
    str | None,
    typer.Option(help="Images not to divide: `folder`, or a CSV file with file and group."),
]


@data_app.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """List the data sets, and whether their files are on this machine."""
    from tunecnn.data.loading import default_data_dir, is_here
    from tunecnn.data.registry import NAMED, OWN

    folder = expanded(data_dir or default_data_dir())
    table = Table("data set", "here", "description", box=None)
    for name, info in NAMED.items():
        table.add_row(name, "yes" if is_here(name, folder) else "no", info.about)
    for form, info in OWN.values():
        table.add_row(form, "", f"your own images: {info.about}")
    console = PlainConsole()
    console.print(table)
    console.print(f"data folder: {folder}", soft_wrap=True)


@data_app.command("prepare")
def data_prepare(
    dataset: DatasetName,
    size: Size = None,
    fit: Fit = None,
    background: Background = None,
    scale: Scale = None,
    groups: Groups = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
) -> None:
    """Download a data set (or decode own images), check it as a search would, and describe it."""
    loaded = _load(dataset, size, fit, background, scale, groups, skip_bad, data_dir)
    for line in _lines(dataset, loaded):
        print(line)


@data_app.command("report")
def data_report(
    dataset: DatasetName,
    size: Size = None,
    fit: Fit = None,
    background: Background = None,
    scale: Scale = None,
    groups: Groups = None,
    skip_bad: SkipBad = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the sheet of pictures. Default: <data set>-sheet.png here, "
            "or beside the images."
        ),
    ] = None,
    json_lines: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Describe a data set, and draw a sheet of its images as a network gets them."""
    from tunecnn.files import check_writable
    from tunecnn.workflows.data_sheet import write_sheet

    if out is not None:
        out = expanded(out)
        check_writable(out, "--out")
    loaded = _load(dataset, size, fit, background, scale, groups, skip_bad, data_dir)
    path = out or _sheet_of(dataset)
    write_sheet(loaded.trial_data, path)
    if json_lines:
        print_json(_as_json(dataset, loaded, path))
        return
    for line in _lines(dataset, loaded):
        print(line)
    print(f"sheet: {path}")


def _sheet_of(dataset: str) -> Path:
    """Return the file for a sheet: here, or beside the images if this is a folder of theirs."""
    from tunecnn.data.registry import kind_and_path

    kind, path = kind_and_path(dataset)
    file, _, function = path.rpartition(":")
    is_function = file.endswith(".py")
    images = expanded(file if is_function else path).resolve()
    stem = images.stem if images.is_file() else images.name
    name = f"{stem if path else kind}{f'-{function}' * is_function}-sheet.png"
    here = Path.cwd()
    is_below = path and images.is_dir() and (here == images or images in here.parents)
    return images.parent / name if is_below else Path(name)


@data_app.command("clean")
def data_clean(dataset: DatasetName, data_dir: DataDir = None) -> None:
    """Remove the decoded copies of own images; the images themselves stay."""
    from tunecnn.data.loading import clean

    removed = clean(dataset, data_dir)
    for folder in removed:
        print(f"removed {folder}")
    if not removed:
        print("there was nothing to remove")


def _load(
    dataset: str,
    size: int | None,
    fit: str | None,
    background: str | None,
    scale: float | None,
    groups: str | None,
    skip_bad: bool,
    data_dir: Path | None,
) -> Dataset:
    """Load a data set with the split that a search has by default."""
    from tunecnn.data.loading import load_dataset
    from tunecnn.data.registry import dataset_info
    from tunecnn.data.splits import Split
    from tunecnn.trial.config import TrialConfig

    given: dict[str, Any] = {
        "size": size,
        "fit": fit,
        "background": background,
        "scale": scale,
        "groups": groups,
        "skip_bad": skip_bad,
    }
    config = TrialConfig(
        dataset=dataset, **{name: value for name, value in given.items() if value is not None}
    )
    split = Split(validation=dataset_info(dataset).validation)
    return load_dataset(dataset, split, data_dir, config.image_options)


def _lines(name: str, dataset: Dataset) -> list[str]:
    data, sheet = dataset.trial_data, dataset.sheet
    channels, height, width = data.input_shape
    lines = [
        f"{name}: {len(data.classes)} classes, images of {height}x{width}x{channels}, fingerprint "
        f"{dataset.fingerprint}",
        f"classes: {listed(data.classes)}",
    ]
    if files := sheet.files_in_words():
        lines.append(files)
    lines += [f"  cannot be read: {file}: {why}" for file, why in sheet.bad.items()]
    lines += sheet.notes
    lines += sheet.parts_in_words(data.classes)
    return lines + [f"warning: {text}" for text in sheet.warnings(data.classes)]


def _as_json(name: str, dataset: Dataset, picture: Path) -> dict[str, Any]:
    data = dataset.trial_data
    return {
        "dataset": name,
        "classes": list(data.classes),
        "input_shape": list(data.input_shape),
        "fingerprint": dataset.fingerprint,
        "split_fingerprint": dataset.split_fingerprint,
        "majority": {part: dataset.sheet.majority(part)[1] for part in dataset.sheet.counts},
        **asdict(dataset.sheet),
        "warnings": list(dataset.sheet.warnings(data.classes)),
        "sheet": str(picture),
    }
