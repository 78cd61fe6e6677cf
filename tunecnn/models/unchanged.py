"""Whether a class or function is still what its source says.

A run keeps source code. A notebook may have changed what it defined, or a file may have been
edited after it was imported: then the source would be another network.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import math
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import numpy as np

from tunecnn.errors import InputError, reason
from tunecnn.files import is_installed
from tunecnn.models.signature import assignments

_Definition = ast.ClassDef | ast.FunctionDef


def check_definition(
    value: Any, node: _Definition, file: str, lines: range, scope: Mapping[str, Any]
) -> None:
    """Check that a definition in a cell, run now, would make this class or function.

    Args:
        value: class or function.
        node: its definition.
        file: name of its cell.
        lines: lines of the definition.
        scope: what the notebook defines, by name.

    Raises:
        InputError: if it would not.
    """
    _check_wrapped(value, node)
    _check_methods(value, file, lines)
    _check_values(value, node, scope)


def check_module(module: types.ModuleType, folder: Path) -> None:
    """Check that a module, and what it uses of its folder, is what its files say now.

    Functions, methods, and values that one plain line gives are compared. What a module may have
    made in another way is not known, and passes.

    Raises:
        InputError: if one of them is another one.
    """
    waiting, seen = [module], set[str]()
    while waiting:
        one = waiting.pop()
        if one.__name__ in seen:
            continue
        seen.add(one.__name__)
        if type(one.__loader__) is SourceFileLoader:  # others may change the code
            _check_file(one, Path(str(one.__file__)))
        for value in list(vars(one).values()):
            name = getattr(value, "__module__", None)
            other = value if isinstance(value, types.ModuleType) else sys.modules.get(str(name))
            file = Path(getattr(other, "__file__", None) or "/").absolute()
            if other is not None and folder in file.parents and not is_installed(file):
                waiting.append(other)


def _check_file(module: types.ModuleType, path: Path) -> None:
    try:
        text = path.read_bytes()
        tree, code = ast.parse(text), compile(text, str(path), "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    problem = (
        f"is not what {path.name} says now: it was changed, or the file was, after its import; "
        "change the file, and import it anew (importlib.reload, or a new session)"
    )
    codes = defaultdict[str, list[types.CodeType]](list)
    for one in _all_codes(code):
        codes[one.co_qualname].append(one)
    scope = vars(module)
    functions = [
        (shown, function)
        for value in list(scope.values())
        if getattr(value, "__module__", None) == module.__name__
        and (inspect.isclass(value) or inspect.isfunction(value))
        for shown, function in _functions_of(value)
    ]
    for shown, function in functions:
        made = inspect.unwrap(function).__code__
        known = codes[made.co_qualname]  # a name that the file has no more may be an old one
        if known and not any(_is_same_code(made, one) for one in known):
            raise InputError(f"{shown} {problem}")
    nodes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    changed = _changed_in(tree)
    for name, value in _plain_lines(tree, changed):
        if name in scope and literal(scope[name]) not in (None, value):
            raise InputError(f"{name} {problem}")
    for line in tree.body:
        if isinstance(line, ast.FunctionDef | ast.ClassDef) and not line.decorator_list:
            found = scope.get(line.name)
            is_its_own = (
                getattr(found, "__module__", None) == module.__name__
                and getattr(found, "__qualname__", None) == line.name
            )
            if line.name in scope and changed[line.name] == 1 and not is_its_own:
                raise InputError(f"{line.name} {problem}")  # another one is in its place
    for name, node in nodes.items():
        found = scope.get(name)
        if not inspect.isclass(found) or found.__module__ != module.__name__:
            continue
        for own, value in _plain_lines(node, changed):
            if own in vars(found) and literal(vars(found)[own]) not in (None, value):
                raise InputError(f"{name}.{own} {problem}")
        for own in _methods_in(node):
            method = vars(found).get(own)
            file = getattr(getattr(method, "__code__", None), "co_filename", None)
            if file is not None and file != str(path):
                raise InputError(f"{name}.{own} {problem}")


def _changed_in(tree: ast.AST) -> Counter[str]:
    """Return how often a module sets each name, whatever it is a name of, or may fill it."""
    found: Counter[str] = Counter()
    for one in ast.walk(tree):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            found[one.id] += 1
        elif isinstance(one, ast.Attribute) and not isinstance(one.ctx, ast.Load):
            found[one.attr] += 2  # of a class, say
        elif isinstance(one, ast.FunctionDef | ast.ClassDef):
            found[one.name] += 1
        elif isinstance(one, ast.alias):
            found[(one.asname or one.name).partition(".")[0]] += 1
        elif isinstance(one, ast.MatchAs | ast.MatchStar) and one.name:
            found[one.name] += 1
    found.update(dict.fromkeys(_filled(tree), 2))
    return found


def _plain_lines(
    node: ast.Module | ast.ClassDef, changed: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Yield the names that a body sets to a plain value once, with the source of the value."""
    for name, expression in _alone(node.body):
        if changed[name] != 1:
            continue
        try:
            value = literal(ast.literal_eval(expression))
        except ValueError:  # no plain one
            continue
        if value is not None:
            yield name, value


