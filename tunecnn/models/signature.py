"""The arguments of a network, read from its source without running it.

A network is a class or a function. `read_signature` parses the file's syntax tree, so a mistake in
a space is found in a millisecond, without torch, and code that hangs or raises when it is imported
does no harm. What the syntax tree does not tell is left to a build (`tunecnn.models.counting`).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tunecnn.errors import InputError, nearest, reason
from tunecnn.files import check_regular
from tunecnn.words import TYPES

INPUT_NAMES = ("input_shape", "in_channels")
"""Arguments that get the shape (channels, height, width) of an image, or its channels."""
CLASSES_NAMES = ("classes", "num_classes")
"""Arguments that get the number of classes."""
_PLAIN = {"int": int, "float": float, "bool": bool, "str": str}
_NONE = frozenset({"None", "null", "Null", "NULL", "~"})
_TRUTHS = frozenset({"yes", "no", "on", "off", "true", "false"})
_FRAMES = frozenset({"locals", "vars", "currentframe", "save_hyperparameters"})
"""Functions that may read the arguments of the function that calls them."""
_MAX_BYTES = 4 * 1024 * 1024


class _Unknown:
    """The default of an argument without one (`REQUIRED`), or with one that cannot be read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


REQUIRED: Final = _Unknown("required")
UNREADABLE: Final = _Unknown("unreadable")


@dataclass(frozen=True)
class Argument:
    """An argument of a network.

    Attributes:
        name: name of the argument.
        line: line in the file.
        types: names of its plain types: `int`, `float`, `bool`, `str`; empty if any is allowed.
        values: values of its `Literal`; empty if it has none.
        takes_none: whether None is allowed.
        other: its annotation, if none of its types is plain, so no value of a space suits it.
        default: default value, `REQUIRED` or `UNREADABLE`.
        is_read: whether some line of the network's code may read it.
    """

    name: str
    line: int
    types: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    takes_none: bool = False
    other: str = ""
    default: Any = REQUIRED
    is_read: bool = True

    def problem(self, value: object) -> str:
        """Return why a value does not suit the argument; empty if it does."""
        if isinstance(value, str) and value not in self.values and (why := self._no_word(value)):
            return why
        if value is None and self.takes_none:
            return ""
        if self.other:
            return f"takes {self.other}, and a space gives numbers, words, true or false"
        if any(value == one and type(value) is type(one) for one in self.values):
            return ""
        if any(_suits(value, type_) for type_ in self.types):
            return ""
        if not (self.values or self.types):
            return ""
        allowed = [f"is one of {', '.join(map(repr, self.values))}"] if self.values else []
        if self.types:
            allowed.append(f"takes {' or '.join(TYPES[type_] for type_ in self.types)}")
        return f"{' or '.join(allowed)}, not {value!r}"

    def _no_word(self, value: str) -> str:
        """Return why a word is probably meant as a truth or as None; empty if it is a word."""
        is_known = bool(self.types or self.values) or self.other != ""
        if value in _NONE and (self.takes_none or not is_known):
            return (
                f"would get the word {value!r}, and a space has no None: give it a word of its "
                'own, such as Literal["batch", "off"], and make None of that in the network'
            )
        if value.casefold() in _TRUTHS and not is_known:
            return (
                f"would get the word {value!r}: write true or false, or annotate it as str if it "
                "is meant as a word"
            )
        return ""


