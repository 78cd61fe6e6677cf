from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest

from tests.support.pages import long_run, page_of
from tests.support.scripted import six_endings
from tunecnn import load_run
from tunecnn.summary.render import write_summary

HOSTILE = (
    "</script><script>alert(1)</script> <img src=x onerror=alert(2)> [a](javascript:b) `c` |d|"
)


class Elements(HTMLParser):
    """Collects the start tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of the scripted run."""
    return page_of(six_endings(tmp_path_factory.mktemp("runs") / "scripted"))


def test_the_page_says_what_the_markdown_says(scripted_run):
    page = page_of(scripted_run)
    summary = write_summary(load_run(scripted_run))
    for words in (summary.headline, *summary.caveats, summary.goal, "stopped early by the pruner"):
        assert html.escape(words, quote=False) in page
    assert html.escape(summary.command) in page


def test_the_page_needs_no_network_and_allows_no_script_but_its_own(page):
    found = Elements(page)
    for _, attributes in found.found:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = [
        one["content"]
        for one in found.of("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))


def test_names_of_a_user_are_text(tmp_path):
    run = long_run(tmp_path / "bad & <b>worse", 4, goal=HOSTILE)
    page = page_of(run.path)
    assert html.escape("bad & <b>worse") in page
    assert html.escape(HOSTILE, quote=False) in page
    harmless = Elements(page_of(long_run(tmp_path / "good", 4).path))
    tags = [tag for tag, _ in Elements(page).found]
    assert tags == [tag for tag, _ in harmless.found]
    markdown = (run.path / "summary.md").read_text().partition("```")
    assert not re.search(r"(?<!\\)<", markdown[0])


def test_every_picture_states_its_finding_to_those_who_cannot_see_it(page):
    images = Elements(page).of("img")
    words = [one["alt"] for one in images]
    assert "Best 93.50%, first reached by trial 3" in words  # no later one came to the end
    assert all(len(one) > 20 for one in words)
    assert len(set(words)) == len(words)


def test_the_table_of_all_trials_can_be_sorted_and_read_without_a_script(page):
    rows = re.findall(
        r"<tr>(.*?)</tr>", page.split('<table id="trials">')[1].split("</table>")[0], re.DOTALL
    )
    assert len(rows) == 1 + 6
    assert 'data-v="0.935"' in rows[4]
    assert "93.50%" in rows[4]
    assert "diverged" in rows[5]
    headings = re.findall(r"<th[^>]*>([^<]*)</th>", rows[0])
    assert headings[-2:] == ["net.dropout_dense", "net.width"]


def test_a_run_with_nothing_to_explore_has_no_charts(tmp_path):
    page = page_of(long_run(tmp_path / "short", 1).path)
    assert "vegaEmbed" not in page
    assert 'id="explore"' not in page
