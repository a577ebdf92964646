"""The batches of the demo's training: their maps, strengths, guidance and positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.demotraining.batches import Batch, Batches, Phase, contrast
from tools.demotraining.flow import Hint
from tools.demotraining.lessons import Lessons
from tools.demotraining.mixtures import FLOW, REFINEMENT, Mixture

pytestmark = [pytest.mark.tools, pytest.mark.torch]

SCENES, TEXTURES, SIDE = 12, 6, 8
MAPPED = {
    "canny": range(SCENES + TEXTURES),
    "depth": range(SCENES),
    "pose": range(0, SCENES, 2),
    "blur": range(0, SCENES + TEXTURES, 3),
    "gray": range(1, SCENES + TEXTURES, 3),
    "lq": range(2, SCENES + TEXTURES, 3),
}


def drawn(mixture: Mixture, seed: int = 0) -> Batch:
    """A batch of pictures whose latents are their row, as are those of their maps plus 100."""
    rows = torch.arange(SCENES + TEXTURES, dtype=torch.float16)
    latents = rows[:, None, None, None].expand(-1, 2, SIDE, SIDE)
    mapped = {name: torch.tensor(list(places)) for name, places in MAPPED.items()}
    tokens = torch.arange(len(rows))[:, None].expand(-1, 3) + 1
    lessons = Lessons(
        latents,
        {name: latents[places] + 100 for name, places in mapped.items()},
        mapped,
        tokens,
        tokens,
        SCENES,
        torch.zeros(2, 1, 1),
    )
    silence = torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)
    phases = (Phase(1.0, (("set", 16, 1.0),)),)
    torch.manual_seed(seed)
    batches = Batches({"set": lessons}, phases, mixture, silence, torch.device("cpu"))
    return batches.draw(np.random.default_rng(seed), 0.5)


def test_a_batch_has_at_most_one_map_a_picture_or_several_for_each() -> None:
    sizes = [{len(one) for one in drawn(REFINEMENT, seed).controls} for seed in range(40)]
    assert all(found <= {0, 1} or found == {2} for found in sizes)
    assert {2} in sizes
    assert {0, 1} in sizes


def test_maps_are_those_of_the_picture_and_have_a_strength() -> None:
    for seed in range(20):
        batch = drawn(REFINEMENT, seed)
        for place, controls in enumerate(batch.controls):
            factor = float(contrast(batch.guidance[place]))
            row = float(batch.clean[place].mean()) / factor
            for index in range(len(batch.shown)):
                shown, strength = (
                    float(batch.shown[index, place].mean()),
                    batch.strengths[index, place],
                )
                if index >= len(controls):
                    assert shown == strength == 0
                    continue
                assert shown == pytest.approx(row + 100 * (controls[index] != "tile"), abs=0.1)
                low, high = REFINEMENT.strengths
                assert low <= strength <= high


def test_a_picture_has_its_own_words_or_now_and_then_none() -> None:
    batch = drawn(REFINEMENT)
    rows = batch.clean.mean(dim=(1, 2, 3)) / contrast(batch.guidance)
    tokens = batch.t5_ids[:, 0]
    assert ((tokens == (rows + 1).round()) | (tokens == 0)).all()
    assert (tokens > 0).sum() > len(tokens) / 2


def test_sigmas_are_spread_over_all_of_their_range() -> None:
    sigmas = drawn(Mixture({("depth",): 1.0}, {})).sigmas
    assert 0 < sigmas.min() < 0.5
    assert 0.95 < sigmas.max() < 1


def test_a_hint_is_given_for_pictures_with_a_map_only() -> None:
    batch = drawn(FLOW, 1)
    hint = Hint(channels=8, width=3)
    torch.nn.init.ones_(hint.weights)
    plain = torch.tensor([one == () for one in batch.controls])
    assert plain.any()
    assert not plain.all()
    given = hint(batch)
    assert given.shape == (16, (SIDE // 2) ** 2, 3)
    assert (given[plain] == 0).all()
    assert (given[~plain] > 0).all()


def test_only_types_that_need_no_scene_have_textures() -> None:
    only = {("canny",): 1.0}
    assert float(drawn(Mixture(only, {("canny",): 1.0})).clean.min()) >= 0.7 * SCENES
    plain = drawn(Mixture(only, {}))
    assert float((plain.clean / contrast(plain.guidance)[:, None, None, None]).max()) < SCENES


def test_guidance_covers_the_range_and_is_often_the_default() -> None:
    guidance = torch.cat([drawn(REFINEMENT, seed).guidance for seed in range(40)])
    assert guidance.min() >= 1
    assert guidance.min() < 1.2
    assert 12 < guidance.max() <= 15
    assert 0.2 < float((guidance == 3.5).float().mean()) < 0.4


def test_contrast_grows_with_guidance_and_is_whole_at_the_default() -> None:
    values = contrast(torch.tensor([1.0, 3.5, 8.0, 15.0]))
    assert float(values[1]) == 1
    assert torch.equal(values, values.sort().values)
    assert 0.7 < float(values[0]) < float(values[-1]) < 1.4


def test_some_batches_are_a_part_of_a_large_picture() -> None:
    corners = [drawn(REFINEMENT, seed).corner for seed in range(40)]
    assert (0, 0) in corners
    assert 40 < max(max(corner) for corner in corners) <= 64 - SIDE // 2
    batch = next(one for seed in range(40) if (one := drawn(REFINEMENT, seed)).corner != (0, 0))
    places = batch.network_inputs(torch.zeros(16, 4), torch.zeros(16, 3, 4))["img_ids"]
    assert tuple(places[0].tolist()) == (0, *batch.corner)
