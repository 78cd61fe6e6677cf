"""Networks of other people: built, checked and counted, whatever their code does."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture, check_name
from tunecnn.models.building import build, importable
from tunecnn.models.checking import check_output, takes_channels_last
from tunecnn.models.code import NetworkCode
from tunecnn.models.counting import CostCounter
from tunecnn.models.designs import Cost, count
from tunecnn.models.measuring import measure

HEAD = "import sys, time\nfrom torch import nn\nimport torch\n"
NET = """
class Net(nn.Module):
    def __init__(self, input_shape, classes, width: int = 4):
        super().__init__()
        c, h, w = input_shape
        self.conv = nn.Conv2d(c, width, 3, padding=1)
        self.head = nn.Linear(width * h * w, classes)
    def forward(self, x):
        return self.head({flat})
"""
PLAIN = HEAD + NET.replace("{flat}", "self.conv(x).flatten(1)")
SHAPE = (1, 8, 8)


def code_of(text: str, **others: str) -> NetworkCode:
    files = {"nets.py": text, **{f"{name}.py": other for name, other in others.items()}}
    return NetworkCode({name: one.encode() for name, one in files.items()})


def network(text: str, **given) -> nn.Module:
    with importable(code_of(text)):
        return build(Architecture("nets.py:Net", Path()), given, SHAPE, 10)


def measured(text: str) -> Cost:
    with importable(code_of(text)):
        return measure(Architecture("nets.py:Net", Path()), {}, SHAPE, 10)


def test_params_and_macs_are_those_of_the_layers():
    text = HEAD + "print('hello')\nsys.stdout.write('{\"cost\": 1}\\n')\n" + PLAIN
    with CostCounter(code_of(text), SHAPE, 10) as costs:
        cost = costs.cost("nets.py:Net", {"width": 8})  # what the code prints is no answer
        assert cost.params == 9 * 8 + 8 + 8 * 64 * 10 + 10
        assert cost.macs == 9 * 8 * 64 + 8 * 64 * 10
        assert costs.cost("nets.py:Net", {"width": 8}) is cost  # from the cache
        assert costs.cost("proposed", {}) == count("proposed", SHAPE, 10)


def test_our_own_networks_are_counted_alike_by_arithmetic_and_by_a_build():
    for name, module in (("proposed", "Proposed"), ("model2", "Model2")):
        same = Architecture(f"tunecnn.models.published:{module}", Path())
        built = measure(same, {"width": 0.5}, (3, 32, 32), 10)
        counted = count(name, (3, 32, 32), 10, width=0.5)
        assert (built.params, built.macs) == (counted.params, counted.macs)


def test_a_network_may_count_itself():
    own = PLAIN + "    @staticmethod\n    def count(input_shape, classes, width=4): return 5, 6\n"
    cost = measured(own)
    assert (cost.params, cost.macs) == (5, 6)
    other = PLAIN + "    @staticmethod\n    def count(module): return 7\n"
    assert measured(other) == measured(PLAIN)


def test_parts_in_torchscript_are_named():
    scripted = PLAIN.replace(
        "nn.Linear(width * h * w, classes)", "torch.jit.script(nn.Linear(width * h * w, classes))"
    )
    with pytest.raises(
        InputError, match=r"Net has parts in TorchScript, whose cost cannot be coun"
    ):
        measured(scripted)


def test_macs_are_those_of_all_layers_also_where_values_are_needed():
    text = (
        HEAD
        + """
class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        VALUES
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        x = x[:, 0]
        return self.head(self.attention(x, x, x, need_weights=False)[0].flatten(1))
"""
    )
    values = "[one.item() for one in torch.linspace(0, 0.1, 3)]"
    on_meta = measured(text.replace("VALUES", "pass"))
    assert on_meta.macs > 2000
    assert measured(text.replace("VALUES", values)) == on_meta


def test_layers_that_a_cpu_computes_at_once_are_counted_where_values_are_looked_at():
    net = """
