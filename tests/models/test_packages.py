"""The packages that networks use, and their versions."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from tunecnn.models.architecture import Architecture
from tunecnn.models.code import NetworkCode
from tunecnn.models.packages import package_version, packages_of


def test_packages_are_those_of_installed_networks_and_of_imports_anywhere():
    code = NetworkCode(
        {
            "nets.py": b"import torch, os, blocks, pandas, altair.vegalite\nfrom .blocks import One\n"
            b"def f():\n    from psutil import Process",
            "blocks/__init__.py": b"import tunecnn.models",
            "body.pt": b"import scipy",
        }
    )
    networks = [
        Architecture(name, Path()) for name in ("proposed", "timm.models:Net", "nets.py:A")
    ]
    assert packages_of(networks, code) == ("altair", "pandas", "psutil", "timm")
    assert packages_of(networks[:1], None) == ()


def test_the_version_of_an_installed_package_is_that_of_its_distribution():
    assert package_version("yaml") == importlib.metadata.version("PyYAML")
    assert package_version("not_there_at_all") == "none"


@pytest.mark.parametrize("name", ["one_file.py", "whole/__init__.py", "spaced/inner.py"])
def test_the_version_of_a_package_that_is_edited_where_it_lies_has_a_hash(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    file = tmp_path / f"a_test_{name}"
    file.parent.mkdir(exist_ok=True)
    top = f"a_test_{name}".partition("/")[0].removesuffix(".py")
    found = set()
    for text in ("WIDTH = 1", "WIDTH = 2", "WIDTH = 1"):
        file.write_text(text)
        package_version.cache_clear()
        found.add(version := package_version(top))
        assert version.startswith("(source ")
    assert len(found) == 2
