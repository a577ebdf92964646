"""The flat layout: every tensor at an aligned offset, and the same on the meta device."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from models.memory.flat_layout import flat_bytes, places

pytestmark = pytest.mark.torch


def module() -> nn.Module:
    first = nn.Linear(5, 3, dtype=torch.bfloat16)
    first.register_buffer("eight", torch.zeros(257, dtype=torch.float8_e4m3fn), persistent=False)
    return nn.Sequential(first, nn.Sequential(nn.LayerNorm(700)), nn.Linear(2, 2, bias=False))


def test_each_parameter_and_buffer_has_an_aligned_place_behind_the_last_one() -> None:
    found = list(places(module()))
    assert [place.name for place in found] == [
        "weight",
        "bias",
        "eight",
        "weight",
        "bias",
        "weight",
    ]
    assert [place.offset for place in found] == [0, 256, 512, 1024, 1024 + 2816, 1024 + 2 * 2816]
    for place, following in pairwise(found):
        assert place.offset + place.tensor.nbytes <= following.offset
    assert flat_bytes(module()) == 1024 + 2 * 2816 + 256


def test_meta_tensors_have_the_same_layout() -> None:
    assert flat_bytes(module().to("meta")) == flat_bytes(module())


def test_a_module_without_tensors_needs_no_bytes() -> None:
    assert flat_bytes(nn.GELU()) == 0
