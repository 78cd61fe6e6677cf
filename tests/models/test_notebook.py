"""The source of networks that are defined in a notebook."""

from __future__ import annotations

import linecache
import sys
import types

import pytest
import torch

from tunecnn.errors import InputError
from tunecnn.models.notebook import notebook_source

HEAD = """
import logging
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from pathlib import Path
from typing import Callable, NamedTuple, TypeVar
import torch
from torch import nn
"""
NET = """
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
        self.got = USES
    def forward(self, x):
        return self.head(x.flatten(1))
"""
_numbers = iter(range(1000))


@pytest.fixture
def source(monkeypatch):
    """Run cells as a notebook's kernel does, and return the source of their `Net`."""

    def source_of(*cells: str) -> str:
        module = types.ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        for cell in (HEAD, *cells):
            name = f"<cell of test_notebook {next(_numbers)}>"
            linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
            exec(compile(cell, name, "exec", dont_inherit=True), module.__dict__)
        return notebook_source(module.Net)

    return source_of


def made_from(text: str):
    module = types.ModuleType("from_notebook")
    sys.modules["from_notebook"] = module  # where a dataclass looks for its own
    exec(compile(text, "from_notebook.py", "exec", dont_inherit=True), module.__dict__)
    return module.Net(classes=3)


PLAIN_SOURCE = [
    ('used = torch.device("cuda" if torch.cuda.is_available() else "cpu")', torch.device("cpu")),
    ("used = torch.float16", torch.float16),
    ("used = range(1, 4)", range(1, 4)),
    ("used = Path('a') / 'b'", "PosixPath('a/b')"),
    ("used = {'relu': nn.ReLU, 'norms': [nn.BatchNorm2d]}['relu']", torch.nn.ReLU),
    ("used = {'relu': nn.ReLU}", {"relu": torch.nn.ReLU}),
    ("used: int | None = None", None),
    ("used = tuple[int, int]", tuple[int, int]),
    ("Item = TypeVar('Item')\nused = int | None", int | None),
    ("class Block(nn.Module): pass\nSame = Block\nused = Same.__name__", "Block"),
    (
        "@dataclass(frozen=True)\nclass Config:\n    width: int = 8\nconfig = Config(width=4)\n"
        "@lru_cache\ndef width(): return config.width\nused = 1",
        1,
    ),
]


@pytest.mark.parametrize(("cell", "value"), PLAIN_SOURCE)
def test_a_value_that_one_line_gives_again_is_written_as_that_line(cell, value, source):
    got = made_from(source(cell, NET.replace("USES", "used"))).got
    assert got == value or repr(got) == value


def test_objects_that_compare_by_identity_are_written_as_their_lines_too(source):
    cell = """
Norm = partial(nn.BatchNorm2d, eps=1e-3)
log = logging.getLogger("net")
Factory = Callable[..., nn.Module]
Item = TypeVar("Item")
def build(factory: Factory, item: Item) -> Item: return item
class Size(NamedTuple):
    side: int = 3
size = Size(side=2)
class Layer(nn.Module):
    pass
Other = Layer
"""
    net = NET.replace("USES", "Norm(2).eps, build(Other, size).side, log.name, Other is Layer")
    assert made_from(source(cell, net)).got == (1e-3, 2, "net", True)


def test_modules_that_a_cell_imports_by_whole_name_are_imported(source):
    text = source(
        "import torch.utils.dlpack\nimport torch.fx as fx",
        NET.replace("USES", "torch.utils.dlpack.__name__, fx.__name__"),
    )
    assert "import torch.utils.dlpack\n" in text
    assert made_from(text).got == ("torch.utils.dlpack", "torch.fx")


def test_types_of_fields_stay_types(source):
    cell = "from dataclasses import fields\n@dataclass\nclass Config:\n    width: int = 3\n"
    net = NET.replace("USES", "[one.type('5') for one in fields(Config)]")
    assert made_from(source(cell, net)).got == [5]


FACTORIES = [
    ("k = 3\ndef make(k):\n    def used(): return k\n    return used\nused = make(5)", "used is made"),
    ("k = 3\ndef make(k):\n    class Block:\n        def size(self): return k\n    return Block\n"
     "Block = make(5)\nused = Block", "Block.size is made by a function"),
    ("def make(k):\n    def one(): return k\n    return one\nused = make(5)", "one is made by a fun"),
    ("def twice(f):\n    @wraps(f)\n    def g(x): return 2 * f(x)\n    return g\n"
     "def used(x): return x\nused = twice(used)", "used was wrapped after its definition"),
    ("used = torch.ones(1)", "Net uses used, a Tensor that a cell has made"),
    ("base = 8\ndef used(k=int(base)): return k\nbase = 16", "a default of used is 8"),
    ("base = 8\nclass used:\n    width = max(base, 2)\nbase = 16", "used.width is 8"),
    ("used = []\nused.append(nn.ReLU)", "Net uses used, a list that a cell has made"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "message"), FACTORIES)
def test_what_the_source_would_not_give_again_is_refused(cell, message, source):
    with pytest.raises(InputError, match=message):
        source(cell, NET.replace("USES", "used"))


def test_a_decorator_in_the_source_is_part_of_it(source):
    cell = (
        "def times(k):\n    def wrap(f):\n        @wraps(f)\n        def g(x): return k * f(x)\n"
        "        return g\n    return wrap\n@times(2)\ndef used(x): return x"
    )
    assert made_from(source(cell, NET.replace("USES", "used(3)"))).got == 6


def test_a_cell_that_is_run_again_is_the_latest_whatever_its_first_place(monkeypatch):
    """IPython names a cell by its text: run again, it keeps its place among the known ones."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    base = HEAD + NET.replace("class Net", "class Base").replace("USES", "0")
    texts = [base, "class Net(Base):\n    pass\n", "class Net(Base):\n    size = 3\n"]
    names = {text: f"<cell {hash(text)}>" for text in texts}
    run = [*texts, texts[1]]
    history = types.SimpleNamespace(input_hist_raw=run, input_hist_parsed=run)
    shell = types.SimpleNamespace(
        history_manager=history,
        compile=types.SimpleNamespace(get_code_name=lambda raw, parsed, number: names[raw]),
    )
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    for text in run:
        name = names[text]
        linecache.cache.setdefault(name, (len(text), None, text.splitlines(keepends=True), name))
        exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    assert "size = 3" not in notebook_source(module.Net)
