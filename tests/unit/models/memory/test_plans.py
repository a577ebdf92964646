"""Memory plans by card, RAM and profile: the chosen plan, and that it fits."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from models.checkpoints import CHECKPOINTS
from models.checkpoints.footprint import footprint
from models.errors import CheckpointError
from models.geometry import MAX_SIDE
from models.loras.lora_options import LoraOptions
from models.memory.activations import (
    Arithmetic,
    decoding_bytes,
    evaluation_bytes,
    largest_pixels,
    tiled_bytes,
)
from models.memory.footprint import Footprint
from models.memory.plans import (
    CARD_RESERVE,
    HOST_PLAN,
    HOST_RESERVE,
    Machine,
    MemoryPlan,
    choose_plan,
)
from models.spec import PROFILE_NAMES

pytestmark = pytest.mark.torch

CARDS = (12, 16, 24, 32, 40, 48, 80, 141)
RAMS = (32, 64, 128)

# Card in GB -> plan with PROFILE=exact, and with PROFILE=fast or turbo. With 32 GB of RAM or more.
EXPECTED = {
    12: ("8-bit-streamed", "8-bit-streamed"),
    16: ("8-bit-streamed", "8-bit-streamed"),
    24: ("8-bit-streamed-text", "8-bit-streamed-text"),
    32: ("8-bit", "8-bit"),
    40: ("exact-streamed-text", "8-bit"),
    48: ("exact", "8-bit"),
    80: ("exact-and-8-bit", "exact-and-8-bit"),
    141: ("exact-and-8-bit", "exact-and-8-bit"),
}


@pytest.fixture(scope="module")
def needs() -> Footprint:
    counted = footprint(CHECKPOINTS["flux-dev-union-pro"])
    assert counted is not None
    return counted


@pytest.mark.parametrize(("card", "ram", "profile"), [*product(CARDS, RAMS, PROFILE_NAMES)])
def test_the_plan_of_usual_machines_fits_them(
    needs: Footprint, card: int, ram: int, profile: str
) -> None:
    machine = Machine.of_size(card, ram)
    plan = choose_plan(needs, machine, profile)
    assert plan.name == EXPECTED[card][profile != "exact"]
    assert plan.max_pixels is not None
    assert 1024 * 1024 <= plan.max_pixels <= MAX_SIDE**2
    room = machine.free - plan.weights - CARD_RESERVE
    assert tiled_bytes(plan.max_pixels) <= room
    for arithmetic, served in ((Arithmetic.EXACT, plan.exact), (Arithmetic.FLOAT8, plan.float8)):
        assert not served or evaluation_bytes(plan.max_pixels, arithmetic, True) <= room
    assert decoding_bytes(plan.tile_above) <= room
    assert plan.host + HOST_RESERVE <= machine.ram


@pytest.mark.parametrize(("card", "profile"), [*product(CARDS, PROFILE_NAMES)])
def test_the_profile_of_the_setting_is_served_where_it_fits(
    needs: Footprint, card: int, profile: str
) -> None:
    plan = choose_plan(needs, Machine.of_size(card, 64), profile)
    expected = "fast" if profile == "exact" and card < 40 else profile
    assert plan.profile(profile) == expected


def test_8_bits_stand_beside_16_only_where_the_largest_picture_fits_in_both(
    needs: Footprint,
) -> None:
    weights = needs.networks + needs.float8_beside + needs.encoders + needs.rest
    room = evaluation_bytes(MAX_SIDE**2, Arithmetic.EXACT, True)
    enough = Machine(weights + CARD_RESERVE + room, HOST_RESERVE)
    assert choose_plan(needs, enough, "exact").name == "exact-and-8-bit"
    less = replace(enough, free=enough.free - 1_000_000)
    assert choose_plan(needs, less, "exact").name == "exact"
    assert choose_plan(needs, less, "turbo").name == "8-bit"


def test_a_card_without_8_bit_matrix_units_needs_more_room_for_a_picture(
    needs: Footprint,
) -> None:
    sizes = [
        choose_plan(needs, Machine.of_size(24, 64, native), "fast").max_pixels or 0
        for native in (True, False)
    ]
    assert sizes[0] > sizes[1] >= 1024 * 1024


def test_blocks_that_are_not_compiled_need_more_room_for_a_picture(needs: Footprint) -> None:
    machine = Machine.of_size(24, 64)
    sizes = [
        choose_plan(needs, replace(machine, compiled=compiled), "fast").max_pixels or 0
        for compiled in (True, False)
    ]
    assert sizes[0] > sizes[1] >= 1024 * 1024


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_a_larger_card_never_allows_smaller_pictures_with_the_same_plan(
    needs: Footprint, profile: str
) -> None:
    sizes: dict[str, list[int]] = {}
    for card in range(10, 144):
        plan = choose_plan(needs, Machine.of_size(card, 64), profile)
        sizes.setdefault(plan.name, []).append(plan.max_pixels or 0)
    assert next(iter(sizes)) == "8-bit-streamed"
    assert list(sizes)[-1] == "exact-and-8-bit"
    assert all(pixels == sorted(pixels) for pixels in sizes.values())


def test_a_card_that_is_too_small_is_refused_in_one_line(needs: Footprint) -> None:
    with pytest.raises(CheckpointError) as refused:
        choose_plan(needs, Machine.of_size(4, 128), "exact")
    text = str(refused.value)
    assert text.startswith("3.9 GB are free on the card, too few for any memory plan")
    assert "\n" not in text


@pytest.mark.parametrize("card", [12, 16])
def test_a_card_that_needs_more_ram_is_refused_in_one_line(needs: Footprint, card: int) -> None:
    needed = needs.encoder_blocks + needs.float8_blocks + HOST_RESERVE
    machine = replace(Machine.of_size(card, 16), ram=needed - 1)
    with pytest.raises(CheckpointError) as refused:
        choose_plan(needs, machine, "exact")
    assert str(refused.value).endswith(
        f"needs {needed / 1e9:.1f} GB of RAM; this machine has {(needed - 1) / 1e9:.1f} GB"
    )
    assert choose_plan(needs, replace(machine, ram=needed), "exact").name == "8-bit-streamed"


def test_a_plan_with_nothing_on_the_host_needs_no_more_ram_than_the_reserve(
    needs: Footprint,
) -> None:
    assert choose_plan(needs, Machine.of_size(80, 8), "exact").host == 0
    with pytest.raises(CheckpointError, match="GB of RAM"):
        choose_plan(needs, Machine.of_size(80, 4), "exact")


def test_a_plan_describes_itself(needs: Footprint) -> None:
    said = str(choose_plan(needs, Machine.of_size(40, 64), "exact"))
    assert said.startswith("exact-streamed-text: networks in 16 bits on the card, text encoders s")
    assert said.endswith("serves fast and turbo as exact")
    both = str(choose_plan(needs, Machine.of_size(80, 64), "exact"))
    assert "networks in 16 and in 8 bits on the card, text encoders too" in both
    assert "serves" not in both
    assert str(HOST_PLAN) == "host: everything in the host's memory"


ROUND = Footprint(
    networks=20_000_000_000,
    float8=12_000_000_000,
    float8_beside=8_000_000_000,
    float8_blocks=11_000_000_000,
    largest_float8_block=400_000_000,
    encoders=5_000_000_000,
    encoder_blocks=4_000_000_000,
    largest_encoder_block=300_000_000,
    rest=1_000_000_000,
)
SMALLEST = tiled_bytes(1024 * 1024) + CARD_RESERVE


def test_a_plan_keeps_room_for_loras_on_the_card_and_in_the_ram(needs: Footprint) -> None:
    loras = LoraOptions(Path("loras"), max_rank=100, cache_bytes=10_000_000_000)
    machine = Machine.of_size(24, 64)
    plain, adapted = choose_plan(needs, machine, "fast"), choose_plan(needs, machine, "fast", loras)
    # Rank 112, which is 100 padded; and 10.7 million numbers a rank, more in fused projections.
    assert 112 * 10_000_000 < adapted.weights - plain.weights < 112 * 16_000_000
    assert (adapted.max_pixels or 0) < (plain.max_pixels or 0)
    small = Machine.of_size(24, 24)
    assert choose_plan(needs, small, "fast").name == "8-bit-streamed-text"
    with pytest.raises(CheckpointError, match="GB of RAM; this machine has 1[0-9]"):
        choose_plan(needs, small, "fast", loras)
    assert choose_plan(needs, small, "fast", LoraOptions()) == choose_plan(needs, small, "fast")


USUAL = evaluation_bytes(2048 * 2048, Arithmetic.FLOAT8, True) + CARD_RESERVE


@pytest.mark.parametrize(
    ("profile", "name", "weights", "host", "working"),
    [
        ("fast", "8-bit", 18.0, 0, USUAL),
        ("fast", "8-bit-streamed-text", 14.9, 4.0, SMALLEST),
        ("exact", "8-bit-streamed", 4.2, 15.0, SMALLEST),
    ],
)
def test_a_plan_needs_its_weights_the_reserve_and_a_picture(
    profile: str, name: str, weights: float, host: float, working: int
) -> None:
    machine = Machine(int(weights * 1e9) + working, 64_000_000_000)
    plan = choose_plan(ROUND, machine, profile)
    assert (plan.name, plan.weights, plan.host) == (name, int(weights * 1e9), int(host * 1e9))
    less = replace(machine, free=machine.free - 1_000_000)
    try:
        assert choose_plan(ROUND, less, profile).name != name
    except CheckpointError:
        assert name == "8-bit-streamed"


@pytest.mark.parametrize(
    ("profile", "plan"),
    [
        ("exact", MemoryPlan("exact", float8=False, weights=26_000_000_000)),
        (
            "exact",
            MemoryPlan(
                "exact-streamed-text",
                float8=False,
                encoders_streamed=True,
                weights=22_900_000_000,
                host=4_000_000_000,
            ),
        ),
        ("exact", MemoryPlan("exact-and-8-bit", weights=34_000_000_000)),
    ],
    ids=lambda value: value.name if isinstance(value, MemoryPlan) else "",
)
def test_the_bytes_of_the_plans_in_16_bits(profile: str, plan: MemoryPlan) -> None:
    rooms = {"exact": 5, "exact-streamed-text": 3, "exact-and-8-bit": 30}
    free = plan.weights + CARD_RESERVE + rooms[plan.name] * 1_000_000_000
    chosen = choose_plan(ROUND, Machine(free, 64_000_000_000), profile)
    sizes = {"tile_above": chosen.tile_above, "max_pixels": chosen.max_pixels}
    assert chosen == replace(plan, **sizes)
    assert (chosen.max_pixels or 0) <= largest_pixels(
        free - plan.weights - CARD_RESERVE, Arithmetic.EXACT, True
    )


def test_without_a_card_pictures_beyond_2048_by_2048_are_tiled() -> None:
    assert HOST_PLAN.tile_above == 4_194_304
    assert HOST_PLAN.max_pixels is None


def documented_rows() -> list[tuple[str, int, str, list[str]]]:
    """Checkpoint, card in GB, profile and the other cells of each row of the tables in
    docs/performance.md. Each table follows a sentence that ends with its checkpoint and RAM."""
    rows = []
    text = (Path(__file__).parents[4] / "docs" / "performance.md").read_text()
    for checkpoint, table in re.findall(
        r"`(flux-[\w-]+)` with 32 GB of RAM or more:\n\n((?:\|.+\n)+)", text
    ):
        for card, profiles, *cells in re.findall(
            r"^\| (\d+) GB \| (.+?) \| `(.+?)` \| (.+?) GB \| (.+?) GB \| (.+?) \|$",
            table,
            re.MULTILINE,
        ):
            named = PROFILE_NAMES if profiles == "any" else profiles.replace("`", "").split(", ")
            rows += [(checkpoint, int(card), profile, cells) for profile in named]
    return rows


def test_the_documented_tables_have_every_checkpoint_card_and_profile() -> None:
    documented = [row[:3] for row in documented_rows()]
    real = ("flux-dev-union-pro", "flux-dev-union-pro-2")
    assert sorted(documented) == sorted(product(real, CARDS, PROFILE_NAMES))


@pytest.mark.parametrize("ram", RAMS)
@pytest.mark.parametrize(("checkpoint", "card", "profile", "cells"), documented_rows())
def test_the_documented_plans_are_those_that_are_chosen(
    checkpoint: str, card: int, profile: str, cells: list[str], ram: int
) -> None:
    needs = footprint(CHECKPOINTS[checkpoint])
    assert needs is not None
    plan = choose_plan(needs, Machine.of_size(card, ram), profile)
    side = math.isqrt(plan.max_pixels or 0) // 16 * 16
    chosen = [plan.name, f"{plan.weights / 1e9:.1f}", f"{plan.host / 1e9:.1f}", f"{side}x{side}"]
    assert chosen == cells
