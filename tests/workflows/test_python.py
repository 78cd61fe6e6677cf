"""What Python code calls: `tunecnn.search` and what follows it."""

from __future__ import annotations

import linecache
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import tunecnn
from tests.support.command import main
from tunecnn.models.notebook import notebook_source
from tunecnn.process import EndedAtOnceError
from tunecnn.workflows.networks import changed_code

CELLS = """
import torch
from torch import nn
from torch.nn import functional as F
from typing import Literal

Act = Literal["relu", "gelu"]
WIDTHS = {"narrow": 4, "wide": 8}

def pool(values):
    return F.adaptive_avg_pool2d(values, SIZE)

SIZE = 2

class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return pool(self.conv(values))

class Mine(nn.Module):
    def __init__(self, input_shape, classes, width: int = 4, act: Act = "relu") -> None:
        super().__init__()
        self.block = Block(input_shape[0], width + WIDTHS["narrow"])
        self.head = nn.Linear((width + 4) * SIZE**2, classes)

    def forward(self, images):
        return self.head(self.block(images).flatten(1))

scale = torch.ones(1)
images = torch.ones(1)  # the name of an argument above, too

class Unknown(Mine):
    def forward(self, images):
        return super().forward(images) * scale
"""
SPACE = {
    "name": "python",
    "goal": "Which width?",
    "dataset": "digits",
    "epochs": 1,
    "trials": 2,
    "parameters": {
        "net.width": tunecnn.Choice(4, 8),
        "learning_rate": tunecnn.Float(1e-3, 1e-2, log=True, role="nuisance"),
        "train_images": 100,
    },
    "start": ["baseline", {"net.width": 8}],
    "sampler": "random",
}


@pytest.fixture
def notebook(monkeypatch):
    """The classes of some cells, as a notebook's kernel has them."""
    name = "<cell 1>"
    linecache.cache[name] = (len(CELLS), None, CELLS.splitlines(keepends=True), name)
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(CELLS, name, "exec"), module.__dict__)
    return module


def test_the_source_of_a_notebooks_class_has_all_that_it_uses(notebook, tmp_path):
    text = notebook_source(notebook.Mine)
    path = tmp_path / "alone.py"
    path.write_text(text)
    scope: dict[str, object] = {}
    exec(compile(text, "alone.py", "exec"), scope)
    net = scope["Mine"](input_shape=(1, 8, 8), classes=3)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert "WIDTHS = {'narrow': 4, 'wide': 8}" in text
    assert text.index("def pool") < text.index("class Block") < text.index("class Mine")
    assert "scale" not in text


VALUES = """
import collections
import enum

import numpy as np

GAIN = np.sqrt(2.0)
COUNT, ON, NAME = np.int32(3), np.bool_(True), np.str_("relu")
LIMITS = {"low": -float("inf"), "high": [float("nan"), 1e-300, (1,), frozenset(), {2}]}
Colour = enum.IntEnum("Colour", "RED")
RED = Colour.RED
FILLED = collections.OrderedDict(a=1)
FILLED["b"] = 2

def uses():
    return GAIN, COUNT, ON, NAME, LIMITS

def uses_red():
    return RED

def uses_filled():
    return FILLED
"""


def test_plain_values_of_a_notebook_are_written_so_that_they_can_be_read(monkeypatch):
    name = "<cell 2>"
    linecache.cache[name] = (len(VALUES), None, VALUES.splitlines(keepends=True), name)
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(VALUES, name, "exec"), module.__dict__)
    scope: dict[str, object] = {}
    exec(compile(notebook_source(module.uses), "alone.py", "exec"), scope)
    assert repr(scope["uses"]()) == repr((2**0.5, 3, True, "relu", module.LIMITS))
    for function, message in (
        (module.uses_red, "the source of Colour is not in one cell"),
        (module.uses_filled, "uses_filled uses FILLED, a OrderedDict that a cell has made"),
    ):
        with pytest.raises(tunecnn.InputError, match=message):
            notebook_source(function)


