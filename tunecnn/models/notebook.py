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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
            is_there = module is not None and _is_found(value, module)
            attribute = value.__name__ if is_there else value.__qualname__
            imports[f"from {module} import {attribute} as {name}"] = None
            return
        scope = vars(sys.modules[made.__module__])
        _check_bases(value, scope)
        text = _source(value, scope)
        parts[name] = ""  # so that a class that uses itself ends
        for other, is_read in _names(text):
            is_builtin = scope.get(other) is getattr(builtins, other, _NOTHING)
            is_needed = is_read or _literal(scope.get(other)) is not None
            if other in scope and other != name and not is_builtin and is_needed:
                _collect(other, scope[other], made, parts, imports)
        del parts[name]  # a part comes after those that it needs
        parts[name] = text
    elif module == "typing":
        imports["import typing"] = None
        parts[name] = f"{name} = {value!r}"
    elif module and module != made.__module__ and _is_found(value, module):
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


def _check_bases(value: Any, scope: Mapping[str, Any]) -> None:
    """Check that the classes from which a class was made are those of the notebook now.

    Raises:
        InputError: if a cell has made one of them anew.
    """
    for base in value.__bases__ if inspect.isclass(value) else ():
        now = scope.get(base.__name__)
        if base.__module__ == value.__module__ and inspect.isclass(now) and now is not base:
            raise InputError(
                f"{value.__name__} was made from an earlier {base.__name__} than that of the "
                "notebook now; run its cell again"
            )


def _is_found(value: Any, module: str) -> bool:
    """Return whether a callable object is what its module has under its name."""
    name = getattr(value, "__name__", None)
    if not callable(value) or not isinstance(name, str):
        return False
    return getattr(sys.modules.get(module), name, None) is value


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


def _source(value: Any, scope: Mapping[str, Any]) -> str:
    """Return the source of a class or function that a cell defines.

    `inspect.getsource` knows that of a function; before Python 3.13, it does not know that of a
    class, but its methods know their cell. A class without any is looked for in all cells.

    Args:
        value: class or function.
        scope: what the notebook defines, by name.

    Raises:
        InputError: if there is no such source, or the object has been changed since.
    """
    own = (one for _, one in _methods(value)) if inspect.isclass(value) else iter([value])
    method = next((inspect.unwrap(one) for one in own), None)
    if method is None:
        files, first = _cells(), None
    else:
        files, first = [method.__code__.co_filename], method.__code__.co_firstlineno
    sources = [(file, lines) for file in files if (lines := linecache.getlines(file))]
    if method is not None and value.__name__ == "<lambda>":
        raise InputError("a lambda has no name by which a run finds it; write it as def or class")
    if not sources:
        raise InputError(
            f"the source of {value.__name__} is not known; write it into a file: architecture: "
            "nets.py:Name"
        )
    for file, lines in sources:
        for node in _defined(lines, value.__name__):
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            end = node.end_lineno or start
            if first is None or start <= first <= end:
                _check_methods(value, file, start, end)
                _check_values(value, node, scope)
                return textwrap.dedent("".join(lines[start - 1 : end])).strip()
    raise InputError(
        f"the source of {value.__name__} is not in one cell: write it, with all of its methods, "
        "into one"
    )


def _cells() -> list[str]:
    """Return the names of the cells whose source is known, the latest first, or of a script."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    cells = [file for file in reversed(linecache.cache) if not Path(file).is_file()]
    return [*cells, *([script] if script else [])]


def _defined(lines: Sequence[str], name: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Yield what defines a name in the source of a cell."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return  # another language, as in a cell with %%html
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            yield node


def _check_methods(value: Any, file: str, start: int, end: int) -> None:
    """Check that no other cell has given a class one of its methods.

    Raises:
        InputError: if one has.
    """
    for name, found in _methods(value) if inspect.isclass(value) else ():
        code = inspect.unwrap(found).__code__
        is_there = code.co_filename == file and start <= code.co_firstlineno <= end
        if not is_there and linecache.getlines(code.co_filename):
            raise InputError(
                f"{value.__name__}.{name} was set outside of the class; write it into the class"
            )


def _check_values(
    value: Any, node: ast.ClassDef | ast.FunctionDef, scope: Mapping[str, Any]
) -> None:
    """Check that the source, run now, would give a class its values and defaults.

    Only plain values, classes and functions are compared that one plain line gives.

    Raises:
        InputError: if it would not, since a cell has changed them, or a name that they use.
    """
    functions = [(value.__name__, value, node)]
    if isinstance(node, ast.ClassDef):
        scope = {**scope, **vars(value)}
        written, stored, counted = _written(node), _stored(node), _set_by_code(node)
        for name, found in vars(value).items():
            is_literal = _literal(found) is not None
            is_made = inspect.isclass(found) or inspect.isroutine(found)
            if name.startswith("__") or name in counted or not (is_literal or is_made):
                continue
            is_new = (
                is_literal
                and name not in stored
                and not name.startswith("_")
                and not _is_changed(value, node)
            )
            if is_new or (name in written and _differs(written[name], found, scope)):
                raise InputError(
                    f"{value.__name__}.{name} is {found!r}, and its cell would not give it this "
                    "value now; write it into the class, and run the cell again"
                )
        bodies = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        functions = [(f"{value.__name__}.{name}", found, bodies[name])
                     for name, found in _methods(value) if name in bodies]  # fmt: skip
    for name, found, body in functions:
        if not isinstance(body, ast.FunctionDef):
            continue
        made = inspect.unwrap(found)
        pairs = list(zip(body.args.defaults, made.__defaults__ or (), strict=False))
        by_name = made.__kwdefaults__ or {}
        keywords = zip(body.args.kwonlyargs, body.args.kw_defaults, strict=True)
        pairs += [(one, by_name.get(arg.arg)) for arg, one in keywords if one is not None]
        for written_default, default in pairs:
            if not isinstance(written_default, _CHANGING) and _differs(
                written_default, default, scope
            ):
                raise InputError(
                    f"a default of {name} is {default!r}, and its cell would not give it this "
                    "value now; run the cell again"
                )


def _stored(node: ast.ClassDef) -> Counter[str]:
    """Return how often each name is set in the body of a class, and not in its methods."""
    found: Counter[str] = Counter()
    waiting = list[ast.AST](node.body)
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found[one.id] += 1
        if isinstance(one, ast.alias):
            found[(one.asname or one.name).partition(".")[0]] += 1
        if isinstance(one, ast.MatchAs | ast.MatchStar) and one.name:
            found[one.name] += 1
        waiting += ast.iter_child_nodes(one)
    return found


def _written(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return what the body of a class sets in one line that is always run, by name.

    A list that code in the class may fill is not among them.
    """
    found: dict[str, ast.expr] = {}
    for one in node.body:
        targets = one.targets if isinstance(one, ast.Assign) else (
            [one.target] if isinstance(one, ast.AnnAssign) else [])  # fmt: skip
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and one.value is not None:  # type: ignore[attr-defined]
            found[targets[0].id] = one.value  # type: ignore[attr-defined]
    stored, filled = _stored(node), _filled(node)

    def is_certain(name: str, one: ast.expr) -> bool:
        names = [part.id for part in ast.walk(one) if isinstance(part, ast.Name)]
        may_change = isinstance(one, _CHANGING) and name in filled
        return not may_change and all(stored[name] < 2 for name in names)

    return {name: one for name, one in found.items()
            if stored[name] == 1 and is_certain(name, one)}  # fmt: skip


