"""The files that have to travel with a network: its own, and what they import beside them."""

from __future__ import annotations

import ast
import importlib.machinery
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.models.signature import parse_module

_FILE_NAME = re.compile(r"[\w./ -]+\.\w{1,12}")


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
    modules = [
        one.module for name in architectures if (one := Architecture(name, folder)).is_own_file
    ]
    if not modules:
        if code:
            raise InputError(
                "no network of the space is in a file of its own, so there is no code"
            )
        return []
    roots = list(code) or [package_or_file(folder, module) for module in modules]
    files: dict[Path, None] = {}
    for root in roots:
        files |= dict.fromkeys(_files_below(folder, root))
    for module in dict.fromkeys(modules):
        if Path(module) not in files:
            raise InputError(f"{module} is not in code: {', '.join(roots)}; add it")
    _check_imports(folder, list(files), modules)
    return sorted(files)


def files_left_behind(folder: Path, files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files beside code that it names in a string, and that are not among its files.

    Args:
        folder: folder of the code.
        files: names of its files, below the folder.
    """
    among = set(files)
    for file in sorted(name for name in among if name.endswith(".py")):
        beside = Path(file).parent
        tree = parse_module(folder / file, file)
        texts = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for text in sorted(texts):
            name = str(beside / text)
            if _FILE_NAME.fullmatch(text) and name not in among and (folder / name).is_file():
                yield file, name


def package_or_file(folder: Path, module: str) -> str:
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
        if one.is_file()
        and "__pycache__" not in one.parts
        and not any(part.startswith(".") for part in one.relative_to(folder).parts)
    ]
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
            for name in imported(node):
                if name not in travelling and _beside(folder, name):
                    raise InputError(
                        f"{file}:{getattr(node, 'lineno', 1)} imports {name}, which is beside it "
                        f"but would not travel; write code: [{', '.join(map(str, files))}, "
                        f"{_beside(folder, name)}] (tunecnn train: --code {_beside(folder, name)})"
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


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules that a node of a syntax tree imports, without those below them."""
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
