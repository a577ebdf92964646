"""The price that the page shows is the one that the server takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.core.requests.types import GenerationParameters
from app.core.requests.work import work_of
from models.evaluations import CONTROL_SHARES
from models.spec import Control
from tests.support.node import evaluate

CHECKPOINT = "demo"
CREDITS = 2.5
STEPS = {"name": "steps", "minimum": 15, "maximum": 75}
PARAMETERS = GenerationParameters(steps=30, samples=2, cn_type="canny")
SIZE = (300, 200)
MORE = (Control("pose", 0.8, 0.1, 0.9), Control("depth", 0.0), Control("canny", 0.3, 0.2, 0.3))


def estimate(params: GenerationParameters, more: tuple[Control, ...]) -> float:
    """Of a form with `params` and `more` controls beside theirs."""
    schema = {
        "fields": [STEPS],
        "evaluations": {"euler": [15, 75]},
        "controlShare": CONTROL_SHARES[CHECKPOINT],
        "creditsPerWorkUnit": CREDITS,
        "maxPixels": 2**24,
    }
    further = [{"strength": each.strength, "start": each.start, "stop": each.stop} for each in more]
    values: dict[str, Any] = {**params.to_dict(), "cn_start": params.cn_start, "controls": further}
    call = "module.estimate(data.schema, (name) => data.values[name], data.size)"
    data = {"schema": schema, "values": values, "size": SIZE}
    cost: float = evaluate("estimate.js", call, data)
    return cost


@pytest.mark.parametrize("count", range(len(MORE) + 1))
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_estimate_is_the_price_with_any_number_of_controls(count: int, strength: float) -> None:
    params = replace(PARAMETERS, cn_strength=strength, cn_start=0.1, cn_stop=0.6)
    several = replace(params, controls=(*params.all_controls, *MORE[:count])) if count else params
    expected = CREDITS * work_of(several, SIZE, CHECKPOINT)
    assert estimate(params, MORE[:count]) == pytest.approx(expected)
