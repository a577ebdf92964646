"""One of the faults of scripts/chaos; the command runs them all."""

from __future__ import annotations

from scripts.chaosrig.scenarios import SCENARIOS
from scripts.chaosrig.trial import run


def test_a_killed_gpu_worker_costs_no_request() -> None:
    outcome = run(SCENARIOS["kill-gpu"], requests=8, seed=7)
    assert outcome.verdict.good, "\n".join([*outcome.verdict.faults, outcome.log])
    assert outcome.standing, "nothing was in hand when it struck"
