"""One file of the differential test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.differential.scenes import Bytes8


@dataclass(frozen=True)
class Case:
    """kind: what the bounded run takes a few cases of. variant: tells cases of a kind apart.
    truth: what a viewer shows; None leaves the judgement to the other decoder, which is libvips
    unless the case names one.
    """

    kind: str
    variant: str
    make: Callable[[], bytes]
    truth: Bytes8 | None = None
    other: Callable[[bytes], Bytes8] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.variant}"
