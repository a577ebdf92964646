"""The whole mathematics on the demo checkpoint, against the shipped pipeline and against itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.controls import make_control_map
from models.denoiser import ControlledDenoiser, pack, unpack
from models.errors import NonFiniteLatents, OutOfMemory
from models.pipeline import (
    Generation,
    encode_control,
    encode_text,
    generate,
    sample,
)
from models.sampling import initial_noise, sigmas_for
from models.spec import CONTROL_NAMES, GenerationSpec
from tests.support.pictures import astronaut

SPEC = GenerationSpec(
    prompt="an astronaut with a red helmet", control="canny", width=192, height=128, steps=15
)


def run(demo: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    return generate(demo, spec, astronaut(), lambda _step, _steps: None)


@contextmanager
def counted(module: torch.nn.Module) -> Iterator[list[None]]:
    calls: list[None] = []
    handle = module.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


@pytest.mark.parametrize("control", CONTROL_NAMES)
@pytest.mark.parametrize("strength", [0.45, 1.3])
def test_euler_simple_equals_the_shipped_pipeline(
    demo: LoadedCheckpoint, control: str, strength: float
) -> None:
    spec = replace(SPEC, control=control, strength=strength, stop=1.0, steps=20, seed=7)
    control_map = make_control_map(control, astronaut(), (192, 128), demo.annotators)
    with torch.inference_mode():
        denoiser = ControlledDenoiser(
            demo.pipe,
            encode_text(demo, spec.prompt),
            encode_control(demo, spec, control_map),
            spec.guidance,
            (16, 24),
        )
        ours = sample(denoiser, spec, 0, demo.device, lambda _step, _steps: None)
    theirs = _shipped(demo, spec, control_map)
    assert float((ours - theirs).abs().max()) < 1e-5
    assert float(ours.std()) > 0.1


def _shipped(demo: LoadedCheckpoint, spec: GenerationSpec, control_map: Any) -> Tensor:
    pipe = demo.pipe
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False, shift=1.0)
    sigmas = sigmas_for(spec.schedule, spec.steps)[:-1].tolist()
    latents = pipe(
        spec.prompt,
        width=spec.width,
        height=spec.height,
        sigmas=sigmas,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance,
        control_image=control_map,
        control_mode=demo.checkpoint.modes[spec.control],
        controlnet_conditioning_scale=spec.strength,
        latents=pack(initial_noise(spec.seed, (1, 16, 16, 24))),
        output_type="latent",
    ).images
    return unpack(latents, 16, 24)


def test_strength_zero_is_no_controlnet_bit_for_bit(demo: LoadedCheckpoint) -> None:
    with counted(demo.pipe.controlnet) as calls:
        off = run(demo, replace(SPEC, strength=0.0, stop=1.0))
    assert calls == []
    assert off.controlled == 0
    plain = _without_controlnet(demo, SPEC)
    assert np.array_equal(off.pictures[0], plain.pictures[0])


def _without_controlnet(demo: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    """A run whose pipe has lost its ControlNet altogether: calling it would raise."""
    controlnet = demo.pipe.controlnet
    demo.pipe.controlnet = None
    try:
        return run(demo, replace(spec, strength=0.0))
    finally:
        demo.pipe.controlnet = controlnet


def test_strength_changes_the_picture(demo: LoadedCheckpoint) -> None:
    made = [run(demo, replace(SPEC, strength=value, stop=1.0)) for value in (0.0, 0.5, 1.0)]
    assert not np.array_equal(made[0].pictures[0], made[1].pictures[0])
    assert not np.array_equal(made[1].pictures[0], made[2].pictures[0])


@pytest.mark.parametrize(
    ("sampler", "stop", "controlled", "evaluations"),
    [
        ("euler", 0.5, 11, 20),
        ("euler", 0.0, 1, 20),
        ("euler", 1.0, 20, 20),
        ("heun", 0.5, 21, 39),
        ("dpmpp_2m", 0.5, 11, 20),
        # The inner evaluations of these switch where their own sigma says (golden counts).
        ("heunpp2", 0.5, 30, 57),
        ("dpm_2", 0.5, 21, 39),
        ("dpm_fast", 0.5, 3, 20),
        ("dpmpp_sde", 0.5, 21, 39),
    ],
)
def test_the_window_follows_sigma(
    demo: LoadedCheckpoint, sampler: str, stop: float, controlled: int, evaluations: int
) -> None:
    spec = replace(SPEC, width=64, height=64, steps=20, sampler=sampler, stop=stop)
    with counted(demo.pipe.controlnet) as control, counted(demo.pipe.transformer) as model:
        made = run(demo, spec)
    assert (len(control), len(model)) == (controlled, evaluations)
    assert (made.controlled, made.evaluations) == (controlled, evaluations)


def test_the_same_seed_is_the_same_picture(demo: LoadedCheckpoint) -> None:
    first, second = run(demo, SPEC), run(demo, SPEC)
    assert np.array_equal(first.pictures[0], second.pictures[0])
    other = run(demo, replace(SPEC, seed=1))
    assert not np.array_equal(first.pictures[0], other.pictures[0])


def test_picture_i_is_the_picture_of_seed_plus_i(demo: LoadedCheckpoint) -> None:
    many = run(demo, replace(SPEC, seed=41, samples=4))
    assert len(many.pictures) == 4
    for index, picture in enumerate(many.pictures):
        single = run(demo, replace(SPEC, seed=41 + index))
        assert np.array_equal(picture, single.pictures[0])


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a green dog"}, {"guidance": 9.0}, {"steps": 25}, {"schedule": "karras"}],
)
def test_every_setting_matters(demo: LoadedCheckpoint, change: dict[str, Any]) -> None:
    before, after = run(demo, SPEC), run(demo, replace(SPEC, **change))
    assert not np.array_equal(before.pictures[0], after.pictures[0])


def test_progress_counts_the_steps_of_all_samples(demo: LoadedCheckpoint) -> None:
    seen: list[tuple[int, int]] = []
    spec = replace(SPEC, width=64, height=64, samples=2, sampler="heun")
    generate(demo, spec, astronaut(), lambda step, steps: seen.append((step, steps)))
    assert seen == [(step, 30) for step in range(1, 31)]


def test_an_exception_from_the_callback_stops_at_that_step(demo: LoadedCheckpoint) -> None:
    class Stop(Exception):
        pass

    def stop(step: int, _steps: int) -> None:
        if step == 3:
            raise Stop

    with counted(demo.pipe.transformer) as calls, pytest.raises(Stop):
        generate(demo, SPEC, astronaut(), stop)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("sampler", "evaluation", "step"),
    [("euler", 4, 4), ("euler", 15, 15), ("heun", 8, 4), ("heun", 1, 1), ("dpm_adaptive", 1, 1)],
)
def test_non_finite_latents_are_an_error_that_names_the_step(
    demo: LoadedCheckpoint, sampler: str, evaluation: int, step: int
) -> None:
    def poison(_module: Any, _inputs: Any, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        calls.append(None)
        return (output[0] * float("nan"),) if len(calls) == evaluation else output

    calls: list[None] = []
    handle = demo.pipe.transformer.register_forward_hook(poison)
    expected = f"sampler {sampler}, scheduler simple at step {step} of 15"
    try:
        with pytest.raises(NonFiniteLatents, match=expected):
            run(demo, replace(SPEC, sampler=sampler))
    finally:
        handle.remove()


def test_a_repeated_prompt_and_map_are_encoded_once(demo: LoadedCheckpoint) -> None:
    spec = replace(SPEC, prompt="asked for nowhere else", control="tile", width=208, samples=3)
    encoders = demo.pipe.text_encoder, demo.pipe.text_encoder_2, demo.pipe.vae.encoder
    counts = []
    for _ in range(2):
        with ExitStack() as stack:
            calls = [stack.enter_context(counted(encoder)) for encoder in encoders]
            made = run(demo, spec)
        counts.append([len(each) for each in calls])
    assert counts == [[1, 1, 1], [0, 0, 0]]
    fresh = replace(demo, prompts=TensorCache(0), control_latents=TensorCache(0))
    assert np.array_equal(made.pictures[2], run(fresh, spec).pictures[2])


def test_no_memory_is_an_error_that_names_the_size_and_the_next_request_works(
    demo: LoadedCheckpoint,
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = demo.pipe.transformer.register_forward_pre_hook(full)
    try:
        with pytest.raises(OutOfMemory, match="192x128 with samples 2"):
            run(demo, replace(SPEC, samples=2))
    finally:
        handle.remove()
    assert run(demo, SPEC).pictures


def test_pack_is_undone_by_unpack() -> None:
    latents = torch.randn(2, 16, 6, 10)
    assert torch.equal(unpack(pack(latents), 6, 10), latents)
    assert pack(latents).shape == (2, 15, 64)
