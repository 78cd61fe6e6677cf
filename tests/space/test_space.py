from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunecnn.errors import InputError
from tunecnn.models.designs import count
from tunecnn.space.space import SearchSpace

SGD = "parameters: {optimizer: {choice: [sgd, adamw]}, momentum: {float: [0, 0.9], "

# One mistake a row: what is written, and what the user is told.
MISTAKES = [
    ("", "is empty"),
    ("[1, 2]", "space:1: a space is a mapping of keys to values, not a list"),
    ("hello", "not a single value"),
    ("name: x\n\tepochs: 3", "space:2: is not YAML"),
    ("name: [", "is not YAML"),
    ("trails: 3", "space:1: trails: unknown key; did you mean 'trials'?"),
    ("epochs: 3\nepochs: 4", "epochs: is given twice, in lines 1 and 2"),
    ("epochs: ten", "space:1: epochs: must be a whole number, not 'ten'"),
    ("epochs: 0", "epochs: must be 1 or more, not 0"),
    ("epochs: 2.5", "epochs: must be a whole number, not 2.5"),
    ("trials: -1", "trials: must be 1 or more, not -1"),
    ("seed: -1", "seed: must be 0 or more, not -1"),
    ("seed: 0.5", "seed: must be a whole number, not 0.5"),
    ("name: a/b", "name: 'a/b' cannot name a folder"),
    ("architecture: model4", "architecture: unknown architecture 'model4'; did you mean 'model"),
    ("dataset: cifar", "dataset: unknown data set 'cifar'; did you mean 'cifar10'"),
    ("dataset: 'imagefolder:'", "imagefolder needs the path"),
    ("recipe: slow", "recipe: unknown recipe 'slow'; allowed: fast, published"),
    ("budget: 2", "budget: must be a mapping of keys to values, not 2"),
    ("start: [{k: 3}]", "start.0: 'k' is not searched; allowed: none"),
    ("parameters: {batch_size: [16, 32, 64, 128]}",
     "parameters.batch_size: several values are written {choice: [16, 32, 64, ...]}"),
    ("parameters: {Net.width: 2}", "an argument of the network is written net.width"),
    ("parameters: {net_size: 2}", "an argument of the network is written net.size"),
    ("sampler: bayes", "sampler: unknown sampler 'bayes'; did you mean 'tpe'? allowed: "),
    ("pruner: asha", "pruner: unknown pruner 'asha'; did you mean 'promotion'? allowed: "),
    ("parameters: {lr: 0.1}", "unknown setting 'lr'; did you mean 'learning_rate'? allowed: alter"),
    ("learning_rate: 0.1", "space:1: learning_rate: is no key of a space: write it under parame"),
    ("net.width: 2", "net.width: is no key of a space: write it under parameters"),
    ("until: 0.8", "space:1: until: is a limit: write budget: {accuracy: ...}"),
    ("sampler: {tpe: {startup: 3}}", "tpe has no option 'startup'; did you mean 'startup_trials'"),
    ("pruner: {halving: {factor: 1}}", "pruner: factor: must be 2 or more, not 1"),
    ("pruner: {percentile: {percentile: 100}}", "percentile: must be below 100, not 100"),
    ("pruner: {patient: {patience: 0}}", "patience: must be 1 or more, not 0"),
    ("epochs: 3\npruner: {hyperband: {min_epochs: 3}}", "hyperband from epoch 3 leaves no rung"),
    ("budget: {hours: 0}", "budget.hours: must be above 0, not 0"),
    ("budget: {hurs: 1}", "budget.hurs: unknown key; did you mean 'hours'"),
    ("budget: {accuracy: 80}", "budget.accuracy: must be 1 or less, not 80"),
    ("budget: {hours: 1h30}", "budget.hours: must be a number"),
    ("dataset: cifar10\nfit: {a: 1}", "fit: must be"),
    (SGD + "when: {optimiser: sgd}}}", "momentum.when: 'optimiser' is not searched; did you mean 'op"),
    (SGD + "when: {optimizer: adam}}}", "optimizer is never 'adam' (one of sgd, adamw)"),
    (SGD + "when: sgd}}", "when: must be a mapping such as {optimizer: sgd}, not 'sgd'"),
    (SGD + "when: {momentum: 0.5}}}", "momentum.when: goes in a circle: momentum -> momentum"),
    ("parameters: {optimizer: sgd, momentum: {float: [0, 0.9], when: {optimizer: sgd}}}",
     "'optimizer' is not searched; it has one value, so leave the condition out"),
    ("parameters: {learning_rate: {float: [0.1, 1]}, crop: {float: [0, 0.3], when: {learning_rate: 0.5}}}",
     "learning_rate is hardly ever 0.5; give it a step, or choices"),
    ("parameters: {net: {width: {int: [1, 2]}}}", "write each argument with its whole name: net.width"),
    ("parameters: {net.width: {choice: [1.0, 2.0]}}\nstart: [{net: {width: 2.0}}]",
     "start.0: net has a mapping; of an argument, write the whole name: net.width"),
    ("parameters: {net.width: {choice: [1.0, 2.0]}}\nstart: [{net.width: null}]",
     "start.0: net.width must be a number, a word, true or false, not None"),
    ("constraints: ['params <= 1', '000']", "'000' is no constraint; write one like 'params <= 3_000_000', without a comma"),
    (SGD + "when: {optimizer: sgd}}}\nstart: [{optimizer: adamw, momentum: 0.5}]",
     "start.0: momentum is not there (0 to 0.9, when optimizer is sgd)"),
    ("sampler: random\nrandom_baseline: 0.2", "space:2: random_baseline: random trials are a baseline for a"),
    ("random_baseline: 1", "random_baseline: must be below 1, not 1"),
    ("pruner: [halving]", "pruner: must be a name, or {name: {option: value}}"),
    ("epochs: 4\npruner: {halving: {min_epochs: 4}}", "space:2: pruner: halving from epoch 4 leav"),
    ("parameters: [width]", "parameters: must be a mapping"),
    ("parameters: {wdth: {float: [1, 2]}}", "unknown setting 'wdth'; allowed: "),
    ("parameters: {dropout_block1: 0.1}", "is an argument of Proposed (tunecnn/models/published.py:"),
    ("parameters: {epochs: 3}", "is a key of the space itself"),
    ("parameters: {architecture: model1}", "is a key of the space itself"),
    ("parameters: {net.width: 0.5}\nstart: [baseline]", "width = 1.0, but the space fixes it at 0.5"),
    ("parameters: {patience: {int: [1, 3]}}\nstart: [baseline]",
     "start.0: the baseline has no patience with recipe fast; write the start point out: {patience: ...}"),
    ("splits: 0", "splits: must be 1 or more, not 0"),
    ("splits: 1000", "splits: must be 100 or less, not 1000"),
    ("parameters: {splits: 3}", "is a key of the space itself"),
    ("parameters: {split_seed: {choice: [0, 1, 2]}}", "a confirmation makes its own splits of the data, three with splits: 3"),
    ("sampler: grid\nsplits: 2\nparameters: {split_seed: {choice: [0, 1, 2]}}", "must be the same for all trials"),
    ("sampler: grid\nsplits: 2\nparameters: {split_seed: {choice: [0.5, 1]}}", "split_seed: must be the same for all trials"),
    ("parameters: {validation: {float: [0.1, 0.2]}}", "must be the same for all trials"),
    ("parameters: {net.width: {float: [2, 1]}}", "the low bound 2 is above the high bound 1"),
    ("parameters: {net.width: {float: [1]}}", "parameters.net.width.float: must be two values, [low, high], not [1]"),
    ("parameters: {net.width: {float: 0.5}}", "float: must be two values, [low, high], not 0.5"),
    ("constraints: [params <= _]", "'params <= _' is no constraint"),
    ("parameters: {net.width: {float: [1, .inf]}}", "must be a finite number, not inf"),
    ("parameters: {net.width: {float: [.nan, 1]}}", "must be a finite number, not nan"),
    ("parameters: {net.width: {float: [0, 1], log: true}}", "a log scale cannot start at 0"),
    ("parameters: {net.width: {float: [1, 2], log: true, step: 1}}", "has both log and step"),
    ("parameters: {net.width: {float: [0.5, 1], step: 0.3}}", "could be 0.8 or 1.1"),
    ("parameters: {net.width: {float: [0.5, 1], step: -0.1}}", "the step must be above 0"),
    ("parameters: {net.width: {float: [0.5, 1], stepp: 0.1}}", "stepp: unknown key; did you mean 'step'"),
    ("parameters: {net.width: {float: [0.5, 1], role: main}}", "must be 'scientific' or 'nuisance'"),
    ("parameters: {net.dense_units: {int: [1.0, 8]}}", "must be a whole number, not 1.0"),
    ("parameters: {net.dense_units: {int: [0, 8]}}", "dense_units must be a whole number of 1 to 1,000,000"),
    ("parameters: {net.width: {choice: []}}", "must be a list of at least one value"),
    ("parameters: {net.width: {choice: [1.0, 1.0]}}", "1.0 is given twice"),
    ("parameters: {net.width: {choice: [0]}}", "width must be above 0 and at most 1,000,000, not 0"),
    ("parameters: {net.width: {range: [0, 1]}}", "must be {float: [low, high]}, {int:"),
    ("parameters: {net.dropout_block1: {float: [0, 1.0]}}", "must lie in [0, 1), not 1.0"),
    ("parameters: {optimizer: {float: [0, 1]}}", "is one of rmsprop, adamw, sgd, muon: use choice"),
    ("parameters: {optimizer: {choice: [adam]}}", "unknown optimizer 'adam'"),
    ("architecture: model1\nparameters: {net.dropout_block3: 0.1}", "has no argument 'dropout_block3'; did you mean"),
    ("sampler: grid\nparameters: {net.width: {float: [1, 2]}}", "the grid sampler needs a step"),
    ("objectives: [params]", "objectives: must be [val_accuracy] or [val_accuracy, params]"),
    ("objectives: [val_accuracy, macs]\npruner: halving", "pruner: judges trials by one value"),
    ("objectives: [val_accuracy, macs]\nsampler: cmaes", "sampler: cmaes supports one objective"),
    ("objectives: [val_accuracy, macs]\nrandom_baseline: 0.5", "random_baseline: compares the best of one objective"),
    ("sampler: nsga2", "sampler: nsga2 weighs two objectives, such as objectives: [val_accuracy, p"),
    ("start: baseline", "start: must be a list"),
    ("start: [baselin]", "'baselin' is neither 'baseline' nor a mapping"),
    ("parameters: {net.width: {float: [1, 2]}}\nstart: [{widht: 1}]", "'widht' is not searched"),
    ("parameters: {net.width: {float: [2, 3]}}\nstart: [baseline]", "the baseline has net.width = 1.0"),
    ("parameters: {net.width: {float: [1, 2]}}\nstart: [{net.width: 3}]", "it has net.width = 3, which the sp"),
    ("constraints: [params < 3]", "'params < 3' is no constraint"),
    ("a: !!python/object/apply:os.system [ls]", "unknown key"),
    ("name: !!python/name:os.system x", "the tag tag:yaml.org,2002:python/name:os.system is not"),
    ("parameters: &a {net.width: 1.0}\nstart: [*a]", "aliases (*name) are not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_answered_with_place_and_cause(text, message):
    with pytest.raises(InputError) as caught:
        SearchSpace.from_text(text)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


NET = """
from typing import Literal
from torch import nn
class Net(nn.Module):
    def __init__(self, classes, width: int | Literal["auto"] = 8, depth: Literal[1, 2, 4] = 1,
                 share: Literal[0.1, 0.5] = 0.1):
        super().__init__()
"""


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("net.width: {int: [4, 64]}", ""),
        ("net.width: {int: [4, 200_001]}", ""),
        ("net.width: {float: [0.5, 2]}", "width of Net (nets.py:5) is one of 'auto' or takes a who"),
        ("net.depth: {int: [1, 2]}", ""),
        ("net.depth: {int: [1, 4]}", "depth of Net (nets.py:5) is one of 1, 2, 4, not 3; use choice"),
        ("net.share: {float: [0.1, 0.5]}", "share of Net (nets.py:6) is one of 0.1, 0.5, not 0.3; us"),
    ],
)  # fmt: skip
def test_a_range_suits_an_argument_of_fixed_values_only_if_all_of_it_does(
    parameters, message, tmp_path
):
    (tmp_path / "nets.py").write_text(NET)
    file = tmp_path / "space.yaml"
    file.write_text(f"architecture: nets.py:Net\nparameters: {{{parameters}}}\n")
    if not message:
        SearchSpace.from_yaml(file)
        return
    with pytest.raises(InputError) as caught:
        SearchSpace.from_yaml(file)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("dataset: cifar11\nsize: 32\nskip_bad: true", "space:1: dataset: unknown data set"),
        (
            "dataset: digits\nskip_bad: true",
            "space:2: skip_bad: is for own images, not for 'digits'",
        ),
        ("dataset: digits\nfit: pad", "space:2: fit: 'pad' has no effect without size"),
        ("dataset: imagefolder:a\nskip_bad: 1", "space:2: skip_bad: must be true or false"),
    ],
)
def test_a_mistake_in_how_images_are_read_is_named_once(text, line):
    with pytest.raises(InputError) as caught:
        SearchSpace.from_text(text)
    (only,) = [one for one in str(caught.value).splitlines() if one.startswith("space:")]
    assert only.startswith(line)


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("architecture: nets.py:Nte\nparameters: {net.depth: {choice: [1, 2]}}", ["architecture"]),
        ("architecture: nets.py:Nte\nparameters: {net.depth: 2, lr: 1}",
         ["architecture", "parameters.lr"]),
        ("epochs: ten\npruner: {halving: {min_epochs: 40}}", ["epochs"]),
        ("parameters: {learning_rat: {float: [0.1, 1]}}\nstart: [{learning_rat: 0.5}]",
         ["parameters.learning_rat"]),
        ("objectives: [val_acc, params]\nsampler: nsga2", ["objectives"]),
        ("sampler: grit\nparameters: {seed: {choice: [1, 2]}}", ["sampler"]),
        ("sampler: grit\nparameters: {lr: 1, net.wdth: 1}",
         ["sampler", "parameters.lr", "parameters.net.wdth"]),
        ("parameters: {batch_size: {int: [a, 2]}, momentum: {float: [0, 0.9], when: {batch_size: 2}}}",
         ["parameters.batch_size.int.0"]),
        ("parameters: {batch_size: {int: [a, 2]}, momentum: {float: [0, 0.9], when: {optimzer: sgd}}}",
         ["parameters.batch_size.int.0", "parameters.momentum.when"]),
        ("dataset: digts\nparameters: {batch_size: {choice: [32, 16]}}\nstart: [baseline]",
         ["dataset"]),
        ("epochs: ten\nrandom_baseline: 0.5\nsampler: grid", ["epochs", "random_baseline"]),
    ],
)  # fmt: skip
def test_what_may_follow_from_another_mistake_is_not_listed(text, mistakes, tmp_path):
    (tmp_path / "nets.py").write_text(NET)
    with pytest.raises(InputError) as caught:
        SearchSpace.from_text(text, folder=tmp_path)
    lines = [one for one in str(caught.value).splitlines() if one.startswith("space:")]
    assert [line.split(": ")[1] for line in lines] == mistakes


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("flip: false", "none"),
        ("flip: true, alternate_flip: true", "mirrored in every other epoch"),
        (
            "flip: true, alternate_flip: {choice: [true, false]}",
            "mirrored at random or in every other epoch",
        ),
        (
            "crop: 0.125, cutout: 0.25",
            "shifted at random by up to 0.125 of the size, covered in a "
            "square of 0.25 of the shorter side, at random",
        ),
        ("cutout: {choice: [0.0, 0.25]}", "covered (cutout: one of 0.0, 0.25)"),
        (
            "flip: true, cutmix: 0.5",
            "mirrored at random, pasted over by a part of another with probability 0.5",
        ),
    ],
)
def test_all_that_changes_images_at_random_is_in_the_words(parameters, words):
    text = f"dataset: imagefolder:photos\nparameters: {{{parameters}}}"
    assert SearchSpace.from_text(text).augmentation == words


