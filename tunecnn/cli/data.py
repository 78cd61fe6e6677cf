"""`tunecnn data`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tunecnn.cli.options import DataDir

data_app = typer.Typer(
    help="List data sets, and download them before a search.", no_args_is_help=True
)


@data_app.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """List the data sets, and whether their files are on this machine."""
    from tunecnn.data.loading import default_data_dir, is_here
    from tunecnn.data.registry import DATASETS, IMAGEFOLDER

    folder = data_dir or default_data_dir()
    table = Table("data set", "here", "description", box=None)
    for name, info in DATASETS.items():
        here = "" if name == IMAGEFOLDER else "yes" if is_here(name, folder) else "no"
        table.add_row(name, here, info.about)
    console = Console()
    console.print(table)
    console.print(f"data folder: {folder}", highlight=False, soft_wrap=True)


@data_app.command("prepare")
def data_prepare(
    dataset: Annotated[str, typer.Argument(help="Data set; see `tunecnn data list`.")],
    data_dir: DataDir = None,
) -> None:
    """Download a data set (or decode an image folder), check it, and print its contents."""
    from tunecnn.data.loading import read_arrays

    arrays = read_arrays(dataset, data_dir)
    height, width, channels = arrays.train_pixels.shape[1:]
    print(
        f"{dataset}: {len(arrays.train_labels):,} training and {len(arrays.test_labels):,} test "
        f"images of {height}x{width}x{channels}, {len(arrays.classes)} classes, fingerprint "
        f"{arrays.fingerprint()}"
    )
