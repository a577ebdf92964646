"""Says what an error of the device means: out of memory, device lost, or neither.

torch, cuBLAS, cuDNN and Triton report the same two conditions with different types and texts. The
texts were compared with torch 2.15, CUDA 13.2, cuDNN 9.26 and Triton 3.9 (a test repeats that).
Reads no device.

Neither: triton.runtime.errors.OutOfResources (a kernel needs more shared memory than the card has)
and errors of a launch that never started. They are failures of the kernel, and the CUDA context
stays usable. cuDNN's "unable to find an engine" is neither too, because it can mean a missing
workspace or an unsupported dtype.
"""

from __future__ import annotations

import re
from enum import StrEnum

import torch


class DeviceFault(StrEnum):
    OUT_OF_MEMORY = "out of memory"
    """The work does not fit. The process can go on after it has freed its tensors."""

    DEVICE_LOST = "device lost"
    """The CUDA context cannot recover, so the process has to end."""


_CUDA = r"(CUDA error|CUDA driver error|Triton Error \[CUDA\]): "
"""Before a text of cudaGetErrorString or cuGetErrorString: torch's checks of the runtime (from 2.8
on as AcceleratorError), torch's checks of the driver and its launcher of compiled kernels, Triton's
own launcher."""

_MEMORY_TEXTS = (
    _CUDA + "out of memory",
    "CUDA out of memory",  # torch's allocator; compilation wraps it in an InductorError
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    # cuDNN's attention, which torch reports as CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER as well
    "err 2 != CUDA_SUCCESS",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
    "DefaultCPUAllocator: can't allocate memory",
)

LOST_TEXTS = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "hardware stack error",
    "unspecified launch failure",
    "device-side assert triggered",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "Invalid access of peer GPU memory over nvlink or a hardware error",
    "the launch timed out and was terminated",
    "CUDA-capable device(s) is/are busy or unavailable",
    "context is destroyed",
    "driver shutting down",
    "unknown error",
)
"""Texts of CUDA errors after which every later call fails too."""

LOST_STATUSES = (
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)

KERNEL_TEXTS = (
    "invalid argument",
    "invalid configuration argument",
    "invalid device function",
    "no kernel image is available for execution on the device",
    "device kernel image is invalid",
    "too many resources requested for launch",
    "the provided PTX was compiled with an unsupported toolchain",
)
"""Texts of CUDA errors of a launch that never started."""


def _any_of(texts: tuple[str, ...]) -> str:
    return f"({'|'.join(map(re.escape, texts))})"


_OUT_OF_MEMORY = re.compile("|".join(_MEMORY_TEXTS))
_DEVICE_LOST = re.compile(_CUDA + _any_of(LOST_TEXTS) + "|" + _any_of(LOST_STATUSES))
_KERNEL = re.compile(_CUDA + _any_of(KERNEL_TEXTS))


def device_fault(error: BaseException) -> DeviceFault | None:
    """None: the error says nothing about the device, or only that a kernel cannot run on it."""
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    # Memory first: cuDNN names a missing allocation and a failed execution in one text.
    if isinstance(error, torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(text):
        return DeviceFault.OUT_OF_MEMORY
    if _DEVICE_LOST.search(text):
        return DeviceFault.DEVICE_LOST
    if isinstance(error, torch.AcceleratorError) and not _KERNEL.search(text):
        return DeviceFault.DEVICE_LOST  # an unlisted error: trust the device no longer
    return None
