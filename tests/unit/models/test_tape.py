"""Going on after a crash: the picture is byte for byte that of an undisturbed run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from models.checkpoints import LoadedCheckpoint
from models.pipeline import generate
from models.spec import SAMPLER_NAMES, GenerationSpec
from models.tape import Made, Tape
from tests.support.pictures import astronaut

pytestmark = pytest.mark.torch

SPEC = GenerationSpec(
    prompt="a long road", control="canny", width=64, height=64, steps=8, seed=3, stop=0.5
)


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

    def after_step(self, index: int, tape: Tape) -> None:
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


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_goes_on_where_it_was(stand_in: LoadedCheckpoint, sampler: str) -> None:
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


def test_bfloat16_answers_survive_the_tape() -> None:
    class Constant:
        evaluations = controlled = 0

        def controls(self, _sigma: float) -> bool:
            return False

        def count(self, _sigma: float) -> None:
            self.evaluations += 1

        def velocity(self, x: torch.Tensor, _sigma: float) -> torch.Tensor:
            self.count(_sigma)
            return torch.linspace(-3, 3, x.numel()).bfloat16().reshape(x.shape).to(x.dtype)

    x = torch.zeros(1, 2, 4, 4)
    first = Tape(Constant(), torch.bfloat16)  # type: ignore[arg-type]
    answer = first.velocity(x, 1.0)
    again = Tape(Constant(), torch.bfloat16, first.take())  # type: ignore[arg-type]
    assert torch.equal(again.velocity(x, 1.0), answer)
    assert again.take() == []
