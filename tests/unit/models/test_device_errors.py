"""What an error of the device means, by its type and text."""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path

import pytest
import torch
from torch._inductor.exc import InductorError
from triton.runtime.errors import OutOfResources

from models.device_errors import (
    KERNEL_TEXTS,
    LOST_STATUSES,
    LOST_TEXTS,
    DeviceFault,
    device_fault,
)

pytestmark = pytest.mark.torch

# As torch's check of a runtime call ends.
ADVICE = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total")

OUT_OF_MEMORY = [
    FULL,
    torch.OutOfMemoryError("Tried to allocate 9 bytes, would exceed allowed memory."),
    InductorError(FULL, None),
    torch.AcceleratorError("CUDA error: out of memory" + ADVICE),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError(
        "cuDNN SDPA execution failed with error code 5: err 2 != CUDA_SUCCESS :: "
        "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER\nCUDA ran out of memory outside PyTorch's"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:128] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 8796093022208 bytes. Error code 12 (Cannot allocate memory)"
    ),
]

DEVICE_LOST = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered" + ADVICE),
    torch.AcceleratorError("CUDA error: an error that the table does not have"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA driver error: an illegal instruction was encountered"),
    RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    RuntimeError("Triton Error [CUDA]: device-side assert triggered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul(`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasGemmEx(`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART"),
]

NEITHER = [
    OutOfResources(278528, 101376, "shared memory"),
    InductorError(OutOfResources(278528, 101376, "shared memory"), None),
    torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
    torch.AcceleratorError("CUDA error: invalid configuration argument" + ADVICE),
    RuntimeError("Triton Error [CUDA]: device kernel image is invalid"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul(`"),
    RuntimeError("The size of tensor a (4) must match the size of tensor b (3)"),
    ValueError("CUDA error: an illegal memory access was encountered"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_out_of_memory_is_recognised(error: BaseException) -> None:
    assert device_fault(error) is DeviceFault.OUT_OF_MEMORY


@pytest.mark.parametrize("error", DEVICE_LOST, ids=str)
def test_a_lost_device_is_recognised(error: BaseException) -> None:
    assert device_fault(error) is DeviceFault.DEVICE_LOST


@pytest.mark.parametrize("error", NEITHER, ids=str)
def test_other_errors_are_neither(error: BaseException) -> None:
    assert device_fault(error) is None


def test_the_hosts_allocator_reports_what_the_table_has() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50, dtype=torch.uint8)
    assert device_fault(raised.value) is DeviceFault.OUT_OF_MEMORY


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(file: Path, texts: tuple[str, ...]) -> list[str]:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [text for text in texts if data.find(text.encode()) < 0]


@pytest.mark.skipif(torch.version.cuda is None, reason="the libraries come with a CUDA build")
def test_the_texts_are_those_of_the_installed_libraries() -> None:
    """An update that rewords one would turn it into an internal error without notice."""
    nvidia, torch_cuda = _folder("nvidia"), _folder("torch") / "lib" / "libtorch_cuda.so"
    [runtime] = nvidia.glob("cu*/lib/libcudart.so.*")
    [cudnn] = nvidia.glob("cudnn/lib/libcudnn_graph.so.*")
    assert _missing(runtime, ("out of memory", *LOST_TEXTS, *KERNEL_TEXTS)) == []
    cublas = tuple(text for text in LOST_STATUSES if text.startswith("CUBLAS"))
    of_torch = ("err 2 != CUDA_SUCCESS", "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation")
    prefixes = ("CUDA error: ", "CUDA driver error: ")
    assert _missing(torch_cuda, (*cublas, "CUBLAS_STATUS_ALLOC_FAILED", *of_torch, *prefixes)) == []
    status = "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
    assert _missing(cudnn, (*sorted(set(LOST_STATUSES) - set(cublas)), status)) == []
    driver = _folder("triton") / "backends" / "nvidia" / "driver.c"
    assert _missing(driver, ("Triton Error [CUDA]: ",)) == []
