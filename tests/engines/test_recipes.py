"""The files in `docs/clusters`, each by the checker of its own tool where that can be installed."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from ruamel.yaml import YAML

from tests.support.paths import ROOT
from tunecnn.cli.app import app

FOLDER = ROOT / "docs" / "clusters"


def test_ray_accepts_the_configuration_of_ray_up():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = YAML(typ="safe").load((FOLDER / "ray-up.yaml").read_text())
    whole = prepare_config(config)
    validate_config(whole)
    with pytest.raises(Exception, match="head_node_typ"):  # the check can fail
        validate_config({**whole, "head_node_typ": "x"})


def test_bash_accepts_the_script_for_slurm():
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)


def commands() -> list[list[str]]:
    manifest = list(YAML(typ="safe").load_all((FOLDER / "rayjob.yaml").read_text()))[1]
    script = (FOLDER / "slurm.sh").read_text().replace("\\\n", " ")
    (search,) = [line for line in script.splitlines() if line.startswith("tunecnn search")]
    return [shlex.split(manifest["spec"]["entrypoint"]), shlex.split(search.rstrip("&"))]


@pytest.mark.parametrize("command", commands(), ids=["kubernetes", "slurm"])
def test_the_commands_have_options_that_exist(command):
    from typer.main import get_command

    known = {flag for one in get_command(app).commands["search"].params for flag in one.opts}
    assert command[:2] == ["tunecnn", "search"]
    assert {word for word in command if word.startswith("--")} <= known


def test_the_volume_of_the_manifest_is_where_the_run_is_written():
    claim, job = YAML(typ="safe").load_all((FOLDER / "rayjob.yaml").read_text())
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = head["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (mount,) = head["containers"][0]["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert f"--runs-dir {mount['mountPath']}" in job["spec"]["entrypoint"]
