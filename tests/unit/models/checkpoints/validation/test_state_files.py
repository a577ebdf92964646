"""Damaged files of the annotators: each one is an error of one line that names the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.checkpoints.flux_dev_union_pro_2 import CHECKPOINT
from models.checkpoints.validation.state_files import check_state
from tests.support.published_layout import write_annotators

pytestmark = pytest.mark.torch

EXPECTED = {
    "conv.weight": torch.empty(4, 3, device="meta"),
    "conv.bias": torch.empty(4, device="meta"),
    "norm.count": torch.empty((), dtype=torch.int64, device="meta"),
}


def state() -> dict[str, Any]:
    return {
        "conv.weight": torch.ones(4, 3),
        "conv.bias": torch.ones(4),
        "norm.count": torch.tensor(7),
    }


def refusal(file: Path, expected: dict[str, Tensor] = EXPECTED) -> str:
    with pytest.raises((ValueError, OSError)) as refused:
        check_state(file, expected, exact=True)
    line = str(refused.value)
    assert "\n" not in line
    assert str(file) in line
    return line


@pytest.fixture(params=[True, False], ids=["zip", "old format"])
def zipped(request: pytest.FixtureRequest) -> bool:
    """The published files are in the format before torch 1.6."""
    return bool(request.param)


def test_a_complete_file_is_accepted(tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / "state.pt"
    for content in (state(), {"optimizer": {}, "model": state()}):
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        check_state(file, EXPECTED, exact=True)


def test_a_cut_file_is_an_error(tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / "state.pt"
    torch.save(state(), file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    for size in (0, 1, 10, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        assert "is damaged: " in refusal(file)


def test_a_file_that_is_no_state_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    assert "No such file" in refusal(file)
    file.write_bytes(b"<html>not found</html>")
    assert "is damaged: " in refusal(file)
    torch.save([1, 2], file)
    assert "has no dictionary of tensors" in refusal(file)
    torch.save({"optimizer": {}}, file)
    assert "has no dictionary of tensors" in refusal(file)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


def test_no_code_of_a_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "state.pt"
    torch.save({"conv.weight": _Harmful()}, file)
    assert "is damaged: " in refusal(file)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv.bias": None}, "tensor conv.bias is missing"),
        ({"conv.bias": torch.ones(5)}, "tensor conv.bias has the shape [5] where [4] is expected"),
        ({"conv.bias": torch.ones(4, dtype=torch.int8)}, "tensor conv.bias is torch.int8, not"),
        ({"head.bias": torch.ones(1)}, "tensor head.bias is unknown to its network"),
    ],
)
def test_an_unfit_tensor_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = tmp_path / "state.pt"
    torch.save(state() | changes, file)
    assert said in refusal(file)


@pytest.fixture(scope="module")
def annotators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotators")
    write_annotators(folder)
    return folder


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "name", ["dpt_hybrid-midas-501f0c75.pt", "body_pose_model.pth", "ControlNetHED.pth"]
)
def test_each_annotators_file_is_checked_before_it_is_loaded(
    annotators: Path, tmp_path: Path, name: str
) -> None:
    (load,) = (
        annotator.load
        for annotator in CHECKPOINT.annotators.values()
        if annotator.part.files == (name,)
    )
    for file in annotators.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / name
    tensors = torch.load(damaged)
    first = next(iter(tensors))
    faults = {
        f"tensor {first} is missing": {key: t for key, t in tensors.items() if key != first},
        f"tensor {first} has the shape [2] where": tensors | {first: torch.ones(2)},
        "has no dictionary": [],
    }
    for said, content in faults.items():
        torch.save(content, damaged)
        with pytest.raises(ValueError, match="^[^\n]*$") as refused:
            load(tmp_path)
        assert str(refused.value).startswith(f"{damaged}: {said}")
    damaged.unlink()
    with pytest.raises(OSError, match=name):
        load(tmp_path)