class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.rows = nn.LSTM(8, 8, batch_first=True)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        CHECK
        return self.head(self.encoder(self.rows(x[:, 0])[0]).flatten(1))
"""
    checked = net.replace("CHECK", "assert torch.isfinite(x).all()")
    plain = measured(HEAD + net.replace("CHECK", "pass"))
    assert plain.macs > 8 * 8 * (8 * 8)
    assert measured(HEAD + checked).macs == plain.macs


MEMBERS = """
from enum import Enum, auto
class Norm(Enum):
    BATCH = "batch"
    GROUP = "group"
class Act(Enum):
    RELU = auto()
    GELU = auto()
"""


@pytest.mark.parametrize("place", ["kinds", "nets"])
def test_words_are_members_where_a_network_wants_those_of_an_enum(place):
    head = HEAD + ("from kinds import Act, Norm\n" if place == "kinds" else MEMBERS)
    text = head + NET.replace("width: int = 4", "norm: Norm = Norm.GROUP, act: Act | None = None")
    text = text.replace(
        "super().__init__()", "super().__init__(); self.got = norm, act; width = 4"
    )
    text = text.format(flat="self.conv(x).flatten(1)")
    with importable(code_of(text, kinds=MEMBERS)):
        made = build(
            Architecture("nets.py:Net", Path()), {"norm": "batch", "act": "GELU"}, SHAPE, 10
        )
        assert [one.name for one in made.got] == ["BATCH", "GELU"]
        with pytest.raises(
            InputError, match="norm of Net is one of 'batch', 'group', not 'layer'"
        ):
            build(Architecture("nets.py:Net", Path()), {"norm": "layer"}, SHAPE, 10)


@pytest.mark.parametrize("given", ["**rest", "input_shape=(1, 8, 8), **rest"])
def test_what_is_passed_on_to_a_base_class_is_set_as_that_takes_it(given):
    sub = f"""
class Wide(Net):
    def __init__(self, width=8, **rest):
        super().__init__(width=width, {given})
"""
    with importable(code_of(PLAIN + sub)):
        made = build(Architecture("nets.py:Wide", Path()), {}, SHAPE, 10)
    assert made.conv.out_channels == 8


@pytest.mark.parametrize("line", ["np.random.seed(0)", "random.seed(1)", "torch.manual_seed(2)"])
def test_a_constructor_that_sets_a_seed_is_refused(line):
    text = "import random\nimport numpy as np\n" + PLAIN.replace(
        "super().__init__()", f"super().__init__(); {line}"
    )
    with pytest.raises(
        InputError, match="Net sets the seed of .* while it is built, so trials with"
    ):
        network(text)


def test_a_base_that_gets_nothing_more_ends_what_is_passed_on():
    more = """
class Middle(Net):
    def __init__(self, classes, width=4):
        super().__init__((1, 8, 8), classes, width)
class Leaf(Middle):
    def __init__(self, classes, **more):
        super().__init__(classes, **more)
