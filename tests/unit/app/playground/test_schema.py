"""The fields of the form from a schema: of the API as it is, and of other forms of a property."""

from __future__ import annotations

from typing import Any

from app.api.wire.fields import schema_of
from app.api.wire.requests import FluxControlNetBody
from models.spec import CONTROL_NAMES, LORAS_MAX
from tests.support.node import evaluate


def fields_of(schema: dict[str, Any], types: list[str] | None = None) -> dict[str, dict[str, Any]]:
    call = "module.fieldsOf(data.schema, data.types ?? undefined)"
    fields = evaluate("schema.js", call, {"schema": schema, "types": types})
    return {field["name"]: field for field in fields}


def test_every_parameter_but_the_pictures_has_a_field_with_its_range_and_default() -> None:
    schema = schema_of(FluxControlNetBody)
    fields = fields_of(schema)
    listed = {
        name
        for name, each in schema["properties"].items()
        if each.get("type") not in ("array", "object") and "anyOf" not in each
    }
    assert fields.keys() >= listed - {"image", "control_image"}
    assert next(iter(fields)) == "prompt"
    strength = fields["cn_strength"]
    assert (strength["minimum"], strength["maximum"], strength["default"]) == (0, 2, 0.45)
    assert fields["cn_type"]["choices"] == list(CONTROL_NAMES)
    assert all(field["description"] and field["label"] for field in fields.values())


def test_the_types_of_control_are_those_that_the_server_has() -> None:
    fields = fields_of(schema_of(FluxControlNetBody), ["canny", "depth"])
    assert fields["cn_type"]["choices"] == ["canny", "depth"]


def test_lists_and_objects_have_no_field() -> None:
    item = {"type": "object", "properties": {"type": {"type": "string"}}}
    properties = {
        "listed": {"type": "array", "items": item},
        "object": item,
        "unknown": {},
        "prompt": {"type": "string"},
    }
    assert list(fields_of({"properties": properties})) == ["prompt"]


def test_loras_have_their_limit_and_the_range_of_their_scale() -> None:
    loras = fields_of(schema_of(FluxControlNetBody))["loras"]
    assert (loras["label"], loras["maximum"]) == ("LoRAs", LORAS_MAX)
    scale = next(field for field in loras["items"] if field["name"] == "scale")
    assert (scale["minimum"], scale["maximum"], scale["default"]) == (-2, 2, 1)


def test_the_list_of_controls_has_the_fields_of_its_elements() -> None:
    strength = {"type": "number", "minimum": 0, "maximum": 2, "default": 0.45}
    kind = {"type": "string", "enum": ["canny", "blur"]}
    item = {"properties": {"type": kind, "image": {"type": "string"}, "strength": strength}}
    listed = {"type": "array", "maxItems": 3, "items": item}
    controls = fields_of({"properties": {"controls": listed}}, ["canny"])["controls"]
    assert controls["maximum"] == 3
    shown = {field["name"]: field for field in controls["items"]}
    assert shown.keys() == {"type", "strength"}
    assert shown["type"]["choices"] == ["canny"]
    assert shown["strength"]["maximum"] == 2
