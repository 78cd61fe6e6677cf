"""The summary of a run as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import pandas as pd
import platformdirs
from jinja2 import Environment, PackageLoader, Template, select_autoescape
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from tunecnn.analysis.overview import balanced_in_words
from tunecnn.files import sha256, write_atomically
from tunecnn.run.run import Run
from tunecnn.summary.charts import charts_of
from tunecnn.trial.messages import Outcome
from tunecnn.words import in_short

_FIGURE_LINK = re.compile(r"figures/(\w+)\.svg")


def render_page(run: Run, markdown: str, pictures: Mapping[str, bytes]) -> str:
    """Return the summary of a run as a page.

    Args:
        run: run of any type.
        markdown: its summary; whatever a user named in it is escaped.
        pictures: its pictures as SVG, by name.
    """
    charts = charts_of(run)
    results, heading, rest = markdown.partition("\n## Data\n")
    circumstances = heading + rest
    scripts = [_asset("table.js")]
    if charts:
        scripts += [_vega(), _asset("charts.js")]
    return _template().render(
        title=run.name,
        body=Markup(_body(results, pictures)),
        circumstances=Markup(_body(circumstances, pictures, "about")),
        charts=charts,
        specs=Markup(_json([chart.spec for chart in charts])),
        columns=(columns := _columns(run)),
        rows=zip(*(column.cells for column in columns), strict=True),
        style=Markup(_asset("page.css")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("tunecnn.summary"),
        autoescape=select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _body(markdown: str, pictures: Mapping[str, bytes], part: str = "section") -> str:
    """Turn Markdown into HTML, with the pictures inside and tables that can be scrolled."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    parser.add_render_rule("th_open", _open_header)
    parser.add_render_rule("paragraph_open", _open_paragraph)
    parser.add_render_rule("heading_open", _open_heading)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("fence", _fence)
    rendered: str = parser.render(markdown, {"pictures": pictures, "part": part})
    return rendered


def _open_table(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    headings = [i for i in range(index) if tokens[i].type == "heading_open"]
    name = tokens[headings[-1] + 1].content if headings else "summary"
    number = env["tables"] = env.get("tables", 0) + 1
    words = re.sub(r"\\(.)", r"\1", name)
    label = f"{escape(words)}, table {number}"
    return f'<div class="wide" role="region" tabindex="0" aria-label="{label}"><table>\n'


def _close_table(*_: Any) -> str:
    return "</table></div>\n"


def _open_header(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    token = tokens[index]
    if not tokens[index + 1].content:  # the corner of a table whose rows have names
        env["corner"] = True
    token.attrSet("scope", "col")
    return self.renderToken(tokens, index, options, env)


def _open_paragraph(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    if tokens[index].hidden:
        return ""
    if tokens[index + 1].content.startswith("**Answer.**"):
        tokens[index].attrSet("class", "answer")
    return self.renderToken(tokens, index, options, env)


def _open_heading(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any
) -> str:
    number = env["headings"] = env.get("headings", 0) + 1
    tokens[index].attrSet("id", f"{env['part']}-{number}")
    return self.renderToken(tokens, index, options, env)


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    found = _FIGURE_LINK.fullmatch(str(token.attrs.get("src", "")))
    if found is None or found[1] not in env["pictures"]:
        return ""
    words = escape(self.renderInlineAsText(token.children or [], options, env))
    inside = base64.b64encode(env["pictures"][found[1]]).decode()
    return f'<img class="picture" alt="{words}" src="data:image/svg+xml;base64,{inside}">'


def _fence(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    # Long commands wrap, on paper too: a reader of the PDF needs the whole of it.
    return f'<pre tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'


@dataclass(frozen=True)
class _Column:
    """A column of the table of all trials.

    Attributes:
        heading: its heading.
        is_number: whether it has numbers.
        cells: text of each cell, and the value to sort by if that is not the text.
    """

    heading: str
    is_number: bool
    cells: list[tuple[str, str]]


def _columns(run: Run) -> list[_Column]:
    """Return the columns of the table of all trials."""
    trials = run.trials
    words = {outcome.value: outcome.words for outcome in Outcome}
    outcomes = trials["outcome"].map(lambda outcome: words.get(outcome, outcome))
    accuracy = f"{balanced_in_words(run.space.metric)}accuracy"
    columns = [
        _column("trial", trials["trial"]),
        _column("outcome", outcomes),
        _column(accuracy, trials[run.space.metric], "{:.2%}"),
        _column("loss", trials["val_loss"], "{:.4f}"),
        _column("epochs", trials["epochs"]),
        _column("params", trials["params"], "{:,}"),
        _column("seconds", trials["seconds"], "{:.1f}"),
    ]
    if trials["architecture"].nunique() > 1:
        columns.append(_column("architecture", trials["architecture"]))
    searched = (name for name in run.space.searched if name != "architecture")
    return [*columns, *(_column(name, trials[f"param.{name}"]) for name in searched)]


def _column(heading: str, values: pd.Series[Any], form: str = "") -> _Column:
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return _Column(heading, is_number, [_cell(value, form) for value in values])


def _cell(value: Any, form: str) -> tuple[str, str]:
    """Return the text of a cell, and what to sort by if that is not the text."""
    if pd.isna(value):
        return "-", ""
    if not form:
        return in_short(value), ""
    return form.format(value), f"{value:.6g}" if isinstance(value, float) else str(value)


def _json(value: Any) -> str:
    """Return JSON that cannot end the script in which it stands."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Sequence[str]) -> str:
    """Allow the page its own scripts, by their hashes, and nothing from anywhere else."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    from importlib.resources import files

    return (files("tunecnn.summary") / "assets" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return Vega-Lite as one script; to bundle it takes seconds, so it is kept."""
    import vl_convert

    name = f"vega-{version('vl-convert-python')}.js"
    path = platformdirs.user_cache_path("tunecnn") / name
    try:
        kept, _, digest = path.read_text(encoding="utf-8").rpartition("\n//")
        if sha256(kept) == digest:
            return kept
    except (OSError, UnicodeDecodeError):
        pass
    # A script must not hold what ends it, or what begins a comment of HTML.
    text: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub is wrong
    text = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{text}\n//{sha256(text)}")
    except OSError:
        pass  # it is made again next time
    return text
