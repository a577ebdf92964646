"""Resuming after a crash: the picture equals that of an undisturbed run, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import LoadedCheckpoint
from models.evaluation_log import EvaluationLog, GeneratedImage
from models.pipeline import generate
from models.sampling import SAMPLERS, initial_noise, noise_for, sigmas_for
from models.spec import SAMPLER_NAMES, Control, GenerationSpec
from tests.support.analytic_networks import Gaussian, analytic_denoiser
from tests.support.networks import SMALL, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import with_networks

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(
    prompt="a long road", control="canny", width=64, height=64, steps=8, seed=3, stop=0.5
)


@pytest.fixture(scope="module")
def stand_in(stand_in: LoadedCheckpoint) -> LoadedCheckpoint:
    """With smaller networks and a shorter text, on neither of which these tests depend."""
    return with_networks(stand_in, network_pair(SMALL), text_tokens=8)


class Crash(Exception):
    pass


@dataclass
class StubResumeStore:
    """A ResumeStore in memory; drains the log after every `every` steps."""

    every: int = 1
    images: dict[int, GeneratedImage] = field(default_factory=dict)
    logs: dict[int, list[bytes]] = field(default_factory=dict)
    steps: int = 0

    def finished_image(self, index: int) -> GeneratedImage | None:
        return self.images.get(index)

    def recorded(self, index: int) -> Sequence[bytes]:
        return self.logs.get(index, [])

    def after_step(self, index: int, log: EvaluationLog) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.logs.setdefault(index, []).extend(log.drain())

    def after_image(self, index: int, image: GeneratedImage) -> None:
        self.images[index] = image


def crash_at(step: int):  # type: ignore[no-untyped-def]
    def on_step(done: int, _steps: int) -> None:
        if done >= step:
            raise Crash

    return on_step


def undisturbed(_step: int, _steps: int) -> None:
    pass


def model_calls(stand_in: LoadedCheckpoint) -> tuple[list[None], torch.utils.hooks.RemovableHandle]:
    calls: list[None] = []
    layer = stand_in.pipe.transformer.x_embedder
    return calls, layer.register_forward_pre_hook(lambda *_: calls.append(None))


LATENTS = (1, 16, 4, 6)


def sampled(sampler: str, log: EvaluationLog, stop_after: int = 100) -> Tensor:
    """A picture of 15 steps along `log`; Crash once `stop_after` of them are done."""
    sigmas = sigmas_for("simple", 15, sampler=sampler)
    x = sigmas[0] * initial_noise(3, LATENTS)

    def callback(step: int, *_: object) -> None:
        if step + 1 >= stop_after:
            raise Crash

    noise = noise_for(sampler, 3, x, sigmas)
    return SAMPLERS[sampler](log, x, sigmas, noise=noise, callback=callback)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_resumes_after_a_crash(sampler: str, dtype: torch.dtype) -> None:
    """After two crashes, with the evaluations recorded between them."""
    undisturbed, resumed = Gaussian(dtype), Gaussian(dtype)
    whole = analytic_denoiser(undisturbed)
    expected = sampled(sampler, EvaluationLog(whole, dtype))
    recorded: list[bytes] = []
    for step in (3, 5):
        log = EvaluationLog(analytic_denoiser(resumed), dtype, recorded)
        with pytest.raises(Crash):
            sampled(sampler, log, stop_after=step)
        recorded += log.drain()
        assert len(recorded) == len(resumed.sigmas)
    assert len(recorded) >= 3
    last = analytic_denoiser(resumed)
    latents = sampled(sampler, EvaluationLog(last, dtype, recorded))
    assert torch.equal(latents, expected)
    assert resumed.sigmas == undisturbed.sigmas
    assert (last.evaluations, last.controlled) == (whole.evaluations, whole.controlled)
    assert 0 < last.controlled < last.evaluations


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_sde", "dpm_adaptive"])
def test_a_generation_resumes_after_a_crash(stand_in: LoadedCheckpoint, sampler: str) -> None:
    spec = replace(SPEC, sampler=sampler)
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    store = StubResumeStore()
    with pytest.raises(Crash):
        generate(stand_in, spec, astronaut(), crash_at(4), store)
    recorded = len(store.logs[0])
    assert recorded >= 4
    calls, handle = model_calls(stand_in)
    try:
        resumed_generation = generate(stand_in, spec, astronaut(), undisturbed, store)
    finally:
        handle.remove()
    assert np.array_equal(resumed_generation.pictures[0], whole.pictures[0])
    assert len(calls) == whole.evaluations - recorded
    assert (resumed_generation.evaluations, resumed_generation.controlled) == (
        whole.evaluations,
        whole.controlled,
    )


@pytest.mark.parametrize("profile", ["fast", "turbo"])
def test_the_fast_and_turbo_profiles_resume_after_a_crash(
    stand_in: LoadedCheckpoint, profile: str
) -> None:
    spec = replace(SPEC, profile=profile, steps=20)
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    store = StubResumeStore(every=3)
    for step in (5, 11, 17):
        with pytest.raises(Crash):
            generate(stand_in, spec, astronaut(), crash_at(step), store)
    resumed_generation = generate(stand_in, spec, astronaut(), undisturbed, store)
    assert np.array_equal(resumed_generation.pictures[0], whole.pictures[0])
    assert resumed_generation.evaluations == whole.evaluations


def test_finished_samples_are_not_generated_again(stand_in: LoadedCheckpoint) -> None:
    spec = replace(SPEC, samples=3, sampler="euler_ancestral")
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    store = StubResumeStore()
    with pytest.raises(Crash):
        generate(stand_in, spec, astronaut(), crash_at(2 * 8 + 5), store)
    assert set(store.images) == {0, 1}
    calls, handle = model_calls(stand_in)
    try:
        resumed_generation = generate(stand_in, spec, astronaut(), undisturbed, store)
    finally:
        handle.remove()
    assert len(calls) == 8 - 5
    assert all(map(np.array_equal, resumed_generation.pictures, whole.pictures))
    assert (resumed_generation.evaluations, resumed_generation.controlled) == (
        whole.evaluations,
        whole.controlled,
    )


@pytest.mark.parametrize(
    ("sampler", "profile"), [("heun", "exact"), ("dpmpp_2m_sde", "exact"), ("euler", "turbo")]
)
def test_several_controls_resume_after_a_crash(
    stand_in: LoadedCheckpoint, sampler: str, profile: str
) -> None:
    """In the second picture, after the window of one control and in that of the other."""
    controls = (Control("canny", 0.8, 0.0, 0.4), Control("tile", 0.9, 0.25, 1.0))
    spec = replace(SPEC, controls=controls, samples=2, sampler=sampler, profile=profile)
    pictures = [astronaut(), astronaut().rotate(90)]
    whole = generate(stand_in, spec, pictures, undisturbed)
    store = StubResumeStore()
    with pytest.raises(Crash):
        generate(stand_in, spec, pictures, crash_at(8 + 6), store)
    assert set(store.images) == {0}
    resumed_generation = generate(stand_in, spec, pictures, undisturbed, store)
    assert all(map(np.array_equal, resumed_generation.pictures, whole.pictures))
    assert (resumed_generation.evaluations, resumed_generation.controlled) == (
        whole.evaluations,
        whole.controlled,
    )


def test_evaluations_are_drained_once_and_in_order() -> None:
    log = EvaluationLog(analytic_denoiser(Gaussian()), torch.float32)
    x = initial_noise(3, LATENTS)
    velocities = [log.velocity(x, sigma) for sigma in (1.0, 0.8)]
    assert log.drain() == [velocity.numpy().tobytes() for velocity in velocities]
    assert log.drain() == []
    third = log.velocity(x, 0.5)
    assert log.drain() == [third.numpy().tobytes()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("latents", [torch.float32, torch.float64])
def test_a_replayed_evaluation_has_the_shape_and_precision_of_the_latents(
    latents: torch.dtype, dtype: torch.dtype
) -> None:
    x = initial_noise(3, LATENTS).to(latents)
    first = EvaluationLog(analytic_denoiser(Gaussian(dtype)), dtype)
    velocity = first.velocity(x, 0.7)
    model = Gaussian(dtype)
    second = EvaluationLog(analytic_denoiser(model), dtype, first.drain())
    replayed = second.velocity(x, 0.7)
    assert replayed.dtype == velocity.dtype == latents
    assert torch.equal(replayed, velocity)
    assert model.sigmas == []
    assert second.drain() == []  # replayed evaluations are not recorded again
    assert torch.equal(second.velocity(x, 0.7), velocity)
    assert model.sigmas == [0.7]


def test_the_control_window_of_a_log_is_that_of_its_denoiser() -> None:
    log = EvaluationLog(analytic_denoiser(Gaussian(), stop=0.5, mu=0.0), torch.float32)
    assert log.controls(0.5)
    assert not log.controls(0.49)