def test_an_object_that_a_cell_has_made_is_named(notebook):
    with pytest.raises(tunecnn.InputError, match="Unknown uses scale, a Tensor that a cell has"):
        notebook_source(notebook.Unknown)


def test_a_class_of_a_notebook_is_searched_and_loaded(notebook, tmp_path, monkeypatch):
    class Counting(tunecnn.Listener):
        epochs = 0

        def on_epoch(self, number, metrics):
            self.epochs += 1

    seen = Counting()
    run = tunecnn.search(
        SPACE, notebook.Mine, local=True, runs_dir=tmp_path, name="one", listeners=[seen]
    )
    assert seen.epochs == 2
    assert run.trials["param.net.width"].tolist() == [4, 8]
    assert [path.name for path in (run.path / "code").iterdir()] == ["from_notebook.py"]
    with pytest.warns(UserWarning, match="comes with the code"):
        model = run.load_model(0)
    assert model.probabilities(np.zeros((2, 8, 8, 1), np.uint8)).shape == (2, 10)
    assert changed_code(run.space, run.info) == []
    cell = CELLS.replace("SIZE**2, classes)", "SIZE**2, classes, bias=False)")
    linecache.cache["<cell 2>"] = (len(cell), None, cell.splitlines(keepends=True), "<cell 2>")
    exec(compile(cell, "<cell 2>", "exec"), notebook.__dict__)
    (warning,) = changed_code(run.space, run.info)
    assert warning.startswith("the notebook's network has changed since the run was started")
    assert repr(run).startswith(f"<Run {run.path}: search of python on digits, done, 2 of 2")
    assert "Which width?" in run._repr_html_()


class Pairs:
    """Indexes to (image, label), as torchvision's data sets do."""

    classes = ("dark", "bright")

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(count)
        self.labels = random.integers(0, 2, count)
        self.images = (
            random.integers(0, 100, (count, 8, 8, 3)) + 150 * self.labels[:, None, None, None]
        ).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return self.images[index], int(self.labels[index])


@pytest.mark.parametrize("form", ["indexed", "parts", "arrays", "mapping"])
def test_images_are_given_in_any_usual_form(form, tmp_path):
    train, test = Pairs(60), Pairs(20)
    data = {
        "indexed": train,
        "parts": {"train": train, "test": test},
        "arrays": (train.images, train.labels),
        "mapping": {
            "train_images": train.images,
            "train_labels": train.labels,
            "test_images": test.images,
            "test_labels": test.labels,
        },
    }[form]
    space = {"epochs": 1, "trials": 1, "architecture": "model1", "parameters": {"net.width": 0.1}}
    run = tunecnn.search(
        space,
        data=data,
        local=True,
        runs_dir=str(tmp_path),
        name="r",
        data_dir=str(tmp_path / "data"),
    )
    assert run.info.dataset.input_shape == (3, 8, 8)
    if form in ("parts", "mapping"):
        assert (run.info.dataset.train + run.info.dataset.validation, run.info.dataset.test) == (
            60,
            20,
        )
    if form in ("indexed", "parts"):
        assert run.info.dataset.classes == ("dark", "bright")
    if form == "arrays":
        assert len(run.resume(1, local=True).trials) == 2  # the images are still there
        with pytest.raises(tunecnn.InputError, match="more_trials must be 0 or more, not -1"):
            run.resume(-1, local=True)


def test_a_space_may_have_values_of_numpy_paths_and_the_network_itself(notebook, tmp_path):
    (tmp_path / "groups.csv").write_text("file,group\n")
    space = {
        **SPACE,
        "dataset": Path("digits"),
        "architecture": notebook.Mine,
        "epochs": np.int64(1),
        "parameters": {
            "net.width": tunecnn.Choice(*np.arange(4, 9, 4)),
            "learning_rate": tunecnn.Float(np.float32(0.001), np.float64(0.01), log=np.True_),
            "batch_size": {"choice": np.array([32, 64])},
            "train_images": np.int64(100),
        },
    }
    run = tunecnn.search(space, local=True, runs_dir=tmp_path, name="numpy")
    assert run.trials["param.net.width"].tolist() == [4, 8]
    assert run.trials["architecture"].unique().tolist() == ["from_notebook.py:Mine"]
    again = tunecnn.load_run(tmp_path / "numpy").space
    assert again.searched["batch_size"].options == (32, 64)


