"""The whole pipeline on a stand-in of random weights, compared with itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.autoencoder import Autoencoder
from models.cache import TensorCache
from models.checkpoints import LoadedCheckpoint
from models.denoiser import pack, unpack
from models.errors import NonFiniteLatents, OutOfMemory
from models.flux.profiles import NetworkPair, Networks
from models.memory.plans import HOST_PLAN
from models.pipeline import Generation, generate, make_control_map, prepare_denoiser
from models.spec import GenerationSpec
from models.text import TextEncoders
from tests.support.networks import SMALL, network_pair
from tests.support.pictures import astronaut
from tests.support.shipped_pipeline import with_networks

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(
    prompt="an astronaut with a red helmet", control="canny", width=192, height=128, steps=15
)


@pytest.fixture(scope="module")
def stand_in(stand_in: LoadedCheckpoint) -> LoadedCheckpoint:
    """With smaller networks and a shorter text, on neither of which these tests depend."""
    return with_networks(stand_in, network_pair(SMALL), text_tokens=8)


def run(stand_in: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    return generate(stand_in, spec, astronaut(), lambda _step, _steps: None)


@contextmanager
def counted(module: torch.nn.Module) -> Iterator[list[None]]:
    calls: list[None] = []
    handle = module.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


def test_strength_zero_is_no_controlnet_bit_for_bit(stand_in: LoadedCheckpoint) -> None:
    with counted(stand_in.pipe.controlnet.x_embedder) as calls:
        off = run(stand_in, replace(SPEC, strength=0.0, stop=1.0))
    assert calls == []
    assert off.controlled == 0
    plain = _without_controlnet(stand_in, SPEC)
    assert np.array_equal(off.pictures[0], plain.pictures[0])


def _without_controlnet(stand_in: LoadedCheckpoint, spec: GenerationSpec) -> Generation:
    """A run that has no ControlNet at all: calling it would raise."""
    pair = NetworkPair(stand_in.pipe.transformer, torch.nn.Module())
    networks = Networks(pair, stand_in.device, HOST_PLAN, compiled=False)
    return run(replace(stand_in, networks=networks), replace(spec, strength=0.0))


def test_strength_changes_the_picture(stand_in: LoadedCheckpoint) -> None:
    made = [run(stand_in, replace(SPEC, strength=value, stop=1.0)) for value in (0.0, 0.5, 1.0)]
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
    stand_in: LoadedCheckpoint, sampler: str, stop: float, controlled: int, evaluations: int
) -> None:
    spec = replace(SPEC, width=64, height=64, steps=20, sampler=sampler, stop=stop)
    networks = stand_in.pipe.controlnet.x_embedder, stand_in.pipe.transformer.x_embedder
    with counted(networks[0]) as control, counted(networks[1]) as model:
        made = run(stand_in, spec)
    assert (len(control), len(model)) == (controlled, evaluations)
    assert (made.controlled, made.evaluations) == (controlled, evaluations)


@pytest.mark.parametrize(
    ("stop", "mu", "last", "beyond"),
    [(0.5, 1.15, 0.75951093, 0.75951088), (0.25, 3.2, 0.98659474, 0.98659468)],
)
@torch.inference_mode()
def test_the_window_is_that_of_the_request_at_its_shift(
    stand_in: LoadedCheckpoint, stop: float, mu: float, last: float, beyond: float
) -> None:
    spec = replace(SPEC, stop=stop, mu=mu)
    denoiser = prepare_denoiser(stand_in, spec, [astronaut((spec.width, spec.height))])
    assert denoiser.controls(last)
    assert not denoiser.controls(beyond)


@pytest.mark.parametrize(("strength", "controlled"), [(0.0, 0), (1e-9, 8)])
def test_any_strength_above_zero_runs_the_controlnet(
    stand_in: LoadedCheckpoint, strength: float, controlled: int
) -> None:
    assert run(stand_in, replace(SPEC, strength=strength)).controlled == controlled


def test_the_same_seed_is_the_same_picture(stand_in: LoadedCheckpoint) -> None:
    first, second = run(stand_in, SPEC), run(stand_in, SPEC)
    assert np.array_equal(first.pictures[0], second.pictures[0])
    other = run(stand_in, replace(SPEC, seed=1))
    assert not np.array_equal(first.pictures[0], other.pictures[0])


def test_picture_i_is_the_picture_of_seed_plus_i(stand_in: LoadedCheckpoint) -> None:
    many = run(stand_in, replace(SPEC, seed=41, samples=4))
    assert len(many.pictures) == 4
    for index, picture in enumerate(many.pictures):
        single = run(stand_in, replace(SPEC, seed=41 + index))
        assert np.array_equal(picture, single.pictures[0])


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a green dog"}, {"guidance": 9.0}, {"steps": 25}, {"schedule": "karras"}],
)
def test_every_setting_matters(stand_in: LoadedCheckpoint, change: dict[str, Any]) -> None:
    before, after = run(stand_in, SPEC), run(stand_in, replace(SPEC, **change))
    assert not np.array_equal(before.pictures[0], after.pictures[0])


def test_progress_counts_the_steps_of_all_samples(stand_in: LoadedCheckpoint) -> None:
    seen: list[tuple[int, int]] = []
    spec = replace(SPEC, width=64, height=64, samples=2, sampler="heun")
    generate(stand_in, spec, astronaut(), lambda step, steps: seen.append((step, steps)))
    assert seen == [(step, 30) for step in range(1, 31)]


def test_an_exception_from_the_callback_stops_at_that_step(stand_in: LoadedCheckpoint) -> None:
    class Stop(Exception):
        pass

    def stop(step: int, _steps: int) -> None:
        if step == 3:
            raise Stop

    with counted(stand_in.pipe.transformer.x_embedder) as calls, pytest.raises(Stop):
        generate(stand_in, SPEC, astronaut(), stop)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("sampler", "evaluation", "step"),
    [("euler", 4, 4), ("euler", 15, 15), ("heun", 8, 4), ("heun", 1, 1), ("dpm_adaptive", 1, 1)],
)
def test_non_finite_latents_are_an_error_that_names_the_step(
    stand_in: LoadedCheckpoint, sampler: str, evaluation: int, step: int
) -> None:
    def poison(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        calls.append(None)
        return output * float("nan") if len(calls) == evaluation else output

    calls: list[None] = []
    handle = stand_in.pipe.transformer.proj_out.register_forward_hook(poison)
    expected = f"sampler {sampler}, scheduler simple at step {step} of 15"
    try:
        with pytest.raises(NonFiniteLatents, match=expected):
            run(stand_in, replace(SPEC, sampler=sampler))
    finally:
        handle.remove()


def test_a_repeated_prompt_and_map_are_encoded_once(stand_in: LoadedCheckpoint) -> None:
    spec = replace(SPEC, prompt="asked for nowhere else", control="tile", width=208, samples=3)
    encoders = stand_in.pipe.text_encoder, stand_in.pipe.text_encoder_2, stand_in.pipe.vae.encoder
    counts = []
    for _ in range(2):
        with ExitStack() as stack:
            calls = [stack.enter_context(counted(encoder)) for encoder in encoders]
            made = run(stand_in, spec)
        counts.append([len(each) for each in calls])
    assert counts == [[1, 1, 1], [0, 0, 0]]
    fresh = replace(
        stand_in,
        text=TextEncoders(stand_in.pipe, stand_in.device, TensorCache(0), tokens=8),
        autoencoder=Autoencoder(stand_in.pipe.vae, TensorCache(0), HOST_PLAN.tile_above),
    )
    assert np.array_equal(made.pictures[2], run(fresh, spec).pictures[2])


FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"
OF_THE_REQUEST = "not enough device memory for 192x128 with samples 2 in profile exact; "


def full(*_: Any) -> None:
    raise torch.OutOfMemoryError(FULL)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(FULL),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
    ids=str,
)
@pytest.mark.parametrize("part", ["vae.encoder", "controlnet", "transformer", "vae.decoder"])
def test_no_memory_is_an_error_that_names_the_size_and_the_next_request_works(
    stand_in: LoadedCheckpoint,
    caplog: pytest.LogCaptureFixture,
    part: str,
    error: RuntimeError,
) -> None:
    def fails(*_: Any) -> None:
        raise error

    spec = replace(SPEC, samples=2, steps=1, stop=1.0)
    stand_in = replace(
        stand_in, autoencoder=Autoencoder(stand_in.pipe.vae, TensorCache(0), HOST_PLAN.tile_above)
    )
    module = attrgetter(part)(stand_in.pipe)
    handle = next(module.children()).register_forward_pre_hook(fails)
    try:
        with pytest.raises(OutOfMemory) as raised:
            run(stand_in, spec)
    finally:
        handle.remove()
    assert str(raised.value) == OF_THE_REQUEST + "ask for a smaller picture"
    assert str(error) in caplog.text
    assert run(stand_in, spec).pictures


@pytest.mark.parametrize("part", ["text", "networks", "control_maps"])
def test_no_smaller_picture_is_advised_where_the_size_does_not_matter(
    stand_in: LoadedCheckpoint, part: str
) -> None:
    stands_for = SimpleNamespace(encode=full, make=full, of=full, profile=lambda name: name)
    changed: Any = {part: stands_for}
    with pytest.raises(OutOfMemory) as raised:
        run(replace(stand_in, **changed), replace(SPEC, samples=2))
    assert str(raised.value) == OF_THE_REQUEST + "a smaller picture needs as much"


def test_no_memory_for_a_map_alone_names_the_map(stand_in: LoadedCheckpoint) -> None:
    maps: Any = SimpleNamespace(make=full)
    with pytest.raises(OutOfMemory, match="memory for the depth map of 192x128; a smaller"):
        make_control_map(replace(stand_in, control_maps=maps), "depth", astronaut((192, 128)))


def test_other_errors_of_the_device_are_raised_as_they_are(stand_in: LoadedCheckpoint) -> None:
    lost = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    def fails(*_: Any) -> None:
        raise lost

    handle = stand_in.pipe.transformer.x_embedder.register_forward_pre_hook(fails)
    try:
        with pytest.raises(torch.AcceleratorError) as raised:
            run(stand_in, SPEC)
        assert raised.value is lost
    finally:
        handle.remove()


def test_no_memory_frees_what_the_request_held(stand_in: LoadedCheckpoint) -> None:
    """Also what is held in a circle, which only the collector frees."""

    class Held:
        def __init__(self) -> None:
            self.itself = self

    held: list[weakref.ref[Held]] = []

    def fails(*_: Any) -> None:
        held.append(weakref.ref(Held()))
        full()

    handle = stand_in.pipe.transformer.x_embedder.register_forward_pre_hook(fails)
    gc.disable()  # so that it does not run by chance
    try:
        with pytest.raises(OutOfMemory):
            run(stand_in, SPEC)
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()
        handle.remove()


def test_pack_is_undone_by_unpack() -> None:
    latents = torch.randn(2, 16, 6, 10)
    assert torch.equal(unpack(pack(latents), 6, 10), latents)
    assert pack(latents).shape == (2, 15, 64)
