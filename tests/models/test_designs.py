from __future__ import annotations

from pathlib import Path

import pytest

from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.models.designs import (
    DESIGNS,
    Block,
    Design,
    count,
    layers,
    make_design,
)


@pytest.mark.parametrize(
    ("architecture", "input_shape", "params"),
    [
        ("model1", (3, 32, 32), 2_122_186),
        ("model1", (1, 28, 28), 1_630_090),
        ("model1", (1, 8, 8), 155_530),
        ("model2", (3, 32, 32), 2_122_186),
        ("model2", (1, 28, 28), 1_630_090),
        ("model2", (1, 8, 8), 155_530),
        ("proposed", (3, 32, 32), 1_193_642),
        ("proposed", (1, 28, 28), 734_314),
        ("proposed", (1, 8, 8), 210_026),
    ],
)
def test_parameter_counts_are_as_published(architecture, input_shape, params):
    assert count(architecture, input_shape, 10).params == params


def test_macs_of_a_network_counted_by_hand():
    design = Design((Block((2,)),), dense_units=3)
    # conv: 9 * 1 * 2 * (4*4); hidden: (2*2*2) * 3; output: 3 * 5
    assert sum(layer.macs for layer in layers(design, (1, 4, 4), 5)) == 288 + 24 + 15


def test_odd_sizes_lose_their_last_row_in_a_pool():
    shapes = [
        layer.output
        for layer in layers(DESIGNS["proposed"], (1, 28, 28), 10)
        if layer.type == "pool"
    ]
    assert shapes == [(32, 14, 14), (64, 7, 7), (128, 3, 3)]


def test_no_parameters_gives_the_baseline():
    for name, design in DESIGNS.items():
        assert make_design(name) == design
        defaults = Architecture(name, Path()).signature.defaults
        assert make_design(name, **defaults) == design


def test_a_convolutions_width_comes_before_its_blocks_and_both_are_multiplied():
    design = make_design("proposed", width_block1=10, width_conv2=20, width=1.5)
    assert design.blocks[0].widths == (15, 30)
    assert design.blocks[1].widths == (96, 96)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"width": 0}, "width must be above 0 and at most 1,000,000, not 0"),
        ({"width": 0.01}, "width 0.01 leaves convolution 1 with 32 x 0.01"),
        ({"width": float("nan")}, "width must be above 0 and at most 1,000,000, not nan"),
        (
            {"width_conv2": 0},
            "width of convolution 2 must be a whole number of 1 to 1,000,000, not 0",
        ),
        ({"width_block1": 2.5}, "must be a whole number of 1 to 1,000,000, not 2.5"),
        ({"dense_units": 0}, "dense_units must be a whole number of 1 to 1,000,000, not 0"),
        ({"dense_units": float("inf")}, "not inf"),
        ({"dropout_block1": 1.0}, r"dropout_block1 must lie in \[0, 1\), not 1.0"),
        ({"dropout_dense": -0.1}, r"dropout_dense must lie in \[0, 1\), not -0.1"),
    ],
)
def test_what_cannot_be_built_is_refused_with_value_and_reason(parameters, message):
    with pytest.raises(InputError, match=message):
        make_design("proposed", **parameters)


def test_an_unknown_architecture_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="unknown architecture 'model3'; did you mean 'model"):
        make_design("model3")


def test_an_input_too_small_to_pool_is_refused_with_what_is_needed():
    with pytest.raises(
        InputError, match="an input of 7x4 .* reaches pool 3 as 1x1.* at least 8x8"
    ):
        layers(DESIGNS["proposed"], (3, 7, 4), 10)
    assert layers(DESIGNS["proposed"], (3, 8, 8), 10)