def test_a_tilde_is_the_home_folder_in_python_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUNECNN_DATA", "~/data")
    monkeypatch.chdir(tmp_path)
    space = {"epochs": 1, "trials": 1, "architecture": "model1", "parameters": {"net.width": 0.1}}
    pairs = Pairs(40)
    tunecnn.search(
        space, data=(pairs.images, pairs.labels), local=True, runs_dir="~/runs", name="one"
    )
    assert tunecnn.load_run("~/runs/one").path == tmp_path / "home" / "runs" / "one"
    assert len(list((tmp_path / "home" / "data" / "given").iterdir())) == 1
    assert not (tmp_path / "~").exists()


MISTAKES = [
    ({"space": "nosuch.yaml"}, "there is no space 'nosuch.yaml'"),
    ({"space": {"epochs": 0}}, "epochs: must be 1 or more, not 0"),
    ({"space": {"goal": object()}}, "goal: must be a word, not <object"),
    ({"network": torch.nn.Linear(1, 1)}, "network is a class or a function, not Linear"),
    (
        {"network": type("Local", (), {"__qualname__": "f.<locals>.Local"})},
        "defined inside a function",
    ),
    ({"network": "nets.py:Net"}, "there is no file nets.py in"),
    ({"data": 3}, "data is a name, two arrays .* not int"),
    ({"data": [1, 2, 3]}, r"data: train\[0\] is not a pair \(image, label\)"),
    ({"data": (np.zeros((3, 8, 8), np.uint8), np.zeros(2, int))}, "has 2 values for 3 images"),
    (
        {"trial_timeout": float("nan")},
        "trial_timeout must be a number from 1 to 1,000,000,000, not nan",
    ),
    ({"gpus_per_trial": 2}, "gpus_per_trial 2: a trial uses one GPU; give 1, or a fraction"),
    ({"gpus_per_trial": 1e-310}, "gpus_per_trial must be 0 or at least 0.001, not 1e-310"),
    ({"name": "../up"}, "name must name a folder below runs_dir, not '../up'"),
    ({"nodes": 3}, "unknown option 'nodes'; allowed: "),
    ({"trails": 3}, "unknown option 'trails'; did you mean 'trials'"),
    ({"sampler": "grid"}, "sampler is a key of the space: write it there"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(given, message, tmp_path):
    space = {"trials": 1} if "data" in given else SPACE
    arguments = {"space": space, "local": True, "runs_dir": tmp_path / "runs", **given}
    with pytest.raises(tunecnn.InputError, match=message):
        tunecnn.search(**arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tunecnn.Float(2, 1), "the low bound 2 is above the high bound 1"),
        (lambda: tunecnn.Int(1, 9, step=0), "must be 1 or more, not 0"),
        (lambda: tunecnn.Choice(), "must be a list of at least one value"),
        (lambda: tunecnn.Float(0, 1, log=True), "a log scale cannot start at 0"),
    ],
)
def test_a_parameter_that_is_none_is_refused_where_it_is_made(make, message):
    with pytest.raises(tunecnn.InputError, match=message):
        make()


ODD_CELLS = """
import torch
from torch import nn

import beside_the_notebook
from beside_the_notebook import block

def abs(x):
    return x * 0

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
    def forward(self, x):
        return abs(self.head(x.flatten(1)))

class Local(Net):
    def forward(self, x):
        return block(x)

class Whole(Net):
    def forward(self, x):
        return beside_the_notebook.block(x)

class Changed(Net):
    def __init__(self, classes):
        super().__init__(classes)
    def forward(self, x):
        return x
"""


