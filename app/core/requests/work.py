"""The work units of a request: what it costs, and what its turn on the gpu counts."""

from __future__ import annotations

from app.core.requests.types import GenerationParameters
from models.evaluations import control_factor, evaluations_of
from models.geometry import Size, work_units


def work_of(params: GenerationParameters, size: Size, checkpoint: str) -> float:
    """For a result of `size`. checkpoint: the served one, which decides what a further control
    costs."""
    evaluations = evaluations_of(params.sampler, params.scheduler, params.steps)
    factor = control_factor(checkpoint, params.all_controls)
    return work_units(size, evaluations, params.samples, factor)