"""
    with importable(code_of(PLAIN + more)):
        made = build(Architecture("nets.py:Leaf", Path()), {"width": 6}, SHAPE, 10)
        assert made.conv.out_channels == 6
        assert build(Architecture("nets.py:Leaf", Path()), {}, SHAPE, 10).conv.out_channels == 4


@pytest.mark.parametrize(
    "line",
    [
        "state = np.random.get_state(); np.random.seed(0); np.random.set_state(state)",
        "import tunecnn; self.inner = tunecnn.build_model('model1', (3, 32, 32), 10)",
    ],
)
def test_a_constructor_may_give_a_generator_its_state_back(line):
    text = "import numpy as np\n" + PLAIN.replace(
        "super().__init__()", f"super().__init__(); {line}"
    )
    assert network(text).conv.out_channels == 4


def test_an_enum_or_a_number_may_be_wanted():
    text = HEAD + MEMBERS + NET.replace("width: int = 4", "norm: Norm | int = 2")
    text = text.replace("super().__init__()", "super().__init__(); self.got = norm; width = 4")
    text = text.format(flat="self.conv(x).flatten(1)")
    with importable(code_of(text)):
        for given, got in ((3, 3), ("group", "group"), ("BATCH", "batch")):
            made = build(Architecture("nets.py:Net", Path()), {"norm": given}, SHAPE, 10)
            assert getattr(made.got, "value", made.got) == got


def test_an_enum_is_wanted_beside_what_only_a_type_checker_knows_and_by_a_base():
    text = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n" + HEAD + MEMBERS
    )
    text += "if TYPE_CHECKING:\n    from typing import Nothing\n"
    text += NET.replace("width: int = 4", "norm: Norm = Norm.BATCH, other: Nothing | None = None")
    text = text.replace("super().__init__()", "super().__init__(); self.got = norm; width = 4")
    text = text.format(flat="self.conv(x).flatten(1)")
    text += (
        "class Sub(Net):\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n"
    )
    with importable(code_of(text)):
        for name in ("Net", "Sub"):
            made = build(Architecture(f"nets.py:{name}", Path()), {"norm": "group"}, SHAPE, 10)
            assert type(made.got).__name__ == "Norm"


def test_a_class_with_open_arguments_gets_the_classes_as_its_base_takes_them():
    sub = (
        "class Sub(Net):\n    def __init__(self, width=6, **kwargs):\n        "
        "super().__init__(width=width, **kwargs)\n"
    )
    text = PLAIN + sub
    with importable(
        code_of(
            text.replace(
                "input_shape, classes, width: int = 4", "classes, width=4, input_shape=(1, 8, 8)"
            )
        )
    ):  # noqa: E501
        made = build(Architecture("nets.py:Sub", Path()), {"width": 5}, SHAPE, 10)
    assert made.conv.out_channels == 5


def test_what_cannot_be_built_without_values_is_built_with_them():
    text = PLAIN.replace("super().__init__()", "super().__init__(); torch.ones(1).item()")
    text = text.replace("torch.ones(1).item()", "torch.zeros(()).add(1).item()")
    assert measured(text).params == 9 * 4 + 4 + 4 * 64 * 10 + 10


FAULTS = [
    ("raise ValueError('no weights here')\n", "nets.py cannot be imported: ValueError (nets.py:4): no weights here"),
    pytest.param("sys.exit(3)\n", "nets.py cannot be imported: a call of sys.exit (nets.py:4): 3", marks=pytest.mark.slow),
    ("SIZES = open(__file__.replace('nets.py', 'a/sizes.txt')).read()\n",
     "FileNotFoundError (nets.py:4): a/sizes.txt does not travel with the code; write code: [nets.py, a/sizes.txt]"),
    ("SIZES = open('/nowhere/sizes.txt').read()\n", "No such file or directory: '/nowhere/sizes.txt'"),
    ("import os; os._exit(1)\n", "the import of nets.py ended its process"),
    ("time.sleep(60)\n", "the import of nets.py did not end within 1 s"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), FAULTS)
def test_code_that_fails_hangs_or_exits_is_told_in_one_line(line, expected):
    started = time.monotonic()
    with CostCounter(code_of(HEAD + line + PLAIN), SHAPE, 10, seconds=1.0) as costs:
        with pytest.raises(InputError) as caught:
            costs.cost("nets.py:Net", {})
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
        assert costs.cost("model1", {}).params > 0  # and the others go on
    assert time.monotonic() - started < 40


def test_a_process_that_was_killed_for_another_reason_is_asked_once_more(tmp_path):
    """As by a lack of memory; a network of which this was said could never be tried again."""
    line = f"if not os.path.exists('{tmp_path}/lost'): open('{tmp_path}/lost', 'w'); os._exit(9)\n"
    with CostCounter(code_of(HEAD + "import os\n" + line + PLAIN), SHAPE, 10) as costs:
        assert costs.cost("nets.py:Net", {}).params > 0
        assert (tmp_path / "lost").exists()


def test_an_import_that_does_not_end_is_waited_for_once():
    started = time.monotonic()
    with CostCounter(code_of(HEAD + "time.sleep(60)\n" + PLAIN), SHAPE, 10, seconds=1.0) as costs:
        for width in range(1, 40):
            with pytest.raises(InputError, match="did not end within 1 s"):
                costs.cost("nets.py:Net", {"width": width})
    assert time.monotonic() - started < 40


@pytest.mark.slow
def test_the_process_that_counts_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with CostCounter(code_of(HEAD + PLAIN), SHAPE, 10) as costs:
        costs.cost("nets.py:Net", {})
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


RETURNS = [
    ("return x.sum()", r"Net returned the shape \(\) for 2 images of 1x8x8; .* \(2, 10\)"),
    ("return self.conv(x)", r"Net returned the shape \(2, 4, 8, 8\)"),
    ("return [x]", "Net returned list, not a tensor of logits"),
    ("return self.head(x)", "Net cannot process images of 1x8x8: RuntimeError"),
    ("return self.head(self.conv(x).flatten(1)) / 0", "returns nan or infinity before any train"),
    (
        "return self.head(self.conv(x).flatten(1)).detach()",
        "Net returns logits without a gradient",
    ),
    ("with torch.no_grad(): return self.head(self.conv(x).flatten(1))", "without a gradient"),
    ("return x.mean((1, 2, 3))[:, None].repeat(1, 10)", "Net returns logits without a gradient"),
]


@pytest.mark.parametrize(("line", "expected"), RETURNS)
def test_what_is_no_logits_is_refused(line, expected):
    text = PLAIN.replace("return self.head(self.conv(x).flatten(1))", line)
    with pytest.raises(InputError, match=expected):
        check_output("Net", network(text), SHAPE, 10)


def test_a_network_without_parameters_to_train_is_refused():
    frozen = network(PLAIN).requires_grad_(False)
    for one in (frozen, nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10))):
        with pytest.raises(InputError, match="Net has no parameters to train"):
            check_output("Net", one, SHAPE, 10)


def test_a_gradient_in_training_alone_is_enough():
    line = "return self.head(self.conv(x).flatten(1))"
    text = PLAIN.replace(line, f"with torch.set_grad_enabled(self.training): {line}")
    one = network(text)
    before = {name: weight.clone() for name, weight in one.state_dict().items()}
    state = torch.get_rng_state()
    check_output("Net", one, SHAPE, 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one.state_dict()[name], weight) for name, weight in before.items())
    assert not one.training


@pytest.mark.parametrize(
    "change",
    [
        "self.conv = [self.conv]; self.first = self.conv[0].forward",
        "self.first = nn.Conv2d(c, width, 3, padding=1).forward",
    ],
)
def test_layers_that_are_not_registered_are_refused(change):
    """They would be trained by nobody, and be others in the saved model."""
    text = PLAIN.replace("self.head = ", f"{change}; self.head = ")
    text = text.replace("self.conv = nn.Conv2d", "conv = nn.Conv2d").replace(
        "[self.conv]", "[conv]"
    )
    text = text.replace("self.conv(x)", "self.first(x)")
    with pytest.raises(InputError, match=r"weights of the shape .* nn\.ModuleList"):
        check_output("Net", network(text), SHAPE, 10)


def test_what_cannot_be_built_names_values_and_line():
    text = PLAIN.replace("super().__init__()", "super().__init__(); assert width % 2 == 0, 'odd'")
    with pytest.raises(InputError) as caught:
        network(text, width=3)
    assert str(caught.value) == (
        "Net cannot be built with width = 3: AssertionError (nets.py:7): odd"
    )
    with pytest.raises(InputError, match="Net returned int, not a torch.nn.Module"):
        network(HEAD + "def Net(classes): return 3\n")


def test_a_view_gets_contiguous_images_and_others_channels_last():
    assert takes_channels_last(network(PLAIN), (3, 8, 8)) is False  # it takes one channel
    text = PLAIN.replace(".flatten(1)", ".view(len(x), -1)")
    with importable(code_of(text)):
        viewing = build(Architecture("nets.py:Net", Path()), {}, (3, 8, 8), 10)
    assert takes_channels_last(viewing, (3, 8, 8)) is False
    assert viewing.conv.weight.is_contiguous()
    with importable(code_of(PLAIN)):
        flat = build(Architecture("nets.py:Net", Path()), {}, (3, 8, 8), 10)
    assert takes_channels_last(flat, (3, 8, 8)) is True
    assert flat.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_two_versions_of_one_file_do_not_mix_and_nothing_stays_behind():
    path = list(sys.path)
    for width in (4, 6):
        text = f"from part import width\n{PLAIN}".replace("= 4", "= width")
        with importable(code_of(text, part=f"width = {width}")):
            net = build(Architecture("nets.py:Net", Path()), {}, SHAPE, 10)
        assert net.conv.out_channels == width
    assert sys.path == path
    assert not {"nets", "part"} & sys.modules.keys()
    with pytest.raises(InputError, match=r"the code of nets.py:Net is not at hand"):
        build(Architecture("nets.py:Net", Path()), {}, SHAPE, 10)


def test_the_hash_of_code_depends_on_names_and_contents(tmp_path):
    code = code_of(PLAIN, part="x = 1")
    code.write(tmp_path)
    assert NetworkCode.read(tmp_path, map(Path, code.files)).hash == code.hash
    assert NetworkCode.from_json(code.to_json()).hash == code.hash
    assert (
        len({code.hash, code_of(PLAIN, part="x = 2").hash, code_of(PLAIN, port="x = 1").hash}) == 3
    )


def test_code_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "nets.py")
    with pytest.raises(InputError, match=r"nets\.py cannot be read: it is not a regular file"):
        NetworkCode.read(tmp_path, [Path("nets.py")])


LEAKS = """
import argparse, os, sys, tempfile, warnings
import numpy as np
import torch
from torch import nn
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
np.seterr(all="raise")
os.chdir(tempfile.gettempdir())
warnings.filterwarnings("error")
argparse.ArgumentParser().parse_args()

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return self.head(x.flatten(1))
"""


def test_what_a_file_sets_for_its_process_is_put_back(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tunecnn", "search", "--space", "x.yaml"])
    before = np.geterr(), warnings.filters[:]
    made = network(LEAKS)
    assert made.head.weight.dtype == torch.float32
    assert made.head.weight.requires_grad
    assert torch.is_grad_enabled()
    assert Path.cwd() == tmp_path
    assert (np.geterr(), warnings.filters[:]) == before
    assert sys.argv[1] == "search"


def test_a_constructor_that_sets_the_seed_is_refused_however_often_it_is_tried():
    text = PLAIN.replace("super().__init__()", "super().__init__(); torch.manual_seed(5)")
    code = code_of("import torch\n" + text)
    with importable(code):
        for _ in range(2):
            with pytest.raises(InputError, match="Net sets the seed of torch while it is built"):
                measure(Architecture("nets.py:Net", Path()), {}, SHAPE, 10)


@pytest.mark.parametrize("name", ["net.v2.py:Net", "my.models/net.py:Net"])
def test_a_file_that_python_cannot_import_is_refused_at_once(name):
    with pytest.raises(InputError, match="has a dot in its name .*: rename it, such as "):
        check_name(name)
    for fine in ("../models/net.py:Net", "./net.py:Net", "./sub/net.py:Net", "a.b:Net"):
        check_name(fine)


def test_a_network_is_imported_where_the_working_folder_is_gone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # which comes back at the end
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert network(PLAIN + "\n# where there is no folder\n").head.out_features == 10