def _methods_in(node: ast.ClassDef) -> Iterator[str]:
    """Yield the names of functions that a class defines plainly, as the class has them."""
    stored = _stored(node)
    defined = Counter(one.name for one in node.body if isinstance(one, ast.FunctionDef))
    for one in node.body:
        if not isinstance(one, ast.FunctionDef) or one.decorator_list:
            continue
        if defined[one.name] == 1 and not stored[one.name] and one.name != "__new__":
            is_private = one.name.startswith("__") and not one.name.endswith("__")
            yield f"_{node.name.lstrip('_')}{one.name}" if is_private else one.name


def _all_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _all_codes(one)


def _is_same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Return whether two code objects do the same, wherever in a file they are."""
    names = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars")
    if any(getattr(one, name) != getattr(other, name) for name in names):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    for mine, its in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(mine, types.CodeType) and isinstance(its, types.CodeType):
            if not _is_same_code(mine, its):
                return False
        elif type(mine) is not type(its) or (mine != its and repr(mine) != repr(its)):
            return False
    return True


def check_free(value: Any) -> None:
    """Check that a class or function does not use the variables of a function around it.

    Raises:
        InputError: if it does.
    """
    for shown, function in _functions_of(value):
        made = inspect.unwrap(function)
        if "<locals>" in value.__qualname__ or set(made.__code__.co_freevars) - {"__class__"}:
            raise InputError(
                f"{shown} is made by a function ({made.__qualname__.partition('.')[0]}), with "
                "values that its source does not have; define it in the notebook itself, or write "
                "the network into a file: architecture: nets.py:Name"
            )


def _check_wrapped(value: Any, node: _Definition) -> None:
    """Check that what wraps a function is a decorator in its source.

    Raises:
        InputError: if it is not.
    """
    decorators = {
        one.name: one.decorator_list
        for one in (node, *node.body)
        if isinstance(one, ast.FunctionDef)
    }
    for shown, function in _functions_of(value):
        is_wrapped = function is not inspect.unwrap(function)
        if is_wrapped and not decorators.get(shown.rpartition(".")[2], [function]):
            raise InputError(
                f"{shown} was wrapped after its definition; write the wrapper as a decorator"
            )


def _functions_of(value: Any) -> list[tuple[str, Any]]:
    """Return a function, or the methods of a class, with the names for messages."""
    if not inspect.isclass(value):
        return [(value.__name__, value)]
    return [(f"{value.__name__}.{name}", found) for name, found in methods_of(value)]


def check_bases(value: Any, scope: Mapping[str, Any]) -> None:
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


def _check_methods(value: Any, file: str, lines: range) -> None:
    """Check that no other cell has given a class one of its methods.

    Raises:
        InputError: if one has.
    """
    for name, found in methods_of(value) if inspect.isclass(value) else ():
        code = inspect.unwrap(found).__code__
        is_there = code.co_filename == file and code.co_firstlineno in lines
        if not is_there and linecache.getlines(code.co_filename):
            raise InputError(
                f"{value.__name__}.{name} was set outside of the class; write it into the class"
            )


def _check_values(value: Any, node: _Definition, scope: Mapping[str, Any]) -> None:
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
            is_literal = literal(found) is not None
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
                    f"{value.__name__}.{name} is {found!r}, and its source would not give it this "
                    "value now; write it into the class, and define it anew"
                )
        bodies = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        functions = [
            (f"{value.__name__}.{name}", found, bodies[name])
            for name, found in methods_of(value)
            if name in bodies
        ]
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
                    f"a default of {name} is {default!r}, and its source would not give it this "
                    "value now; define it anew"
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


def _alone(body: Sequence[ast.stmt]) -> list[tuple[str, ast.expr]]:
    """Return the assignments of a body to one name: of several, code may fill one by another."""
    found = list(assignments(body))
    shared = Counter(id(value) for _, value in found)
    return [(name, value) for name, value in found if shared[id(value)] == 1]


def _written(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return what the body of a class sets in one line that is always run, by name.

    A list that code in the class may fill is not among them.
    """
    found = dict(_alone(node.body))
    stored, filled = _stored(node), _filled(node)

    def is_certain(name: str, one: ast.expr) -> bool:
        names = [part.id for part in ast.walk(one) if isinstance(part, ast.Name)]
        may_change = isinstance(one, _CHANGING) and name in filled
        return not may_change and all(stored[name] < 2 for name in names)

    return {
        name: one for name, one in found.items() if stored[name] == 1 and is_certain(name, one)
    }


