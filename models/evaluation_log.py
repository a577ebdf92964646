"""Records every model evaluation of an image, so that a crash does not lose a long request's work.

A sampler is a function of its seed and of the model's evaluations. So the evaluations are stored,
not the sampler's state, which differs from sampler to sampler. Replay brings a new run of the same
sampler, without the model, to the point where the old one stopped, bit for bit. Knows no storage.
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
    """A Flow that replays recorded evaluations, then runs `denoiser` and records its results.

    A recorded evaluation is the velocity in the networks' dtype, in which the model computed it, so
    nothing is lost. Replayed evaluations are counted: the model ran them for this request.
    """

    def __init__(
        self, denoiser: ControlledDenoiser, dtype: torch.dtype, recorded: Iterable[bytes] = ()
    ) -> None:
        """recorded: the results of drain() in earlier runs, in order."""
        self._denoiser, self._dtype = denoiser, dtype
        self._recorded = list(recorded)
        self._replayed = 0
        self._new: list[Tensor] = []

    def controls(self, sigma: float) -> tuple[int, ...]:
        return self._denoiser.controls(sigma)

    def velocity(self, x: Tensor, sigma: float) -> Tensor:
        """The flow's velocity at x, in x's dtype."""
        if self._replayed < len(self._recorded):
            entry = self._recorded[self._replayed]
            self._replayed += 1
            self._denoiser.count(sigma)
            recorded = torch.frombuffer(bytearray(entry), dtype=self._dtype).reshape(x.shape)
            return recorded.to(x.device, x.dtype)
        velocity = self._denoiser.velocity(x, sigma)
        self._new.append(velocity.to(self._dtype))
        return velocity

    def drain(self) -> list[bytes]:
        """The evaluations recorded since the last call. Waits until the device has made them."""
        entries = [entry.cpu().contiguous().view(torch.uint8).numpy() for entry in self._new]
        self._new.clear()
        return [entry.tobytes() for entry in entries]


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished image: uint8 RGB [height, width, 3], and its numbers of model evaluations and of
    ControlNet runs, of which an evaluation makes one for each control."""

    pixels: NDArray[np.uint8]
    evaluations: int
    controlled: int


class ResumeStore(Protocol):
    """The part of a request's work that survives the death of its process."""

    def finished_image(self, index: int) -> GeneratedImage | None:
        """Image `index`, if an earlier run has finished it."""

    def recorded(self, index: int) -> Sequence[bytes]:
        """The evaluations that earlier runs recorded for image `index`, from the first one on."""

    def after_step(self, index: int, log: EvaluationLog) -> None:
        """Called after each step of image `index`; may drain its log."""

    def after_image(self, index: int, image: GeneratedImage) -> None:
        """Called when image `index` is finished."""


class NoResumeStore:
    """A ResumeStore that stores nothing, for runs that are never resumed."""

    def finished_image(self, index: int) -> None:
        """No image is stored."""

    def recorded(self, index: int) -> Sequence[bytes]:
        """No evaluation is stored."""
        del index
        return ()

    def after_step(self, index: int, log: EvaluationLog) -> None:
        """Store nothing."""

    def after_image(self, index: int, image: GeneratedImage) -> None:
        """Store nothing."""
