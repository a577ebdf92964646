"""The bench of CPU seconds: both sides make the same picture. Seconds are not asserted."""

from __future__ import annotations

import pytest
import torch

from models.checkpoints import CHECKPOINTS, load
from tools.ratiobench import measure

pytestmark = [pytest.mark.tools, pytest.mark.torch]


@pytest.mark.parametrize("stop", [0.5, 1.0])
def test_both_sides_make_the_same_picture(stop: float) -> None:
    row = measure(load(CHECKPOINTS["demo"], torch.device("cpu")), stop, side=64, pairs=1)
    assert row["levels"] <= 2  # the shipped scheduler rounds its sigmas to float32
    assert row["ratio"] == pytest.approx(row["shipped"] / row["ours"])