def test_what_a_notebook_uses_is_what_is_trained(tmp_path, monkeypatch):
    (tmp_path / "beside_the_notebook.py").write_text("def block(x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    forward = "def forward(self, x):\n    return x * 2\n\nChanged.forward = forward\n"
    for name, cell in (("<cell 3>", ODD_CELLS), ("<cell 4>", forward)):
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), module.__dict__)
    assert "def abs(x):" in notebook_source(module.Net)
    for made in (module.Local, module.Whole):
        with pytest.raises(
            tunecnn.InputError,
            match=r"beside the notebook and would not travel: .*"
            r"code: \[beside_the_notebook.py\]",
        ):
            notebook_source(made)
    with pytest.raises(tunecnn.InputError, match=r"Changed.forward was set outside of the class"):
        notebook_source(module.Changed)


def test_a_space_file_is_the_same_search_as_on_the_command_line(tmp_path):
    """Its mistakes have their lines, and a scheduler may have begun the run with the command."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "dataset: digits\nepochs: 1\ntrials: 1\narchitecture: model1\n"
        "parameters: {train_images: 100, net.width: {choice: [0.1, 0.2]}}  # narrow\n"
    )
    words = ["--resume-or-start", "same", "--runs-dir", str(tmp_path), "--local"]
    assert main("search", "--space", str(file), *words) == 0
    again = tunecnn.search(file, resume_or_start="same", runs_dir=tmp_path, local=True)
    assert len(again.trials) == 1
    assert (again.path / "space.yaml").read_text() == file.read_text()
    file.write_text("dataset: digits\nepochs: one\ntrails: 3\n")
    with pytest.raises(tunecnn.InputError) as caught:
        tunecnn.search(file, local=True)
    assert f"{file}:2: epochs: must be a whole number, not 'one'" in str(caught.value)
    assert f"{file}:3: trails: unknown key; did you mean 'trials'?" in str(caught.value)


def test_what_is_probably_unintended_is_warned_of(tmp_path):
    space = {
        "dataset": "digits",
        "epochs": 1,
        "trials": 1,
        "sampler": "random",
        "parameters": {"batch_size": {"choice": [64]}, "train_images": 100},
    }
    with pytest.warns(UserWarning, match="batch_size has only one value, 64"):
        run = tunecnn.search(space, trials=np.int64(1), local=True, runs_dir=tmp_path)
    assert len(run.trials) == 1
    with pytest.raises(tunecnn.InputError, match="space is a SearchSpace; give the file"):
        tunecnn.search(run.space, local=True, runs_dir=tmp_path)


MORE_CELLS = [
    """
import dataclasses, enum, functools
from typing import NamedTuple
import torch
from torch import nn

WIDTH = 64
COUNT = 0

def traced(call):
    @functools.wraps(call)
    def inner(*args, **named):
        return call(*args, **named)
    return inner

class Kind(enum.Enum):
    A = "a"

class Size(NamedTuple):
    width: int = 3

@dataclasses.dataclass
class Settings:
    width: int = 4

    def twice(self):
        return 2 * self.width

class Base(nn.Module):
    def __init__(self, classes, width=4):
        super().__init__()
        self.fc = nn.LazyLinear(classes)

class Net(Base):
    @torch.no_grad()
    def reset(self):
        self.fc.reset_parameters()

    @traced
    def forward(self, x):
        global COUNT
        COUNT += 1
        return self.fc(x.flatten(1)) * Size().width * Settings().twice() * len(Kind.A.value)

class Plain(Base):
    pass

class Hidden(Base):
    hidden = 8

class Default(Base):
    def __init__(self, classes, *, width=WIDTH):
        super().__init__(classes, width)

class Fixed(Base):
    hidden = 2 * WIDTH

LATEST = []

