"""What an error of loading means: one line, or a lost device."""

from __future__ import annotations

import json

import pytest
import torch

from models.errors import CheckpointError, DeviceLost, OutOfMemory
from models.load_errors import one_line, reason_of

pytestmark = pytest.mark.torch

CARD = "the device has too little free memory; stop what else uses it, or take a larger one"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a.safetensors: is cut\nmore"), "a.safetensors: is cut"),
        (FileNotFoundError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (KeyError("rope"), "KeyError: 'rope'"),
        (
            RuntimeError("\n  CUBLAS_STATUS_NOT_INITIALIZED\n"),
            "RuntimeError: CUBLAS_STATUS_NOT_INITIALIZED",
        ),
        (AssertionError(), "AssertionError"),
        (ValueError(), "ValueError"),
        (
            json.JSONDecodeError("Expecting value", "", 0),
            "Expecting value: line 1 column 1 (char 0)",
        ),
        (MemoryError(), "the host has too little free memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), CARD),
        (OutOfMemory("a picture"), CARD),
        (RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling `create`"), CARD),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "the host has too little free memory",
        ),
    ],
)
def test_every_error_has_a_reason_of_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
    with pytest.raises(CheckpointError) as refused, one_line("checkpoint demo cannot be loaded"):
        raise error
    assert str(refused.value) == f"checkpoint demo cannot be loaded: {reason}"
    assert refused.value.__cause__ is error


def test_an_error_that_has_its_line_already_passes() -> None:
    for error in (CheckpointError("owner/name is gated"), DeviceLost("gone")):
        with pytest.raises(type(error)) as passed, one_line("checkpoint demo cannot be loaded"):
            raise error
        assert passed.value is error


def test_a_stop_passes() -> None:
    with pytest.raises(SystemExit), one_line("checkpoint demo cannot be loaded"):
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CUDA error: uncorrectable ECC error encountered", DeviceLost),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", DeviceLost),
        ("CUDA error: unspecified launch failure", DeviceLost),
        ("CUDA error: system not yet initialized", DeviceLost),
        ("CUDA error: an illegal memory access was encountered", CheckpointError),
        ("CUDA error: device-side assert triggered", CheckpointError),
        ("CUDA error: no kernel image is available for execution on the device", CheckpointError),
        ("CUDA error: CUDA driver version is insufficient", CheckpointError),
    ],
)
def test_only_a_fault_of_the_hardware_is_worth_a_new_process(
    text: str, expected: type[Exception]
) -> None:
    error = torch.AcceleratorError(f"{text}\nCUDA kernel errors might be reported later")
    with pytest.raises(expected) as refused, one_line("loading"):
        raise error
    assert str(refused.value) == f"loading: AcceleratorError: {text}"
