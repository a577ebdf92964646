"""One evaluation against diffusers' own forward, bit for bit, for each property of real networks
that tiny ones lack: the ratio of blocks, guidance, modes, heads, axes, text lengths, bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.denoiser import ControlledDenoiser, WindowedControl, image_ids, pack, unpack
from models.flux.networks import ControlNet, Transformer
from models.flux.profiles import NetworkPair, Networks
from models.memory.plans import MemoryPlan
from tests.support.networks import (
    REAL_DEPTH,
    UNEVEN,
    Shape,
    diffusers_velocity,
    network_pair,
    text_conditioning,
)

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@dataclass(frozen=True, slots=True)
class Case:
    """latents: height and width, 2x2 a token. text: T5 tokens. mode: of a Union ControlNet."""

    shape: Shape = UNEVEN
    latents: tuple[int, int] = (6, 10)
    text: int = 9
    dtype: torch.dtype = torch.float32
    mode: int | None = 4
    strength: float = 1.3
    guidance: float = 3.5


CASES = {
    "a ratio of blocks that does not divide": Case(),
    "the blocks of FLUX.1-dev and Union-Pro": Case(REAL_DEPTH),
    "the blocks of Union-Pro-2.0, double only and no modes": Case(
        Shape(depth=(19, 3), control_depth=(6, 0), heads=1, modes=None), mode=None
    ),
    "a ControlNet of single blocks only": Case(Shape(control_depth=(0, 3))),
    "as many blocks in both": Case(Shape(depth=(2, 2), control_depth=(2, 2))),
    "no guidance in either": Case(Shape(guidance=False, control_guidance=False)),
    "guidance in the transformer only": Case(Shape(control_guidance=False)),
    "guidance in the ControlNet only": Case(Shape(guidance=False)),
    "the first mode": Case(mode=0),
    "the last mode": Case(mode=9),
    "512 text tokens": Case(text=512),
    "77 text tokens": Case(text=77),
    "one text token": Case(text=1),
    "the rotary axes of FLUX": Case(
        Shape(depth=(1, 1), control_depth=(1, 1), heads=1, axes=(16, 56, 56))
    ),
    "24 heads": Case(Shape(depth=(1, 1), control_depth=(1, 1), heads=24, axes=(2, 2, 4))),
    "a tall picture": Case(latents=(14, 2)),
    "a wide picture": Case(latents=(2, 14)),
    "one image token": Case(latents=(2, 2)),
    "little strength and much guidance": Case(strength=0.45, guidance=30.0),
    # 3.4 and 3400 are rounded to different numbers.
    "bfloat16": Case(dtype=torch.bfloat16, latents=(4, 34), guidance=3.4),
    "bfloat16 with 512 text tokens": Case(dtype=torch.bfloat16, text=512),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_an_evaluation_is_bit_for_bit_that_of_diffusers(case: Case) -> None:
    compare(case, network_pair(case.shape, case.dtype))


@pytest.mark.parametrize("kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_the_kernel_of_attention_makes_no_difference_to_that(kernel: SDPBackend) -> None:
    with sdpa_kernel(kernel):
        compare(Case(), network_pair(UNEVEN))


@pytest.mark.parametrize("blocks_streamed", [False, True], ids=["resident", "streamed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_evaluation_in_8_bits_is_bit_for_bit_that_of_diffusers(
    dtype: torch.dtype, blocks_streamed: bool
) -> None:
    case = Case(dtype=dtype)
    plan = MemoryPlan("small", exact=False, blocks_streamed=blocks_streamed)
    compare(case, Networks(network_pair(case.shape, dtype), CPU, plan, compiled=False).of("fast"))


def compare(case: Case, pair: NetworkPair) -> None:
    """Evaluations on both sides of the window's end, and one whose sigma has been met before."""
    text = text_conditioning(case.text, case.dtype)
    ids = image_ids(*case.latents, CPU, case.dtype)
    control = pack(drawn(1, case.latents)).to(case.dtype)
    controlnet = ControlNet(
        pair.controlnet, text, ids, case.guidance, control, case.mode, case.strength
    )
    transformer = Transformer(pair.transformer, text, ids, case.guidance)
    denoiser = ControlledDenoiser(transformer, [WindowedControl(controlnet, 0.5)], mu=0.0)
    x = drawn(2, case.latents)
    # 506 / 1000 * 1000 is another number in bfloat16.
    for sigma, controlled in ((1.0, True), (0.506, True), (0.3, False), (1.0, True)):
        expected = diffusers_velocity(
            pair,
            text,
            ids,
            pack(x.to(case.dtype)),
            sigma,
            guidance=case.guidance,
            control=control if controlled else None,
            mode=case.mode,
            strength=case.strength,
        )
        made = denoiser.velocity(x, sigma)
        assert made.dtype == x.dtype
        assert torch.equal(made, unpack(expected, *case.latents).float())


