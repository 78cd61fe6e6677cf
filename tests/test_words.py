"""One word for each thing: those that were given up do not come back (CHANGELOG.md, 0.2.0)."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.paths import ROOT

# As names of functions, classes, arguments, attributes and variables.
GIVEN_UP_NAMES = re.compile(
    r"_?(report_\w+|is_report|looks?|look_\w+|\w+_looks|facts|\w+_facts|arms?|controls?|division|told|"
    r"chosen|began|begun|drawn|asked|heard|insisted|ending_words|kind|kinds|place_\w+|garbage|catalogue|"
    r"shipped_\w*)"
)
ALLOWED_NAMES = {
    "kind": "an argument of Python's own protocols",
    "shipped_spaces": "the spaces that are shipped are called that",
}
# As words that a user reads.
GIVEN_UP_WORDS = {
    r"(?<!class )\breport(?!\(|ed\b|\.)'?s? (design|protocol|recipe|results?|networks?)": "baseline, published",
    r"start: \[report": "start: [baseline]",
    r"recipe: report\b": "recipe: published",
    r"--control\b": "--random-baseline",
    r"test_looks|looked at": "evaluations",
    r"what became of": "outcome",
    r"foretold": "predict",
    r"[Tt]ake note": "is called when, record",
    r"\bunder way\b": "running",
    r"parameters <=": "params <=",
}
MODULES = sorted(ROOT.glob("tunecnn/**/*.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("search_spaces/*.yaml")),
    *sorted(ROOT.glob("tunecnn/**/*.j2")),
    *MODULES,
]


def names(path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_a_word_that_was_given_up(path):
    assert not {
        name for name in names(path) - ALLOWED_NAMES.keys() if GIVEN_UP_NAMES.fullmatch(name)
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_uses_a_word_that_was_given_up(path):
    text = " ".join(path.read_text().split())
    for words, instead in GIVEN_UP_WORDS.items():
        found = re.search(words, text)
        around = text[max(0, found.start() - 30) : found.end() + 30] if found else ""
        assert found is None, f"{around!r}: write {instead}"
