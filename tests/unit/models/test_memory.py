"""Memory plans by card size: what is chosen, and that it fits."""

from __future__ import annotations

import pytest

from models.checkpoints import CHECKPOINTS
from models.geometry import MAX_SIDE
from models.memory import GB, HOST_PLAN, WORKING, MemoryPlan, choose_plan

pytestmark = pytest.mark.torch

GIB = 1024**3
FOOTPRINT = CHECKPOINTS["flux-dev-union-pro"].footprint
assert FOOTPRINT is not None


def plan_of(card_gib: float) -> MemoryPlan:
    """The plan of a card of which half a gigabyte is taken already."""
    plan = choose_plan(int(card_gib * GIB - GB / 2), FOOTPRINT)  # type: ignore[arg-type]
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
def test_a_plan_leaves_room_to_work_and_takes_1024_by_1024(card_gib: float) -> None:
    plan = plan_of(card_gib)
    assert plan.weights + WORKING <= card_gib * GIB
    assert plan.max_pixels is not None
    assert 1024 * 1024 <= plan.max_pixels <= MAX_SIDE**2
    assert plan.tile_above > 0


def test_80_gigabytes_take_every_size_with_all_weights_in_place() -> None:
    plan = plan_of(80)
    assert plan.max_pixels == MAX_SIDE**2
    assert [plan.encoders_wait, plan.float8, plan.blocks_wait] == [False, False, False]


def test_a_larger_card_never_takes_less() -> None:
    plans = [choose_plan(gib * GIB, FOOTPRINT) for gib in range(10, 144)]  # type: ignore[arg-type]
    by_name: dict[str, list[int]] = {}
    for plan in plans:
        assert plan is not None
        by_name.setdefault(plan.name, []).append(plan.max_pixels or 0)
    assert list(by_name) == ["float8-visits", "float8", "text-visits", "resident"]
    assert all(sizes == sorted(sizes) for sizes in by_name.values())


def test_a_card_that_is_too_small_has_no_plan() -> None:
    assert choose_plan(4 * GIB, FOOTPRINT) is None  # type: ignore[arg-type]


def test_a_plan_says_what_it_does() -> None:
    assert "weights in 8 bits" in str(plan_of(24))
    assert "text encoders visit" in str(plan_of(40))
    assert "pixels" not in str(HOST_PLAN)
