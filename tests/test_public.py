from __future__ import annotations

import inspect
import subprocess
import sys

import tunecnn


def test_every_public_name_is_there_and_documented():
    for name in tunecnn.__all__:
        value = getattr(tunecnn, name)
        assert inspect.getdoc(value), name
        assert name in dir(tunecnn)


def test_importing_the_package_loads_nothing_slow():
    code = "import sys, tunecnn; sys.exit(bool({'torch', 'ray', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
