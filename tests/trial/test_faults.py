from __future__ import annotations

import pytest
import ray.exceptions
import torch

from tunecnn.errors import InputError
from tunecnn.trial.faults import device_error, memory_error, ran_out_of_memory


def raised(error: BaseException, cause: BaseException) -> BaseException:
    try:
        raise error from cause
    except BaseException as found:  # noqa: BLE001
        return found


@pytest.mark.parametrize("error", [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"),
    RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate"
                 " memory: you tried to allocate 40000000000 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"),
    RuntimeError("cudaErrorMemoryAllocation: out of memory"),
    RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("std::bad_alloc"),
    OSError(12, "Cannot allocate memory"),
    ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory."),
    raised(InputError("nets.py:Net: its forward failed"), torch.OutOfMemoryError("CUDA out of")),
    raised(ValueError("x"), raised(RuntimeError("y"), MemoryError())),
    "Worker exit detail: Owner's worker has been killed by the OOM killer",
    "Worker exit detail: The worker was killed due to the node running low on memory.",
    "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
    "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array",
    "RuntimeError: CUDA error: out of memory",
    "slurmstepd: error: Detected 1 oom_kill event. Some of the step tasks have been OOM Killed.",
], ids=str)  # fmt: skip
def test_running_out_of_memory_is_recognised(error):
    assert ran_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"),
        RuntimeError("Expected all tensors to be on the same device"),
        ValueError("the pin_memory option needs a GPU"),
        KeyError("memory"),
        ray.exceptions.RayActorError(),
        "Worker exit detail: Worker unexpectedly exits with a connection error code 2.",
        "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. "
        "Some common causes include: (1) the process was killed by the OOM killer due to high memory "
        "usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly.",
        "The node was preempted",
        "room for the trial is missing",
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error):
    assert not ran_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"
        ),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA driver error: unknown error"),
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError(
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"
        ),
        RuntimeError("HIP error: invalid device function"),
        raised(ValueError("in a network"), RuntimeError("CUDA error: unspecified launch failure")),
    ],
)
def test_an_error_of_the_device_is_known(error):
    assert device_error(error) is not None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (32x8 and 9x10)"),
        InputError("the network returns no logits"),
        ValueError("cuda is not a width"),
        RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"),
        KeyError("cudnn"),
    ],
)
def test_missing_memory_and_mistakes_in_a_network_are_no_error_of_the_device(error):
    assert device_error(error) is None


def test_an_error_without_a_text_has_no_fault_and_stops_nothing():
    class SilentError(Exception):
        def __str__(self):
            raise ValueError("no text")

    assert memory_error(SilentError()) is None
    assert device_error(SilentError()) is None
