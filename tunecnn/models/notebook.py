"""The source of a network that is defined in a notebook, as a file of its own.

A run keeps the code of its networks as files. A class of a notebook has none, but its cells have a
source: the class, and whatever else of the notebook it uses, are written into one file.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import math
import symtable
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.errors import InputError

_NOTHING = object()


def notebook_source(made: Any) -> str:
    """Return the text of a Python file that defines a class or function, and all that it needs.

    Args:
        made: class or function whose module is the notebook itself.

    Raises:
        InputError: if the source of something that it uses is not known, such as of an object that
            a cell has made.
    """
    parts: dict[str, str] = {}
    imports: dict[str, None] = {"from __future__ import annotations": None}
    _collect(made.__name__, made, made, parts, imports)
    return "\n".join(imports) + "\n\n\n" + "\n\n\n".join(parts.values()) + "\n"


def _collect(
    name: str, value: Any, made: Any, parts: dict[str, str], imports: dict[str, None]
) -> None:
    """Add what defines a name, after what that needs."""
    if name in parts:
        return
    if isinstance(value, types.ModuleType):
        _check_travels(value.__name__, made)
        whole = value.__name__
        imports[f"import {whole}" if whole == name else f"import {whole} as {name}"] = None
        return
    module = getattr(value, "__module__", None)
    if inspect.isclass(value) or inspect.isfunction(value):
        if module != made.__module__:
            _check_travels(module, made)
            imports[f"from {module} import {value.__qualname__} as {name}"] = None
            return
        text = _source(value)
        parts[name] = ""  # so that a class that uses itself ends
        scope = vars(sys.modules[made.__module__])
        for other in _names(text):
            is_builtin = scope.get(other) is getattr(builtins, other, _NOTHING)
            if other in scope and other != name and not is_builtin:
                _collect(other, scope[other], made, parts, imports)
        del parts[name]  # a part comes after those that it needs
        parts[name] = text
    elif module == "typing":
        imports["import typing"] = None
        parts[name] = f"{name} = {value!r}"
    elif callable(value) and module and module != made.__module__ and hasattr(value, "__name__"):
        _check_travels(module, made)
        imports[f"from {module} import {value.__name__} as {name}"] = None
    elif (literal := _literal(value)) is not None:
        parts[name] = f"{name} = {literal}"
    else:
        raise InputError(
            f"{made.__name__} uses {name}, a {type(value).__name__} that a cell has made; "
            "its source is not known, so the run could not be resumed. Make it inside the class, "
            "or write the network into a file: architecture: nets.py:Name"
        )


def _check_travels(module: str | None, made: Any) -> None:
    """Check that a module is installed, and no file beside the notebook, which may change.

    Raises:
        InputError: if it is such a file.
    """
    file = getattr(sys.modules.get((module or "").partition(".")[0]), "__file__", None)
    if not file:
        return
    path, here = Path(file).resolve(), Path.cwd().resolve()
    if here in path.parents and not {"site-packages", "dist-packages"} & set(path.parts):
        name = path.relative_to(here)
        top = name.parent if name.name == "__init__.py" else name
        raise InputError(
            f"{made.__name__} uses {module}, which is beside the notebook and would not travel: "
            f"write the network into a file as well, with architecture: nets.py:{made.__name__} "
            f"and code: [{top}]"
        )


def _source(value: Any) -> str:
    """Return the source of a class or function that a cell defines.

    `inspect.getsource` knows that of a function; before Python 3.13, it does not know that of a
    class, but its methods know their cell.
    """
    own = (one for _, one in _methods(value)) if inspect.isclass(value) else iter([value])
    method = next(own, None)
    lines = linecache.getlines(method.__code__.co_filename) if method is not None else []
    if not lines or method is None:
        raise InputError(
            f"the source of {value.__name__} is not known; write it into a file: architecture: "
            "nets.py:Name"
        )
    first = method.__code__.co_firstlineno
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__:
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if start <= first <= (node.end_lineno or start):
                _check_methods(value, method.__code__.co_filename, start, node.end_lineno or start)
                return textwrap.dedent("".join(lines[start - 1 : node.end_lineno])).strip()
    raise InputError(
        f"the source of {value.__name__} is not in one cell: write it, with all of its methods, "
        "into one"
    )


def _check_methods(value: Any, file: str, start: int, end: int) -> None:
    """Check that no other cell has given a class one of its methods.

    Raises:
        InputError: if one has.
    """
    for name, found in _methods(value) if inspect.isclass(value) else ():
        code = found.__code__
        is_there = code.co_filename == file and start <= code.co_firstlineno <= end
        if not is_there and linecache.getlines(code.co_filename):
            raise InputError(
                f"{value.__name__}.{name} was set outside of the class; write it into the class"
            )


def _methods(value: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions that a class defines itself, by name."""
    for name, one in vars(value).items():
        found = getattr(one, "__func__", getattr(one, "fget", one))
        if isinstance(found, types.FunctionType) and found.__module__ == value.__module__:
            yield name, found


def _names(text: str) -> Iterator[str]:
    """Yield the global names that a source uses, each once; those of its arguments are local."""
    tables, seen = [symtable.symtable(text, "notebook", "exec")], set[str]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            name = symbol.get_name()
            is_global = symbol.is_global() or table.get_type() == "module"
            if is_global and symbol.is_referenced() and name not in seen:
                seen.add(name)
                yield name


def _literal(value: Any) -> str | None:
    """Return the source of a plain value; None if it has none, as that of a subclass."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is float and not math.isfinite(value):
        return f"float('{value}')"
    if type(value) in (type(None), bool, int, float, complex, str, bytes):
        return repr(value)
    if type(value) is dict:
        pairs = [(_literal(key), _literal(one)) for key, one in value.items()]
        if any(text is None for pair in pairs for text in pair):
            return None
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    if type(value) in (tuple, list, set, frozenset):
        items = [_literal(one) for one in value]
        inside = ", ".join(text for text in items if text is not None)
        return None if None in items else f"{type(value).__name__}([{inside}])"
    return None
