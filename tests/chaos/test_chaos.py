"""Three of the faults of scripts/chaos; the command runs them all."""

from __future__ import annotations

import math

import pytest

from scripts.chaosrig.scenarios import SCENARIOS
from scripts.chaosrig.trial import run


@pytest.mark.parametrize(
    ("name", "longest_s"), [("kill-gpu", 10), ("kill-redis", 20), ("term-job", 10)]
)
def test_every_accepted_request_has_one_end_and_the_true_one(name: str, longest_s: float) -> None:
    """longest_s: how long a request may stand still, with room for a busy machine."""
    outcome = run(SCENARIOS[name], requests=16, seed=7)
    assert outcome.verdict.good, "\n".join([*outcome.verdict.faults, outcome.log])
    still = max(outcome.standing, default=math.inf)
    assert still < 1.5 * longest_s, f"{outcome.standing}\n{outcome.log}"
