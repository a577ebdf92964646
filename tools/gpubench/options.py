"""The options of a part: what its command line says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from tools.gpubench.networks.shapes import FULL, TINY, Shape

SIDE = 1024
"""Pixels of a side of the picture that most rows measure."""


@dataclass(frozen=True, slots=True)
class Options:
    """only: the configurations to measure; all if empty. seconds: of the part. file: of the
    results."""

    device: torch.device
    tiny: bool
    steps: int
    runs: int
    warm_ups: int
    only: frozenset[str]
    seconds: float
    file: Path

    @property
    def shape(self) -> Shape:
        return TINY if self.tiny else FULL

    @property
    def backend(self) -> str:
        """Inductor on the CPU takes minutes to compile what is only run to prove that it runs."""
        return "inductor" if self.device.type == "cuda" else "eager"

    def side(self, pixels: int) -> int:
        """Of a square picture that is `pixels` wide with the full networks."""
        return pixels // 8 if self.tiny else pixels
