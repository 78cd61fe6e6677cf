"""Imports point down only, and each heavy library has its own rooms (docs/structure.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOORS = [{"cli"}, {"workflows"}, {"summary"}, {"analysis", "listeners", "engines"}, {"run"},
          {"study"}, {"space"}, {"trial"}, {"data"}, {"models"}]  # fmt: skip
LIBRARIES = {
    "ray": {"engines"},
    "optuna": {"study"},
    "torch": {"trial", "models", "data", "engines", "workflows", "cli"},
}
MODULES = sorted(path.relative_to(ROOT / "tunecnn") for path in ROOT.glob("tunecnn/**/*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield str(node.module)


def floor(room: str) -> int:
    """How far down a room is; what lies in no folder is below all folders."""
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


@pytest.mark.parametrize("module", [one for one in MODULES if one.name[:2] != "__"], ids=str)
def test_imports_point_down_only_and_each_library_has_its_rooms(module):
    room = module.parts[0]
    for name in imported(ROOT / "tunecnn" / module):
        top, *below = name.split(".")
        if top == "tunecnn" and below and below[0] != room:
            both_below_all_folders = floor(below[0]) == floor(room) == len(FLOORS)
            assert floor(below[0]) > floor(room) or both_below_all_folders, name
        assert top not in LIBRARIES or room in LIBRARIES[top], name


def test_no_module_imports_itself_through_others():
    graph = {
        ".".join(("tunecnn", *module.with_suffix("").parts)): set(
            imported(ROOT / "tunecnn" / module)
        )
        for module in MODULES
    }
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name in graph and name not in done:
            for other in graph[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_no_test_imports_another_test_module():
    for path in ROOT.glob("tests/**/*.py"):
        modules = [name for name in imported(path) if name.rpartition(".")[2].startswith("test_")]
        assert not modules, path


def test_the_floors_are_those_of_the_documentation():
    page = (ROOT / "docs" / "structure.md").read_text()
    folders = {
        path.name for path in (ROOT / "tunecnn").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set.union(*FLOORS)
    assert all(f"`{folder}/`" in page for folder in folders)
