"""`Architecture`: a network by its name in a space; one door for all networks.

A name without a colon is a published network. `nets.py:Net` is a class or function of a file, and
`package.module:Net` one of an installed package. Nothing here imports the network.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tunecnn.errors import InputError, nearest
from tunecnn.models.designs import DESIGNS
from tunecnn.models.signature import Signature, parse_module, read_signature

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
        """Whether it is one of the published networks."""
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
    """Return whether a network's name is that of a published one: a word, and no reference."""
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


@cache
def _published_signature(name: str) -> Signature:
    check_name(name)
    path = Path(__file__).with_name("published.py")
    return read_signature(path, PUBLISHED[name], "tunecnn/models/published.py")


def _unknown(name: str) -> str:
    if name.endswith(".py"):
        return f"{name!r} lacks the name of the network: write {name}:Name"
    return (
        f"unknown architecture {name!r}; {nearest(name, PUBLISHED)}, or a network of your own as "
        "file.py:Name"
    )


def code_files(architectures: Sequence[str], code: Sequence[str], folder: Path) -> list[Path]:
    """Return the files that have to travel with the networks of a space, relative to its folder.

    Args:
        architectures: names of the networks.
        code: files and folders that the space names; empty for the module of each network, or the
            whole package if the module is part of one.
        folder: folder of the space.

    Raises:
        InputError: if a file is missing or outside the folder, or a network's file is not among
            them, or it imports a file that is not.
    """
    modules = [one.module for name in architectures
               if (one := Architecture(name, folder)).is_own_file]  # fmt: skip
    if not modules:
        if code:
            raise InputError(
                "no network of the space is in a file of its own, so there is no code"
            )
        return []
    roots = list(code) or [_package_or_file(folder, module) for module in modules]
    files: dict[Path, None] = {}
    for root in roots:
        files |= dict.fromkeys(_files_below(folder, root))
    for module in dict.fromkeys(modules):
        if Path(module) not in files:
            raise InputError(f"{module} is not in code: {', '.join(roots)}; add it")
    _check_imports(folder, list(files), modules)
    return sorted(files)


def _package_or_file(folder: Path, module: str) -> str:
    """Return the outermost package of a file, or the file itself."""
    root = Path(module)
    outer = root
    while outer.parent != Path() and (folder / outer.parent / "__init__.py").is_file():
        outer = outer.parent
    return str(outer)


def _files_below(folder: Path, name: str) -> list[Path]:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{name} is outside the folder of the space; put the code beside it")
    found = folder / path
    if found.is_file():
        return [path]
    if not found.is_dir():
        raise InputError(f"there is no file or folder {name} in {folder}")
    inside = [
        one.relative_to(folder)
        for one in sorted(found.rglob("*"))
        if one.is_file() and "__pycache__" not in one.parts
        and not any(part.startswith(".") for part in one.relative_to(folder).parts)
    ]  # fmt: skip
    if not any(one.suffix == ".py" for one in inside):
        raise InputError(f"{name} contains no Python file")
    return inside


def _check_imports(folder: Path, files: Sequence[Path], modules: Collection[str]) -> None:
    """Refuse files that import something beside them that does not travel, or hide a package."""
    travelling = {file.parts[0].removesuffix(".py") for file in files}
    for top in sorted(travelling):
        if _is_installed(top):
            raise InputError(f"{top} is also the name of an installed module; rename the file")
    for file in files:
        if file.suffix != ".py":
            continue
        tree = parse_module(folder / file, str(file))
        optional = _optional(tree)
        for node in ast.walk(tree):
            for name in _imported(node):
                if name not in travelling and _beside(folder, name):
                    raise InputError(
                        f"{file}:{getattr(node, 'lineno', 1)} imports {name}, which is beside it "
                        f"but would not travel; write code: [{', '.join(map(str, files))}, "
                        f"{_beside(folder, name)}]"
                    )
                if name not in travelling and _beside((folder / file).parent, name):
                    raise InputError(
                        f"{file}:{getattr(node, 'lineno', 1)} imports {name}, which is beside it "
                        f"and not beside the space: write from .{name} import ... there, and "
                        f"code: [{file.parts[0]}/]"
                    )
            is_outside = isinstance(node, ast.ImportFrom) and node.level > len(file.parts) - 1
            if is_outside and str(file) in modules and node not in optional:
                assert isinstance(node, ast.ImportFrom)
                above = folder.resolve().parts[len(file.parts) - 1 - node.level :]
                raise InputError(
                    f"{file}:{node.lineno} imports {'.' * node.level}{node.module or ''}, so it "
                    "is part of a package: put the space beside that, and write architecture: "
                    f"{'/'.join([*above, str(file)])}:NAME"
                )
            is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
            for path in _imported_beside(node, file):
                if not is_relative and node in optional:
                    continue
                if _beside(folder / path.parent, path.name) and not any(
                    one == path.with_suffix(".py") or path in one.parents for one in files
                ):
                    name = ".".join(path.parts if path.parent != file.parent else path.parts[-1:])
                    raise InputError(
                        f"{file}:{getattr(node, 'lineno', 1)} imports {name}, which is "
                        f"beside it but would not travel; write code: [{path.parts[0]}/]"
                    )


def _imported_beside(node: ast.AST, file: Path) -> Iterator[Path]:
    """Yield what an import of a module in a package means, as paths below the space's folder.

    The paths have no suffix. `from package import name` may mean a module or what the package
    itself defines.
    """
    if isinstance(node, ast.ImportFrom) and 0 < node.level <= len(file.parts) - 1:
        base = file.parents[node.level - 1]
        names = [node.module] if node.module else [alias.name for alias in node.names]
        yield from (base / name.split(".")[0] for name in names)
    else:
        names = []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        dotted = (name.split(".") for name in names if "." in name)
        yield from (Path(*parts) for parts in dotted if not _is_installed(parts[0]))


def _optional(tree: ast.Module) -> set[ast.AST]:
    """Return what may fail or is never run: below `try`, `suppress`, and some conditions."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        is_never = "TYPE_CHECKING" in test or "__main__" in test
        may_fail = (isinstance(node, ast.Try) and node.handlers) or (
            isinstance(node, ast.With) and "suppress(" in ast.unparse(node.items[0])
        )
        if is_never or may_fail:
            found |= set(ast.walk(node))
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module.split(".")[0]


def _beside(folder: Path, name: str) -> str:
    if (folder / f"{name}.py").is_file():
        return f"{name}.py"
    inside = folder / name
    if (inside / "__init__.py").is_file():
        return f"{name}/"
    # Python takes a folder without it only if nothing is installed by its name.
    is_package = any(inside.glob("*.py")) or any(inside.glob("*/*.py"))
    return f"{name}/" if is_package and not _is_installed(name) else ""


def _is_installed(name: str) -> bool:
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return name in sys.stdlib_module_names or bool(
        importlib.machinery.PathFinder.find_spec(name, installed)
    )
