"""Workloads: mixed requests of two keys, and cases that a cost per work unit alone misprices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from statistics import mean

from app.core.requests.types import GenerationParameters
from tools.etabench.devices import SimulatedDevice
from tools.etabench.simulation import Arrival

_SIDES = (64, 128, 256, 384, 512, 640, 768, 1024)
_SAMPLERS = ("euler", "euler", "dpmpp_2m", "heun")
_LOAD = 0.8
"""The share of the time for which the workers are busy."""


def picture(
    width: int, height: int, steps: int = 20, samples: int = 1, sampler: str = "euler"
) -> GenerationParameters:
    return GenerationParameters(
        steps=steps,
        samples=samples,
        sampler=sampler,
        use_input_img_dimension=False,
        custom_width=width,
        custom_height=height,
    )


def mixed(device: SimulatedDevice, workers: int, requests: int, seed: int) -> list[Arrival]:
    """One key sends up to eight requests at a time, the other one by one."""
    random = Random(seed)
    drawn = [_draw(random) for _ in range(requests)]
    seconds = mean(_seconds(device, params) for params in drawn)
    arrivals: list[Arrival] = []
    at = 0.0
    while len(arrivals) < requests:
        key, most = ("bursts", 8) if random.random() < 0.3 else ("singles", 1)
        burst = drawn[len(arrivals) :][: random.randint(1, most)]
        arrivals += [Arrival(at + 0.05 * index, key, params) for index, params in enumerate(burst)]
        at += random.expovariate(1.0) * len(burst) * seconds / workers / _LOAD
    return sorted(arrivals, key=lambda arrival: arrival.at)


def _draw(random: Random) -> GenerationParameters:
    width = random.choice(_SIDES)
    height = width if random.random() < 0.7 else random.choice(_SIDES)
    samples = 2 if random.random() < 0.1 else 1
    steps, sampler = random.randint(15, 75), random.choice(_SAMPLERS)
    return picture(width, height, steps, samples=samples, sampler=sampler)


def _seconds(device: SimulatedDevice, params: GenerationParameters) -> float:
    timing = device.timing(params, (params.custom_width, params.custom_height), Random(0))
    return timing.start + sum(timing.steps) + timing.rest


_TINY = [Arrival(5.0 * number, "a", picture(64, 64)) for number in range(8)]

CASES: Mapping[str, Sequence[Arrival]] = {
    "8 of 64x64, then 1024x1024": [*_TINY, Arrival(60, "a", picture(1024, 1024))],
    "8 of 64x64, 1024x1024, then 640x640": [
        *_TINY,
        Arrival(60, "a", picture(1024, 1024)),
        Arrival(200, "a", picture(640, 640)),
    ],
    "the last of 6 of 512x512 at once, after one": [
        Arrival(0, "a", picture(512, 512)),
        *[Arrival(30 + 0.01 * number, "a", picture(512, 512)) for number in range(6)],
    ],
}
"""The estimate of the last request is of interest."""
