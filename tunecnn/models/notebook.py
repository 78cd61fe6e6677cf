"""The source of a network that is defined in a notebook, as a file of its own.

A run keeps the code of its networks as files. A class of a notebook has none, but its cells have a
source: the class, and whatever else of the notebook it uses, are written into one file.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import inspect
import linecache
import logging
import re
import symtable
import sys
import textwrap
import types
import typing
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from tunecnn.errors import InputError
from tunecnn.files import is_installed
from tunecnn.models.code import NetworkCode
from tunecnn.models.unchanged import (
    check_bases,
    check_definition,
    check_free,
    literal,
    methods_of,
)

_NOTHING = object()
_FUTURE = "from __future__ import annotations"


NOTEBOOK_FILE = "from_notebook.py"


def code_of_notebook(architectures: Sequence[str]) -> NetworkCode | None:
    """Return the code of networks as this notebook defines them now; None if it does not."""
    names = {
        name.partition(":")[2] for name in architectures if name.startswith(f"{NOTEBOOK_FILE}:")
    }
    made = getattr(sys.modules["__main__"], names.pop(), None) if len(names) == 1 else None
    if not _is_defined(made) or getattr(made, "__module__", "") != "__main__":
        return None
    try:
        return NetworkCode({NOTEBOOK_FILE: notebook_source(made).encode()})
    except InputError:
        return None


def notebook_source(made: Any) -> str:
    """Return the text of a Python file that defines a class or function, and all that it needs.

    Args:
        made: class or function whose module is the notebook itself.

    Raises:
        InputError: if the source of something that it uses is not known, such as of an object that
            a cell has made.
    """
    return _Collected(made).text()


class _Collected:
    """What a class or function of a notebook uses, as the parts of a file.

    Args:
        made: class or function whose module is the notebook itself.
    """

    def __init__(self, made: Any) -> None:
        self._made = made
        self._scope = vars(sys.modules[made.__module__])
        self._parts: dict[str, str] = {}
        self._imports: dict[str, None] = {}
        self._whole_names = set(_imported_by_whole_name())
        self._add(made.__name__, made)

    def text(self) -> str:
        """Return the text of the file."""
        return "\n".join(self._imports) + "\n\n\n" + "\n\n\n".join(self._parts.values()) + "\n"

    def _add(self, name: str, value: Any) -> None:
        """Add what defines a name, after what that needs."""
        if name in self._parts:
            return
        module = getattr(value, "__module__", None)
        if isinstance(value, types.ModuleType):
            _check_travels(value.__name__, self._made)
            whole = value.__name__
            self._imports[f"import {whole}" if whole == name else f"import {whole} as {name}"] = (
                None
            )
        elif _is_defined(value):
            if module == self._made.__module__:
                self._add_definition(name, value)
            else:
                _check_travels(module, self._made)
                is_there = module is not None and _is_found(value, module)
                attribute = value.__name__ if is_there else value.__qualname__
                self._imports[f"from {module} import {attribute} as {name}"] = None
        elif module and module != self._made.__module__ and _is_found(value, module):
            _check_travels(module, self._made)
            self._imports[f"from {module} import {value.__name__} as {name}"] = None
        elif (text := literal(value)) is not None:
            self._parts[name] = f"{name} = {text}"
        elif (line := _assigned(name, value, self._scope)) is not None:
            self._add_part(name, line)
        else:
            raise InputError(
                f"{self._made.__name__} uses {name}, a {type(value).__name__} that a cell has "
                "made; its source is not known, so the run could not be resumed. Make it inside "
                "the class, or write the network into a file: architecture: nets.py:Name"
            )

    def _add_definition(self, name: str, value: Any) -> None:
        check_free(value)
        own = value.__name__
        if own == "<lambda>":
            raise InputError(
                f"{name} is a lambda, which has no name by which a run finds it; write it as def"
            )
        if name != own:  # another name for it
            if self._scope.get(own) is not value:
                raise InputError(
                    f"{name} is an earlier {own} than that of the notebook now; run its cell again"
                )
            self._add(own, value)
            self._parts[name] = f"{name} = {own}"
            return
        check_bases(value, self._scope)
        first = (
            next((one for _, one in methods_of(value)), None) if inspect.isclass(value) else value
        )
        code = getattr(inspect.unwrap(first), "__code__", None) if first is not None else None
        if code is not None and code.co_flags & __future__.annotations.compiler_flag:
            self._imports = {_FUTURE: None, **self._imports}
        self._add_part(name, _source(value, self._scope))

    def _add_part(self, name: str, text: str) -> None:
        self._parts[name] = ""  # so that a class that uses itself ends
        for other, is_read in _names(text):
            is_builtin = self._scope.get(other) is getattr(builtins, other, _NOTHING)
            is_needed = is_read or literal(self._scope.get(other)) is not None
            if other in self._scope and other != name and not is_builtin and is_needed:
                self._add(other, self._scope[other])
        for whole in sorted(self._whole_names):
            if re.search(rf"\b{re.escape(whole)}\b", text):
                _check_travels(whole, self._made)
                self._imports[f"import {whole}"] = None
        del self._parts[name]  # a part comes after those that it needs
        self._parts[name] = text


def _is_defined(value: Any) -> bool:
    """Return whether something is a class or a function, or one that a decorator has wrapped."""
    is_wrapped = callable(value) and inspect.isfunction(getattr(value, "__wrapped__", None))
    return inspect.isclass(value) or inspect.isfunction(value) or is_wrapped


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
    if here in path.parents and not is_installed(path):
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
    own = (one for _, one in methods_of(value)) if inspect.isclass(value) else iter([value])
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
            f"the source of {value.__name__} is not known, as of what a cell with %%time defines; "
            "take that out, or write it into a file: architecture: nets.py:Name"
        )
    for file, lines in sources:
        for node in _defined(lines, value.__name__):
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            end = node.end_lineno or start
            if first is None or start <= first <= end:
                check_definition(value, node, file, range(start, end + 1), scope)
                return textwrap.dedent("".join(lines[start - 1 : end])).strip()
    where = (
        ""
        if method is not None
        else ", and in none with %%time, whose source is not known; of type(), write class"
    )
    raise InputError(
        f"the source of {value.__name__} is not in one cell: write it, with all of its methods, "
        f"into one{where}"
    )


def _cells() -> list[str]:
    """Return the names of the cells whose source is known, the latest first, or of a script.

    A cell that is run again keeps its name if its text is that of an earlier one.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    cells = [file for file in reversed(linecache.cache) if not Path(file).is_file()]
    latest = dict.fromkeys(name for name in _cells_as_run() if name in linecache.cache)
    return [*dict.fromkeys([*latest, *cells]), *([script] if script else [])]


