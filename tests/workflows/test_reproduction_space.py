from __future__ import annotations

import pytest

from tests.support.searching import begin
from tunecnn.errors import InputError
from tunecnn.run.info import ReproductionJob
from tunecnn.space.space import SearchSpace
from tunecnn.workflows.reproduction_space import published_for, reproduction_space


def configs(text: str):
    space = SearchSpace.from_text(text)
    names = list(space.searched)
    for seed in space.searched[names[0]].grid():
        for architecture in space.searched[names[1]].grid():
            yield space.config({"seed": seed, "architecture": architecture}, trial=7)


def test_every_network_is_trained_with_every_seed_by_the_published_protocol():
    text = reproduction_space("cifar10", "cifar10", ["model1", "model3"], seeds=2)
    assert SearchSpace.from_text(text).trials == 4
    made = list(configs(text))
    assert [(c.seed, c.architecture) for c in made] == [
        (0, "model1"),
        (0, "proposed"),
        (1, "model1"),
        (1, "proposed"),
    ]
    for config in made:
        assert (config.optimizer, config.learning_rate, config.rho, config.epsilon) == (
            "rmsprop",
            1e-4,
            0.9,
            1e-7,
        )
        assert (config.epochs, config.batch_size, config.pixels) == (100, 128, "raw")
        assert (config.split, config.flip, config.crop) == ("published", False, 0)
        assert (config.schedule, config.precision) == ("constant", "fp32")
        assert config.patience == (10 if config.architecture == "proposed" else None)


def test_options_left_out_are_as_published_and_three_seeds():
    space = SearchSpace.from_text(reproduction_space("mnist", "mnist"))
    assert (space.trials, space.epochs) == (9, 50)
    assert space.architectures == ("model1", "model2", "proposed")


def test_the_same_images_in_other_files_are_fed_as_the_baseline_fed_them():
    text = reproduction_space("imagefolder:/my 'odd\": path", "mnist", ["model1"], seeds=1)
    (config,) = configs(text)
    assert config.dataset == "imagefolder:/my 'odd\": path"
    assert (config.pixels, config.validation, config.split) == ("unit", 0.1, "stratified")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ["model4"]}, "unknown model 'model4'; did you mean 'model"),
        ({"models": [""]}, "unknown model ''"),
        ({"models": ["model3", "proposed"]}, "the model proposed is given twice"),
        ({"seeds": 0}, "seeds must be from 1 to 1,000, not 0"),
        ({"epochs": 0}, "epochs must be from 1 to 1,000,000,000, not 0"),
        ({"epochs": 1.5}, "epochs must be from 1 to 1,000,000,000, not 1.5"),
        ({"against": None}, "without published results to compare with, give --epochs"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        reproduction_space(**{"dataset": "mnist", "against": "mnist", **change})


def test_the_published_results_are_those_of_the_data_set_unless_said_otherwise():
    assert published_for("mnist", None) == "mnist"
    assert published_for("imagefolder:/x", "cifar10") == "cifar10"
    assert published_for("digits", "none") is None


@pytest.mark.parametrize(
    ("dataset", "against", "message"),
    [
        (
            "digits",
            None,
            r"no results were published on digits, so there is nothing .* --against none to train",
        ),
        ("imagefolder:/x", None, "or --against cifar10 or --against mnist if these are that"),
        ("mnist", "cifar", "no results were published on 'cifar'; did you mean 'cifar10'"),
        ("cifar10", "mnist", "--against mnist: cifar10 has other images"),
        ("mnits", None, "unknown data set 'mnits'; did you mean 'mnist'"),
    ],
)
def test_a_data_set_without_published_results_is_said(dataset, against, message):
    with pytest.raises(InputError, match=message):
        published_for(dataset, against)


def test_images_that_cannot_be_those_of_the_baseline_are_refused(image_tree, tmp_path):
    text = reproduction_space(f"imagefolder:{image_tree()}", "mnist", ["model1"], 1, 1)
    with pytest.raises(InputError, match="8x8 in 2 classes, but those of MNIST are 28x28 in 10"):
        begin(tmp_path / "runs", text, job=ReproductionJob(against="mnist"))
    assert not (tmp_path / "runs").exists()
