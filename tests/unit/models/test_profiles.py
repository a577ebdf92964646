"""The profiles end to end on a stand-in of random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.checkpoints import LoadedCheckpoint
from models.memory.plans import MemoryPlan
from models.pipeline import Generation, generate
from models.spec import PROFILE_NAMES, SAMPLER_NAMES, GenerationSpec
from tests.support.networks import SMALL, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import with_networks

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(prompt="a red house", control="canny", width=128, height=96, steps=20)


@pytest.fixture(scope="module")
def stand_in(stand_in: LoadedCheckpoint) -> LoadedCheckpoint:
    """With smaller networks and a shorter text, on neither of which these tests depend."""
    return with_networks(stand_in, network_pair(SMALL), text_tokens=8)


def run(loaded: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    return generate(loaded, spec, astronaut(), lambda _step, _steps: None)


# turbo differs from sampler to sampler; exact and fast hand every sampler the same denoiser.
EVERY_SAMPLER = [(sampler, "turbo") for sampler in SAMPLER_NAMES] + [
    (sampler, profile)
    for sampler in ("euler", "dpmpp_2m", "dpmpp_sde", "dpm_adaptive")
    for profile in ("exact", "fast")
]


@pytest.mark.parametrize(("sampler", "profile"), EVERY_SAMPLER)
def test_samplers_run_in_every_profile(
    stand_in: LoadedCheckpoint, sampler: str, profile: str
) -> None:
    spec = replace(SPEC, width=64, height=64, sampler=sampler, steps=6, profile=profile)
    made = run(stand_in, spec)
    assert made.profile == profile
    assert made.pictures[0].std() > 1


def test_turbo_runs_fewer_evaluations_and_stays_near(stand_in: LoadedCheckpoint) -> None:
    exact, fast, turbo = (run(stand_in, replace(SPEC, profile=name)) for name in PROFILE_NAMES)
    assert (exact.evaluations, fast.evaluations) == (20, 20)
    assert turbo.evaluations <= 14
    other = run(stand_in, replace(SPEC, seed=1))

    def distance(made: Generation) -> float:
        return float(np.abs(made.pictures[0].astype(int) - exact.pictures[0]).mean())

    assert 0 < distance(fast) < distance(other) / 5
    assert 0 < distance(turbo) < distance(other) / 2


def test_turbo_makes_the_same_picture_twice(stand_in: LoadedCheckpoint) -> None:
    spec = replace(SPEC, profile="turbo", samples=2)
    first, second = run(stand_in, spec), run(stand_in, spec)
    assert all(map(np.array_equal, first.pictures, second.pictures))
    single = run(stand_in, replace(SPEC, profile="turbo", seed=1))
    assert np.array_equal(first.pictures[1], single.pictures[0])


@pytest.mark.parametrize("blocks_streamed", [False, True])
def test_a_card_too_small_for_exact_serves_fast_and_reports_it(
    stand_in: LoadedCheckpoint, blocks_streamed: bool
) -> None:
    fast = run(stand_in, replace(SPEC, profile="fast"))
    plan = MemoryPlan("small", exact=False, encoders_streamed=True, blocks_streamed=blocks_streamed)
    card = with_networks(stand_in, network_pair(SMALL), plan=plan, text_tokens=8)
    made = run(card, SPEC)
    assert made.profile == "fast"
    assert np.array_equal(made.pictures[0], fast.pictures[0])
    with pytest.raises(ValueError, match="no room"):
        card.networks.of("exact")
