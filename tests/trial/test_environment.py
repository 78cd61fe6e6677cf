from __future__ import annotations

import dataclasses

import pytest
import torch

from tunecnn.trial.environment import Comparable, Environment, source_hash, versions

HERE = Environment.of_process(torch.device("cpu"))
BF16 = dataclasses.replace(HERE, node="beta", device="cuda: NVIDIA H100", has_bf16=True)
FP32 = dataclasses.replace(HERE, node="alpha", has_bf16=False)


def test_a_process_reports_what_its_results_depend_on():
    assert HERE.device.startswith("cpu: ")
    assert HERE.source == source_hash()
    assert HERE.versions == versions()
    assert Comparable().difference(HERE, "fp32") == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source": "0123456789abcdef"},
            "its source of tunecnn (0123456789ab) is not that of this",
        ),
        ({"source": ""}, "its source of tunecnn (unknown) is not that"),
        ({"versions": {**versions(), "torch": "1.0"}}, "it has torch 1.0, and this process has"),
        ({"versions": {}}, "it has python none"),
    ],
)
def test_other_code_and_other_versions_are_not_comparable(changes, words):
    assert words in Comparable().difference(dataclasses.replace(HERE, **changes), "fp32")


def test_builds_of_a_version_for_other_devices_are_comparable():
    own = {**versions(), "torch": "2.11.0+cpu"}
    there = dataclasses.replace(HERE, versions={**own, "torch": "2.11.0+cu126"})
    assert Comparable(own).difference(there, "fp32") == ""


def test_trials_of_one_setting_have_one_precision():
    comparable = Comparable()
    assert comparable.difference(FP32, "bf16") == comparable.difference(BF16, "bf16") == ""
    comparable.add("bf16", BF16.precision("bf16"), BF16.node, BF16.device)
    assert comparable.difference(FP32, "bf16") == (
        "trials would be computed in fp32 there, and those before, on beta, in bf16 (a resume "
        "with --allow-changes admits that)"
    )
    assert comparable.difference(FP32, "fp32") == ""
    tf32 = dataclasses.replace(BF16, has_tf32=True)
    comparable.add("fp32", "fp32", "alpha", FP32.device)
    assert "in fp32 with TF32" in comparable.difference(tf32, "fp32")


def test_another_kind_of_device_is_said_once():
    comparable = Comparable()
    assert comparable.add("fp32", "fp32", "alpha", FP32.device) == ""
    words = comparable.add("fp32", "fp32", "beta", BF16.device)
    assert words.startswith("beta trains on another kind of device (cuda: NVIDIA H100) than alpha")
    assert comparable.add("fp32", "fp32", "gamma", BF16.device) == ""