def test_all_mistakes_come_at_once_in_the_order_of_the_file():
    with pytest.raises(InputError) as caught:
        SearchSpace.from_text(
            "epochs: ten\ndataset: cifar\nparameters:\n"
            "  net.width: {float: [2, 1]}\n  schedule: cosin\n  net.dropout_block1: {float: [0, 2]}\n"
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "4", "5", "6"]


def test_a_file_is_read_with_bom_and_crlf(tmp_path):
    path = tmp_path / "ünï spaced.yaml"
    path.write_bytes("\ufeffname: x\r\nepochs: 7\r\n".encode())
    assert SearchSpace.from_yaml(path).epochs == 7


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read: No such file"):
        SearchSpace.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 300_000)
    with pytest.raises(InputError, match="300,000 bytes is too large"):
        SearchSpace.from_yaml(tmp_path / "big.yaml")
    (tmp_path / "latin.yaml").write_bytes("goal: más".encode("latin1"))
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 7\)"):
        SearchSpace.from_yaml(tmp_path / "latin.yaml")


def test_numbers_and_words_are_those_of_yaml_1_2():
    space = SearchSpace.from_text(
        "parameters: {learning_rate: {float: [1e-4, 1e-2]}}\ngoal: on\nconstraints: "
        "[params <= 3_000_000]"
    )
    assert space.searched["learning_rate"].bounds == (0.0001, 0.01)
    assert space.goal == "on"
    assert space.constraints[0].bound == 3_000_000


