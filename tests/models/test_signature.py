"""A network's arguments are read from its source; the file itself never runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.space.space import SearchSpace

NETS = """\
raise SystemExit("nobody may import this file")
from functools import cache
from typing import Literal, Optional
from torch import nn

Norm = Literal["batch", "group"]

class Net(nn.Module):
    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        width: int = 16,
        rate: float = 0.1,
        norm: Norm = "batch",
        bias: bool = False,
        act: str = "relu",
        widths: tuple[int, ...] = (8, 16),
        depth: Optional[int] = None,
        plain=3, kind: Kind = Kind.A,
    ) -> None: ...

class Child(Net):
    pass

class Needs(nn.Module):
    def __init__(self, in_channels, num_classes, *, layers: int, width: "int | None" = None): ...

class Bare(nn.Module):
    pass

class NoClasses(nn.Module):
    def __init__(self, input_shape, width: int = 3): ...

class Positional(nn.Module):
    def __init__(self, classes, width=3, /): ...

def build(input_shape, classes, width: int = 8, **rest): ...

@cache
def cached(input_shape, classes, width: int = 8): ...

async def later(classes): ...

SIZE = 3
Made = build(1, 2)

class Kind(Enum):
    A = "a"
    C = "c"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def message(folder: Path, body: str, architecture: str = "nets.py:Net") -> str:
    path = folder / "space.yaml"
    path.write_text(f'dataset: digits\narchitecture: "{architecture}"\n{body}\n')
    with pytest.raises(InputError) as caught:
        SearchSpace.from_yaml(path)
    return str(caught.value).replace(f"{folder}/", "")


MISTAKES = [
    ("{net.widht: 8}", "space.yaml:4: parameters.net.widht: Net (nets.py:9) has no argument 'widht'; did you mean 'width'"),
    ("{net.width: {float: [8, 16]}}", "space.yaml:4: parameters.net.width: width of Net (nets.py:13) takes a whole number, not 8.0; use int: in the place of float:"),
    ("{net.width: 1.5}", "width of Net (nets.py:13) takes a whole number, not 1.5"),
    ("{net.width: true}", "width of Net (nets.py:13) takes a whole number, not True"),
    ("{net.rate: fast}", "rate of Net (nets.py:14) takes a number, not 'fast'"),
    ("{net.norm: {choice: [batch, layer]}}", "norm of Net (nets.py:15) is one of 'batch', 'group', not 'layer'"),
    ("{net.norm: {int: [0, 1]}}", "norm of Net (nets.py:15) is one of 'batch', 'group', not 0; use choice"),
    ("{net.bias: {choice: [0, 1]}}", "bias of Net (nets.py:16) takes true or false, not 0"),
    ("{net.act: 3}", "act of Net (nets.py:17) takes a word, not 3"),
    ("{net.widths: 3}", "widths of Net (nets.py:18) takes tuple[int, ...], and a space gives numbers"),
    ("{net.kind: b}", "kind of Net (nets.py:20) is one of 'a', 'c', not 'b'"),
    ("{net.kind: {choice: [c, auto]}}", "kind of Net (nets.py:20) is one of 'a', 'c', not 'auto'"),
    ("{net.depth: deep}", "depth of Net (nets.py:19) takes a whole number, not 'deep'"),
    ("{net.plain: x}", "plain of Net (nets.py:20) takes a whole number, not 'x'"),
    ("{net.classes: 3}", "tunecnn sets classes itself, from the images"),
    ("{net.learning_rate: 0.1}", "learning_rate is a setting of the training: write it without net."),
    ("{width: 8}", "space.yaml:4: parameters.width: is an argument of Net (nets.py:13): write net.width"),
    ("{net.depth: {int: [1, 3]}}\nstart: [baseline]", "space.yaml:5: start.0: the baseline has the network's own depth, which is None in nets.py:19"),
    ("{net.width: {int: [20, 32]}}\nstart: [baseline]", "the baseline has net.width = 16, which the space does not contain"),
    ("{dropout.block1: 0.1}", "'dropout.block1' is an argument of the network: write net.dropout_block1"),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "expected"), MISTAKES)
def test_a_mistake_in_an_argument_is_answered_with_both_lines(folder, parameters, expected):
    assert expected in message(folder, f"parameters:\n  {parameters}")


NAMES = [
    ("nets.py:Nett", "space.yaml:2: architecture: nets.py has no class or function 'Nett'; did you mean 'Net'"),
    ("nets.py:SIZE", "SIZE (nets.py:45) is neither a class nor a function"),
    ("nets.py:Bare", "Bare (nets.py:29) has no __init__, so it cannot get the number of classes"),
    ("nets.py:NoClasses", "NoClasses (nets.py:33) cannot get the number of classes"),
    ("nets.py:Positional", "classes of Positional (nets.py:36) cannot be given by name"),
    ("nets.py:later", "later (nets.py:43) is async"),
    ("nets.py:Needs", "Needs needs a value of layers (nets.py:27): add net.layers to the parameters"),
    ("nets.py", "'nets.py' lacks the name of the network: write nets.py:Name"),
    ("nets.py:", "'nets.py:' is not a network; write file.py:Name"),
    ("net.py:Net", "there is no file net.py in"),
    ("nets:Net", "no package nets is installed; did you mean nets.py:Net?"),
    ("nosuch.models:Net", "no package nosuch is installed"),
    ("resnet", "unknown architecture 'resnet'; allowed: model1, model2, proposed, or a network of"),
]  # fmt: skip


