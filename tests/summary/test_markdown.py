from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tunecnn.summary.markdown import code, escape, fenced

TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from("\\`*_{}[]()<>#+-.!|~&;:/=$\n\r\t\x0b\u2028 1a"), st.characters()
    ),
    max_size=30,
)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def plain(text: str) -> str:
    """The text that a reader should see: line breaks and control characters are spaces."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+", " ", text)


def shown(tokens) -> tuple[set[str], str]:
    """The kinds of inline tokens, and their text."""
    inline = [child for token in tokens for child in token.children or ()]
    return {child.type for child in inline}, "".join(child.content for child in inline)


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example("    ")
@example("     x")
@pytest.mark.parametrize(
    "around",
    [
        "before {} after",
        "- {}: x",
        "# {}",
        "| {} | x |\n|---|---|\n| x | y |",
        "| x | y |\n|---|---|\n| {} | x |",
    ],
)
def test_whatever_a_user_named_is_text_and_never_markup(around, text):
    empty = PARSER.parse(around.format("e"))
    tokens = PARSER.parse(around.format(escape(text)))
    assert [token.type for token in tokens] == [token.type for token in empty]
    kinds, found = shown(tokens)
    assert kinds <= {"text", "text_special"}
    before, after = shown(PARSER.parse(around.format("QQ")))[1].split("QQ")
    assert "".join(found.split()) == "".join(f"{before}{plain(text)}{after}".split())


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_a_block_of_code_holds_its_text_whatever_backticks_it_has(text):
    text = text.replace("\r", " ").replace("\x00", " ")
    (block,) = PARSER.parse(fenced(text))
    assert block.type == "fence"
    assert block.content == f"{text}\n"


@pytest.mark.parametrize("text", ["net.width", "a`b", "``", "a|b", "two\nlines"])
def test_code_within_a_line_holds_its_text(text):
    tokens = PARSER.parse(f"| {code(text)} |\n|---|\n| x |")
    (found,) = [
        child for token in tokens for child in token.children or () if child.type == "code_inline"
    ]
    assert found.content == plain(text)


@pytest.mark.parametrize(
    "text", ["net.dropout_dense", "0.5", "+1.04 points", "-", "98.61% to 99.46%", "a (b), c: d"]
)
def test_what_needs_no_escape_stays_as_it_is(text):
    assert escape(text) == text
