"""The parameter `loras`: what an element may be, and what is said of a wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.wire.fields import schema_of
from app.api.wire.requests import FluxControlNetBody, PreprocessBody, parse_body
from app.core.errors import InvalidRequest
from models.spec import Lora

BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}
INK, OIL = {"name": "ink"}, {"name": "oil paint"}
LIST = "a list of at most 4 objects is needed"
TEXT = "a non-empty string is needed of at most 255 characters"
NUMBER = "allowed is a number from -2.0 to 2.0"


def body(loras: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {**BODY, "loras": loras})


def parameters(loras: Any) -> tuple[Lora, ...]:
    return body(loras).parameters(seed=1, only_map=False).loras


def test_loras_keep_their_order_and_have_the_scale_1() -> None:
    every = [{"name": "oil paint", "scale": "-2"}, INK, {"name": "c", "scale": 0}]
    assert parameters(every) == (Lora("oil paint", -2.0), Lora("ink", 1.0), Lora("c", 0.0))


@pytest.mark.parametrize("nothing", [None, []])
def test_no_list_and_an_empty_one_are_no_lora(nothing: Any) -> None:
    assert body(nothing).loras == ()
    assert body(nothing).model_dump() == parse_body(FluxControlNetBody, BODY).model_dump()


def test_a_name_is_that_of_the_file_without_its_suffix() -> None:
    assert parameters([{"name": "ink.safetensors"}]) == (Lora("ink"),)
    assert body([{"name": "ink.safetensors", "scale": None, "path": "x"}]) == body([INK])


@pytest.mark.parametrize(
    ("loras", "sentence"),
    [
        ([INK] * 5, f"loras: a list of 5 is not allowed; {LIST}"),
        ([None] * 100_000, f"loras: a list of 100000 is not allowed; {LIST}"),
        ("ink", f'loras: "ink" is not allowed; {LIST}'),
        (INK, f"loras: an object is not allowed; {LIST}"),
        (True, f"loras: true is not allowed; {LIST}"),
        ([INK, "oil"], 'loras[1]: "oil" is not allowed; an object is needed'),
        ([{}], f"loras[0].name: is missing; {TEXT}"),
        ([{"path": "x"}], f"loras[0].name: is missing; {TEXT}"),
        ([{"name": None}], f"loras[0].name: null is not allowed; {TEXT}"),
        ([{"name": ""}], f"loras[0].name: is empty; {TEXT}"),
        ([{"name": 5}], f"loras[0].name: 5 is not allowed; {TEXT}"),
        ([{"name": []}], f"loras[0].name: a list is not allowed; {TEXT}"),
        ([{"name": ".safetensors"}], f"loras[0].name: is empty; {TEXT}"),
        ([{**INK, "scale": 2.01}], f"loras[0].scale: 2.01 is not allowed; {NUMBER}"),
        ([INK, {**OIL, "scale": -3}], f"loras[1].scale: -3 is not allowed; {NUMBER}"),
        ([{**INK, "scale": True}], f"loras[0].scale: true is not allowed; {NUMBER}"),
        ([{**INK, "scale": "nan"}], f'loras[0].scale: "nan" is not allowed; {NUMBER}'),
        ([INK, INK], "loras[1].name: is that of loras[0]; each LoRA is allowed once"),
        (
            [OIL, INK, {"name": "ink.safetensors", "scale": 0}],
            "loras[2].name: is that of loras[1]; each LoRA is allowed once",
        ),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(loras: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body(loras)
    assert (refused.value.status, refused.value.text) == (400, sentence)


def test_a_name_of_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^loras\[0\].name: \\ud800 is not allowed without"):
        body([{"name": "\ud800"}])


def test_a_long_name_is_cut_short_in_the_sentence() -> None:
    with pytest.raises(InvalidRequest) as refused:
        body([{"name": "x" * 100_000}])
    assert (
        refused.value.text
        == f"loras[0].name: {json.dumps('x' * 60)[:57]}... is not allowed; {TEXT}"
    )


def test_the_schema_has_the_limits() -> None:
    loras = schema_of(FluxControlNetBody)["properties"]["loras"]
    assert (loras["minItems"], loras["maxItems"]) == (0, 4)
    element = loras["items"]
    assert element["required"] == ["name"]
    scale = element["properties"]["scale"]
    assert (scale["minimum"], scale["maximum"], scale["default"]) == (-2, 2, 1)
    assert "loras" not in schema_of(PreprocessBody)["properties"]