@dataclass(frozen=True)
class Signature:
    """The arguments of a network, apart from those that tunecnn sets itself.

    Attributes:
        name: name of the class or function.
        file: name of its file, as it is shown in messages.
        line: line of its definition.
        arguments: arguments by name.
        open: why there may be other arguments than these; empty if there are none.
        sets: those of its arguments that tunecnn sets.
    """

    name: str
    file: str
    line: int
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    open: str = ""
    sets: tuple[str, ...] = ()

    def where(self, argument: str = "") -> str:
        """Return the file and line of an argument, or of the definition."""
        found = self.arguments.get(argument)
        return f"{self.file}:{found.line if found else self.line}"

    def problem(self, argument: str, value: object) -> str:
        """Return why a value cannot be given for an argument; empty if it can, as far as known."""
        may_be_passed_on = argument in INPUT_NAMES and self.open and argument not in self.sets
        is_set = argument in (*INPUT_NAMES, *CLASSES_NAMES) and not may_be_passed_on
        if is_set and argument not in self.arguments:
            return f"tunecnn sets {argument} itself, from the images"
        found = self.arguments.get(argument)
        if found is None:
            if self.open:
                return ""
            names = nearest(argument, self.arguments) if self.arguments else "it takes none"
            return f"{self.name} ({self.where()}) has no argument {argument!r}; {names}"
        if problem := found.problem(value):
            return f"{argument} of {self.name} ({self.where(argument)}) {problem}"
        return ""

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments without a default."""
        return tuple(name for name, one in self.arguments.items() if one.default is REQUIRED)

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults that can be read, by argument."""
        return {
            name: one.default
            for name, one in self.arguments.items()
            if one.default is not REQUIRED and one.default is not UNREADABLE
        }


def read_signature(
    path: Path, name: str, shown: str = "", *, must_exist: bool = True
) -> Signature:
    """Read the arguments of a class or function from a Python file.

    Args:
        path: the file.
        name: name of the class or function.
        shown: name of the file in messages; empty for its own name.
        must_exist: whether a name that the file does not define is a mistake; a module of a
            package may get it from another one.

    Raises:
        InputError: if the file cannot be read, is not Python, has no such class or function, or
            tunecnn could not call it.
    """
    shown = shown or path.name
    tree = parse_module(path, shown)
    scope = {node.name: node for node in _definitions(tree.body)}
    node = scope.get(name)
    if node is None:
        return _without_definition(tree, name, shown, list(scope), must_exist=must_exist)
    if isinstance(node, ast.AsyncFunctionDef):
        raise InputError(f"{name} ({shown}:{node.lineno}) is async; a network is built by a call")
    if node.decorator_list:
        return Signature(name, shown, node.lineno, open="it is decorated")
    call, reason = (node, "") if isinstance(node, ast.FunctionDef) else _initializer(node, scope)
    if call is None:
        if reason:
            return Signature(name, shown, node.lineno, open=reason)
        raise InputError(
            f"{name} ({shown}:{node.lineno}) has no __init__, so it cannot get the number of "
            "classes; it has to take classes or num_classes"
        )
    classes = [one for one in scope.values() if isinstance(one, ast.ClassDef)]
    aliases = _aliases(tree) | {one.name: ast.Name(one.name) for one in classes}
    for one in classes:
        aliases |= _members(one)
    return _signature_of(call, name, shown, aliases, is_method=call is not node)


def parse_module(path: Path, shown: str) -> ast.Module:
    """Parse a Python file.

    Raises:
        InputError: if the file cannot be read, or is not Python.
    """
    try:
        check_regular(path)
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{shown}: {path.stat().st_size:,} bytes is too large for code")
        return ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {reason(error)}") from error
    except SyntaxError as error:
        raise InputError(f"{shown}:{error.lineno or 1}: is not Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{shown}: is not Python: {error}") from error


_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(body: Sequence[ast.stmt]) -> Iterator[_Definition]:
    """Yield what a module defines, in branches of `if` and `try` too."""
    for node in body:
        if isinstance(node, _Definition):
            yield node
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                yield from _definitions(getattr(node, inner, []))


