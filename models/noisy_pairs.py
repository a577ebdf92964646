"""The pairs of a sampler and a schedule that are known to leave noise in a picture.

Owns the table alone; docs/samplers.md says how it was measured, and
tests/unit/models/test_noisy_pairs.py measures all 203 pairs again. Imports neither torch nor the
samplers, so that the api can use it.
"""

from __future__ import annotations

from models.spec import SCHEDULE_NAMES

# They end at the last sigma above zero, and that much noise stays: at 20 steps 0.14 on simple and
# sgm_uniform, 0.04 on beta.
_STOPS_EARLY = frozenset(("simple", "sgm_uniform", "beta"))
# These lists jump from 0.15 to 0.001 in the last step but one. These samplers overshoot there.
_JUMPS = frozenset(("normal", "ddim_uniform"))

_NOISY_SCHEDULES = {
    "dpm_fast": _STOPS_EARLY,
    "dpm_adaptive": _STOPS_EARLY,
    "heun": _JUMPS,
    "dpmpp_2m_sde": _JUMPS,
    "dpmpp_2m_sde_gpu": _JUMPS,
    "dpmpp_3m_sde": _JUMPS,
    "dpmpp_3m_sde_gpu": _JUMPS,
}


def is_noisy(sampler: str, schedule: str) -> bool:
    """Whether this pair is known to leave visible noise at 20 steps."""
    return schedule in _NOISY_SCHEDULES.get(sampler, ())


def quiet_schedules(sampler: str) -> tuple[str, ...]:
    """The schedules on which the sampler is not known to leave noise."""
    return tuple(schedule for schedule in SCHEDULE_NAMES if not is_noisy(sampler, schedule))
