"""The packages that networks use: their versions, on which results depend as on torch's."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tunecnn.files import is_installed, sha256
from tunecnn.models.architecture import Architecture
from tunecnn.models.code import NetworkCode
from tunecnn.models.code_files import imported

_OF_ALL = frozenset({"numpy", "sklearn", "torch", "torchvision", "tunecnn"})
"""Packages that all trials use."""


def packages_of(networks: Iterable[Architecture], code: NetworkCode | None) -> tuple[str, ...]:
    """Return the packages that networks use, apart from those that all trials do.

    They are those of installed networks, and what the code of others imports anywhere.

    Args:
        networks: the networks.
        code: code of those that are in files of the user; None if there is none.
    """
    found = {
        one.module.partition(".")[0]
        for one in networks
        if not (one.is_published or one.is_own_file)
    }
    files = code.files if code is not None else {}
    for name, content in files.items():
        if name.endswith(".py"):
            found.update(*map(imported, ast.walk(ast.parse(content))))
    own = {name.partition("/")[0].removesuffix(".py") for name in files}
    return tuple(sorted(found - own - _OF_ALL - sys.stdlib_module_names))


@cache
def package_version(name: str) -> str:
    """Return the version of a package, or `none`; nothing of it is imported.

    Of one that is not installed as such, but found where its source is written, as after `pip
    install -e`, a hash of that source is part of it.

    Args:
        name: name by which it is imported.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # of a module without a spec, say
        spec = None
    if spec is None:
        return "none"
    names = importlib.metadata.packages_distributions().get(name, ())
    version = importlib.metadata.version(names[0]) if names else ""
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    if not places or is_installed(places[0]):
        return version or "unknown"
    return f"{version} (source {_source_hash(Path(places[0]))})".strip()


def _source_hash(place: Path) -> str:
    """Return a hash of a module's file, or of all those of a package."""
    folder = place.parent if place.name == "__init__.py" else place
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    try:
        return sha256("".join(sha256(file.read_bytes()) for file in files))[:12]
    except OSError:  # one may be gone, or not for everybody
        return "unreadable"