_READING = frozenset({"len", "range", "enumerate", "zip", "sum", "min", "max", "list", "tuple",
                      "sorted", "reversed", "print", "str", "int"})  # fmt: skip


def _filled(node: ast.ClassDef) -> set[str]:
    """Return the names of which code in a class calls a method, sets an item, or that it adds to.

    They may be those of an attribute, as in `self.sizes.append(1)`.
    """
    found: set[str | None] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            found.add(_last_name(one.func.value))
        if isinstance(one, ast.Subscript) and not isinstance(one.ctx, ast.Load):
            found.add(_last_name(one.value))
        if isinstance(one, ast.AugAssign):
            found.add(_last_name(one.target))
        if isinstance(one, ast.Call) and _last_name(one.func) not in _READING:
            found.update(map(_last_name, one.args))  # which it may fill
    return {name for name in found if name is not None}


def _last_name(one: ast.expr) -> str | None:
    if isinstance(one, ast.Attribute):
        return one.attr
    return one.id if isinstance(one, ast.Name) else None


def _set_by_code(node: ast.ClassDef) -> set[str]:
    """Return the attributes that code in a class sets, of an object or of the class itself."""
    return {one.attr for one in ast.walk(node)
            if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)}  # fmt: skip


def _is_changed(value: type, node: ast.ClassDef) -> bool:
    """Return whether a decorator or a base may have set attributes of a class."""
    has_hook = any("__init_subclass__" in vars(base) for base in value.__mro__[1:-1])
    return bool(node.decorator_list) or has_hook or type(value) is not type


_PLAIN = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple,
          ast.List, ast.Set, ast.Dict, ast.Attribute, ast.unaryop, ast.operator)  # fmt: skip


_CHANGING = (ast.List, ast.Set, ast.Dict)  # what may be filled later


def _differs(written: ast.expr, found: Any, scope: Mapping[str, Any]) -> bool:
    """Return whether an expression has another value now than it had, or is another class."""
    if not all(isinstance(one, _PLAIN) for one in ast.walk(written)):
        return False  # a call, say, that may do anything
    try:
        now = eval(compile(ast.Expression(written), "cell", "eval"), dict(scope))  # noqa: S307
    except Exception:
        return False
    if inspect.isclass(now) or inspect.isroutine(now):
        return now is not found and not isinstance(found, staticmethod | classmethod)
    literal = _literal(now)
    return literal is not None and literal != _literal(found)


def _methods(value: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions that a class defines itself, by name; not those made for a dataclass."""
    for name, one in vars(value).items():
        found = getattr(one, "__func__", getattr(one, "fget", one))
        if not isinstance(found, types.FunctionType) or found.__module__ != value.__module__:
            continue
        if inspect.unwrap(found).__code__.co_filename != "<string>":
            yield name, found


def _names(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the global names that a source uses, each once, and whether it reads them.

    Names of its arguments are local. A name that is only declared global may be set, or counted.
    """
    tables, found = [symtable.symtable(text, "notebook", "exec")], dict[str, bool]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            name = symbol.get_name()
            is_global = symbol.is_global() or table.get_type() == "module"
            if is_global and (symbol.is_referenced() or symbol.is_declared_global()):
                found[name] = found.get(name, False) or symbol.is_referenced()
    yield from found.items()


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
