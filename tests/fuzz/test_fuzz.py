"""Ten minutes of mistakes in space files: `make fuzz` (FUZZ_SECONDS for another time)."""

from __future__ import annotations

import os
import random
import time

import pytest

from tunecnn.errors import InputError
from tunecnn.space.library import shipped_spaces
from tunecnn.space.space import SearchSpace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

WORDS = [
    "{", "}", "[", "]", ":", "- ", ",", "#", "&a ", "*a", "!!python/object:os.system ", "|", ">",
    "\t", "\n", "\r\n", "  ", "'", '"', "?", "<<: ", "---\n", "%YAML 1.2\n", "\ufeff", "\0", "\x85",
    "null", "~", "true", "yes", "0", "-1", "1e400", "0x1f", ".inf", "-.nan", "1_000", "9" * 400,
    "1h30", "2026-11-24", "float", "int", "choice", "when", "step", "log", "role", "baseline", "seed",
    "net.width", "net.dropout_dense", "learning_rate", "optimizer", "sampler", "pruner", "grid", "nsga2",
    "halving", "objectives", "budget", "start", "parameters", "constraints", "é", "\U0001f600",
]  # fmt: skip


def broken(text: str, numbers: random.Random) -> str:
    """Change a text in a few places."""
    for _ in range(numbers.randint(1, 6)):
        at = numbers.randrange(len(text) + 1)
        end = min(len(text), at + numbers.choice([0, 1, 1, 3, 10, 60]))
        piece = numbers.choice(
            [
                numbers.choice(WORDS),
                "",
                text[at:end] * numbers.choice([2, 3, 50]),
                chr(numbers.randrange(0x250)),
                text[numbers.randrange(len(text) + 1) :][: numbers.randrange(40)],
            ]
        )
        text = text[:at] + piece + text[end:]
    return text


def test_the_reader_of_spaces_answers_everything_with_a_message_and_soon():
    texts = [path.read_text() for path in shipped_spaces().values()]
    deadline = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "600"))
    numbers = random.Random(0)
    count = refused = 0
    slowest = 0.0
    while time.monotonic() < deadline:
        text = broken(numbers.choice(texts), numbers)
        began = time.monotonic()
        try:
            space = SearchSpace.from_text(text)
        except InputError:
            refused += 1
        else:
            space.warnings()
            space.count()
            if len(texts) < 500:
                texts.append(text)  # what is still a space leads further
        slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2.0, text
        count += 1
    print(f"{count} texts, {refused} refused, the slowest in {slowest:.2f} s")
    assert refused > count / 10