@pytest.mark.parametrize(("architecture", "expected"), NAMES)
def test_a_mistake_in_the_name_of_a_network_is_answered(folder, architecture, expected):
    assert expected in message(folder, "trials: 1", architecture)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class Net(:\n", "nets.py:1: is not Python: invalid syntax"),
        ("\x00", "is not Python: source code string cannot contain null bytes"),
        ("x" * 5_000_000, "5,000,000 bytes is too large for code"),
    ],
)
def test_a_file_that_is_not_python_is_refused(folder, text, expected):
    (folder / "nets.py").write_text(text)
    assert expected in message(folder, "trials: 1")


@pytest.mark.parametrize("name", ["build", "cached", "Made", "Child"])
def test_what_the_source_does_not_tell_is_left_to_a_build(folder, name):
    signature = Architecture(f"nets.py:{name}", folder).signature
    assert bool(signature.open) == (name != "Child")
    assert signature.problem("width", 8) == ""
    assert (signature.problem("anything", 8) == "") == (name != "Child")


def test_a_default_that_is_bound_twice_is_not_known(tmp_path):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nWIDTH = 16\nONCE = 3\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes, width: int = WIDTH, depth: int = ONCE):\n"
        "        super().__init__()\n"
        "WIDTH = 64\n"
    )
    defaults = Architecture("nets.py:Net", tmp_path).signature.defaults
    assert defaults == {"depth": 3}


def test_an_installed_package_is_read_without_its_import(folder):
    found = Architecture("torchvision.models:resnet18", folder).signature
    assert found.open == "its definition is in another file"
    found = Architecture("torchvision.models.resnet:ResNet", folder).signature
    assert found.problem("width_per_group", "wide") != ""


def test_bases_literals_and_shares_are_read_as_python_means_them(tmp_path):
    (tmp_path / "nets.py").write_text(
        "from typing import Literal\n"
        "from torch import nn\n"
        "class CountMixin:\n"
        "    def parameters_in_all(self): return 0\n"
        "class Base(nn.Module):\n"
        "    def __init__(self, classes, k: int | Literal['auto'] = 'auto', dropout=0, width=8):\n"
        "        super().__init__()\n"
        "class Net(CountMixin, Base): pass\n"
    )
    found = Architecture("nets.py:Net", tmp_path).signature
    assert [*found.arguments] == ["k", "dropout", "width"]
    for name, value, problem in (
        ("k", 5, ""),
        ("k", "auto", ""),
        ("k", 0.5, "is one of 'auto' or takes a whole number, not 0.5"),
        ("dropout", 0.1, ""),
        ("width", 0.1, "takes a whole number, not 0.1"),
    ):
        assert found.problem(name, value).endswith(problem), (name, value)
        assert bool(found.problem(name, value)) == bool(problem)


WORDS = """
from typing import Literal
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, norm: str | None = "batch", any=None, flag: bool = True,
                 act: str = "relu", own: Literal["None", "on"] = "on", free: "Thing" = 3):
        super().__init__()
        self.norm, self.any, self.flag = norm, any, flag

class Reads(nn.Module):
    def __init__(self, classes, width: int = 4):
        print(locals())

class Passes(Net):
    def __init__(self, classes, act: str = "relu", **rest):
        super().__init__(classes, **rest)
"""


@pytest.fixture
def words(tmp_path):
    (tmp_path / "nets.py").write_text(WORDS)
    return lambda name: Architecture(f"nets.py:{name}", tmp_path).signature


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("norm", "None", "would get the word 'None', and a space has no None"),
        ("any", "None", "would get the word 'None', and a space has no None"),
        ("any", "yes", "would get the word 'yes': write true or false, or annotate it as str"),
        ("free", "Off", "would get the word 'Off': write true or false"),
        ("flag", "no", "takes true or false, not 'no'"),
        ("norm", "none", ""),
        ("act", "None", ""),
        ("act", "off", ""),
        ("own", "None", ""),
        ("own", "on", ""),
        ("own", "off", "own of Net (nets.py:7) is one of 'None', 'on', not 'off'"),
        ("any", "batch", ""),
        ("any", True, ""),
    ],
)
def test_words_that_are_meant_as_none_or_a_truth_are_refused(argument, value, message, words):
    problem = words("Net").problem(argument, value)
    assert message in problem
    assert bool(problem) == bool(message)


def test_arguments_that_no_line_reads_are_known(words):
    unread = {name for name, one in words("Net").arguments.items() if not one.is_read}
    assert unread == {"act", "own", "free"}
    assert words("Reads").arguments["width"].is_read
    assert not words("Passes").arguments["act"].is_read
