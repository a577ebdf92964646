"""Requests with several controls, and with a window that starts late."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoints import LoadedCheckpoint
from models.denoiser import ControlledDenoiser, WindowedControl
from models.memory.plans import HOST_PLAN, MemoryPlan
from models.pipeline import Generation, generate
from models.sampling import SAMPLERS, initial_noise, noise_for, sigmas_for
from models.spec import Control, GenerationSpec
from tests.support.analytic_networks import Gaussian, Pull
from tests.support.networks import SMALL, UNEVEN, Shape, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import (
    control_maps_of,
    ours,
    shipped_together,
    with_networks,
)

pytestmark = pytest.mark.torch

# 5 x 3 tokens: neither a square nor an even number.
SPEC = GenerationSpec(prompt="a red house", control="", width=80, height=48, seed=7, steps=6)
SIZE = (SPEC.width, SPEC.height)
NO_MODES = Shape(control_depth=(3, 0), modes=None)
STREAMED = MemoryPlan("8-bit-streamed", exact=False, blocks_streamed=True)


def run(
    loaded: LoadedCheckpoint, spec: GenerationSpec, picture: Any = None, **options: Any
) -> Generation:
    """`picture`: by default the same one for every control."""
    source = astronaut() if picture is None else picture
    return generate(loaded, spec, source, lambda _step, _steps: None, **options)


@pytest.mark.parametrize(
    ("shape", "plan"),
    [(UNEVEN, HOST_PLAN), (NO_MODES, HOST_PLAN), (UNEVEN, STREAMED)],
    ids=["union", "no modes", "streamed"],
)
@pytest.mark.parametrize(
    ("controls", "steps"),
    [
        ((Control("tile", 1.3, 0.0, 1.0), Control("canny", 0.6, 0.0, 1.0)), ((0, 6), (0, 6))),
        # The ends of windows are met at step 3, and not at 1.5 and 4.5.
        ((Control("tile", 1.3, 0.0, 0.5), Control("depth", 0.9, 0.5, 1.0)), ((0, 4), (3, 6))),
        (
            (
                Control("tile", 1.3, 0.0, 1.0),
                Control("gray", 0.4, 0.25, 0.75),
                Control("canny", 2.0, 0.5, 1.0),
            ),
            ((0, 6), (2, 5), (3, 6)),
        ),
    ],
    ids=["whole", "one after the other", "three"],
)
def test_they_are_bit_for_bit_those_of_the_shipped_pipeline(
    stand_in: LoadedCheckpoint,
    shape: Shape,
    plan: MemoryPlan,
    controls: tuple[Control, ...],
    steps: tuple[tuple[int, int], ...],
) -> None:
    loaded = with_networks(stand_in, network_pair(shape), plan=plan)
    spec = replace(SPEC, controls=controls, profile="exact" if plan.exact else "fast")
    control_maps = control_maps_of(loaded, spec)
    (made,) = ours(loaded, spec, *control_maps)
    assert torch.equal(made, shipped_together(loaded, spec, control_maps, steps))
    if plan is not HOST_PLAN:
        return
    for index in range(len(controls)):  # so that no equality holds because both leave one out
        without = controls[:index] + controls[index + 1 :]
        remaining = control_maps[:index] + control_maps[index + 1 :]
        (other,) = ours(loaded, replace(spec, controls=without), *remaining)
        assert float((made - other).abs().max()) > 1e-3


@pytest.fixture(scope="module")
def small(stand_in: LoadedCheckpoint) -> LoadedCheckpoint:
    """With smaller networks and a shorter text, on neither of which these tests depend."""
    return with_networks(stand_in, network_pair(SMALL), text_tokens=8)


@pytest.mark.parametrize("profile", ["exact", "turbo"])
@pytest.mark.parametrize(("start", "stop"), [(0.0, 0.5), (0.25, 0.75), (0.0, 1.0)])
def test_one_control_of_a_list_is_the_control_of_the_request(
    small: LoadedCheckpoint, profile: str, start: float, stop: float
) -> None:
    alone = replace(
        SPEC, control="pose", strength=0.8, start=start, stop=stop, samples=2, profile=profile
    )
    listed = replace(
        SPEC, controls=(Control("pose", 0.8, start, stop),), samples=2, profile=profile
    )
    first, second = (run(small, spec) for spec in (alone, listed))
    for mine, other in zip(first.pictures, second.pictures, strict=True):
        assert np.array_equal(mine, other)
    assert first.control_map.tobytes() == second.control_map.tobytes()
    assert (first.evaluations, first.controlled) == (second.evaluations, second.controlled)


def test_a_control_of_no_strength_does_not_run(small: LoadedCheckpoint) -> None:
    canny, tile = Control("canny", 0.8, 0.0, 1.0), Control("tile", 0.9, 0.0, 0.5)
    off = Control("depth", 0.0, 0.0, 1.0)
    both = run(small, replace(SPEC, controls=(canny, tile)))
    with_off = run(small, replace(SPEC, controls=(off, canny, tile)))
    assert np.array_equal(both.pictures[0], with_off.pictures[0])
    assert both.controlled == with_off.controlled == 10
    none = run(small, replace(SPEC, controls=(off, off)))
    assert none.controlled == 0
    assert len(none.control_maps) == 2
    alone = run(small, replace(SPEC, control="canny", strength=0.0))
    assert np.array_equal(none.pictures[0], alone.pictures[0])


def test_each_control_has_a_picture_of_its_own(small: LoadedCheckpoint) -> None:
    controls = (Control("canny", 0.8), Control("depth", 0.8), Control("tile", 0.8))
    spec = replace(SPEC, controls=controls)
    pictures = [astronaut(), astronaut().rotate(90), astronaut(SIZE).rotate(180)]
    made = run(small, spec, pictures, annotated=[False, False, True])
    expected = [
        control_map_of_picture(small, control, picture)
        for control, picture in zip(controls[:2], pictures[:2], strict=True)
    ]
    assert [each.tobytes() for each in made.control_maps] == [
        each.tobytes() for each in (*expected, pictures[2])
    ]
    assert made.control_map is made.control_maps[0]
    maps = made.control_maps
    assert np.array_equal(made.pictures[0], run(small, spec, maps, annotated=True).pictures[0])
    swapped = run(small, spec, [maps[1], maps[0], maps[2]], annotated=True)
    assert not np.array_equal(made.pictures[0], swapped.pictures[0])
    with pytest.raises(ValueError, match="shorter"):
        run(small, spec, pictures[:2])


def control_map_of_picture(
    loaded: LoadedCheckpoint, control: Control, picture: Image.Image
) -> Image.Image:
    return loaded.control_maps.make(control.type, picture, SIZE)


def test_the_order_of_two_controls_changes_no_more_than_rounding(small: LoadedCheckpoint) -> None:
    controls = (Control("canny", 0.8, 0.0, 1.0), Control("tile", 0.9, 0.25, 0.75))
    spec = replace(SPEC, controls=controls)
    maps = control_maps_of(small, spec)
    (made,) = ours(small, spec, *maps)
    (other,) = ours(small, replace(spec, controls=controls[::-1]), *maps[::-1])
    assert float((made - other).abs().max()) < 1e-5


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "dpmpp_sde", "dpmpp_2m_sde"])
@pytest.mark.parametrize("schedule", ["simple", "karras"])
def test_each_evaluation_runs_the_controls_in_whose_windows_it_is(
    sampler: str, schedule: str
) -> None:
    windows = [(0.0, 0.5), (0.5, 1.0), (0.25, 0.75), (0.4, 0.4)]
    model = Gaussian()
    denoiser = ControlledDenoiser(
        cast(Any, model),
        [WindowedControl(cast(Any, Pull()), stop, start) for start, stop in windows],
        mu=1.15,
    )
    sigmas = sigmas_for(schedule, 20, sampler=sampler)
    x = sigmas[0] * initial_noise(3, (1, 16, 4, 6))
    SAMPLERS[sampler](denoiser, x, sigmas, noise=noise_for(sampler, 3, x, sigmas))

    def sigma_of(part: float) -> np.float32:
        if part in (0.0, 1.0):
            return np.float32(1.0 - part)
        return np.float32(math.exp(1.15) / (math.exp(1.15) + 1 / (1 - part) - 1))

    runs = [
        sum(sigma_of(stop) <= np.float32(sigma) <= sigma_of(start) for sigma in model.sigmas)
        for start, stop in windows
    ]
    assert denoiser.controlled == sum(runs)
    assert denoiser.evaluations == len(model.sigmas)
    if (sampler, schedule) == ("euler", "simple"):
        assert runs == [11, 10, 11, 1]
    if (sampler, schedule) == ("euler", "karras"):
        assert runs[:2] == [2, 18]


def test_four_samples_are_four_requests(small: LoadedCheckpoint) -> None:
    controls = (Control("canny", 0.8, 0.0, 0.5), Control("depth", 0.9, 0.25, 1.0))
    spec = replace(SPEC, controls=controls, samples=4, sampler="dpmpp_2m_sde")
    together = run(small, spec)
    for index, picture in enumerate(together.pictures):
        alone = run(small, replace(spec, samples=1, seed=7 + index))
        assert np.array_equal(picture, alone.pictures[0])
