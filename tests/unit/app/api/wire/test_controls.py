"""The parameter `controls`: what an element may be, what is said of a wrong one, and what a list
excludes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.wire.controls import ControlBody
from app.api.wire.fields import schema_of
from app.api.wire.requests import FluxControlNetBody, PreprocessBody, parse_body
from app.core.errors import InvalidRequest
from models import control_types
from models.spec import Control

BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}
CANNY, POSE = {"type": "canny"}, {"type": "pose"}
TYPES = "depth, canny, pose, tile, blur, gray, lq"
LIST = "a list of 1 to 3 objects is needed"
TEXT = "a non-empty string is needed"
SHARE = "allowed is a number from 0 to 1"


def body(controls: Any, **fields: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {**BODY, **fields, "controls": controls})


def refusal(controls: Any, **fields: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        body(controls, **fields)
    assert refused.value.status == 400
    return refused.value.text


def parameters(controls: Any) -> tuple[Control, ...]:
    return body(controls).parameters(seed=1, only_map=False).controls


def test_an_element_has_the_defaults_of_the_parameters_of_one_control() -> None:
    assert parameters([CANNY]) == (Control("canny", 0.45, 0.0, 0.5),)
    one = parse_body(FluxControlNetBody, {**BODY, "cn_type": "canny"})
    assert one.parameters(seed=1, only_map=False).all_controls == parameters([CANNY])


def test_controls_keep_their_order() -> None:
    every = [
        {"type": "lq", "strength": "2", "start": 0, "stop": "1"},
        {"type": "pose", "strength": 0, "start": "0.25", "stop": 0.25},
        {"type": "canny"},
    ]
    assert parameters(every) == (
        Control("lq", 2.0, 0.0, 1.0),
        Control("pose", 0.0, 0.25, 0.25),
        Control("canny"),
    )


@pytest.mark.parametrize("name", ["image", "control_image", "strength", "start", "stop"])
def test_null_in_an_element_counts_as_left_out(name: str) -> None:
    assert body([{**CANNY, name: None}]) == body([CANNY])


def test_unknown_keys_of_an_element_are_ignored() -> None:
    assert body([{**CANNY, "weight": [1], "Type": 5}]) == body([CANNY])


@pytest.mark.parametrize("nothing", [None, ()])
def test_no_list_is_no_control(nothing: Any) -> None:
    fields = {} if nothing == () else {"controls": nothing}
    assert parse_body(FluxControlNetBody, {**BODY, **fields}).controls == ()


WRONG: list[tuple[Any, str]] = [
    ([], f"controls: an empty list is not allowed; {LIST}"),
    ([CANNY] * 4, f"controls: a list of 4 is not allowed; {LIST}"),
    ([None] * 100_000, f"controls: a list of 100000 is not allowed; {LIST}"),
    ("canny", f'controls: "canny" is not allowed; {LIST}'),
    ('[{"type": "canny"}]', f'controls: "[{{\\"type\\": \\"canny\\"}}]" is not allowed; {LIST}'),
    (CANNY, f"controls: an object is not allowed; {LIST}"),
    (5, f"controls: 5 is not allowed; {LIST}"),
    (True, f"controls: true is not allowed; {LIST}"),
    ([None], "controls[0]: null is not allowed; an object is needed"),
    ([CANNY, "pose"], 'controls[1]: "pose" is not allowed; an object is needed'),
    ([CANNY, [POSE]], "controls[1]: a list is not allowed; an object is needed"),
    ([CANNY, POSE, 5], "controls[2]: 5 is not allowed; an object is needed"),
    ([{}], f"controls[0].type: is missing; allowed are {TYPES}"),
]
WRONG += [
    ([CANNY, {**POSE, name: value}], f"controls[1].{name}: {shown} is not allowed; {allowed}")
    for name, allowed, values in (
        ("type", f"allowed are {TYPES}", [None, "edge", "Canny", 5, True, [], {}]),
        ("image", TEXT, [5, True, [], {}]),
        ("control_image", TEXT, [5, False, ["a"], {"a": 1}]),
        ("strength", "allowed is a number from 0 to 2", [-0.1, 2.1, True, "x", "nan", "inf", []]),
        ("start", SHARE, [-0.01, 1.01, False, "x", {}]),
        ("stop", SHARE, [-0.01, 1.01, True, "0x1", []]),
    )
    for value in values
    for shown in [
        {list: "a list", dict: "an object"}.get(type(value), json.dumps(value)),
    ]
]
WRONG += [
    ([{**CANNY, name: ""}], f"controls[0].{name}: is empty; {allowed}")
    for name, allowed in (
        ("type", f"allowed are {TYPES}"),
        ("image", TEXT),
        ("control_image", TEXT),
        ("strength", "allowed is a number from 0 to 2"),
    )
]
WRONG += [
    (
        [CANNY, {**POSE, name: "a\udc00"}],
        f"controls[1].{name}: \\udc00 is not allowed without its other half, which makes a "
        "character of it; a string of Unicode characters is needed",
    )
    for name in ("image", "control_image")
]


@pytest.mark.parametrize(("controls", "sentence"), WRONG)
def test_a_wrong_list_or_element_is_refused_with_its_place(controls: Any, sentence: str) -> None:
    assert refusal(controls) == sentence


def test_the_faults_of_all_elements_are_in_one_sentence() -> None:
    assert refusal([{"strength": 3}, {**POSE, "stop": 2}], steps=1) == (
        "steps: 1 is not allowed; allowed is an integer from 15 to 75; "
        f"controls[0].type: is missing; allowed are {TYPES}; "
        "controls[0].strength: 3 is not allowed; allowed is a number from 0 to 2; "
        f"controls[1].stop: 2 is not allowed; {SHARE}"
    )


@pytest.mark.parametrize(
    ("window", "start", "stop"),
    [({"start": 0.6}, "0.6", "0.5"), ({"start": 0.1, "stop": 0}, "0.1", "0")],
)
def test_a_control_that_begins_after_its_end_is_refused(
    window: dict[str, float], start: str, stop: str
) -> None:
    assert refusal([CANNY, {**POSE, **window}]) == (
        f"controls[1].start: {start} is not allowed; allowed is a number from 0 to stop, "
        f"which is {stop}"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cn_type", "pose"),
        ("cn_strength", 0.45),
        ("cn_start", 0),
        ("cn_stop", 0.5),
        ("control_image", "bWFw"),
    ],
)
def test_a_parameter_of_one_control_is_refused_beside_a_list(name: str, value: Any) -> None:
    assert refusal([CANNY], **{name: value}) == f"{name}: is not allowed with controls"
    assert body([CANNY], **{name: None}) == body([CANNY])


def test_thresholds_of_canny_hold_for_every_control() -> None:
    params = body([CANNY, POSE], canny_low=1, canny_high=2).parameters(seed=1, only_map=False)
    assert (params.canny_low, params.canny_high) == (1, 2)


def test_a_type_that_the_checkpoint_does_not_serve_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(control_types.MODES, "small", {"canny": 0})  # type: ignore[index]
    fields = {**BODY, "controls": [CANNY, {"type": "tile"}]}
    with pytest.raises(InvalidRequest) as refused:
        parse_body(FluxControlNetBody, fields, "small")
    assert refused.value.text == (
        'controls[1].type: "tile" is not allowed; small serves canny '
        "(tile is a type of demo, flux-dev-union-pro)"
    )
    assert parse_body(FluxControlNetBody, {**BODY, "controls": [CANNY]}, "small").controls


# ---- pictures


def test_an_element_without_a_picture_needs_that_of_the_request() -> None:
    fields = {"prompt": "x", "controls": [{**CANNY, "image": "YQ=="}, POSE]}
    with pytest.raises(InvalidRequest, match=f"^image: is missing; {TEXT}$"):
        parse_body(FluxControlNetBody, fields)


@pytest.mark.parametrize("name", ["image", "control_image"])
@pytest.mark.parametrize("image", [None, 5, "", "aGVsbG8="])
def test_the_picture_of_the_request_is_not_read_where_each_control_has_its_own(
    name: str, image: Any
) -> None:
    fields = {"prompt": "x", "image": image, "controls": [{**CANNY, name: "YQ=="}]}
    assert parse_body(FluxControlNetBody, fields).image == "not read"


def test_a_ready_map_in_an_element_makes_its_image_superfluous() -> None:
    [control] = body([{**CANNY, "image": 5, "control_image": "bWFw"}]).controls
    assert control.picture == ("control_image", "bWFw")


def test_a_preview_of_a_map_ignores_the_list() -> None:
    assert parse_body(PreprocessBody, {**BODY, "controls": 5, "cn_type": "canny"}).cn_type == (
        "canny"
    )


# ---- the document


def test_the_document_has_the_elements_in_place() -> None:
    properties = schema_of(FluxControlNetBody)["properties"]
    controls = properties["controls"]
    assert (controls["type"], controls["minItems"], controls["maxItems"]) == ("array", 1, 3)
    assert controls["items"] == schema_of(ControlBody)
    assert "$ref" not in json.dumps(schema_of(FluxControlNetBody))
    element = controls["items"]["properties"]
    for name, of_one in (("type", "cn_type"), ("strength", "cn_strength"), ("stop", "cn_stop")):
        for key in ("enum", "minimum", "maximum"):
            assert element[name].get(key) == properties[of_one].get(key)
    assert element["start"]["default"] == 0
    assert controls["items"]["required"] == ["type"]
