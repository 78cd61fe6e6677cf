"""The space and the network that Python code gives to a search."""

from __future__ import annotations

import contextlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunecnn.documents import parse_document, read_document, read_text, to_yaml
from tunecnn.errors import InputError
from tunecnn.files import is_installed
from tunecnn.models.notebook import NOTEBOOK_FILE, notebook_source
from tunecnn.models.unchanged import check_module
from tunecnn.space.library import find_space
from tunecnn.space.parameters import plain
from tunecnn.space.space import SearchSpace

if TYPE_CHECKING:
    from torch import nn

Network = Callable[..., "nn.Module"]
"""A class or function that returns a network, as in `docs/own-network.md`."""


def space_given(
    space: str | Path | Mapping[str, Any], architecture: str | None, folder: Path | None
) -> Callable[[Mapping[str, Any]], tuple[SearchSpace, str]]:
    """Return what checks a space with changes, and gives its text without them.

    The text is that of its file, unless it gets another network.

    Args:
        space: file, name or keys of the space.
        architecture: name of the network in the place of the space's; None for that one.
        folder: folder of the network's file; None for that of the space.
    """
    if isinstance(space, SearchSpace):
        raise InputError("space is a SearchSpace; give the file that it is from, or a mapping")
    if isinstance(space, Mapping):
        values, beside = {key: plain(value) for key, value in space.items()}, Path.cwd()
        if "start" in values:
            values["start"] = _without_missing(values["start"], values.get("parameters"))
    else:
        path = find_space(str(space))
        text, beside = read_text(path), path.parent
        if architecture is None:
            return lambda changes: (SearchSpace.from_text(text, str(path), beside, changes), text)
        document = read_document(path)
        if document.mistakes or not isinstance(document.value, dict):
            SearchSpace.from_yaml(path)  # which tells what is wrong
        values = dict(document.value)
    if architecture is not None:
        values["architecture"] = architecture

    def check(changes: Mapping[str, Any]) -> tuple[SearchSpace, str]:
        checked = SearchSpace.from_values({**values, **changes}, folder or beside)
        written = to_yaml(values)
        parse_document(written, "space")  # as the run has to be read again
        return checked, written

    return check


def _without_missing(start: Any, parameters: Any) -> Any:
    """Return start points without NaN or None for parameters with a condition.

    A row of a data frame has it where its trial does not have the parameter.
    """
    if not isinstance(start, list) or not isinstance(parameters, Mapping):
        return start
    conditional = {
        name for name, one in parameters.items() if isinstance(one, Mapping) and one.get("when")
    }
    return [
        {
            name: value
            for name, value in point.items()
            if name not in conditional or (value is not None and value == value)
        }
        if isinstance(point, Mapping)
        else point
        for point in start
    ]


@contextlib.contextmanager
def network_given(network: Network | str | None) -> Iterator[tuple[str | None, Path | None]]:
    """Yield the name of a network as in a space, and the folder of its file."""
    if network is None or isinstance(network, str):
        yield network, None
        return
    if not (inspect.isclass(network) or inspect.isfunction(network)):
        raise InputError(
            f"network is a class or a function, not {type(network).__name__}: each trial builds "
            "a network of its own"
        )
    if "<locals>" in network.__qualname__:
        raise InputError(
            f"{network.__qualname__} is defined inside a function; define it in the notebook "
            "itself, or in a file"
        )
    module = sys.modules.get(network.__module__)
    file = getattr(module, "__file__", None)
    if module is not None and file and network.__module__ != "__main__":
        if is_installed(file):
            name = network.__name__
            if getattr(module, name, None) is not network:
                raise InputError(
                    f"{name} has the name of another one in {module.__name__}, as "
                    "functools.wraps gives it: a run would train that; write a function of your "
                    "own, without wraps"
                )
            yield f"{module.__name__}:{name}", None
            return
        depth = network.__module__.count(".") + (Path(file).name == "__init__.py")
        folder = Path(file).absolute().parents[depth]
        if getattr(module, network.__name__, network) is not network:
            raise InputError(
                f"{network.__name__} is an earlier one than that of {network.__module__} now; "
                "take it from there again"
            )
        check_module(module, folder)
        yield f"{Path(file).absolute().relative_to(folder)}:{network.__name__}", folder
        return
    with tempfile.TemporaryDirectory(prefix="tunecnn-notebook-") as place:
        Path(place, NOTEBOOK_FILE).write_text(notebook_source(network), encoding="utf-8")
        yield f"{NOTEBOOK_FILE}:{network.__name__}", Path(place)
