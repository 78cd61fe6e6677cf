"""The process of a `CostCounter`: builds networks on request, and answers with their costs.

Requests and answers are lines of JSON on stdin and stdout. The first request has the networks'
code, whose prints go to stderr; the others name a network to import, or to build with arguments.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunecnn.errors import InputError
from tunecnn.models.architecture import Architecture
from tunecnn.models.building import describe, importable, load
from tunecnn.models.code import NetworkCode
from tunecnn.models.measuring import measure


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    files = json.loads(sys.stdin.readline())["code"]
    print(json.dumps({"ready": True}), file=answers, flush=True)
    with importable(NetworkCode.from_json(files) if files else None):
        for line in sys.stdin:
            request: dict[str, Any] = json.loads(line)
            architecture = Architecture(request["name"], Path())
            try:
                answer: dict[str, Any] = {}
                if "given" in request:
                    shape = request["input_shape"], request["classes"]
                    answer["cost"] = asdict(measure(architecture, request["given"], *shape))
                else:
                    load(architecture)
            except InputError as error:
                answer = {"error": str(error)}
            except BaseException as error:  # whatever the code raises, the search goes on
                answer = {"error": f"{architecture.attribute}: {describe(error)}"}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