class Counts(Base):
    from math import pi
    made, shapes = 0, 0
    three = 3
    six = 2 * three
    three = 4

    def __init__(self, classes, seen={}, sizes=[1, 2]):
        super().__init__(classes)
        Counts.made += 1
        type(self).last = classes
        seen[classes] = sizes.append(classes)

    def forward(self, x):
        global LATEST
        LATEST = [x]
        return self.fc(x.flatten(1))

def marked(cls):
    cls.kind = "marked"
    return cls

class Hooked(Base):
    def __init_subclass__(cls):
        cls.kind = "hooked"

class Below(Hooked):
    pass

width = 64

@marked
class Much(Base):
    a, b = 1, 2
    if WIDTH:
        depth = 3
    n = 1
    n += 1
    steps = []
    for i in range(3):
        steps.append(i)
    width = 4
    hidden = 2 * width

    def __init__(self, classes, width=width):
        super().__init__(classes, width)

@torch.jit.script
def scripted(x: torch.Tensor):
    return x + 1

class Scripted(Base):
    def forward(self, x):
        return self.fc(scripted(x).flatten(1))
""",
    "Hidden.hidden = 64",
    "Plain.extra = 3",
    "WIDTH = 4",
]


@pytest.fixture
def cells(monkeypatch):
    """What some more cells define, and a function that runs one more of them."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)

    def run(number):
        name = f"<cell {number}>"
        text = MORE_CELLS[number]
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), module.__dict__)

    run(0)
    yield module, run
    for number in range(len(MORE_CELLS)):
        linecache.cache.pop(f"<cell {number}>", None)


def test_decorated_methods_and_classes_without_methods_are_found_in_their_cells(
    cells, monkeypatch
):
    module, _ = cells
    alone = types.ModuleType("alone")
    monkeypatch.setitem(sys.modules, "alone", alone)
    exec(compile(notebook_source(module.Net), "alone.py", "exec"), alone.__dict__)
    assert alone.Net(classes=2)(torch.zeros(2, 1, 4, 4)).shape == (2, 2)
    assert alone.COUNT == 1
    module.Counts(3)(torch.zeros(1, 1, 2, 2))
    for made in (
        module.Plain,
        module.Hidden,
        module.Default,
        module.Fixed,
        module.Much,
        module.Below,
        module.Counts,
    ):
        assert f"class {made.__name__}" in notebook_source(made)
    with pytest.raises(
        tunecnn.InputError, match="Scripted uses scripted, a ScriptFunction that a"
    ):
        notebook_source(module.Scripted)


@pytest.mark.parametrize(
    ("cell", "name", "message"),
    [
        (1, "Hidden", "Hidden.hidden is 64, and its source would not give it this value now"),
        (
            2,
            "Plain",
            "Plain.extra is 3, and its source would not give it this value now; write it",
        ),
        (
            3,
            "Default",
            "a default of Default.__init__ is 64, and its source would not give it this",
        ),
        (3, "Fixed", "Fixed.hidden is 128, and its source would not give it this value now"),
    ],
)
def test_a_network_that_its_cell_would_make_otherwise_now_is_refused(cell, name, message, cells):
    module, run = cells
    run(cell)
    with pytest.raises(tunecnn.InputError, match=message):
        notebook_source(getattr(module, name))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"listeners": tunecnn.Listener()}, "listeners must be a list of listeners, not <"),
        ({"listeners": [tunecnn.Listener]}, "a listener is an object .*, not the class Listener"),
        ({"local": "no"}, "local cannot be 'no', of type str"),
        ({"runs_dir": 5}, "runs_dir cannot be 5, of type int"),
        (
            {"keep_weights": 2.5},
            "keep_weights must be a whole number from 1 to 1,000,000,000, not",
        ),
        ({"min_free_gb": None}, "min_free_gb must be a number from 0 to 1,000,000,000, not None"),
        ({"track": 5}, "track cannot be 5, of type int"),
        ({"on_end": ["a"]}, r"on_end cannot be \['a'\], of type list"),
    ],
)
def test_an_argument_of_another_type_is_named(given, message):
    with pytest.raises(tunecnn.InputError, match=message):
        tunecnn.search(SPACE, **given)


