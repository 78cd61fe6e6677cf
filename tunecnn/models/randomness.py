"""The random states of a process, of Python, NumPy and torch, set for a while."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np
import torch

_CPU = torch.device("cpu")
_lock = threading.RLock()
_seed_python, _seed_numpy = random.seed, np.random.seed  # `building` watches who else calls these


@contextlib.contextmanager
def random_state_of(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators, and give them their states back afterwards.

    They are those of the process, so another thread that asks for them waits.

    Args:
        seed: seed, 0 or more.
        device: device whose generator is seeded beside that of the CPU.
    """
    devices = [device] if device.type == "cuda" else []
    with _lock:
        python, numpy = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=devices):
                _seed_python(seed)
                _seed_numpy(seed % 2**32)
                # Not `torch.manual_seed`: it seeds all devices, also those that are not put back.
                torch.default_generator.manual_seed(seed)
                for one in devices:
                    with torch.cuda.device(one):
                        torch.cuda.manual_seed(seed)
                yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
