"""Whether a module is still what its file says."""

from __future__ import annotations

import importlib
import sys

import pytest

from tunecnn.errors import InputError
from tunecnn.models.unchanged import check_module

TEXT = """
import functools
import {name}_parts
from {name}_parts import width as named

WIDTH = 8
SIZES = (8, 16)
LEAST: int = -1

def size(x):
    return [one + WIDTH for one in x]

class Net:
    hidden = 8
    def __init__(self, classes, width=WIDTH):
        self.sizes = size([width])
    def plain(self, x):
        return x
    @functools.lru_cache
    def forward(self, x):
        return lambda: x + 1.0
"""
PARTS = "def width():\n    return 3\n"
CHANGES = [
    (None, lambda net: setattr(net.Net, "hidden", 32), "Net.hidden is not what"),
    (None, lambda net: setattr(net.Net, "plain", lambda self, x: x), "Net.plain is not what"),
    (None, lambda net: setattr(net, "WIDTH", 9), "WIDTH is not what"),
    (None, lambda net: setattr(net, "size", lambda x: x), "size is not what"),
    (None, lambda net: setattr(net, "Net", type("Net", (), {})), "Net is not what"),
    (("hidden = 8", "hidden = 9"), None, "Net.hidden is not what"),
    (("+ 1.0", "+ 1"), None, "Net.forward is not what"),
    (("x]", "x if one]"), None, "size is not what"),
    (("(8, 16)", "(8, 32)"), None, "SIZES is not what"),
    (("= -1", "= -2"), None, "LEAST is not what"),
    (("return 3", "return 4"), None, "width is not what"),
]
_numbers = iter(range(1000))


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"imported_net_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(TEXT.format(name=name))
    (tmp_path / f"{name}_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    for one in (name, f"{name}_parts"):
        sys.modules.pop(one, None)


def test_a_module_is_its_file_after_lines_and_comments_were_added(module, tmp_path):
    check_module(module, tmp_path)
    path = tmp_path / f"{module.__name__}.py"
    path.write_text("# a comment\n\n" + path.read_text() + "\nMORE = 3\n")
    check_module(module, tmp_path)


@pytest.mark.parametrize(("edit", "patch", "message"), CHANGES)
def test_what_its_file_does_not_say_is_named(edit, patch, message, module, tmp_path):
    if edit is not None:
        for path in tmp_path.glob("*.py"):
            path.write_text(path.read_text().replace(*edit))
    if patch is not None:
        patch(module)
    with pytest.raises(InputError, match=message):
        check_module(module, tmp_path)


ORDINARY = """
import functools
from enum import Enum
helper = None
try:
    import json as helper
except ImportError:
    pass
width = 16
def small(width=width):
    return width
width = 32
class Kind(Enum):
    A = "a"
    def __new__(cls, value):
        made = object.__new__(cls)
        made._value_ = value
        return made
def register(one):
    Zoo.names.append(one.__name__)
    return one
class Zoo:
    names = []
@register
class Net:
    made = 0
    depth = 1
    def __init__(self):
        self.__make()
        Net.made += 1
    def __make(self):
        return 1
    def area(self):
        return 2
    area = property(area)
    def scratch(self):
        return 3
    del scratch
NAMES = ALL = []
NAMES.append("tiny")
Net.input_size = 32
for one in (Net,):
    one.depth = 3
Net()
"""


def test_what_an_import_makes_of_an_ordinary_module_is_no_change(tmp_path, monkeypatch):
    (tmp_path / "ordinary_net.py").write_text(ORDINARY)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("ordinary_net")
    check_module(module, tmp_path)
    (tmp_path / "ordinary_net.py").write_text(ORDINARY.replace("def small", "def smaller"))
    importlib.reload(module)  # in which the old name is left
    check_module(module, tmp_path)
    sys.modules.pop("ordinary_net")