def test_data_without_images_are_named(tmp_path):
    with pytest.raises(tunecnn.InputError, match="has no images"):
        tunecnn.search(
            "digits.yaml",
            data=(np.zeros((0, 8, 8), np.uint8), np.zeros(0, int)),
            data_dir=tmp_path,
        )


def test_floats_get_their_scale_from_the_space_also_beside_another_data_set(tmp_path):
    """The data set of the space, which takes no scale, is not that of the search."""
    images, labels = np.random.default_rng(0).random((40, 8, 8, 1)), [0, 1] * 20
    space = {
        "name": "own",
        "epochs": 1,
        "trials": 1,
        "sampler": "random",
        "architecture": "model1",
        "parameters": {"net.width": 0.25},
    }
    options = {"local": True, "runs_dir": tmp_path, "data_dir": tmp_path, "data": (images, labels)}
    with pytest.raises(tunecnn.InputError, match="say which value is white: scale: 1.0"):
        tunecnn.search(space, **options)
    run = tunecnn.search({**space, "scale": 1.0}, **options)
    assert tunecnn.load_run(run.path).space.scale == 1.0


def test_a_mapping_that_could_not_be_read_again_is_refused(tmp_path):
    points = [{"learning_rate": 1e-3 + i * 1e-6, "net.dropout_dense": 0.1} for i in range(3500)]
    space = {"name": "long", "dataset": "digits", "trials": 4000, "epochs": 1, "start": points,
             "parameters": {"learning_rate": tunecnn.Float(1e-4, 1e-2),
                            "net.dropout_dense": tunecnn.Float(0.0, 0.5)}}  # fmt: skip
    with pytest.raises(tunecnn.InputError, match="space: .* values and lines are too many"):
        tunecnn.search(space, local=True, runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local": True, "gpus_per_trial": 0}, "gpus_per_trial has no effect beside local=True"),
        ({"local": True, "address": "auto"}, "address has no effect beside local=True, since all"),
        ({"resume_or_start": "a", "name": "b"}, "name has no effect beside resume_or_start"),
        ({"followed_by": ("--confirm", "3x5")}, "unknown option 'followed_by'"),
        ({"take_over": True}, "take_over has no effect here, since a new run has no earlier"),
        ({"allow_changes": True}, "allow_changes has no effect here, since a new run has no"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(options, message, tmp_path):
    with pytest.raises(tunecnn.InputError, match=message):
        tunecnn.search(SPACE, runs_dir=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_reproduction_keeps_all_weights_and_begins_anew(tmp_path):
    for option, reason in (
        ("keep_weights", "all trials that are tested keep their weights"),
        ("allow_changes", "a new run has no earlier session"),
    ):
        with pytest.raises(
            tunecnn.InputError, match=f"{option} has no effect here, since {reason}"
        ):
            tunecnn.reproduce(
                "mnist", runs_dir=tmp_path, **{option: 2 if "keep" in option else True}
            )
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_in_its_folder_with_another_budget(tmp_path):
    space = {
        "name": "budget",
        "dataset": "digits",
        "architecture": "model1",
        "epochs": 1,
        "trials": 3,
        "parameters": {"net.width": tunecnn.Choice(0.25, 0.5)},
        "sampler": "random",
        "budget": {"hours": 1e-9},
    }
    run = tunecnn.search(space, local=True, runs_dir=tmp_path, name="run")
    assert run.trials["state"].eq("COMPLETE").sum() == 0
    for call, reason in (
        (run.resume, "a resumed run stays in its folder"),
        (run.confirm, "a confirmation is in the folder of its search"),
    ):
        with pytest.raises(tunecnn.InputError, match=f"name has no effect here, since {reason}"):
            call(local=True, name="other")
    with pytest.raises(tunecnn.InputError, match="budget"):
        run.resume(budget={"days": 1}, local=True)
    assert len(run.resume(budget={"hours": 1}, local=True).complete) == 3


def test_an_interrupt_ends_a_loop_that_goes_on_after_errors(tmp_path, monkeypatch):
    def ends(*_):
        raise EndedAtOnceError(130)

    monkeypatch.setattr("tunecnn.workflows.python.start_search", ends)
    monkeypatch.setattr("tunecnn.workflows.python.start_reproduction", ends)
    with pytest.raises(KeyboardInterrupt, match="ended at once"):
        tunecnn.search({**SPACE, "start": []}, local=True, runs_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt, match="ended at once"):
        tunecnn.reproduce("digits", "none", epochs=np.int64(1), local=True, runs_dir=tmp_path)


def test_a_trial_with_more_threads_than_cores_is_refused(tmp_path):
    with pytest.raises(tunecnn.InputError, match=r"cannot hold one trial of 4,096 cores \(it has"):
        tunecnn.search({**SPACE, "start": []}, local=True, runs_dir=tmp_path, cpus_per_trial=4096)


def test_a_run_may_be_given_by_its_folder_and_images_as_they_were_loaded(scripted_run):
    run = tunecnn.load_run(scripted_run)
    for function in (tunecnn.summarize, tunecnn.importances, tunecnn.pareto_front):
        assert str(function(str(scripted_run))) == str(function(run))
    assert tunecnn.plots.history(scripted_run)._suptitle.get_text().startswith("Best")
    with pytest.raises(tunecnn.InputError, match="at least two runs"):
        tunecnn.compare(str(scripted_run))
    config = tunecnn.make_config("fast", "model1", "digits", train_images=100)
    whole = tunecnn.load_dataset("digits", config.data_split)
    first, second = (next(tunecnn.train(config, data)) for data in (whole, whole.trial_data))
    assert first.val_loss == second.val_loss
    with pytest.raises(tunecnn.InputError, match="unknown data set .*photos"):
        tunecnn.load_dataset(scripted_run / "photos")
    with pytest.raises(
        tunecnn.InputError,
        match="is an object of a tunecnn.Listener, not <built-in function print>",
    ):
        tunecnn.search(SPACE, listeners=[print])


BASE = """
from torch import nn
class Base(nn.Module):
    width = {width}
    def forward(self, x): return x
"""
MADE = [
    ("class Net(Base):\n    def __init__(self): super().__init__()\n", "",
     "Net was made from an earlier Base"),
    ("class Net(nn.Module):\n    layer = nn.Identity\n    def forward(self, x): return x\n",
     "Net.layer = nn.Linear", "Net.layer is .*Linear"),
    ("LAYER = nn.Linear\nclass Net(nn.Module):\n    def __init__(self, layer=LAYER): pass\n",
     "LAYER = nn.Identity", "a default of Net.__init__ is .*Linear"),
    ("class Net(nn.Module):\n    sizes = [1]\n    def forward(self, x): return len(self.sizes)\n",
     "Net.sizes = [1, 2]", r"Net.sizes is \[1, 2\]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "later", "message"), MADE)
def test_another_class_than_its_cell_would_make_now_is_refused(text, later, message, monkeypatch):
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)

    def run(name, cell):
        monkeypatch.setitem(
            linecache.cache, name, (len(cell), None, cell.splitlines(keepends=True), name)
        )
        exec(compile(cell, name, "exec"), module.__dict__)

    run("<cell a>", BASE.format(width=8))
    run("<cell b>", text)
    assert "class Net" in notebook_source(module.Net)
    run("<cell c>", later or BASE.format(width=32))
    with pytest.raises(tunecnn.InputError, match=message):
        notebook_source(module.Net)


def test_a_class_without_methods_is_found_in_the_script_that_defines_it(monkeypatch, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from torch import nn\n\n\nclass Net(nn.Flatten):\n    '''Nothing else.'''\n"
    )
    module = types.ModuleType("__main__")
    module.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(script.read_text(), str(script), "exec"), module.__dict__)
    assert "class Net(nn.Flatten):\n    '''Nothing else.'''" in notebook_source(module.Net)


def test_a_function_with_the_name_of_an_installed_one_is_not_taken_for_it(tmp_path):
    import functools

    from torchvision.models import resnet18

    @functools.wraps(resnet18)
    def mine(**given):
        return resnet18(**given)

    with pytest.raises(
        tunecnn.InputError, match="resnet18 has the name of another one in torchvision.mod"
    ):
        tunecnn.search({"dataset": "digits"}, network=mine, local=True, runs_dir=tmp_path)


def test_images_that_are_others_each_time_they_are_read_are_refused(tmp_path):
    random = np.random.default_rng(0)

    class Cropped:
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return random.integers(0, 255, (8, 8), dtype=np.uint8), index % 2

    with pytest.raises(tunecnn.InputError, match="is another image each time it is read, as rand"):
        tunecnn.search({**SPACE, "start": []}, data=Cropped(), local=True, runs_dir=tmp_path)


CONDITIONAL = {
    "dataset": "digits",
    "architecture": "model1",
    "epochs": 1,
    "trials": 4,
    "sampler": "random",
    "parameters": {
        "optimizer": tunecnn.Choice("adamw", "sgd"),
        "momentum": tunecnn.Float(0.5, 0.95, when={"optimizer": "sgd"}),
    },
}


def test_the_best_of_an_earlier_search_are_start_points_of_the_next(tmp_path):
    first = tunecnn.search(CONDITIONAL, local=True, runs_dir=tmp_path, name="first")
    points = [
        {name[6:]: value for name, value in row.items() if name.startswith("param.")}
        for _, row in first.ranked.iterrows()
    ]
    assert {"adamw", "sgd"} == {point["optimizer"] for point in points}
    second = {**CONDITIONAL, "start": points}  # with NaN for the momentum of adamw
    run = tunecnn.search(second, local=True, runs_dir=tmp_path, name="second")
    assert run.trials["proposal"].eq("start").sum() == len(run.space.different_start_points())
    third = tunecnn.search(
        CONDITIONAL, local=True, runs_dir=tmp_path, name="third", trials=4, start_from=first
    )
    assert third.trials["proposal"].iloc[0] == "start"
    assert third.trials["param.optimizer"].iloc[0] == first.best["param.optimizer"]


def test_a_goal_that_has_been_reached_is_said_when_no_trial_is_started(tmp_path, capsys):
    space = {**CONDITIONAL, "budget": {"accuracy": 0.01}}
    run = tunecnn.search(space, local=True, runs_dir=tmp_path, name="run")
    assert len(run.complete) == 1
    assert "no further trial was started, since a trial reached" in capsys.readouterr().out
    run.resume(2, local=True)
    assert "no further trial was started, since a trial reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: tunecnn.evaluate(run, (1, 2)), "dataset must be a name, .* not tuple"),
        (lambda run: tunecnn.load_dataset(([0], [1])), "given by its name, not as tuple"),
        (lambda run: tunecnn.make_config("fast", int, "digits"), "architecture must be a name"),
        (lambda run: tunecnn.compare(run), "give at least two runs to compare"),
        (
            lambda run: run.load_model().logits(np.zeros((3, 8, 8, 1))),
            r"with 1 as white, \(images \* 255\).round\(\).astype\('uint8'\)",
        ),
        (lambda run: run.load_model().logits(np.zeros((3, 1, 8, 8), np.uint8)), "channels last"),
        (lambda run: tunecnn.plots.comparison([]), "give at least two runs to compare"),
        (lambda run: tunecnn.plots.history([run]), "history draws one run, not list"),
        (lambda run: tunecnn.Choice([0.25, 0.5]), "true or false, each by itself, not"),
    ],
)
def test_what_search_takes_is_answered_elsewhere_with_what_to_give(call, message, tmp_path):
    run = tunecnn.search({**CONDITIONAL, "trials": 1}, local=True, runs_dir=tmp_path, name="run")
    with pytest.raises(tunecnn.InputError, match=message):
        call(tunecnn.load_run(run))
