"""Whole requests on networks shaped like the real ones, in every profile, against diffusers'
FluxControlNetPipeline around the same networks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.checkpoints import LoadedCheckpoint
from models.memory.plans import HOST_PLAN, MemoryPlan
from models.pipeline import Generation, generate
from models.spec import GenerationSpec
from tests.support.networks import DOUBLE_ONLY, REAL_DEPTH, UNEVEN, Shape, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import control_map_of, ours, shipped, with_networks

pytestmark = pytest.mark.torch

# 5 x 3 tokens: neither a square nor an even number.
SPEC = GenerationSpec(
    prompt="a red house", control="tile", width=80, height=48, seed=7, strength=1.3, steps=10
)
IN_8_BITS = MemoryPlan("8-bit", exact=False)
STREAMED = MemoryPlan("8-bit-streamed", exact=False, blocks_streamed=True)


@pytest.mark.parametrize(
    ("shape", "plan", "text_tokens"),
    [
        (UNEVEN, HOST_PLAN, 77),
        (UNEVEN, HOST_PLAN, 512),
        (REAL_DEPTH, HOST_PLAN, 512),
        (UNEVEN, IN_8_BITS, 512),
        (UNEVEN, STREAMED, 77),
        (Shape(guidance=False, control_guidance=False), HOST_PLAN, 77),
        (DOUBLE_ONLY, HOST_PLAN, 77),
    ],
    ids=["short text", "exact", "real depth", "8 bits", "streamed", "no guidance", "no modes"],
)
def test_samples_are_bit_for_bit_calls_of_the_shipped_pipeline(
    stand_in: LoadedCheckpoint, shape: Shape, plan: MemoryPlan, text_tokens: int
) -> None:
    loaded = with_networks(stand_in, network_pair(shape), plan=plan, text_tokens=text_tokens)
    spec = replace(SPEC, samples=2, profile="exact" if plan.exact else "fast")
    control_map = control_map_of(loaded, spec)
    first, second = ours(loaded, spec, control_map)
    assert torch.equal(first, shipped(loaded, spec, control_map, [7], controlled=6))
    assert torch.equal(second, shipped(loaded, spec, control_map, [8], controlled=6))


@pytest.fixture(scope="module")
def real_ratio(stand_in: LoadedCheckpoint) -> LoadedCheckpoint:
    return with_networks(stand_in, network_pair(UNEVEN))


def run(loaded: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    return generate(loaded, spec, astronaut(), lambda _step, _steps: None)


def test_turbo_equals_fast_until_it_skips_an_evaluation(real_ratio: LoadedCheckpoint) -> None:
    """Its first two evaluations are always run, so that two steps are the same picture."""
    fast, turbo = (
        run(real_ratio, replace(SPEC, steps=2, profile=profile)) for profile in ("fast", "turbo")
    )
    assert np.array_equal(fast.pictures[0], turbo.pictures[0])
    made = run(real_ratio, replace(SPEC, steps=20, profile="turbo"))
    assert (made.evaluations, made.controlled) == (11, 6)


def test_control_follows_strength_and_window(real_ratio: LoadedCheckpoint) -> None:
    changed = [
        run(real_ratio, replace(SPEC, strength=strength, stop=stop)).pictures[0].tobytes()
        for strength, stop in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0))
    ]
    assert len(set(changed)) == 4