def test_what_is_not_written_has_its_default():
    space = SearchSpace.from_text("name: short")
    assert (space.architecture, space.recipe, space.seed) == ("proposed", "fast", 0)
    assert space.searched == {}


def test_a_config_has_recipe_constants_and_values_in_this_order():
    space = SearchSpace.from_text(
        "dataset: digits\nepochs: 3\nparameters: {batch_size: 16, net.width: {float: [0.5, 2]}}"
    )
    config = space.config({"net.width": 0.7}, trial=4)
    assert (config.batch_size, config.net["width"], config.epochs) == (16, 0.7, 3)
    assert config.optimizer == "muon"
    assert config.seed != space.config({"net.width": 0.7}, trial=5).seed


def test_the_baseline_point_has_the_values_of_the_architecture():
    space = SearchSpace.from_text(
        "parameters: {net.dropout_block3: {float: [0, 0.7]}, net.width: {choice: [0.5, 1.0]}, "
        "net.width_block2: {int: [8, 128]}, learning_rate: {float: [1e-4, 1e-2]}}"
    )
    assert space.baseline_point() == {
        "net.dropout_block3": 0.5,
        "net.width": 1.0,
        "net.width_block2": 64,
        "learning_rate": 4e-3,
    }


def test_an_override_is_checked_like_a_file():
    space = SearchSpace.from_text("epochs: 9\npruner: {halving: {min_epochs: 3}}")
    assert space.override(epochs=5, trials=None).epochs == 5
    with pytest.raises(InputError, match="trials: must be 1 or more, not 0"):
        space.override(trials=0)
    with pytest.raises(InputError, match="dataset: unknown data set 'x'"):
        space.override(dataset="x")


