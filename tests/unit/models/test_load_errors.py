"""What an error of loading means: one line, or a lost device."""

from __future__ import annotations

import json

import pytest
import torch

from models.errors import CheckpointError, DeviceLost, OutOfMemory
from models.load_errors import one_line, reason_of

pytestmark = pytest.mark.torch

CARD = "the device has too little free memory; stop what else uses it, or take a larger one"


def accelerator_error(code: int | None, text: str) -> torch.AcceleratorError:
    error = torch.AcceleratorError(text)
    if code is not None:
        error.error_code = code
    return error


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
        (OutOfMemory((512, 512), 1), CARD),
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
    ("code", "text", "expected"),
    [
        (214, "CUDA error: uncorrectable ECC error encountered", DeviceLost),
        (46, "CUDA error: all CUDA-capable devices are busy or unavailable", DeviceLost),
        (719, "CUDA error: unspecified launch failure", DeviceLost),
        (209, "CUDA error: no kernel image is available for execution", CheckpointError),
        (35, "CUDA error: CUDA driver version is insufficient", CheckpointError),
        (None, "CUDA error: unknown", CheckpointError),
    ],
)
def test_only_a_lost_device_is_worth_a_new_process(
    code: int | None, text: str, expected: type[Exception]
) -> None:
    error = accelerator_error(code, f"{text}\nCUDA kernel errors might be reported later")
    with pytest.raises(expected) as refused, one_line("loading"):
        raise error
    assert str(refused.value) == f"loading: AcceleratorError: {text}"