@pytest.mark.parametrize("name", ["float32", "bfloat16", "no modes", "no guidance"])
@pytest.mark.parametrize("controls", [2, 3])
def test_several_controls_are_bit_for_bit_those_of_diffusers(name: str, controls: int) -> None:
    case = {
        "float32": Case(),
        "bfloat16": Case(dtype=torch.bfloat16),
        "no modes": Case(Shape(control_depth=(3, 0), modes=None), mode=None),
        "no guidance": Case(Shape(guidance=False, control_guidance=False)),
    }[name]
    pair, text = network_pair(case.shape, case.dtype), text_conditioning(case.text, case.dtype)
    ids = image_ids(*case.latents, CPU, case.dtype)
    maps = [pack(drawn(1 + index, case.latents)).to(case.dtype) for index in range(3)]
    modes = [None] * 3 if case.mode is None else [4, 0, 6]
    first, *further = list(zip(maps, modes, [1.3, 0.45, 0.7], strict=True))[:controls]
    controlnet = ControlNet(pair.controlnet, text, ids, case.guidance, *first)
    denoiser = ControlledDenoiser(
        Transformer(pair.transformer, text, ids, case.guidance),
        [
            WindowedControl(each, 1.0)
            for each in (controlnet, *(controlnet.beside(*other) for other in further))
        ],
        mu=0.0,
    )
    x = drawn(9, case.latents)
    for sigma in (1.0, 0.506, 1.0):
        expected = diffusers_velocity(
            pair,
            text,
            ids,
            pack(x.to(case.dtype)),
            sigma,
            guidance=case.guidance,
            control=first[0],
            mode=first[1],
            strength=first[2],
            further=further,
        )
        assert torch.equal(denoiser.velocity(x, sigma), unpack(expected, *case.latents).float())


def test_several_controls_share_what_depends_on_none_of_them() -> None:
    pair, text = network_pair(UNEVEN), text_conditioning(9)
    ids, control = image_ids(4, 4, CPU, torch.float32), pack(drawn(1, (4, 4)))
    called = []
    network = pair.controlnet
    for name in ("context_embedder", "pos_embed", "time_text_embed.timestep_embedder"):
        network.get_submodule(name).register_forward_pre_hook(
            lambda *_, name=name: called.append(name)
        )
    first = ControlNet(network, text, ids, 3.5, control, 4, 1.0)
    residuals = first(control, 0.7)
    before = [residual.clone() for residual in residuals.double]
    second = first.beside(control, 1, 0.5)
    assert second(control, 0.7, residuals) is residuals
    assert not any(map(torch.equal, residuals.double, before))
    assert called == ["context_embedder", "pos_embed", "time_text_embed.timestep_embedder"]
    # The first one is as it was.
    assert all(map(torch.equal, first(control, 0.7).double, before))


def drawn(seed: int, latents: tuple[int, int]) -> Tensor:
    return torch.randn(1, 16, *latents, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("depth", "control_depth", "used"),
    [
        # A residual serves ceil(blocks / residuals) blocks, so that the last may serve none.
        ((5, 4), (2, 3), ([0, 1], [0, 1])),
        ((5, 5), (5, 1), ([0, 1, 2, 3, 4], [0])),
        # Four blocks each, three for the last double and two for the last single one.
        ((19, 38), (5, 10), (list(range(5)), list(range(10)))),
        # Union-Pro-2.0: four blocks each, none for the sixth.
        ((19, 38), (6, 0), (list(range(5)), [])),
    ],
)
def test_the_residuals_that_reach_the_picture(
    depth: tuple[int, int], control_depth: tuple[int, int], used: tuple[list[int], list[int]]
) -> None:
    """So that no equality above holds because both sides leave one out."""
    pair = network_pair(Shape(depth=depth, control_depth=control_depth, heads=1))
    text, ids = text_conditioning(1), image_ids(2, 2, CPU, torch.float32)
    tokens = pack(drawn(2, (2, 2)))
    controlnet = ControlNet(pair.controlnet, text, ids, 3.5, pack(drawn(1, (2, 2))), 4, 1.0)
    transformer = Transformer(pair.transformer, text, ids, 3.5)
    residuals = controlnet(tokens, 1.0)
    whole = transformer(tokens, 1.0, residuals)
    for kind, indices in zip(("double", "single"), used, strict=True):
        added = getattr(residuals, kind)
        reaching = []
        for index in range(len(added)):
            without = [*added[:index], torch.zeros_like(added[index]), *added[index + 1 :]]
            changed = transformer(tokens, 1.0, replace(residuals, **{kind: without}))
            if not torch.equal(changed, whole):
                reaching.append(index)
        assert reaching == indices