def _cells_as_run() -> Iterator[str]:
    """Yield the names of the cells that IPython has run, the last one first; none elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return
    typed, parsed = shell.history_manager.input_hist_raw, shell.history_manager.input_hist_parsed
    for number in reversed(range(min(len(typed), len(parsed)))):
        yield shell.compile.get_code_name(typed[number], parsed[number], number)


def _imported_by_whole_name() -> Iterator[str]:
    """Yield the modules in packages that cells import by their whole name: `import torch.fx`."""
    for file in _cells():
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except SyntaxError:
            continue  # another language, as in a cell with %%html
        for node in ast.walk(tree):
            for alias in node.names if isinstance(node, ast.Import) else ():
                if "." in alias.name and alias.asname is None and alias.name in sys.modules:
                    yield alias.name


def _defined(lines: Sequence[str], name: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Yield what defines a name in the source of a cell."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return  # another language, as in a cell with %%html
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            yield node


_ALLOWED = (functools.partial, range, PurePath, slice, frozenset, tuple, dict, set, list,
            OrderedDict, types.SimpleNamespace, re.compile, logging.getLogger, typing.TypeVar,
            typing.NewType)  # fmt: skip
"""What a line may call that is run again: it changes nothing, and gives the same each time."""
_OF_TORCH = ("torch.device", "torch.cuda.is_available")
_MARKS_OF_RECORDS = ("__dataclass_fields__", "__attrs_attrs__", "_fields", "__members__")

_PURE = (ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.BinOp, ast.BoolOp,
         ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Attribute,
         ast.Subscript, ast.Slice, ast.Call, ast.keyword, ast.unaryop, ast.operator, ast.boolop,
         ast.cmpop)  # fmt: skip


def _assigned(name: str, value: Any, scope: Mapping[str, Any]) -> str | None:
    """Return the line of a cell that gives a name its value, if it would give it again."""
    for file in _cells():
        try:
            body = ast.parse("".join(linecache.getlines(file))).body
        except SyntaxError:
            continue  # another language, as in a cell with %%html
        for node in reversed(body):
            if isinstance(node, ast.Assign):
                targets, expression = node.targets, node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                targets, expression = [node.target], node.value
            else:
                continue
            if [getattr(one, "id", "") for one in targets] != [name]:
                continue
            try:
                is_it = _is_pure(expression, scope) and _is_same(_value(expression, scope), value)
            except Exception:  # a name that the notebook has no more, say
                is_it = False
            if is_it:
                return f"{name} = {ast.unparse(expression)}"
    return None


def _is_pure(expression: ast.expr, scope: Mapping[str, Any]) -> bool:
    """Return whether an expression can be computed once more without an effect."""
    for one in ast.walk(expression):
        if not isinstance(one, _PURE):
            return False
        if isinstance(one, ast.Name) and one.id not in scope and not hasattr(builtins, one.id):
            return False
        if isinstance(one, ast.Call):
            if any(isinstance(part, ast.Call) for part in ast.walk(one.func)):
                return False
            called = _value(one.func, scope)
            whole = f"{getattr(called, '__module__', '')}.{getattr(called, '__qualname__', '')}"
            is_allowed = whole in _OF_TORCH or any(called is one for one in _ALLOWED)
            if inspect.isclass(called):
                is_allowed |= issubclass(called, PurePath)
                is_allowed |= any(hasattr(called, mark) for mark in _MARKS_OF_RECORDS)
            if not is_allowed:
                return False
    return True


def _value(expression: ast.expr, scope: Mapping[str, Any]) -> Any:
    return eval(compile(ast.Expression(expression), "cell", "eval"), dict(scope))


def _is_same(now: Any, value: Any) -> bool:
    if type(now) is not type(value):
        return False
    if isinstance(value, functools.partial):
        return (now.func, now.args, now.keywords) == (value.func, value.args, value.keywords)
    if isinstance(value, typing.TypeVar | typing.NewType):
        return repr(now) == repr(value)
    return bool(now is value or now == value)


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
