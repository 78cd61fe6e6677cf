"""The files that travel with a network are found from its source; they never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecnn.errors import InputError
from tunecnn.models.code_files import code_files

NETS = """\
raise SystemExit("nobody may import this file")

class Net:
    def __init__(self, classes): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_the_default_code_is_the_file_or_its_whole_package(folder):
    assert code_files(["nets.py:Net"], (), folder) == [Path("nets.py")]
    package = folder / "mine" / "inner"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    (package / "net.py").write_text(NETS)
    files = code_files(["mine/inner/net.py:Net"], (), folder)
    assert [str(path) for path in files] == [
        "mine/__init__.py",
        "mine/inner/__init__.py",
        "mine/inner/net.py",
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (["blocks/"], "nets.py is not in code: blocks/; add it"),
        (["nets.py", "block.py"], "there is no file or folder block.py in"),
        (["nets.py", "../x.py"], "../x.py is outside the folder of the space"),
        (["nets.py", "data/"], "data/ contains no Python file"),
        ([], "nets.py:1 imports blocks, which is beside it but would not travel; write code:"),
    ],
)
def test_code_that_would_not_travel_whole_is_refused(folder, code, expected):
    (folder / "nets.py").write_text("from blocks import block\n" + NETS)
    for name in ("blocks/__init__.py", "data/x.csv"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    with pytest.raises(InputError) as caught:
        code_files(["nets.py:Net"], code, folder)
    assert expected in str(caught.value)
    assert len(code_files(["nets.py:Net"], ["nets.py", "blocks/"], folder)) == 2


@pytest.mark.parametrize(
    "line",
    ["from models.blocks import block", "from models import blocks", "import models.blocks"],
)
def test_a_module_of_a_folder_is_imported_by_its_whole_name(line, folder):
    (folder / "models").mkdir()
    (folder / "models" / "net.py").write_text(f"{line}\n" + NETS)
    (folder / "models" / "blocks.py").write_text("def block(): pass\n")
    message = r"net.py:1 imports blocks, which is .* but would not travel; write code: \[models/\]"
    with pytest.raises(InputError, match=message):
        code_files(["models/net.py:Net"], (), folder)
    assert len(code_files(["models/net.py:Net"], ["models/"], folder)) == 2


def test_a_file_of_a_package_beside_the_space_is_told_where_the_space_belongs(folder):
    package = folder / "mine"
    package.mkdir()
    (package / "net.py").write_text("from .blocks import block\n" + NETS)
    (package / "blocks.py").write_text("def block(): pass\n")
    with pytest.raises(
        InputError,
        match=r"net.py:1 imports .blocks, so it is part of a package: .*"
        r"architecture: mine/net.py:NAME",
    ):
        code_files(["net.py:Net"], (), package)


def test_imports_that_need_not_work_are_no_mistakes(folder):
    text = (
        "from typing import TYPE_CHECKING\n"
        "try:\n    from .blocks import block\nexcept ImportError:\n    from blocks import block\n"
        "if TYPE_CHECKING:\n    from ..types import Kind\n"
        "if __name__ == '__main__':\n    from .main import run\n"
        "try:\n    import parts.fast\nexcept ImportError:\n    pass\n"
    )
    (folder / "parts").mkdir()
    for name in ("__init__", "slow", "fast", "train"):
        (folder / "parts" / f"{name}.py").touch()
    (folder / "parts" / "train.py").write_text("from ..nets import Net\n")
    (folder / "nets.py").write_text(text + NETS)
    (folder / "blocks.py").write_text("def block(): pass\n")
    code = ["nets.py", "blocks.py", "parts/slow.py", "parts/train.py"]
    assert len(code_files(["nets.py:Net"], code, folder)) == 4


@pytest.mark.parametrize("name", ["json", "torch"])
def test_a_file_that_would_hide_an_installed_module_is_refused(folder, name):
    (folder / f"{name}.py").write_text(NETS)
    with pytest.raises(InputError, match=f"{name} is also the name of an installed module"):
        code_files([f"{name}.py:Net"], (), folder)


def test_a_folder_with_the_name_of_an_installed_package_is_not_what_is_imported(tmp_path):
    (tmp_path / "torch" / "run-1").mkdir(parents=True)
    (tmp_path / "torch" / "run-1" / "train.py").write_text("")
    (tmp_path / "nets.py").write_text("import torch\n")
    assert code_files(["nets.py:Net"], (), tmp_path) == [Path("nets.py")]


def test_a_folder_without_init_is_one_that_must_travel_too(tmp_path):
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "conv.py").write_text("def Conv(): pass\n")
    (tmp_path / "nets.py").write_text("from blocks.conv import Conv\n")
    with pytest.raises(InputError, match=r"imports blocks, .* write code: \[nets.py, blocks/\]"):
        code_files(["nets.py:Net"], (), tmp_path)
    assert [*map(str, code_files(["nets.py:Net"], ("nets.py", "blocks/"), tmp_path))] == [
        "blocks/conv.py",
        "nets.py",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from .blocks import B", "src/model.py:1 imports blocks, which is beside it but would"),
        ("from . import blocks", "src/model.py:1 imports blocks, which is beside it but would"),
        ("from blocks import B", "beside it and not beside the space: write from .blocks import"),
    ],
)
def test_what_a_file_in_a_folder_imports_must_travel_too(line, expected, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "blocks.py").write_text("B = 1\n")
    (tmp_path / "src" / "model.py").write_text(f"{line}\n{NETS}")
    with pytest.raises(InputError, match=expected) as caught:
        code_files(["src/model.py:Net"], (), tmp_path)
    assert "code: [src/]" in str(caught.value)
    if line.startswith("from ."):
        assert len(code_files(["src/model.py:Net"], ("src/",), tmp_path)) == 2
