"""The work units of a request (what it costs, and what its turn on the gpu counts) and its load
(how long it occupies a gpu).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.core.requests.types import GenerationParameters
from models.evaluations import GpuLoad, control_factor, evaluations_of, gpu_load
from models.geometry import Size, work_units


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """What is known of a request at its submission; PREPARE replaces it. work: in work units. load:
    GpuLoad.total. profile: the speed profile that is to be used."""

    work: float
    load: float
    profile: str


def work_of(params: GenerationParameters, size: Size, checkpoint: str) -> float:
    """For a result of `size`. checkpoint: the served one, which decides what a further control
    costs."""
    evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
    factor = control_factor(checkpoint, params.all_controls)
    return work_units(size, evaluations, params.samples, factor)


def load_of(params: GenerationParameters, size: Size, checkpoint: str) -> GpuLoad:
    """For a result of `size`."""
    evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
    return gpu_load(checkpoint, size, evaluations, params.samples, params.all_controls)