def test_too_few_epochs_from_the_command_line_are_a_warning():
    space = SearchSpace.from_text("epochs: 9\npruner: {halving: {min_epochs: 3}}")
    assert space.warnings() == []
    assert "leaves no rung" in space.override(epochs=2).warnings()[0]


def test_a_single_value_is_a_warning():
    space = SearchSpace.from_text("parameters: {net.width: {float: [1, 1]}}")
    assert space.warnings() == ["net.width has only one value, 1.0: nothing is searched in it"]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{optimizer: adamw, momentum: {float: [0.5, 0.9]}}", "momentum changes nothing in this space: it is for optimizer: sgd or muon"),
        ("{optimizer: {choice: [sgd, muon]}, rho: 0.8}", "rho changes nothing"),
        ("{optimizer: {choice: [sgd, adamw]}, momentum: {float: [0.5, 0.9], when: {optimizer: adamw}}}", "momentum changes nothing"),
        ("{schedule: cosine, warmup: {float: [0.1, 0.5]}}", "warmup changes nothing in this space: it is for schedule: one_cycle"),
        ("{cutmix: 0.5, batch_size: 1}", "cutmix changes nothing in this space: it is for batches of two"),
        ("{split: published, split_seed: 3}", "split_seed changes nothing in this space: it is for split: stratified"),
        ("{split: published, validation: 0.1}", "validation changes nothing in this space"),
        ("{flip: false, alternate_flip: {choice: [true, false]}}", "alternate_flip changes nothing in this space: it is for flip: true"),
        ("{optimizer: {choice: [sgd, adamw]}, momentum: {float: [0.5, 0.9]}}", ""),
        ("{flip: {choice: [true, false]}, alternate_flip: true}", ""),
        ("{optimizer: rmsprop, rho: 0.8, epsilon: 1.0e-6}", ""),
        ("{warmup: {float: [0.1, 0.5]}}", ""),
        ("{flip: false, views: mirrored}", "views classifies mirror images as well, and no training in this space sees any: for images that may be mirrored, add flip: true"),
        ("{flip: false, views: {choice: [one, shifted]}}", "views classifies mirror images as well"),
        ("{views: shifted}", ""),
        ("{flip: {choice: [true, false]}, views: mirrored}", ""),
        ("{flip: false, views: one}", ""),
    ],
)  # fmt: skip
def test_a_setting_that_can_change_nothing_is_warned_of(text, warning):
    found = SearchSpace.from_text(f"dataset: cifar10\nrecipe: fast\nparameters: {text}").warnings()
    assert [one[: len(warning)] for one in found] == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "parameters: {net.width_conv1: 8}\nstart: [baseline]",
            "the baseline has net.width_conv1 = 8 as well, since the space fixes it",
        ),
        ("parameters: {net.width_conv1: 8}", ""),
        ("recipe: published\nparameters: {patience: {int: [1, 13]}}\nstart: [baseline]", ""),
        ("parameters: {patience: 3}\nstart: [baseline]", ""),
        (
            "parameters: {optimizer: {choice: [sgd, muon]}, patience: {int: [1, 3], when: {optimizer: sgd}}}\nstart: [baseline]",
            "",
        ),
    ],
)
def test_a_baseline_that_is_not_quite_the_networks_own_is_warned_of(text, warning):
    found = SearchSpace.from_text(f"dataset: cifar10\n{text}").warnings()
    assert [one[: len(warning)] for one in found] == ([warning] if warning else [])


