"""Computes how many model evaluations a request needs, and what one costs, before it runs.

Torch-free, so that the api and cpu workers can use it. Knows only the length of a schedule's lists
and the shapes of the networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from models.catalogue import info_of
from models.geometry import MULTIPLE, Size, generated_size
from models.spec import Control

ADAPTIVE_EVALUATIONS = 30
"""The estimate for dpm_adaptive, whose number depends on the picture: mostly 18 to 30."""

_TABLE = 10_000  # models.sampling.schedules.TABLE, whose module imports torch


@dataclass(frozen=True, slots=True)
class _NetworkCost:
    """width: numbers a token in the transformer's blocks. text_tokens: beside those of the picture.
    least_s: seconds of the transformer alone at 1024x1024, exact, on an H200 that reaches 790
    TFLOP/s in its linear layers and 630 in attention, the most that was seen there."""

    width: int
    text_tokens: int
    least_s: float

    def arithmetic(self, size: Size) -> float:
        """Of one block, in multiples of its linear layers for one token. A token takes 24 width**2
        operations there and 4 width a token in attention, in both kinds of block."""
        width, height = generated_size(size)
        tokens = width * height / MULTIPLE**2 + self.text_tokens
        return tokens * (1 + tokens / (6 * self.width))


_FLUX_DEV = _NetworkCost(width=3072, text_tokens=512, least_s=0.098)

_NETWORK_COSTS = {
    "demo": _NetworkCost(width=128, text_tokens=48, least_s=0.0001),
    "flux-dev-union-pro": _FLUX_DEV,
    "flux-dev-union-pro-2": _FLUX_DEV,
}

CONTROL_SHARES = {"demo": 0.68, "flux-dev-union-pro": 0.28, "flux-dev-union-pro-2": 0.11}
"""The arithmetic of a run of the ControlNet, divided by that of the transformer, at 1024x1024."""

_OVERHEADS = {"demo": 0.006, "flux-dev-union-pro": 0.02, "flux-dev-union-pro-2": 0.02}
"""Seconds of an evaluation that do not depend on the size of the picture, divided by those of the
transformer's arithmetic at 1024x1024. Measured for the demo on a CPU, estimated for the others."""

_PICTURE_SHARES = {"demo": 8.0, "flux-dev-union-pro": 0.4, "flux-dev-union-pro-2": 0.4}
"""Seconds of a picture outside its evaluations (control map, text, autoencoder), divided by those
of a run of the transformer at the same size. Measured for the demo, estimated for the others."""

_LEAST_SHARES = {"exact": 1.0, "fast": 0.6, "turbo": 0.3}
"""At 1024x1024, the shortest time by profile: fast halves the time of linear layers, turbo also
skips every other evaluation at most."""


def evaluations_of(sampler: str, schedule: str, steps: int) -> int:
    """Model evaluations of one picture; an estimate for dpm_adaptive, exact for all others.

    ValueError for an unknown sampler.
    """
    info = info_of(sampler)
    if info.evaluations is None:
        return ADAPTIVE_EVALUATIONS
    if not info.discards_penultimate:
        return info.evaluations(_listed_steps(schedule, steps))
    return info.evaluations(_listed_steps(schedule, steps + 1) - 1)


def adaptive(sampler: str) -> bool:
    """Whether the number of evaluations depends on the picture."""
    return info_of(sampler).evaluations is None


def _listed_steps(schedule: str, steps: int) -> int:
    """The number of steps of the schedule's list for the requested `steps`."""
    if schedule != "ddim_uniform":
        return steps
    return len(range(1, _TABLE, max(1, _TABLE // steps)))


def control_factor(checkpoint: str, controls: Iterable[Control]) -> float:
    """The work of a request with these controls, divided by its work with one of them; at least 1.

    The control with the widest window is inside the price of an evaluation, as the only one of a
    request is. Each further one adds the ControlNet's share of the arithmetic for its window's
    share of the time, which is close to its share of the evaluations on `simple`. So the factor
    depends neither on the order of the controls nor on the schedule, and never falls when a control
    is added or its window grows. Controls of strength 0 do not run.
    """
    widths = sorted(control.stop - control.start for control in controls if control.strength > 0)
    return 1 + CONTROL_SHARES[checkpoint] * sum(widths[:-1])


def relative_cost(checkpoint: str, size: Size) -> float:
    """The arithmetic of an evaluation for a picture of `size`, divided by that at 1024x1024.

    Grows faster than the pixels, because attention grows with their square.
    """
    cost = _NETWORK_COSTS[checkpoint]
    return cost.arithmetic(size) / cost.arithmetic((1024, 1024))


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """How long a request occupies a device, in runs of the transformer at 1024x1024.

    Work units are a price; the load follows the seconds: it includes the text tokens, which a small
    picture has too, attention, and the steps on which the ControlNet runs. evaluations: of one
    picture. evaluation: the load of one without a ControlNet. rest: of a picture outside its
    evaluations. windows: (start, stop) of each active control, in shares of the steps.
    control_share: what a control adds to an evaluation, as a share of it.
    """

    evaluations: int
    samples: int
    evaluation: float
    rest: float
    windows: tuple[tuple[float, float], ...]
    control_share: float

    @property
    def total(self) -> float:
        return self.samples * self._picture

    def done(self, step: float, steps: int) -> float:
        """The share of the load that is done after `step` of `steps` steps of all pictures, 0 to 1.
        After the last step of a picture its rest is not done."""
        at = min(step / steps, 1.0) * self.samples
        pictures = max(0, ceil(at) - 1)
        return (pictures * self._picture + self._evaluated(at - pictures)) / self.total

    @property
    def _picture(self) -> float:
        return self._evaluated(1.0) + self.rest

    def _evaluated(self, share: float) -> float:
        """The load of the first `share` of the steps of a picture."""
        controlled = sum(
            max(0.0, min(share, stop) - start) for start, stop in self.windows if stop > start
        )
        return self.evaluations * self.evaluation * (share + self.control_share * controlled)


def gpu_load(
    checkpoint: str, size: Size, evaluations: int, samples: int, controls: Iterable[Control]
) -> GpuLoad:
    """For pictures of `size` with `evaluations` each."""
    relative = relative_cost(checkpoint, size)
    active = (control for control in controls if control.strength > 0)
    return GpuLoad(
        evaluations=evaluations,
        samples=samples,
        evaluation=relative + _OVERHEADS[checkpoint],
        rest=relative * _PICTURE_SHARES[checkpoint],
        windows=tuple((control.start, control.stop) for control in active),
        control_share=CONTROL_SHARES[checkpoint],
    )


def least_seconds(checkpoint: str, profile: str) -> float:
    """Seconds of an evaluation at 1024x1024 that no supported card can beat (an H200 is the
    fastest). For turbo the average over skipped evaluations."""
    return _NETWORK_COSTS[checkpoint].least_s * _LEAST_SHARES[profile]
