"""Simulated devices: how long a picture takes, in a form that the estimates do not assume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from app.core.requests.types import GenerationParameters
from models.evaluations import evaluations_of
from models.geometry import MEGAPIXEL, Size


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one request on one device, in seconds. steps: of each step of all pictures, with the rest
    of a picture in its last step; the rest of the last picture is in `rest`."""

    start: float
    steps: tuple[float, ...]
    rest: float


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """evaluation, rest: coefficients of 1, m and m**2 in seconds, m in megapixels: of a run of the
    transformer, and of a picture outside of them. control: what the ControlNet adds to a run, as a
    share. start: seconds of a request before its first step."""

    name: str
    checkpoint: str
    evaluation: tuple[float, float, float]
    rest: tuple[float, float, float]
    control: float
    start: float

    def timing(self, params: GenerationParameters, size: Size, random: Random) -> Timing:
        """With noise: 6 % a request, 4 % a step; one request of 33 is slowed down by another
        process, up to three times."""
        scale = random.lognormvariate(0, 0.06)
        if random.random() < 0.03:
            scale *= random.uniform(1.5, 3.0)
        megapixels = size[0] * size[1] / MEGAPIXEL
        evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
        step_s = _polynomial(self.evaluation, megapixels) * evaluations / params.steps * scale
        rest_s = _polynomial(self.rest, megapixels) * scale
        steps = []
        for index in range(params.steps * params.samples):
            at = index % params.steps / params.steps
            controlled = params.cn_start <= at < params.cn_stop
            seconds = step_s * (1 + self.control * controlled) * random.lognormvariate(0, 0.04)
            steps.append(seconds + (rest_s if index and at == 0 else 0.0))
        return Timing(self.start * scale, tuple(steps), rest_s)


def _polynomial(coefficients: tuple[float, float, float], value: float) -> float:
    constant, linear, square = coefficients
    return constant + linear * value + square * value**2


DEMO_ON_A_CORE = SimulatedDevice(
    "cpu", "demo", (0.0085, 0.17, 0.74), (0.0, 3.3, 1.5), control=0.68, start=0.02
)
"""Measured on one core: seconds at 64x64, 512x512 and 1024x1024, at 15 and 75 steps."""

FLUX_ON_A_CARD = SimulatedDevice(
    "a card", "flux-dev-union-pro", (0.018, 0.09, 0.03), (0.05, 0.15, 0.0), control=0.3, start=0.1
)
"""Assumed."""

DEVICES: Mapping[str, SimulatedDevice] = {"demo": DEMO_ON_A_CORE, "flux": FLUX_ON_A_CARD}
