"""What the model has answered so far, so that a crash does not cost a long request its work.

A sampler is a function of its seed and of the model's answers. So not its state is kept, which is
another in each of the samplers, but the answers: played back to a new run of the same sampler they
bring it, without the model, to where the old one was, bit for bit. Knows no storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.denoiser import ControlledDenoiser
from models.sampling import Flow


class EvaluationLog(Flow):
    """A Flow that plays back recorded answers, then asks `denoiser` and records.

    Answers are velocities in the networks' dtype, which is what they were made in: nothing is
    lost. Those played back count as evaluations, as they were made for this request.
    """

    def __init__(
        self, denoiser: ControlledDenoiser, dtype: torch.dtype, recorded: Iterable[bytes] = ()
    ) -> None:
        """recorded: what take() returned in earlier runs, in order."""
        self._denoiser, self._dtype = denoiser, dtype
        self._recorded = list(recorded)
        self._played = 0
        self._fresh: list[Tensor] = []

    def controls(self, sigma: float) -> bool:
        return self._denoiser.controls(sigma)

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity at x, in x's dtype."""
        if self._played < len(self._recorded):
            answer = self._recorded[self._played]
            self._played += 1
            self._denoiser.count(sigma)
            read = torch.frombuffer(bytearray(answer), dtype=self._dtype).reshape(x.shape)
            return read.to(x.device, x.dtype)
        velocity = self._denoiser.velocity(x, sigma)
        self._fresh.append(velocity.to(self._dtype))
        return velocity

    def take(self) -> list[bytes]:
        """The answers recorded since the last call; waits for the device to have made them."""
        taken = [answer.cpu().contiguous().view(torch.uint8).numpy() for answer in self._fresh]
        self._fresh.clear()
        return [answer.tobytes() for answer in taken]


@dataclass(frozen=True, slots=True)
class Made:
    """A finished picture: uint8 RGB [height, width, 3], and the model evaluations it took, of
    which `controlled` ran the ControlNet."""

    pixels: NDArray[np.uint8]
    evaluations: int
    controlled: int


class Memory(Protocol):
    """What of a request outlives the process that works on it."""

    def made(self, index: int) -> Made | None:
        """Picture `index`, if an earlier run has finished it."""

    def answers(self, index: int) -> Sequence[bytes]:
        """What an earlier run recorded for picture `index`, from the first evaluation on."""

    def after_step(self, index: int, tape: EvaluationLog) -> None:
        """A step of picture `index` is done: the moment to take from its tape."""

    def after_picture(self, index: int, made: Made) -> None:
        """Picture `index` is done."""


class NoResumeStore:
    """The Memory of a run that nobody will go on with."""

    def made(self, index: int) -> Made | None:  # noqa: ARG002 - the protocol
        return None

    def answers(self, index: int) -> Sequence[bytes]:  # noqa: ARG002
        return ()

    def after_step(self, index: int, tape: EvaluationLog) -> None:
        """Nothing is kept."""

    def after_picture(self, index: int, made: Made) -> None:
        """Nothing is kept."""
