from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from nbclient import NotebookClient
from pandas.io.formats.style import Styler

from tests.support.paths import ROOT
from tests.support.searching import TEXT, begin
from tunecnn.run.info import ReproductionJob
from tunecnn.workflows.reproduction_space import reproduction_space

NOTEBOOKS = ROOT / "notebooks"


def small_run(name: str, folder: Path, image_tree) -> Path | None:
    """Make what a notebook reads: a run of its type; None for one that makes its runs itself."""
    if name == "analyze_search.ipynb":
        return begin(folder, TEXT.replace("trials: 3", "trials: 6")).folder
    if name == "reproduction.ipynb":
        images = f"imagefolder:{image_tree(size=28, classes=tuple('0123456789'), count=10)}"
        text = reproduction_space(images, "mnist", ["model1", "model2"], seeds=2, epochs=2)
        return begin(folder, text, job=ReproductionJob(against="mnist")).folder
    return None


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of its cells, which were run here."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=280,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute()
    return notebook


@pytest.mark.slow
def test_a_reproduction_without_published_figures_can_be_read(tmp_path, monkeypatch, image_tree):
    images = f"imagefolder:{image_tree(size=28, classes=tuple('0123456789'), count=4)}"
    text = reproduction_space(images, None, ["model1"], seeds=1, epochs=1)
    run = begin(tmp_path, text, job=ReproductionJob(against=None)).folder
    monkeypatch.setenv("TUNECNN_RUN", str(run))
    notebook = executed(NOTEBOOKS / "reproduction.ipynb")
    said = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "nothing is published for these images" in said


PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_the_cells_that_analyze_a_search_run_in_this_process(monkeypatch, tmp_path):
    """A new kernel, as the slow test of all notebooks has it, takes most of their time."""
    run = small_run("analyze_search.ipynb", tmp_path / "run", None)
    monkeypatch.setenv("TUNECNN_RUN", str(run))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell is a new one
    shell = InteractiveShell()
    shown = []
    for cell in nbformat.read(NOTEBOOKS / "analyze_search.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            found = shell.run_cell(cell.source.replace("%matplotlib inline\n", ""))
            found.raise_error()
            shown.append(found.result)
    assert sum(isinstance(value, Figure) for value in shown) == 4
    assert sum("<table" in value._repr_html_() for value in shown if isinstance(value, Styler)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_notebook_runs_on_a_run_made_here(path, image_tree, monkeypatch, tmp_path):
    if run := small_run(path.name, tmp_path / "run", image_tree):
        monkeypatch.setenv("TUNECNN_RUN", str(run))
    monkeypatch.setenv("TUNECNN_RUNS", str(tmp_path))  # for one that makes its runs itself
    notebook = executed(path)
    kinds = {
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    }
    assert {"image/png", "text/html"} <= kinds
    assert not [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_notebook_is_committed_with_the_outputs_of_one_whole_run(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell.outputs)
