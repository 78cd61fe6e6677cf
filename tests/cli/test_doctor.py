from __future__ import annotations

import json
import sys

from tests.support.command import main
from tunecnn.workflows import doctor


def findings(capsys, *words: str) -> tuple[int, dict[str, dict]]:
    code = main("doctor", "--json", *words)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {line["what"]: line for line in lines}


def test_a_machine_on_which_this_suite_runs_has_no_problem(tmp_path, capsys):
    code, found = findings(capsys, "--runs-dir", str(tmp_path), "--data-dir", str(tmp_path))
    assert code == 0
    assert found.keys() == {"versions", "GPUs", "Ray", "storage", "data", "extras"}
    assert found["storage"]["state"] == "good"
    assert "no mnist and no cifar10" in found["data"]["words"]
    assert all(one["advice"] for one in found.values() if one["state"] != "good")
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_does_not_answer_is_a_problem_with_advice(tmp_path, capsys):
    code, found = findings(capsys, "--runs-dir", str(tmp_path), "--address", "127.0.0.1:1")
    assert code == 1
    assert found["Ray"]["state"] == "problem"
    assert "ray status" in found["Ray"]["advice"]


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, capsys):
    (tmp_path / "file").write_text("")  # root may write everywhere but below a file
    code, found = findings(capsys, "--runs-dir", str(tmp_path / "file" / "runs"))
    assert code == 1
    assert "--runs-dir" in found["storage"]["advice"]


def test_locks_without_effect_are_a_problem(tmp_path, monkeypatch):
    import filelock

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", lambda *_, **__: None)
    (found,) = doctor._storage(tmp_path)
    assert found.state == "problem"
    assert "two searches could write one run" in found.words


def test_a_package_that_is_too_old_is_a_problem(monkeypatch):
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "0.1" if name == "pandas" else real(name))
    problem, good = doctor._versions()
    assert problem.words == "pandas 0.1"
    assert problem.advice.startswith("pip install 'pandas>=")
    assert good.state == "good"


def test_a_package_that_is_missing_ends_no_report(monkeypatch):
    real = doctor.version

    def version(name):
        if name == "ray":
            raise doctor.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    problem, good = doctor._versions()
    assert problem.words == "ray is missing"
    assert "torch" in good.words
    assert "ray" not in good.words
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not list(doctor._devices())


def test_an_extra_of_which_a_package_is_missing_is_not_installed(monkeypatch):
    real = doctor.version

    def version(name):
        if name in ("onnxruntime", "tensorboardx"):
            raise doctor.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    (found,) = doctor._extras()
    missing = found.advice.partition("[")[2].partition("]")[0].split(",")
    assert {"export", "tensorboard"} <= set(missing)
    assert "mlflow" in found.words
    assert "dev" not in found.words + found.advice


def test_a_full_disk_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_LEAST_FREE", 1e30)
    (found,) = doctor._storage(tmp_path / "runs")
    assert found.state == "problem"
    assert "make room" in found.advice


def test_notebooks_are_copied_and_never_over_others(tmp_path, capsys):
    assert main("notebooks", str(tmp_path / "new" / "mine")) == 0
    names = {path.name for path in (tmp_path / "new" / "mine").iterdir()}
    assert {"analyze_search.ipynb", "own_network.ipynb", "reproduction.ipynb"} <= names
    assert main("notebooks", str(tmp_path / "new" / "mine")) == 2
    assert "exists already; nothing was copied" in capsys.readouterr().err
