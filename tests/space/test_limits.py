from __future__ import annotations

import time

import pytest

from tunecnn.errors import InputError
from tunecnn.space.parameters import Float
from tunecnn.space.space import SearchSpace

BASE = "dataset: digits\narchitecture: model1\nepochs: {epochs}\ntrials: 4\nparameters:\n  {parameter}\n"
MANY = ", ".join(map(str, range(1, 2001)))


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("net.width: {float: [0.1, 1.0], step: 1e-8}", "make more than 100,000 values"),
        ("net.width: {float: [0.1, 1.0], step: 1e-320}", "make more than 100,000 values"),
        ("net.width: {float: [0.1, 1e300]}", "or less, not 1e"),
        ("net.width: 1e308", "at most 1,000,000, not 1e"),
        ("batch_size: {int: [1, 1000000000000000000000000000000]}", "or less, not 1000000000"),
        (f"batch_size: {{choice: [{MANY}]}}", "2,000 values are too many: the limit is 1,000"),
        ("batch_size: " + "9" * 5000, "has 5,000 characters, too many for a number"),
        ("net.width: 0.5\n" + "\n".join(f"key{i}: 1" for i in range(5000)), "4980 more mistakes"),
        ("net.width: 0.5\ngoal: " + "x" * 2001, "at most 2,000 characters, and has 2,001"),
        ("net.width: 0.5\nstart: [" + "1," * 7000 + "]", "are too many; the limit is 6,000"),
    ],
)
def test_numbers_without_bounds_are_refused_at_once(parameter, message, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(BASE.format(parameter=parameter, epochs=4))
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        SearchSpace.from_yaml(path)
    assert message in str(caught.value)
    assert time.monotonic() - start < 10  # two seconds on a machine that is not busy


@pytest.mark.parametrize("key", ["<<", "<lambda>", "<"])
def test_a_key_that_looks_like_one_of_pydantics_is_named(key, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(BASE.format(parameter="net.width: 0.5", epochs=4) + f'"{key}":\n')
    with pytest.raises(InputError, match=rf"space.yaml:7: {key}: unknown key; allowed: "):
        SearchSpace.from_yaml(path)


def test_half_of_a_character_is_refused_before_anything_is_trained(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(BASE.format(parameter="net.width: 0.5", epochs=4) + 'goal: "a \\ud800 b"\n')
    with pytest.raises(InputError, match=r"space.yaml:7: goal: has half of a character: a .ud800"):
        SearchSpace.from_yaml(path)


def test_a_grid_of_too_many_whole_numbers_is_refused_and_not_listed(tmp_path):
    path = tmp_path / "space.yaml"
    parameter = "batch_size: {int: [1, 1000000000000]}"
    path.write_text(BASE.format(parameter=parameter, epochs=4) + "sampler: grid\n")
    with pytest.raises(InputError, match="at most 100,000 values"):
        SearchSpace.from_yaml(path)


@pytest.mark.parametrize("step", [1e-14, 3e-11, 0.05, 1e6])
def test_points_of_a_grid_lie_on_its_steps_however_small(step):
    points = Float(step, 4 * step, step=step).grid()
    assert points == pytest.approx([step, 2 * step, 3 * step, 4 * step], rel=1e-12, abs=0)
