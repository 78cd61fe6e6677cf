"""Print the lowest allowed version of each dependency, one requirement per line.

python tests/lowest.py > lowest.txt; pip install -c lowest.txt '.[dev]'
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def lowest(line: str) -> str:
    requirement = Requirement(line)
    (bound,) = [one.version for one in requirement.specifier if one.operator == ">="]
    return f"{requirement.name}=={bound}"


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    print("\n".join(map(lowest, project["dependencies"])))


if __name__ == "__main__":
    main()