def test_a_setting_matters_if_it_does_for_one_of_the_networks(tmp_path):
    (tmp_path / "nets.py").write_text(NET + NET.replace("class Net", "class Twin"))
    text = (
        "dataset: cifar10\nparameters: {momentum: {float: [0.5, 0.9]}, architecture: {choice: %s}}"
    )
    for networks, expected in (
        ("['nets.py:Net', proposed]", 0),
        ("['nets.py:Net', 'nets.py:Twin']", 1),
    ):
        space = SearchSpace.from_text(
            f"architecture: nets.py:Net\n{text % networks}", folder=tmp_path
        )
        assert len(space.warnings()) == expected


def test_more_start_points_than_trials_are_warned_of():
    text = "parameters: {net.width: {choice: [1.0, 2.0, 0.5]}}\ntrials: 2\n"
    points = "start: [baseline, {net.width: 1.0}, {net.width: 2.0}"
    assert SearchSpace.from_text(text + points + "]").warnings() == []
    (found,) = SearchSpace.from_text(text + points + ", {net.width: 0.5}]").warnings()
    assert found == "there are 3 different start points for 2 trials: the last ones are not tried"


def test_cmaes_without_a_number_to_model_is_warned_of():
    text = "sampler: cmaes\nparameters: {batch_size: {choice: [32, 64]}, "
    (found,) = SearchSpace.from_text(text + "flip: {choice: [true, false]}}").warnings()
    assert found.startswith(
        "cmaes models numbers without a condition, and the space searches none"
    )
    assert SearchSpace.from_text(text + "crop: {float: [0, 0.3]}}").warnings() == []


