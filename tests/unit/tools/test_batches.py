"""The training batches of the demo: each picture has its own map and prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tools.demotraining.batches import PLAIN, Batch, Batches, Phase
from tools.demotraining.flow import FLOW_SHARES, Hint
from tools.demotraining.lessons import Lessons

pytestmark = [pytest.mark.tools, pytest.mark.torch]

SCENES, PICTURES = 6, 8  # the last two are textures
MAPPED = {"canny": [1, 3, 5, 7], "depth": [1, 3, 5], "pose": [1, 3, 5]}


def filled(numbers: list[int]) -> Tensor:
    """Latents [N, 2, 4, 4] of one number each."""
    return torch.tensor(numbers).view(-1, 1, 1, 1).expand(-1, 2, 4, 4).half()


def batches(shares: dict[str, float]) -> Batches:
    numbers = torch.arange(PICTURES)[:, None] + 1
    lessons = Lessons(
        latents=filled(list(range(PICTURES))),
        maps={name: filled([100 + row for row in rows]) for name, rows in MAPPED.items()},
        mapped={name: torch.tensor(rows) for name, rows in MAPPED.items()},
        clip_ids=numbers,
        t5_ids=numbers,
        scenes=SCENES,
    )
    silence = torch.zeros(1, dtype=torch.long)
    phases = (Phase(1.0, (("small", 64, 1.0),)),)
    return Batches({"small": lessons}, phases, shares, (silence, silence), torch.device("cpu"))


def drawn(shares: dict[str, float]) -> tuple[Batch, Tensor, Tensor]:
    """A batch, and the numbers of its pictures and of their maps."""
    torch.manual_seed(0)
    batch = batches(shares).draw(np.random.default_rng(0), 0.5)
    return batch, batch.clean[:, 0, 0, 0], batch.shown[:, 0, 0, 0]


@pytest.mark.parametrize("control", ["depth", "pose"])
def test_a_picture_comes_with_its_own_map_and_words(control: str) -> None:
    batch, pictures, maps = drawn({control: 1.0})
    assert set(pictures.tolist()) == {1, 3, 5}
    assert torch.equal(maps, pictures + 100)
    tokens = batch.t5_ids[:, 0]
    assert ((tokens == pictures + 1) | (tokens == 0)).all()  # or nothing, now and then
    assert (tokens > 0).sum() > len(tokens) / 2


def test_a_tile_is_the_picture_itself() -> None:
    _, pictures, maps = drawn({"tile": 1.0})
    assert torch.equal(maps, pictures)
    assert (pictures >= SCENES).any()  # textures too


def test_sigmas_are_spread_over_all_of_their_range() -> None:
    batch, _, _ = drawn({PLAIN: 1.0})
    assert 0 < batch.sigmas.min() < 0.5
    assert 0.95 < batch.sigmas.max() < 1


def test_a_hint_is_given_for_pictures_with_a_map_only() -> None:
    batch, _, maps = drawn({PLAIN: 0.5, "canny": 0.5})
    assert set(FLOW_SHARES) >= set(batch.controls)
    hint = Hint(channels=8, width=3)
    torch.nn.init.ones_(hint.weights)
    plain = torch.tensor([control == PLAIN for control in batch.controls])
    assert plain.any()
    assert not plain.all()
    assert (maps[plain] == 0).all()
    given = hint(batch)
    assert given.shape == (64, 4, 3)
    assert (given[plain] == 0).all()
    assert (given[~plain] > 0).all()
