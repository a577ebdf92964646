"""How often a request runs the model, known before anything runs.

Torch-free, so that the cpu workers can ask it; knows of a schedule only how long its lists are.
"""

from __future__ import annotations

from models.catalogue import info_of

ADAPTIVE_EVALUATIONS = 30
"""What dpm_adaptive is taken to need: the picture decides, and most take 18 to 30."""

_TABLE = 10_000  # models.sampling.schedules.TABLE, which cannot be had without torch


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


def _listed_steps(schedule: str, steps: int) -> int:
    """How many steps the schedule's list has when `steps` are asked for."""
    if schedule != "ddim_uniform":
        return steps
    return len(range(1, _TABLE, max(1, _TABLE // steps)))
