"""Going on after a crash: the picture is byte for byte that of an undisturbed run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints import LoadedCheckpoint
from models.evaluation_log import EvaluationLog, Made
from models.pipeline import generate
from models.sampling import SAMPLERS, initial_noise, noise_for, sigmas_for
from models.spec import SAMPLER_NAMES, GenerationSpec
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
class Kept:
    """A Memory in the test's own memory; takes from the tape after every `every` steps."""

    every: int = 1
    pictures: dict[int, Made] = field(default_factory=dict)
    tapes: dict[int, list[bytes]] = field(default_factory=dict)
    steps: int = 0

    def made(self, index: int) -> Made | None:
        return self.pictures.get(index)

    def answers(self, index: int) -> Sequence[bytes]:
        return self.tapes.get(index, [])

    def after_step(self, index: int, tape: EvaluationLog) -> None:
        self.steps += 1
        if self.steps % self.every == 0:
            self.tapes.setdefault(index, []).extend(tape.take())

    def after_picture(self, index: int, made: Made) -> None:
        self.pictures[index] = made


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


def sampled(sampler: str, tape: EvaluationLog, stop_after: int = 100) -> Tensor:
    """A picture of 15 steps along `tape`; Crash once `stop_after` of them are done."""
    sigmas = sigmas_for("simple", 15, sampler=sampler)
    x = sigmas[0] * initial_noise(3, LATENTS)

    def callback(step: int, *_: object) -> None:
        if step + 1 >= stop_after:
            raise Crash

    noise = noise_for(sampler, 3, x, sigmas)
    return SAMPLERS[sampler](tape, x, sigmas, noise=noise, callback=callback)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_goes_on_where_it_was(sampler: str, dtype: torch.dtype) -> None:
    """Through two crashes, what was recorded between them included."""
    undisturbed, resumed = Gaussian(dtype), Gaussian(dtype)
    whole = analytic_denoiser(undisturbed)
    expected = sampled(sampler, EvaluationLog(whole, dtype))
    recorded: list[bytes] = []
    for step in (3, 5):
        tape = EvaluationLog(analytic_denoiser(resumed), dtype, recorded)
        with pytest.raises(Crash):
            sampled(sampler, tape, stop_after=step)
        recorded += tape.take()
        assert len(recorded) == len(resumed.sigmas)
    assert len(recorded) >= 3
    last = analytic_denoiser(resumed)
    made = sampled(sampler, EvaluationLog(last, dtype, recorded))
    assert torch.equal(made, expected)
    assert resumed.sigmas == undisturbed.sigmas
    assert (last.evaluations, last.controlled) == (whole.evaluations, whole.controlled)
    assert 0 < last.controlled < last.evaluations


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_sde", "dpm_adaptive"])
def test_a_generation_goes_on_where_it_was(stand_in: LoadedCheckpoint, sampler: str) -> None:
    spec = replace(SPEC, sampler=sampler)
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    kept = Kept()
    with pytest.raises(Crash):
        generate(stand_in, spec, astronaut(), crash_at(4), kept)
    recorded = len(kept.tapes[0])
    assert recorded >= 4
    calls, handle = model_calls(stand_in)
    try:
        made = generate(stand_in, spec, astronaut(), undisturbed, kept)
    finally:
        handle.remove()
    assert np.array_equal(made.pictures[0], whole.pictures[0])
    assert len(calls) == whole.evaluations - recorded
    assert (made.evaluations, made.controlled) == (whole.evaluations, whole.controlled)


@pytest.mark.parametrize("profile", ["fast", "turbo"])
def test_the_other_profiles_go_on_too(stand_in: LoadedCheckpoint, profile: str) -> None:
    spec = replace(SPEC, profile=profile, steps=20)
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    kept = Kept(every=3)
    for step in (5, 11, 17):
        with pytest.raises(Crash):
            generate(stand_in, spec, astronaut(), crash_at(step), kept)
    made = generate(stand_in, spec, astronaut(), undisturbed, kept)
    assert np.array_equal(made.pictures[0], whole.pictures[0])
    assert made.evaluations == whole.evaluations


def test_finished_samples_are_not_made_again(stand_in: LoadedCheckpoint) -> None:
    spec = replace(SPEC, samples=3, sampler="euler_ancestral")
    whole = generate(stand_in, spec, astronaut(), undisturbed)
    kept = Kept()
    with pytest.raises(Crash):
        generate(stand_in, spec, astronaut(), crash_at(2 * 8 + 5), kept)
    assert set(kept.pictures) == {0, 1}
    calls, handle = model_calls(stand_in)
    try:
        made = generate(stand_in, spec, astronaut(), undisturbed, kept)
    finally:
        handle.remove()
    assert len(calls) == 8 - 5
    assert all(map(np.array_equal, made.pictures, whole.pictures))
    assert (made.evaluations, made.controlled) == (whole.evaluations, whole.controlled)


def test_answers_are_taken_once_and_in_order() -> None:
    tape = EvaluationLog(analytic_denoiser(Gaussian()), torch.float32)
    x = initial_noise(3, LATENTS)
    answers = [tape.velocity(x, sigma) for sigma in (1.0, 0.8)]
    assert tape.take() == [answer.numpy().tobytes() for answer in answers]
    assert tape.take() == []
    third = tape.velocity(x, 0.5)
    assert tape.take() == [third.numpy().tobytes()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("latents", [torch.float32, torch.float64])
def test_an_answer_played_back_has_the_shape_and_precision_of_the_latents(
    latents: torch.dtype, dtype: torch.dtype
) -> None:
    x = initial_noise(3, LATENTS).to(latents)
    first = EvaluationLog(analytic_denoiser(Gaussian(dtype)), dtype)
    answer = first.velocity(x, 0.7)
    model = Gaussian(dtype)
    again = EvaluationLog(analytic_denoiser(model), dtype, first.take())
    played = again.velocity(x, 0.7)
    assert played.dtype == answer.dtype == latents
    assert torch.equal(played, answer)
    assert model.sigmas == []
    assert again.take() == []  # what is kept already is not recorded once more
    assert torch.equal(again.velocity(x, 0.7), answer)
    assert model.sigmas == [0.7]


def test_the_window_is_that_of_the_denoiser() -> None:
    tape = EvaluationLog(analytic_denoiser(Gaussian(), stop=0.5, mu=0.0), torch.float32)
    assert tape.controls(0.5)
    assert not tape.controls(0.49)