def test_the_size_counts_configurations():
    steps = "parameters: {net.width: {float: [0.5, 1], step: 0.1}, net.dense_units: {choice: [64, 128]}}"
    assert SearchSpace.from_text(steps).count() == 12
    assert SearchSpace.from_text("parameters: {net.width: {float: [0.5, 1]}}").count() is None


def test_constraints_measure_by_how_much_they_are_broken():
    space = SearchSpace.from_text("dataset: digits\nconstraints: [params <= 200_000, macs >= 5]")
    cost = count("proposed", (1, 8, 8), 10)
    assert space.constraints[0].violation(cost) == 10_026
    assert space.constraints[1].violation(cost) < 0


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin1")))
def test_no_text_brings_down_the_reader(text):
    with contextlib.suppress(InputError):
        assert SearchSpace.from_text(text).epochs >= 1


def test_a_grid_may_go_over_seeds_which_are_no_part_of_the_baseline():
    space = SearchSpace.from_text(
        "dataset: digits\nsampler: grid\nparameters: {seed: {choice: [4, 5]}, net.width: {choice: [1.0]}}"
    )
    assert space.config({"seed": 5, "net.width": 1.0}, trial=9).seed == 5
    assert space.baseline_point() == {"net.width": 1.0}
    with pytest.raises(InputError, match="seed: repeats each configuration, so it needs sampler"):
        SearchSpace.from_text("dataset: digits\nparameters: {seed: {choice: [4, 5]}}")
    with pytest.raises(InputError, match="a pruner would stop the unlucky seeds"):
        SearchSpace.from_text(
            "dataset: digits\nsampler: grid\npruner: median\nparameters: {seed: {choice: [4, 5]}}"
        )
    with pytest.raises(InputError, match="seed: is a key of the space itself"):
        SearchSpace.from_text("dataset: digits\nparameters: {seed: 4}")


