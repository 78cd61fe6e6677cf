"""`Architecture`: a network by its name in a space; one door for all networks.

A name without a colon is a published network. `nets.py:Net` is a class or function of a file, and
`package.module:Net` one of an installed package. Nothing here imports the network.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from tunecnn.errors import InputError
from tunecnn.models.designs import DESIGNS, unknown_architecture
from tunecnn.models.signature import Signature, read_signature

PUBLISHED: Mapping[str, str] = {"model1": "Model1", "model2": "Model2", "proposed": "Proposed"}
"""Class of each published network in `tunecnn.models.published`."""
assert PUBLISHED.keys() == DESIGNS.keys()

_REFERENCE = re.compile(r"(?P<module>[^:]+):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Architecture:
    """A network by its name, and the folder of its file.

    Attributes:
        name: `proposed`, `nets.py:Net` or `package.module:Net`.
        folder: folder that the file's path is relative to.
    """

    name: str
    folder: Path

    @property
    def is_published(self) -> bool:
        """Whether its name has the form of a published network's; see `check_name`."""
        return is_published(self.name)

    @property
    def is_own_file(self) -> bool:
        """Whether it is in a file of the user, not in an installed package."""
        return self.module.endswith(".py")

    @property
    def module(self) -> str:
        """The part before the colon: a file or a module."""
        return "tunecnn.models.published" if self.is_published else self.name.partition(":")[0]

    @property
    def attribute(self) -> str:
        """The name of the class or function in its module."""
        return PUBLISHED[self.name] if self.is_published else self.name.partition(":")[2]

    @cached_property
    def signature(self) -> Signature:
        """The arguments of the network, read without running its code.

        Raises:
            InputError: if the name is wrong, or the network cannot be used.
        """
        if self.is_published:
            return _published_signature(self.name)
        check_name(self.name)
        if self.is_own_file:
            path = self.folder / self.module
            if not path.is_file():
                raise InputError(f"there is no file {self.module} in {self.folder}")
            return read_signature(path, self.attribute, self.module)
        path = self._installed_file()
        return read_signature(path, self.attribute, self.module, must_exist=False)

    def _installed_file(self) -> Path:
        """Find the file of an installed module without importing its package."""
        parts = self.module.split(".")
        search: list[str] | None = None
        for number, part in enumerate(parts):
            if search is None:  # by any finder, such as those of editable installs
                spec = importlib.util.find_spec(part)
            else:
                spec = importlib.machinery.PathFinder.find_spec(part, search)
            if spec is None:
                beside = self.folder / f"{self.module.replace('.', '/')}.py"
                hint = ""
                if beside.is_file():
                    hint = f"; did you mean {beside.relative_to(self.folder)}:{self.attribute}?"
                raise InputError(f"no package {'.'.join(parts[: number + 1])} is installed{hint}")
            search = list(spec.submodule_search_locations or ())
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            raise InputError(f"{self.module} is not a module of Python code")
        return Path(spec.origin)

    def problems(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the arguments whose values the network cannot get, each with the reason."""
        for name, value in given.items():
            if problem := self.signature.problem(name, value):
                yield name, problem

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments: those that are given, else the network's own defaults."""
        return {**self.signature.defaults, **given}


def is_published(name: str) -> bool:
    """Return whether a network's name has no colon, as that of any but a published one has."""
    return ":" not in name


def check_name(name: str) -> None:
    """Check the form of a network's name, without looking for its file.

    Raises:
        InputError: if it is neither a published network nor file.py:Name or package.module:Name.
    """
    if is_published(name) and name not in PUBLISHED:
        raise InputError(_unknown(name))
    if not is_published(name) and not _REFERENCE.fullmatch(name):
        raise InputError(f"{name!r} is not a network; write file.py:Name or package.module:Name")
    module = PurePosixPath(name.partition(":")[0])
    parts = [part for part in module.with_suffix("").parts if part != ".."]
    if module.suffix == ".py" and not module.is_absolute() and any("." in one for one in parts):
        raise InputError(
            f"{module} has a dot in its name or in that of its folder, so Python cannot import "
            f"it: rename it, such as {'/'.join(parts).replace('.', '_')}.py"
        )


@cache
def _published_signature(name: str) -> Signature:
    check_name(name)
    path = Path(__file__).with_name("published.py")
    return read_signature(path, PUBLISHED[name], "tunecnn/models/published.py")


def _unknown(name: str) -> str:
    if name.endswith(".py"):
        return f"{name!r} lacks the name of the network: write {name}:Name"
    return f"{unknown_architecture(name)}, or a network of your own as file.py:Name"
