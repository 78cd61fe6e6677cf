"""The arithmetic of a training: float32 that is float32, and one seed, one result."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import backends

from tunecnn.errors import InputError

# torch has two sets of settings for TF32, and refuses to compute where they contradict.
_OLD: tuple[tuple[Callable[[], Any], Callable[[Any], None], object], ...] = (
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    (
        lambda: backends.cuda.matmul.allow_tf32,
        lambda value: setattr(backends.cuda.matmul, "allow_tf32", value),
        False,
    ),
    (
        lambda: backends.cudnn.allow_tf32,
        lambda value: setattr(backends.cudnn, "allow_tf32", value),
        False,
    ),
)
_CUDNN: Any = backends.cudnn
_MKLDNN: Any = backends.mkldnn
_NEW: tuple[Any, ...] = (
    backends.cuda.matmul,
    _CUDNN.conv,
    _CUDNN.rnn,
    _MKLDNN.matmul,
    _MKLDNN.conv,
    _MKLDNN.rnn,
)


@contextlib.contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Compute without TF32 and without algorithms that vary, and put back what was set before.

    A notebook, or the file of a network, may have set otherwise.
    """
    old = [_read(read) for read, *_ in _OLD]
    new = [(part, part.fp32_precision) for part in _NEW]
    deterministic, benchmark = backends.cudnn.deterministic, backends.cudnn.benchmark
    set_exact_arithmetic()
    try:
        yield
    finally:
        for part, value in new:
            part.fp32_precision = value
        for (read, write, _), value in zip(_OLD, old, strict=True):
            if value is not None and _read(read) != value:
                write(value)
        for part, value in new:  # an old setting may change several of them
            part.fp32_precision = value
        backends.cudnn.deterministic, backends.cudnn.benchmark = deterministic, benchmark


def _read(setting: Callable[[], Any]) -> Any:
    """Return an old setting; None if the new ones contradict it."""
    try:
        return setting()
    except RuntimeError:
        return None


def set_exact_arithmetic() -> None:
    """Turn TF32 and nondeterministic algorithms off, for the rest of the process."""
    for _, write, exact in _OLD:
        write(exact)
    for part in _NEW:
        part.fp32_precision = "ieee"
    backends.cudnn.deterministic = True
    backends.cudnn.benchmark = False  # which would choose algorithms by their time


@contextlib.contextmanager
def usual_torch() -> Iterator[None]:
    """Let torch compute as in a new process, and put back what was set before.

    With gradients, and new tensors in float32 on the CPU unless something else is said: a notebook
    may have set otherwise.

    Raises:
        InputError: inside of `torch.autocast`.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
        # Around ours, it would keep weights in bfloat16 from one step to the next.
        raise InputError("leave torch.autocast around this out: the setting precision does it")
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        contextlib.nullcontext() if device.type == "cpu" else torch.device("cpu"),
    ):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Compute as in a new process and with exact float32, and put torch's settings back after."""
    with usual_torch(), exact_arithmetic():
        yield


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the system at each step.

    Training steps repeatedly free and allocate the same large blocks. By default, glibc returns
    each block to the system and gets it back as pages that must be zeroed. Without glibc, this
    does nothing.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def give_memory_back() -> None:
    """Undo `keep_freed_memory`, for what a notebook does next: with glibc's own limits."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # from malloc.h


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
