"""The work of a request: megapixels times evaluations, and more with several controls."""

from __future__ import annotations

import pytest

from app.core.requests.types import GenerationParameters
from app.core.requests.work import work_of
from models.evaluations import control_factor
from models.spec import CHECKPOINT_NAMES, Control

SIZE = (512, 1024)


@pytest.mark.parametrize("checkpoint", CHECKPOINT_NAMES)
@pytest.mark.parametrize("controls", [(), (Control("canny", 2.0, 0.0, 1.0),)])
def test_one_control_is_inside_the_price_of_an_evaluation(
    checkpoint: str, controls: tuple[Control, ...]
) -> None:
    params = GenerationParameters(sampler="heun", steps=15, samples=2, controls=controls)
    assert work_of(params, SIZE, checkpoint) == 0.5 * 29 * 2


@pytest.mark.parametrize("checkpoint", CHECKPOINT_NAMES)
def test_further_controls_cost_their_share_of_the_checkpoint(checkpoint: str) -> None:
    controls = (Control("canny"), Control("pose", stop=1.0), Control("tile", strength=0))
    params = GenerationParameters(controls=controls)
    factor = control_factor(checkpoint, controls)
    assert factor > 1
    assert work_of(params, SIZE, checkpoint) == 0.5 * 20 * factor
