from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import tunecnn


def test_every_public_name_is_there_and_documented():
    for name in tunecnn.__all__:
        value = getattr(tunecnn, name)
        assert inspect.getdoc(value), name
        assert name in dir(tunecnn)


def test_importing_the_package_loads_nothing_slow():
    code = "import sys, tunecnn; sys.exit(bool({'torch', 'ray', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_library_is_imported_where_the_design_says():
    package = Path(tunecnn.__file__).parent
    optuna = {
        "distributions.py",
        "fanova.py",
        "journal.py",
        "pruners.py",
        "queue.py",
        "records.py",
        "repair.py",
        "samplers.py",
        "storage.py",
        "study.py",
    }
    allowed = {"ray": {"ray_engine.py", "worker.py", "cluster.py"}, "optuna": optuna}
    for library, modules in allowed.items():
        found = {
            path.name
            for path in package.glob("*.py")
            for line in path.read_text().splitlines()
            if line.strip().startswith((f"import {library}", f"from {library}"))
        }
        assert found == modules
