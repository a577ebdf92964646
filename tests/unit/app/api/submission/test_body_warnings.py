"""Warnings about bodies: unknown names with the nearest known one, and noisy pairs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.submission.body_warnings import (
    MAX_NAME,
    MAX_WARNINGS,
    pair_warnings,
    unknown_parameters,
)
from app.api.wire.controls import ControlBody
from app.api.wire.requests import FluxControlNetBody, PreprocessBody, parse_body
from models.noisy_pairs import is_noisy
from models.spec import SAMPLER_ALIASES, SAMPLER_NAMES, SCHEDULE_NAMES
from tests.support.bodies import page

IGNORED = "no parameter has this name, so it was ignored"


def nearest(name: str) -> str:
    """The name that the warning about `name` suggests; "" for none."""
    [warning] = unknown_parameters({name: 1})
    assert (warning.code, warning.parameter) == ("unknown_parameter", name)
    start, _, suggestion = warning.message.partition("; the nearest name is ")
    assert start == IGNORED
    return suggestion


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("custom_widht", "custom_width"),
        ("customHeight", "custom_height"),
        ("CN_TYPE", "cn_type"),
        ("cn-strength", "cn_strength"),
        ("Prompt", "prompt"),
        ("prompts", "prompt"),
        ("STEPS", "steps"),
        ("guidance_scale", "guidance"),
        ("image[]", "image"),
        ("images", "image"),
        ("cn_strengths", "cn_strength"),
        ("stpes", "steps"),
        ("width", "custom_width"),
        ("height", "custom_height"),
        ("strength", "cn_strength"),
        ("style", ""),
        ("adapters", ""),
        ("negative_prompt", ""),
        ("", ""),
        ("größe", ""),
    ],
)
def test_an_unknown_name_gets_the_nearest_known_one(name: str, suggestion: str) -> None:
    assert nearest(name) == suggestion


def test_known_names_give_no_warning() -> None:
    for kind in (FluxControlNetBody, PreprocessBody):
        assert unknown_parameters(dict.fromkeys(kind.model_fields, 1)) == ()
    assert unknown_parameters(page("pose")) == ()


def test_unknown_names_in_controls_are_named_with_their_place() -> None:
    controls = [
        {"type": "pose", **dict.fromkeys(ControlBody.model_fields, 1)},
        {"type": "canny", "strengths": 0.5, "cn_stop": 1, "adapters": None, "größe": 1},
        "no object",
    ]
    warnings = unknown_parameters({"steps": 20, "controls": controls, "prompts": 1})
    assert [(warning.parameter, warning.message) for warning in warnings] == [
        ("prompts", f"{IGNORED}; the nearest name is prompt"),
        ("controls[1].strengths", f"{IGNORED}; the nearest name is strength"),
        ("controls[1].cn_stop", f"{IGNORED}; the nearest name is stop"),
        ("controls[1].größe", IGNORED),
    ]
    assert unknown_parameters({"controls": "text"}) == ()
    many = unknown_parameters({"controls": [{f"{number}": 1 for number in range(12)}] * 9})
    assert len(many) == MAX_WARNINGS
    assert many[-1].message == f"{IGNORED} (26 more unknown parameters are not listed)"


def test_what_the_official_client_adds_gives_no_warning() -> None:
    assert unknown_parameters({**page("pose"), "timeout": 7, "interval": 4}) == ()


def test_null_counts_as_left_out() -> None:
    assert unknown_parameters({"adapters": None}) == ()
    for value in (0, "", False, [], {}, {"deep": [1]}):
        assert len(unknown_parameters({"adapters": value})) == 1


def test_the_number_of_warnings_is_bounded() -> None:
    names = [f"unknown {number}" for number in range(MAX_WARNINGS + 2)]
    warnings = unknown_parameters(dict.fromkeys(names[:-2], 1))
    assert [warning.parameter for warning in warnings] == names[:-2]
    assert {warning.message for warning in warnings} == {IGNORED}
    warnings = unknown_parameters(dict.fromkeys(names, 1))
    assert [warning.parameter for warning in warnings] == names[:-2]
    rest = "(2 more unknown parameters are not listed)"
    assert warnings[-1].message == f"{IGNORED} {rest}"
    assert {warning.message for warning in warnings[:-1]} == {IGNORED}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * MAX_NAME, "x" * MAX_NAME),
        ("x" * (MAX_NAME + 1), "x" * (MAX_NAME - 3) + "..."),
        ("y" * 10_000_000, "y" * (MAX_NAME - 3) + "..."),
        ("a\r\nb\0c", "a\ufffd\ufffdb\ufffdc"),
        ("\ud83d", "\ufffd"),
        ("\u202eabc", "\ufffdabc"),
        ("größe", "größe"),
    ],
)
def test_a_name_is_short_and_printable(name: str, shown: str) -> None:
    [warning] = unknown_parameters({name: 1})
    assert warning.parameter == shown
    json.dumps(warning.to_body(), ensure_ascii=False).encode()


def body(**changes: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {"image": "aGVsbG8=", "prompt": "x", **changes})


@pytest.mark.parametrize("sampler", [*SAMPLER_NAMES, *SAMPLER_ALIASES])
@pytest.mark.parametrize("scheduler", SCHEDULE_NAMES)
def test_only_noisy_pairs_give_a_warning(sampler: str, scheduler: str) -> None:
    warnings = pair_warnings(body(sampler=sampler, scheduler=scheduler))
    assert bool(warnings) is is_noisy(sampler, scheduler)


def test_the_warning_about_a_pair_names_the_other_schedules() -> None:
    [warning] = pair_warnings(body(sampler="heun", scheduler="normal"))
    assert warning.to_body() == {
        "code": "noisy_pair",
        "parameter": "scheduler",
        "message": "heun leaves visible noise in the picture with normal; without it are karras, "
        "exponential, sgm_uniform, simple, beta",
    }


def test_the_default_pair_is_not_noisy() -> None:
    assert pair_warnings(body()) == ()
