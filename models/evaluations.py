"""Computes how many model evaluations a request needs, before it runs.

Torch-free, so that cpu workers can use it. Knows only the length of a schedule's lists.
"""

from __future__ import annotations

from models.catalogue import info_of

ADAPTIVE_EVALUATIONS = 30
"""The estimate for dpm_adaptive, whose number depends on the picture: mostly 18 to 30."""

_TABLE = 10_000  # models.sampling.schedules.TABLE, whose module imports torch


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
    """The number of steps of the schedule's list for the requested `steps`."""
    if schedule != "ddim_uniform":
        return steps
    return len(range(1, _TABLE, max(1, _TABLE // steps)))
