"""What an error is about: missing memory or a failing device, whoever raised it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunecnn.errors import text_of

_TEXTS = re.compile(
    r"out of memory"  # torch's allocators, the CUDA driver, JAX's and the kernel's own words
    r"|OutOfMemory"  # names of exceptions, of Ray among others
    r"|memory limit exceeded"
    r"|(?:can't|cannot|could not|unable to|failed to) (?:be )?allocate[ds]?\b"
    r"|DefaultCPUAllocator"
    r"|_STATUS_ALLOC_FAILED"  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE
    # What a full GPU gives: cuDNN tries plans until one has enough, and handles need some.
    r"|unable to find an engine to execute this computation"
    r"|Unable to find a valid cuDNN algorithm"
    r"|(?:CUBLAS|CUDNN)_STATUS_NOT_INITIALIZED when calling .?(?:cublas|cudnn)Create"
    r"|CUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED"
    r"|cuda(?:ErrorMemoryAllocation|Malloc failed)"
    r"|(?:CUDA|HIP)_ERROR_OUT_OF_MEMORY"
    r"|oom_kill"
    r"|running low on memory"  # Ray's memory monitor
    r"|\bOOM\b"
    r"|std::bad_alloc",
    re.IGNORECASE,
)


_DEVICE = re.compile(
    r"\b(?:CUDA|HIP|cuDNN|MIOpen|NCCL|CUBLAS|cuSOLVER|cuSPARSE|CUFFT)(?: driver)? error\b"
    r"|CUDA kernel errors might be asynchronously reported"
    r"|\b(?:CUDNN|CUBLAS|CUSOLVER|CUSPARSE|MIOPEN|HIPBLAS)_STATUS_"
    r"|\b(?:CUDA|HIP)_ERROR_"
    r"|\bcudaError[A-Z]"
    r"|No CUDA GPUs are available"
    r"|Found no NVIDIA driver"
    r"|CUDA (?:unknown|initialization|initialisation) error"
    r"|CUDA-capable device\(s\) is/are busy or unavailable"
    r"|uncorrectable ECC error"
    r"|GPU has fallen off the bus"
    r"|unspecified launch failure"
    r"|illegal (?:memory access|instruction) was encountered"
    r"|device-side assert triggered"
    r"|AcceleratorError",
    re.IGNORECASE,
)
"""After such an error a process cannot use its GPU any more."""


_GUESSES = re.compile(r"(?:Some|Possible|Potential) (?:common )?causes include.*", re.DOTALL)
"""What Ray adds where it does not know why a worker ended: the OOM killer is always among it."""


def ran_out_of_memory(error: BaseException | str) -> bool:
    """Return whether an error, or one that caused it, says that memory was missing.

    Args:
        error: exception of torch, CUDA or Ray, or the text of one that came from another process.
    """
    if isinstance(error, str):
        return bool(_TEXTS.search(_GUESSES.sub("", error)))
    return memory_error(error) is not None


def memory_error(error: BaseException) -> BaseException | None:
    """Return the first exception in a chain of causes that reports missing memory, or None."""
    for cause in _chain(error):
        if isinstance(cause, MemoryError) or ran_out_of_memory(_named(cause)):
            return cause
    return None


def device_error(error: BaseException) -> BaseException | None:
    """Return the first of an exception and its causes that a failing GPU raised; None if none.

    Missing memory is no such error.
    """
    if memory_error(error) is not None:
        return None
    for cause in _chain(error):
        if _DEVICE.search(_named(cause)):
            return cause
    return None


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {text_of(error, most=10_000)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an exception and what it was raised from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
