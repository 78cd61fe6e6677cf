"""Conversion of YAML text to plain values with line numbers, and back to text."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tunecnn.errors import InputError, reason
from tunecnn.files import check_regular
from tunecnn.words import in_utf8

Loc = tuple[str | int, ...]
"""The location of a value: the keys and indices that lead to it."""

MAX_BYTES = 256 * 1024
MAX_VALUES = 6000  # more would take longer than two seconds to check
MAX_MISTAKES = 20
_MOST_DIGITS = 4000  # Python reads no number of many more
_MOST_BITS = 1024


@dataclass(frozen=True)
class Mistake:
    """A mistake in a space, and its location; `loc` is empty for the file as a whole."""

    loc: Loc
    text: str


class SpaceError(InputError):
    """A space with mistakes; the message lists all of them, each with file, line and key."""

    def __init__(self, mistakes: Sequence[Mistake], text: str | None = None) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(text or "\n".join(_line("", None, mistake) for mistake in mistakes))


@dataclass
class Document:
    """A YAML file's value as plain dicts, lists and scalars, with the line of each value.

    Attributes:
        source: name of the file in messages.
        value: its value.
        lines: line of each value, from 1.
        mistakes: what is wrong with it as YAML.
        changed: keys whose values are not those of the file.
    """

    source: str
    value: Any = None
    lines: dict[Loc, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    changed: frozenset[str] = frozenset()

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """Return the document with other values of some keys, whose lines are not told."""
        if not isinstance(self.value, dict):
            return self
        return replace(self, value={**self.value, **changes}, changed=frozenset(changes))

    def error(self, mistakes: Sequence[Mistake]) -> SpaceError:
        """Return one error with all mistakes, in the order of their lines."""
        found = sorted(mistakes, key=lambda mistake: self.line(mistake.loc) or 0)
        texts = [
            _line("", None, mistake)
            if mistake.loc and mistake.loc[0] in self.changed
            else _line(self.source, self.line(mistake.loc), mistake)
            for mistake in dict.fromkeys(found)
        ]
        if len(texts) > MAX_MISTAKES:
            texts[MAX_MISTAKES:] = [
                f"{self.source}: and {len(texts) - MAX_MISTAKES} more mistakes"
            ]
        return SpaceError(found, "\n".join(texts))

    def line(self, loc: Loc) -> int | None:
        """Return the line (from 1) of a location, or of the nearest value that contains it."""
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc)


def read_document(path: Path) -> Document:
    """Read a YAML 1.2 file.

    Raises:
        InputError: if the file cannot be read, is too large, or is not YAML.
    """
    return parse_document(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read the text of a YAML file.

    Raises:
        InputError: if the file cannot be read, is too large, or is not UTF-8.
    """
    try:
        check_regular(path)
        if path.stat().st_size > MAX_BYTES:
            raise _too_large(str(path), path.stat().st_size)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def _too_large(source: str, size: int) -> InputError:
    return InputError(f"{source}: {size:,} bytes is too large; the limit is {MAX_BYTES:,}")


def parse_document(text: str, source: str) -> Document:
    """Parse YAML 1.2 text; see `read_document`. `source` names the text in messages."""
    if (size := len(text.encode(errors="surrogateescape"))) > MAX_BYTES:
        raise _too_large(source, size)
    if (values := text.count(",") + text.count("\n")) > MAX_VALUES:
        raise InputError(
            f"{source}: {values:,} values and lines are too many; the limit is {MAX_VALUES:,}"
        )
    yaml = YAML(typ="safe", pure=True)
    document = Document(source)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "cannot be parsed"
        hint = " (indent with spaces, not tabs)" if "\\t" in problem else ""
        raise InputError(f"{source}{where}: is not YAML: {problem}{hint}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not YAML: {error}") from error
    if node is None:
        raise InputError(f"{source}: is empty")
    document.value = _Reader(yaml, document).read(node, ())
    return document


class _Reader:
    def __init__(self, yaml: YAML, document: Document) -> None:
        self._yaml = yaml
        self._document = document
        self._seen: set[int] = set()

    def read(self, node: Node, loc: Loc) -> Any:
        self._document.lines.setdefault(loc, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._wrong(loc, "aliases (*name) are not supported: write the value out")
            return None
        self._seen.add(id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*loc, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, loc)

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else None
            if key is None:
                self._wrong(loc, "a key must be a plain word")
                continue
            inner = (*loc, key)
            if key in values:
                first, again = self._document.lines[inner], key_node.start_mark.line + 1
                self._wrong(inner, f"is given twice, in lines {first} and {again}")
                continue
            self._document.lines[inner] = key_node.start_mark.line + 1
            values[key] = self.read(value_node, inner)
        return values

    def _scalar(self, node: Node, loc: Loc) -> Any:
        try:
            value = self._yaml.constructor.construct_object(node, deep=True)
        except (ConstructorError, ValueError):
            if len(str(node.value)) > _MOST_DIGITS:
                self._wrong(loc, f"has {len(str(node.value)):,} characters, too many for a number")
            else:
                self._wrong(loc, f"the tag {node.tag} is not supported: give a plain value")
            return None
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            self._wrong(loc, f"is a number of {value.bit_length():,} bits, more than {_MOST_BITS}")
            return None
        try:
            os.fsencode(str(value))  # the bytes of a file's name need not be UTF-8
        except UnicodeEncodeError:
            self._wrong(loc, f"has half of a character: {in_utf8(str(value))}")
        return value

    def _wrong(self, loc: Loc, text: str) -> None:
        self._document.mistakes.append(Mistake(loc, text))


def _line(source: str, line: int | None, mistake: Mistake) -> str:
    start = f"{source}:{line}: " if source and line else f"{source}: " if source else ""
    return f"{start}{loc_name(mistake.loc)}{mistake.text}"


def loc_name(loc: Loc) -> str:
    """Return a location as dotted text for a message: `parameters.width.step: `."""
    return ".".join(map(str, loc)) + ": " if loc else ""


def without(value: Any, locs: Sequence[Loc]) -> Any:
    """Copy plain values without those at some locations, to find mistakes in the rest.

    A list is left out as a whole, since the locations of its remaining items would shift.
    """
    if not isinstance(value, Mapping):
        return value
    rest = {}
    for key, inner in value.items():
        below = [loc[1:] for loc in locs if loc[:1] == (key,)]
        if () not in below and not (below and isinstance(inner, list)):
            rest[key] = without(inner, below)
    return rest


def to_yaml(values: Mapping[str, Any]) -> str:
    """Convert plain values to YAML text."""
    stream = io.StringIO()
    YAML().dump(dict(values), stream)
    return stream.getvalue()
