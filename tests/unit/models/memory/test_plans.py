"""Memory plans by card size: the chosen plan, and that it fits."""

from __future__ import annotations

import pytest

from models.checkpoints import CHECKPOINTS
from models.memory.plans import HOST_PLAN, Footprint, MemoryPlan, choose_plan

pytestmark = pytest.mark.torch

GIB = 1024**3
FOOTPRINT = CHECKPOINTS["flux-dev-union-pro"].footprint
assert FOOTPRINT is not None


def plan_of(card_gib: float) -> MemoryPlan:
    """The plan of a card of which half a gigabyte is taken already."""
    plan = choose_plan(int(card_gib * GIB - 500_000_000), FOOTPRINT)  # type: ignore[arg-type]
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("card_gib", "name"),
    [
        (140, "resident"),
        (80, "resident"),
        (48, "resident"),
        (40, "text-visits"),
        (32, "float8"),
        (24, "float8"),
        (16, "float8-visits"),
        (12, "float8-visits"),
    ],
)
def test_the_plan_of_usual_cards(card_gib: float, name: str) -> None:
    assert plan_of(card_gib).name == name


@pytest.mark.parametrize("card_gib", [12, 16, 24, 32, 40, 48, 80, 140])
def test_a_plan_leaves_working_memory_and_allows_1024_by_1024(card_gib: float) -> None:
    plan = plan_of(card_gib)
    assert plan.weights + 4_000_000_000 <= card_gib * GIB
    assert plan.max_pixels is not None
    assert 1024 * 1024 <= plan.max_pixels <= 4096 * 4096
    assert plan.tile_above > 0


def test_80_gigabytes_allow_every_size_with_all_weights_resident() -> None:
    plan = plan_of(80)
    assert plan.max_pixels == 4096 * 4096
    assert [plan.encoders_streamed, plan.float8, plan.blocks_streamed] == [False, False, False]


def test_a_larger_card_never_allows_smaller_pictures() -> None:
    plans = [choose_plan(gib * GIB, FOOTPRINT) for gib in range(10, 144)]  # type: ignore[arg-type]
    by_name: dict[str, list[int]] = {}
    for plan in plans:
        assert plan is not None
        by_name.setdefault(plan.name, []).append(plan.max_pixels or 0)
    assert list(by_name) == ["float8-visits", "float8", "text-visits", "resident"]
    assert all(sizes == sorted(sizes) for sizes in by_name.values())


def test_a_card_that_is_too_small_has_no_plan() -> None:
    assert choose_plan(4 * GIB, FOOTPRINT) is None  # type: ignore[arg-type]


def test_a_plan_describes_itself() -> None:
    assert "weights in 8 bits" in str(plan_of(24))
    assert "text encoders streamed" in str(plan_of(40))
    assert "pixels" not in str(HOST_PLAN)


ROUND = Footprint(networks=10_000_000_000, encoders=4_000_000_000, rest=1_000_000_000)


@pytest.mark.parametrize(
    ("weights", "name", "smaller"),
    [
        (15_000_000_000, "resident", "text-visits"),
        (11_500_000_000, "text-visits", "float8"),
        (7_000_000_000, "float8", "float8-visits"),
        (2_500_000_000, "float8-visits", None),
    ],
)
def test_a_plan_needs_its_weights_and_4_gigabytes(
    weights: int, name: str, smaller: str | None
) -> None:
    plan = choose_plan(weights + 4_000_000_000, ROUND)
    assert plan is not None
    assert (plan.name, plan.weights) == (name, weights)
    assert (plan.tile_above, plan.max_pixels) == (1_538_461, 4_000_000)
    less = choose_plan(weights + 4_000_000_000 - 1, ROUND)
    assert (less.name if less else None) == smaller


@pytest.mark.parametrize(
    ("name", "encoders_streamed", "float8", "blocks_streamed", "free"),
    [
        ("resident", False, False, False, 19),
        ("text-visits", True, False, False, 16),
        ("float8", True, True, False, 11),
        ("float8-visits", True, True, True, 7),
    ],
)
def test_the_weights_that_each_plan_streams_from_the_host(
    name: str, encoders_streamed: bool, float8: bool, blocks_streamed: bool, free: int
) -> None:
    plan = choose_plan(free * 1_000_000_000, ROUND)
    assert plan is not None
    waits = plan.encoders_streamed, plan.float8, plan.blocks_streamed
    assert (plan.name, *waits) == (name, encoders_streamed, float8, blocks_streamed)


@pytest.mark.parametrize(
    ("room", "tile_above", "max_pixels"),
    [
        (10_905_190_400, 4_194_304, 10_905_190),  # 2048 x 2048 in one piece
        (10_905_190_399, 4_194_303, 10_905_190),
        (16_777_216_000, 4_194_304, 16_777_216),  # 4096 x 4096
        (16_777_215_999, 4_194_304, 16_777_215),
        (99_000_000_000, 4_194_304, 16_777_216),
    ],
)
def test_the_largest_size_follows_the_memory_beside_the_weights(
    room: int, tile_above: int, max_pixels: int
) -> None:
    plan = choose_plan(15_000_000_000 + room, ROUND)
    assert plan is not None
    assert plan.name == "resident"
    assert (plan.tile_above, plan.max_pixels) == (tile_above, max_pixels)


def test_without_a_card_pictures_beyond_2048_by_2048_are_tiled() -> None:
    assert HOST_PLAN.tile_above == 4_194_304
    assert HOST_PLAN.max_pixels is None
