"""The command `tunecnn`. A module that is slow to import is imported by the command using it."""

from __future__ import annotations

import errno
import io
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated

import typer

from tunecnn.cli.compare import compare, runs
from tunecnn.cli.confirm import confirm
from tunecnn.cli.data import data_app
from tunecnn.cli.doctor import doctor, notebooks
from tunecnn.cli.models import evaluate, export
from tunecnn.cli.modes import ModalCommand
from tunecnn.cli.output import INTERRUPTED
from tunecnn.cli.plan import plan
from tunecnn.cli.predict import predict
from tunecnn.cli.reproduce import reproduce
from tunecnn.cli.search import search
from tunecnn.cli.spaces import spaces_app
from tunecnn.cli.summarize import repair, summarize
from tunecnn.cli.train import train
from tunecnn.cli.watch import dashboard, watch
from tunecnn.console import as_error, printable
from tunecnn.errors import InputError, TunecnnError
from tunecnn.process import collect_garbage_seldom

app = typer.Typer(
    help="Tune small convolutional networks on a Ray cluster, with a trustworthy summary.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (plan, search, confirm, reproduce, watch, dashboard, summarize, repair, train,
                predict, evaluate, export, runs, compare, doctor, notebooks):  # fmt: skip
    app.command(cls=ModalCommand)(command)
app.add_typer(spaces_app, name="spaces")
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _global(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; valid anywhere.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"tunecnn {installed('tunecnn')}")
        raise typer.Exit


def _print_warning(message: Warning | str, *details: object, **more: object) -> None:
    print(f"warning: {printable(str(message))}", file=sys.stderr)


def _is_nowhere() -> bool:
    """Return whether the current folder has been removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def main() -> None:
    """Run the command line; an error becomes one message and an exit code."""
    collect_garbage_seldom()
    for stream in (sys.stdout, sys.stderr):  # a terminal may not have every character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _print_warning
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = app(words, prog_name="tunecnn", standalone_mode=False)
    except TunecnnError as error:
        if debug:
            traceback.print_exc()
        print(as_error(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if debug:
            traceback.print_exc()
        if error.errno == errno.ENOENT and _is_nowhere():
            error = FileNotFoundError(errno.ENOENT, "it is gone", "the current folder")
        if not isinstance(error, BrokenPipeError):  # whoever read the output has left
            text = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
            print(as_error(text or str(error)), file=sys.stderr)
        is_bad_name = error.errno == errno.ENAMETOOLONG
        sys.exit(InputError.exit_code if is_bad_name else TunecnnError.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except Exception as error:
        # A usage error of the command line; typer does not export the class of these errors.
        if not hasattr(error, "format_message"):
            raise
        text = error.format_message().replace("Value error, ", "").rstrip(".")
        text = text.replace("Input should be", "it must be")  # pydantic's words
        command = getattr(getattr(error, "ctx", None), "command_path", "tunecnn")
        if text:  # none if the help was printed, as for `tunecnn` alone
            print(as_error(f"{text}; see {command} --help"), file=sys.stderr)
        sys.exit(InputError.exit_code)
    sys.exit(code or 0)
