"""Cost model: the seconds in the model of a request, a fixed part and a part for each unit of its
load (models.evaluations.GpuLoad), fitted to recent requests of one profile and device.

The fit minimises absolute relative errors, so one slow or fast request moves it little, and a
second of error counts more for a small request than for a large one. Knows neither Redis nor
requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_PRIOR_FIXED = 0.05
"""The assumed fixed part, in units of load, while requests of one size say nothing about it."""

_PRIOR_LOADS = (0.25, 20.0)
"""Loads of assumed measurements: 20 steps of the demo at 64x64 and at 1024x1024."""

_PRIOR_WEIGHT = 0.3
_DECAY = 0.97
"""The weight of a measurement, divided by that of the next newer one."""

_ROUNDS = 12
_EXACT = 0.02
"""Relative errors below this count alike."""


@dataclass(frozen=True, slots=True)
class CostModel:
    fixed_s: float
    unit_s: float

    def seconds(self, load: float) -> float:
        return self.fixed_s + self.unit_s * load


def fit(measured: Sequence[tuple[float, float]]) -> CostModel:
    """measured: (load, seconds), newest first, at least one; all above 0."""
    unit_s = median(seconds / (load + _PRIOR_FIXED) for load, seconds in measured)
    cost = CostModel(unit_s * _PRIOR_FIXED, unit_s)
    points = [(load, cost.seconds(load), _PRIOR_WEIGHT) for load in _PRIOR_LOADS]
    points += [(*point, _DECAY**age) for age, point in enumerate(measured)]
    for _ in range(_ROUNDS):  # least squares, reweighted towards least absolute errors
        cost = _least_squares([_reweighted(cost, *point) for point in points])
    return cost


def _reweighted(
    cost: CostModel, load: float, seconds: float, weight: float
) -> tuple[float, float, float]:
    """Too slow or too fast, by little or by much: each measurement has the same influence."""
    predicted = cost.seconds(load)
    error = max(abs(seconds / predicted - 1), _EXACT)
    return load, seconds, weight / (predicted**2 * error)


def _least_squares(points: Sequence[tuple[float, float, float]]) -> CostModel:
    """points: (load, seconds, weight). Neither part of the cost is negative."""
    weights = sum(weight for _, _, weight in points)
    x = sum(weight * load for load, _, weight in points)
    y = sum(weight * seconds for _, seconds, weight in points)
    xx = sum(weight * load * load for load, _, weight in points)
    xy = sum(weight * load * seconds for load, seconds, weight in points)
    unit_s = (weights * xy - x * y) / (weights * xx - x * x)
    fixed_s = (y - unit_s * x) / weights
    if fixed_s < 0:
        return CostModel(0.0, xy / xx)
    return CostModel(fixed_s, unit_s) if unit_s > 0 else CostModel(y / weights, 0.0)