def _without_definition(
    tree: ast.Module, name: str, shown: str, known: Sequence[str], *, must_exist: bool
) -> Signature:
    """Handle a name that is no class or function: assigned, imported, or missing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import) and any(
            (alias.asname or alias.name.split(".")[0]) == name for alias in node.names
        ):
            return Signature(name, shown, node.lineno, open="it is imported from elsewhere")
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node, ast.Assign)
            if isinstance(node.value, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Set):
                raise InputError(
                    f"{name} ({shown}:{node.lineno}) is neither a class nor a function"
                )
            return Signature(name, shown, node.lineno, open="it is the result of an expression")
    if not must_exist or any(
        isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in tree.body
    ):
        return Signature(name, shown, 1, open="its definition is in another file")
    what = nearest(name, known) if known else "it defines none"
    raise InputError(f"{shown} has no class or function {name!r}; {what}")


def _initializer(
    node: ast.ClassDef, scope: Mapping[str, _Definition]
) -> tuple[ast.FunctionDef | None, str]:
    """Return the `__init__` of a class, or why it cannot be told.

    Bases are tried from left to right, as Python does, but for a base that two of them share.
    """
    waiting, seen, foreign = [node], set[str](), ""
    while waiting:
        node = waiting.pop(0)
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.keywords:
            return None, "it has a metaclass"
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name in ("__init__", "__new__"):
                return (None, "its __init__ is decorated") if inner.decorator_list else (inner, "")
        bases = []
        for base in map(ast.unparse, node.bases):
            found = scope.get(base)
            if isinstance(found, ast.ClassDef):
                bases.append(found)
            elif base not in ("nn.Module", "torch.nn.Module", "Module", "object"):
                foreign = foreign or f"its base {base} is in another file"
        if foreign and not bases:
            return None, foreign
        waiting = bases + waiting
    return None, foreign


def _signature_of(
    call: ast.FunctionDef,
    name: str,
    shown: str,
    aliases: Mapping[str, ast.expr],
    *,
    is_method: bool,
) -> Signature:
    spec = call.args
    if is_method:
        receiver = 0 if spec.posonlyargs else 1
        positional_only, positional = spec.posonlyargs[1:], spec.args[receiver:]
    else:
        positional_only, positional = spec.posonlyargs, spec.args
    if positional_only:
        first = positional_only[0]
        raise InputError(
            f"{first.arg} of {name} ({shown}:{first.lineno}) cannot be given by name, since a / "
            "follows it"
        )
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(spec.defaults))
    defaults += spec.defaults[max(0, len(spec.defaults) - len(positional)) :]
    pairs = [
        *zip(positional, defaults, strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]
    read = _names_read(call)
    arguments = {
        one.arg: replace(_argument(one, default, aliases), is_read=not read or one.arg in read)
        for one, default in pairs
    }
    sets = tuple(one for one in (*INPUT_NAMES, *CLASSES_NAMES) if one in arguments)
    is_open = f"it has **{spec.kwarg.arg}" if spec.kwarg else ""
    if not is_open and not any(one in CLASSES_NAMES for one in sets):
        raise InputError(
            f"{name} ({shown}:{call.lineno}) cannot get the number of classes; it has to take "
            "classes or num_classes"
        )
    rest = {key: one for key, one in arguments.items() if key not in sets}
    return Signature(name, shown, call.lineno, rest, is_open, sets)


def _names_read(call: ast.FunctionDef) -> set[str]:
    """Return the names that the code of a function reads; none if it may read all."""
    body = [one for line in call.body for one in ast.walk(line)]
    names = {one.id for one in body if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    called = {
        ast.unparse(one.func).rpartition(".")[2] for one in body if isinstance(one, ast.Call)
    }
    return set() if called & _FRAMES else names


def _argument(one: ast.arg, default: ast.expr | None, aliases: Mapping[str, ast.expr]) -> Argument:
    value: Any = REQUIRED
    if default is not None:
        try:
            value = ast.literal_eval(aliases.get(ast.unparse(default), default))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = UNREADABLE
    found = _Annotation()
    if one.annotation is not None:
        found.read(one.annotation, aliases)
    if value is None:
        found.takes_none = True
    types, other = tuple(dict.fromkeys(found.types)), found.other
    if one.annotation is None and type(value).__name__ in _PLAIN:
        types = (type(value).__name__,)
        if types == ("int",) and value in (0, 1):  # who writes dropout=0 may mean 0.1 as well
            types = ("float",)
    if types == ("int",) and isinstance(value, float):
        types = ("float",)
    if found.is_unknown or types or found.values:
        other = ""
    return Argument(
        one.arg,
        one.lineno,
        () if found.is_unknown else types,
        tuple(found.values),
        found.takes_none,
        other,
        value,
    )


class _Annotation:
    """What an annotation tells: plain types, values of a `Literal`, or something else."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.values: list[Any] = []
        self.takes_none = False
        self.other = ""
        self.is_unknown = False

    def read(self, node: ast.expr, aliases: Mapping[str, ast.expr], depth: int = 0) -> None:
        if depth > 20:
            self.is_unknown = True
            return
        if isinstance(node, ast.Constant):
            self._read_constant(node, aliases, depth)
            return
        name = ast.unparse(node).rpartition(".")[2] if isinstance(node, ast.Attribute) else ""
        name = node.id if isinstance(node, ast.Name) else name
        if name in _PLAIN:
            self.types.append(name)
        elif name in aliases and isinstance(node, ast.Name):
            alias = aliases[name]
            if isinstance(alias, ast.Name) and alias.id == name:
                self.other = name  # a class of the file, such as an Enum
            else:
                self.read(alias, aliases, depth + 1)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            self.read(node.left, aliases, depth + 1)
            self.read(node.right, aliases, depth + 1)
        elif isinstance(node, ast.Subscript):
            self._read_subscript(node, aliases, depth)
        elif name in ("list", "tuple", "dict", "set", "Sequence", "Callable", "Tensor", "Module"):
            self.other = ast.unparse(node)
        else:
            self.is_unknown = True

    def _read_constant(
        self, node: ast.Constant, aliases: Mapping[str, ast.expr], depth: int
    ) -> None:
        if node.value is None:
            self.takes_none = True
        elif isinstance(node.value, str):  # an annotation in quotes
            try:
                self.read(ast.parse(node.value, mode="eval").body, aliases, depth + 1)
            except SyntaxError:
                self.is_unknown = True
        else:
            self.is_unknown = True

    def _read_subscript(
        self, node: ast.Subscript, aliases: Mapping[str, ast.expr], depth: int
    ) -> None:
        base = ast.unparse(node.value).rpartition(".")[2]
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base == "Literal":
            for one in inner:
                try:
                    value = ast.literal_eval(one)
                    if value not in self.values or isinstance(value, bool):
                        self.values.append(value)
                except (ValueError, TypeError):
                    self.is_unknown = True
        elif base in ("Optional", "Union"):
            self.takes_none = self.takes_none or base == "Optional"
            for one in inner:
                self.read(one, aliases, depth + 1)
        elif base in ("Annotated", "Final"):
            self.read(inner[0], aliases, depth + 1)
        else:
            self.other = ast.unparse(node)


