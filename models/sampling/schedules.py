"""The seven noise schedules and the sigma lists made from them.

Owns every rule that turns (schedule, steps, shift mu) into a list of sigmas, and the inverse from
a list to its mu. Lists are computed in float64 and rounded once to float32. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from scipy.optimize import brentq
from scipy.special import betaincinv
from torch import Tensor

from models.catalogue import info_of
from models.sampling.flow import percent_to_sigma, shifted, single
from models.spec import DEFAULT_MU

# Times run over k / TABLE, k = 1..TABLE; the smallest sigma of a schedule is that of k = 1.
TABLE = 10_000
SIGMA_MAX = 1.0
KARRAS_RHO = 7.0
BETA_SHAPE = 0.6

Schedule: TypeAlias = Callable[[int, float], list[float]]
"""(steps, mu) -> the sigmas above zero, descending, in float64."""


def _spaced(start: float, end: float, count: int) -> list[float]:
    points: list[float] = torch.linspace(start, end, count, dtype=torch.float64).tolist()
    return points


def _from_table(k: int, mu: float) -> float:
    return shifted(k / TABLE, mu)


def _simple(steps: int, mu: float) -> list[float]:
    stride = TABLE / steps
    return [_from_table(TABLE - int(i * stride), mu) for i in range(steps)]


def _sgm_uniform(steps: int, mu: float) -> list[float]:
    # The end of the ramp is the smallest *sigma*, used as a time, as in the reference.
    return [shifted(t, mu) for t in _spaced(1.0, _from_table(1, mu), steps + 1)[:-1]]


def _normal(steps: int, mu: float) -> list[float]:
    # As above, with both ends included, so the last sigma is shifted twice.
    return [shifted(t, mu) for t in _spaced(1.0, _from_table(1, mu), steps)]


def _ddim_uniform(steps: int, mu: float) -> list[float]:
    # Starts below sigma = 1 and may have one step more than requested.
    stride = max(1, TABLE // steps)
    return [_from_table(k + 1, mu) for k in range(1, TABLE, stride)][::-1]


def _karras(steps: int, mu: float) -> list[float]:
    """Karras et al., arXiv 2206.00364, equation 5."""
    high, low = SIGMA_MAX ** (1 / KARRAS_RHO), _from_table(1, mu) ** (1 / KARRAS_RHO)
    return [root**KARRAS_RHO for root in _spaced(high, low, steps)]


def _exponential(steps: int, mu: float) -> list[float]:
    return [math.exp(v) for v in _spaced(math.log(SIGMA_MAX), math.log(_from_table(1, mu)), steps)]


def _beta(steps: int, mu: float) -> list[float]:
    """Lee et al., arXiv 2407.12173: times at the quantiles of a Beta(0.6, 0.6) distribution."""
    quantiles = (float(betaincinv(BETA_SHAPE, BETA_SHAPE, 1 - i / steps)) for i in range(steps))
    # dict.fromkeys: with very many steps neighbours share a table entry; use each entry once.
    indices = dict.fromkeys(round((TABLE - 1) * q) for q in quantiles)
    return [_from_table(index + 1, mu) for index in indices]


SCHEDULES: dict[str, Schedule] = {
    "normal": _normal,
    "karras": _karras,
    "exponential": _exponential,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
}


def sigmas_for(
    schedule: str, steps: int, mu: float = DEFAULT_MU, sampler: str | None = None
) -> Tensor:
    """The sigma list of a run: float32 on the CPU, [n + 1], descending, last entry 0.

    n equals `steps`, except for ddim_uniform, which may have one more. With `sampler`, the list is
    the one for that sampler: dpm_2, dpm_2_ancestral, uni_pc and uni_pc_bh2 use the list of one
    more step without its last sigma above zero. Raises ValueError for an unknown name or steps < 1.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}, one of: {', '.join(SCHEDULES)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if sampler is not None and info_of(sampler).discards_penultimate:
        sigmas = SCHEDULES[schedule](steps + 1, mu)[:-1]
    else:
        sigmas = SCHEDULES[schedule](steps, mu)
    return torch.tensor([*sigmas, 0.0], dtype=torch.float64).to(torch.float32)


# The search bracket of a list's mu, and the tolerance of a match: wider than float32 rounding
# (2e-7), far narrower than the gap between two schedules.
_MU_RANGE = (-6.0, 12.0)
_MATCH = 1e-6
# float32 sigmas determine mu to about 1e-6; more digits would be noise.
_MU_DIGITS = 5


def shift_of(sigmas: Sequence[float]) -> float:
    """The mu of a full sigma list (ending in 0); 1.15 if no schedule matches.

    The SDE samplers need mu for their start and get only the list. The last sigma above zero of
    every schedule grows with mu, so each schedule yields one candidate, and the right one
    reproduces the whole list. Lists of one or two steps match several schedules; then the mu
    nearest to 1.15 is returned.
    """
    steps, positive = len(sigmas) - 1, list(sigmas[:-1])
    for schedule in SCHEDULES.values():
        if _fits(schedule(steps, DEFAULT_MU), positive):
            return DEFAULT_MU
    fitting = []
    for schedule in SCHEDULES.values():

        def excess(mu: float, schedule: Schedule = schedule) -> float:
            return schedule(steps, mu)[-1] - positive[-1]

        if excess(_MU_RANGE[0]) < 0.0 < excess(_MU_RANGE[1]):
            mu = float(brentq(excess, *_MU_RANGE, xtol=1e-9))
            if _fits(schedule(steps, mu), positive):
                fitting.append(round(mu, _MU_DIGITS))
    return min(fitting, key=lambda mu: abs(mu - DEFAULT_MU), default=DEFAULT_MU)


def _fits(candidate: Sequence[float], sigmas: Sequence[float]) -> bool:
    return len(candidate) == len(sigmas) and all(
        abs(a - b) < _MATCH for a, b in zip(candidate, sigmas, strict=True)
    )


def control_active(
    sigma: Tensor | float, cn_stop: float, mu: float = DEFAULT_MU, cn_start: float = 0.0
) -> bool:
    """Whether the ControlNet takes part in a model evaluation at `sigma`:
    P(cn_stop) <= sigma <= P(cn_start).

    `sigma` is the model's argument, a number or a 0-dim CPU tensor; cn_start and cn_stop are 0..1.
    All are compared as float32 and a tie with either end is active, so cn_stop = 0.5 and
    cn_start = 0.5 both include the step that the simple schedule puts exactly at half time.
    cn_stop = 0 selects only sigma = 1, cn_stop = 1 all sigmas; cn_start = 0 excludes no sigma.
    """
    at = single(float(sigma))
    if cn_start > 0.0 and at > single(percent_to_sigma(cn_start, mu)):
        return False
    return at >= single(percent_to_sigma(cn_stop, mu))
