"""The rows of tables as people save them: with commas, semicolons, tabs, or as JSON."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

LONGEST_CELL = 1 << 24  # characters
GUESS = "cp1252"
"""Encoding of text that is not UTF-8: what Windows writes in the west."""


def rows_of(content: bytes, once: Callable[[str], bool] = lambda _: False) -> list[dict[str, str]]:
    """Return the rows of a table by column; rows without any value are left out.

    The delimiter is the one of `,`, `;`, tab and `|` that the first line has most of. A table that
    begins with `{` has a JSON object on each line. For the encoding, see `encoding_of`.

    Args:
        content: the table.
        once: whether a column of some name must not be there twice; of others, the last is taken.

    Raises:
        csv.Error: if it is no table, a row has more values than there are columns, or a column is
            there twice; or if its text can be in no encoding that is considered.
    """
    text = text_of_table(content)
    if text.startswith("{"):
        return [
            _row_of_json(line, number)
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        ]
    first, _, below = text.partition("\n")
    above = 0
    if said := re.fullmatch(r"sep=(.)\r?", first):  # for Excel
        text, delimiter, above = below, said[1], 1
    else:
        delimiter = max(",;\t|", key=first.count)
    lines = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
    )
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))  # a column may have masks
    names = [name.strip() for name in lines.fieldnames or () if once(name)]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise csv.Error(f"its first line has the column {twice[0]} twice; remove or rename one")
    rows = []
    for row in lines:
        if any(map(str.strip, row.pop(None, ()))):
            raise csv.Error(
                f"line {above + lines.line_num} has more values than the first line has columns; "
                "quote a value that contains the delimiter"
            )
        values = {key.strip(): value for key, value in row.items() if value is not None}
        if any(map(str.strip, values.values())):
            rows.append(values)
    return rows


def text_of_table(content: bytes) -> str:
    """Return a text in the encoding that it has, or may have.

    Raises:
        csv.Error: if it can be in no encoding that is considered.
    """
    try:
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise csv.Error("its text is not UTF-8; save it as UTF-8") from error


def _row_of_json(line: str, number: int) -> dict[str, str]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise csv.Error(f"line {number} is no JSON") from error
    if not isinstance(row, dict):
        raise csv.Error(f"line {number} is no JSON object")
    return {name.strip(): _cell(value) for name, value in row.items()}


def _cell(value: Any) -> str:
    """Return a value of JSON as in a cell of CSV, where people join several labels."""
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return "|".join(map(str, value))
    return "" if value is None else str(value)


def encoding_of(content: bytes) -> str:
    """Return the encoding of a text: UTF-16 by its mark, UTF-8, or `GUESS`, which fits most."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return GUESS
    return "utf-8-sig"
