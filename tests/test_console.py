from __future__ import annotations

import io
import json
import math

import pytest
from rich.table import Table

from tunecnn.console import PlainConsole, print_json, printable

HOSTILE = ["a[/b]", "run[v2]", "[red]no[/red]", "[link=https://example.org]here[/link]", ":smile:"]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_a_text_is_only_text(text):
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=100)
    table = Table("name")
    table.add_row(text)
    console.print(text, soft_wrap=True)
    console.print(table)
    assert stream.getvalue().count(text) == 2


def test_escape_sequences_and_undecodable_bytes_are_shown():
    stream = io.StringIO()
    PlainConsole(file=stream, width=100).print("a\x1b[31mred\x07\x9b0m\udcff")
    assert stream.getvalue() == "a\\x1b[31mred\\x07\\x9b0m\\udcff\n"
    assert printable("é\n\t\r") == "é\n\t\\r"


def test_what_is_printed_as_json_is_json_also_where_a_number_is_not_finite(capsys):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    print_json({"loss": math.nan, "all": [1.5, (-math.inf, 2)], "of": {"best": math.inf}})
    (line,) = capsys.readouterr().out.splitlines()
    read = json.loads(line, parse_constant=refuse)
    assert read == {"loss": None, "all": [1.5, [None, 2]], "of": {"best": None}}