CONDITIONS = """
recipe: published
parameters:
  nesterov: {choice: [true, false], when: {momentum: [0.5, 0.9]}}
  momentum: {choice: [0.0, 0.5, 0.9], when: {optimizer: sgd}}
  optimizer: {choice: [sgd, rmsprop, adamw]}
start: [baseline]
"""


def test_a_parameter_with_a_condition_exists_beside_some_values_only():
    space = SearchSpace.from_text(CONDITIONS)
    assert space.parents_first == ["optimizer", "momentum", "nesterov"]
    assert space.baseline_point() == {"optimizer": "rmsprop"}
    everything = {"nesterov": True, "momentum": 0.9, "optimizer": "sgd"}
    assert space.only_active(everything) == everything
    assert space.only_active({**everything, "optimizer": "adamw"}) == {"optimizer": "adamw"}
    assert "nesterov" not in space.only_active({**everything, "momentum": 0.0})
    assert space.config({"optimizer": "adamw"}).momentum == 0.9  # the default; it changes nothing


def test_a_range_of_one_number_is_one_value_as_a_condition_and_in_a_grid():
    text = """
sampler: grid
parameters:
  learning_rate: {float: [0.01, 0.01]}
  crop: {float: [0.0, 0.25], step: 0.25, when: {learning_rate: 0.01}}
"""
    space = SearchSpace.from_text(text)
    assert space.count() == 2


def test_start_points_are_values_of_the_space_also_from_a_data_frame():
    """A row of a frame has floats for whole numbers."""
    text = """
dataset: digits
parameters:
  batch_size: {choice: [64, 128]}
  net.dense_units: {int: [32, 64], step: 32}
  flip: {choice: [true, false]}
start: [{batch_size: 128.0, net.dense_units: 64.0, flip: true}]
"""
    (point,) = SearchSpace.from_text(text, "space").start_points()
    assert [repr(value) for value in point.values()] == ["128", "64", "True"]
    with pytest.raises(InputError, match=r"flip = 1, which the space does not contain"):
        SearchSpace.from_text(text.replace("flip: true}", "flip: 1}"), "space")
