"""Headers of safetensors files that no library wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.validation.tensor_files import read_json
from models.safetensors_header import read_header

pytestmark = pytest.mark.torch

HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
}


def written(folder: Path, header: Any, size: int = 16) -> Path:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    file = folder / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    return file


def test_the_header_of_the_library_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    dtypes = {"BF16": torch.bfloat16, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64}
    save_file({name: torch.zeros(3, 2, dtype=dtype) for name, dtype in dtypes.items()}, file)
    tensors = read_header(file)
    assert tensors.keys() == dtypes.keys()
    for name, tensor in tensors.items():
        assert (tensor.file, tensor.dtype, tensor.shape) == (file, name, (3, 2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}, "tensor b does not begin"),
        (
            {"b": {"dtype": "F32", "shape": [1], "data_offsets": [16, 20]}},
            "tensor b does not begin",
        ),
        ({"b": {"dtype": "F32", "shape": [2], "data_offsets": [12, 16]}}, "tensor b has 4 bytes"),
        ({"b": {"dtype": "F32", "shape": [1]}}, "entry of tensor b is damaged"),
        ({"b": {"dtype": "F32", "shape": 1, "data_offsets": [12, 16]}}, "entry of tensor b is"),
        ({"b": {"dtype": "F32", "shape": ["x"], "data_offsets": [12, 16]}}, "tensor b has 4 bytes"),
        ({"b": {"dtype": [], "shape": [1], "data_offsets": [12, 16]}}, "entry of tensor b is"),
        ({"b": {"dtype": "F32", "shape": [1], "data_offsets": [12]}}, "entry of tensor b is"),
        ({"b": {"dtype": "F32", "shape": [1], "data_offsets": "12"}}, "entry of tensor b is"),
        ({"b": "F32"}, "entry of tensor b is damaged"),
        ({"b": None}, "entry of tensor b is damaged"),
    ],
)
def test_an_entry_that_cannot_be_true_is_named(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    file = written(tmp_path, HEADER | changes)
    with pytest.raises(ValueError, match="^[^\n]*$") as refused:
        read_header(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)


@pytest.mark.parametrize("header", [b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'"x"'])
def test_a_header_that_is_no_object_is_an_error(tmp_path: Path, header: bytes) -> None:
    file = written(tmp_path, header)
    with pytest.raises(ValueError, match=f"^{file}: is damaged, its JSON [^\n]*$"):
        read_header(file)


def test_a_length_beyond_the_file_is_not_allocated(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="is cut within its header, or is no safetensors file"):
        read_header(file)


def test_a_tensor_that_starts_after_the_end_is_cut_off(tmp_path: Path) -> None:
    file = written(tmp_path, HEADER, size=12)
    with pytest.raises(ValueError, match=f"^{file}: is cut before tensor b$"):
        read_header(file)


def test_an_absent_file_names_itself(tmp_path: Path) -> None:
    for read in (read_header, read_json):
        with pytest.raises(FileNotFoundError, match="absent"):
            read(tmp_path / "absent")
