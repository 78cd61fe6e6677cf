"""Tables of labels or groups, as people save them: with commas, semicolons or tabs."""

from __future__ import annotations

import codecs
import csv
import io


def rows_of(content: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column.

    The delimiter is the one of `,`, `;`, tab and `|` that the first line has most of. The text is
    UTF-8, UTF-16 with its mark, or else what Windows writes in the west.

    Raises:
        csv.Error: if it is no table.
        UnicodeDecodeError: if it is no text.
    """
    text = _decoded(content)
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [
        {key.strip(): value for key, value in row.items() if key is not None and value is not None}
        for row in rows
    ]


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")