def _aliases(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that a module assigns an expression to, such as `Norm = Literal[...]`.

    What is assigned to twice, or in an `if`, has a value that only running it tells.
    """
    bound = Counter(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    return {name: node for name, node in assignments(tree.body) if bound[name] == 1}


def assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that lines of a body assign to by themselves, and what they assign."""
    for node in body:
        if isinstance(node, ast.Assign):
            targets: Sequence[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:
                yield target.id, node.value


def _members(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return an `Enum` as the `Literal` of what a space gives for it, and what its members are.

    A member is given by its value, if that is a plain one, else by its name: under two names it
    would be two configurations.
    """
    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    if not bases & {"Enum", "StrEnum", "IntEnum"}:
        return {}
    assigned = dict(assignments(node.body))
    found: dict[str, ast.expr] = {}
    for name, value in assigned.items():
        is_plain = isinstance(value, ast.Constant) and isinstance(value.value, str | int | float)
        is_lower = "StrEnum" in bases and ast.unparse(value).endswith("auto()")
        found[name] = value if is_plain else ast.Constant(name.lower() if is_lower else name)
    if not found:
        return {}
    members = {f"{node.name}.{name}": value for name, value in found.items()}
    values = ast.Tuple([*found.values()])
    return {node.name: ast.Subscript(ast.Name("Literal"), values), **members}


def _suits(value: object, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "bool"
    if type_ == "float":
        return isinstance(value, int | float)
    return isinstance(value, _PLAIN[type_])