_READING = frozenset({"len", "range", "enumerate", "zip", "sum", "min", "max", "list", "tuple",
                      "sorted", "reversed", "print", "str", "int"})  # fmt: skip


def _filled(node: ast.AST) -> set[str]:
    """Return the names on which code calls a method, sets an item, or uses `+=`.

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
    return {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
    }


def _is_changed(value: type, node: ast.ClassDef) -> bool:
    """Return whether a decorator or a base may have set attributes of a class."""
    has_hook = any("__init_subclass__" in vars(base) for base in value.__mro__[1:-1])
    return bool(node.decorator_list) or has_hook or type(value) is not type


_PLAIN = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple,
          ast.List, ast.Set, ast.Dict, ast.Attribute, ast.unaryop, ast.operator)  # fmt: skip


_CHANGING = (ast.List, ast.Set, ast.Dict)  # what may be filled later
_COMPUTING = (int, float, bool, str, abs, round, min, max, sum, len, pow, divmod, tuple, sorted)
"""Functions that give the same for the same, and change nothing."""


def _differs(written: ast.expr, found: Any, scope: Mapping[str, Any]) -> bool:
    """Return whether an expression has another value now than it had, or is another class."""
    if not all(isinstance(one, _PLAIN) or _only_computes(one, scope) for one in ast.walk(written)):
        return False  # a call, say, that may do anything
    try:
        now = eval(compile(ast.Expression(written), "cell", "eval"), dict(scope))
    except Exception:
        return False
    if inspect.isclass(now) or inspect.isroutine(now):
        return now is not found and not isinstance(found, staticmethod | classmethod)
    text = literal(now)
    return text is not None and text != literal(found)


def _only_computes(one: ast.AST, scope: Mapping[str, Any]) -> bool:
    """Return whether a part of an expression is a call of such a function, by its own name."""
    if not (isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and not one.keywords):
        return False
    name = one.func.id
    return any(scope.get(name, getattr(builtins, name, None)) is known for known in _COMPUTING)


def methods_of(value: type) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions that a class defines itself, by name; not those made for a dataclass."""
    for name, one in vars(value).items():
        found = getattr(one, "__func__", getattr(one, "fget", getattr(one, "func", one)))
        if not isinstance(found, types.FunctionType):
            found = getattr(found, "__wrapped__", found)  # in a cache, say
        if not isinstance(found, types.FunctionType) or found.__module__ != value.__module__:
            continue
        file = inspect.unwrap(found).__code__.co_filename
        if file != "<string>" and not file.startswith("<attrs generated"):
            yield name, found


def literal(value: Any) -> str | None:
    """Return the source of a plain value; None if it has none, as that of a subclass."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is float and not math.isfinite(value):
        return f"float('{value}')"
    if type(value) in (type(None), bool, int, float, complex, str, bytes):
        return repr(value)
    if type(value) is dict:
        pairs = [(literal(key), literal(one)) for key, one in value.items()]
        if any(text is None for pair in pairs for text in pair):
            return None
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    if type(value) in (tuple, list, set, frozenset):
        items = [literal(one) for one in value]
        inside = ", ".join(text for text in items if text is not None)
        return None if None in items else f"{type(value).__name__}([{inside}])"
    return None
