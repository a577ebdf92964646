"""The warnings that a generation gives: its map, its prompt, its profile."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from app.core.requests.types import GenerationParameters
from models.pipeline import Generation
from models.spec import Control
from models.text import PromptCut
from tests.support.records import record
from worker.generation_warnings import generation_warnings, map_warnings

pytestmark = pytest.mark.torch

BLACK = Image.new("RGB", (64, 64))
DOT = BLACK.copy()
DOT.putpixel((63, 63), (0, 0, 1))
EMPTY = {
    "code": "empty_pose_map",
    "parameter": "cn_type",
    "message": "no person was found in the picture, so the pose map is black and controls nothing",
}


def bodies(
    params: GenerationParameters, control_map: Image.Image = DOT, **changes: Any
) -> list[dict[str, str]] | None:
    generation = Generation((), (control_map,), **{"profile": "exact", **changes})
    warnings = generation_warnings(record(params=params), generation)
    return None if warnings is None else [dict(warning.to_body()) for warning in warnings]


def test_a_generation_as_requested_gives_no_warning() -> None:
    assert bodies(GenerationParameters()) is None


def test_a_black_pose_map_is_empty() -> None:
    assert bodies(GenerationParameters(cn_type="pose"), BLACK) == [EMPTY]


@pytest.mark.parametrize("cn_type", ["depth", "canny", "tile"])
def test_other_maps_may_be_black(cn_type: str) -> None:
    assert bodies(GenerationParameters(cn_type=cn_type), BLACK) is None


def test_the_clients_own_map_may_be_black() -> None:
    own = record(params=GenerationParameters(cn_type="pose"), annotated=True)
    assert map_warnings(own, [BLACK]) is None


def test_each_empty_pose_map_of_several_controls_is_named() -> None:
    """The second one is the client's, the third one shows a person, the fourth one is no pose."""
    controls = tuple(Control(control) for control in ("pose", "pose", "pose", "canny", "pose"))
    several = record(
        params=GenerationParameters(controls=controls),
        annotations=(False, True, False, True, False),
    )
    warnings = map_warnings(several, [BLACK, BLACK, DOT, BLACK, BLACK])
    assert warnings is not None
    assert [warning.parameter for warning in warnings] == ["controls[0].type", "controls[4].type"]


def test_a_map_alone_can_be_empty() -> None:
    alone = record(params=GenerationParameters(cn_type="pose", only_map=True))
    warnings = map_warnings(alone, [BLACK])
    assert warnings is not None
    assert [warning.to_body() for warning in warnings] == [EMPTY]
    assert map_warnings(alone, [DOT]) is None


def test_each_encoder_that_cut_the_prompt_is_named() -> None:
    cuts = PromptCut("CLIP", 77, 130), PromptCut("T5", 512, 600)
    assert bodies(GenerationParameters(), prompt_cuts=cuts) == [
        {
            "code": "prompt_cut",
            "parameter": "prompt",
            "message": f"{counts} tokens; the rest had no effect on it",
        }
        for counts in ("CLIP read 77 of 130", "T5 read 512 of 600")
    ]


@pytest.mark.parametrize(
    ("asked", "used", "warned"),
    [
        ("exact", "exact", False),
        ("exact", "fast", True),
        ("turbo", "exact", True),
        ("", "fast", False),
    ],
)
def test_another_profile_than_asked_for_is_named(asked: str, used: str, warned: bool) -> None:
    """A request without a profile leaves the choice to the server."""
    expected = {
        "code": "profile_changed",
        "parameter": "profile",
        "message": f"this server could not use {asked}, so it used {used}",
    }
    params = GenerationParameters(profile=asked)
    assert bodies(params, profile=used) == ([expected] if warned else None)
