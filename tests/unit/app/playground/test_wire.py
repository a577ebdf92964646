"""What the page sends for one control, and for several with pictures of their own."""

from __future__ import annotations

from typing import Any

from tests.support.node import evaluate

VALUES = {"prompt": "x", "cn_type": "pose", "cn_strength": 1, "canny_low": 50}
FILE = {"kind": "file", "name": "a.png", "file": "bytes"}
MAP = {"field": "control_image"}
URL = {"kind": "url", "url": "http://x/a.png"}
MORE = {"type": "canny", "strength": 0.3, "start": 0.1, "stop": 0.9}


def form_of(values: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = evaluate("wire.js", "module.formOf(data)", values)
    return form


def wire_of(values: dict[str, Any], picture: dict[str, Any] | None) -> dict[str, Any]:
    call = "module.wireOf(data.values, data.picture)"
    sent: dict[str, Any] = evaluate("wire.js", call, {"values": values, "picture": picture})
    return sent


def test_one_control_travels_as_it_is() -> None:
    upload = {"name": "image", "file": "bytes", "title": "a.png"}
    assert wire_of(VALUES, FILE) == {"values": VALUES, "uploads": [upload]}
    sent = wire_of(VALUES, {**FILE, **MAP})
    assert sent["uploads"] == [{**upload, "name": "control_image"}]
    assert wire_of(VALUES, URL)["values"] == {**VALUES, "image": URL["url"]}
    assert wire_of(VALUES, {**URL, **MAP})["values"] == {**VALUES, "control_image": URL["url"]}
    assert wire_of({**VALUES, "controls": []}, None) == {"values": VALUES, "uploads": []}


def test_a_list_takes_the_place_of_the_parameters_of_one_control() -> None:
    own = {**MORE, "picture": "bytes of b", "ready": False}
    sent = wire_of({**VALUES, "controls": [MORE, own]}, FILE)
    assert sent["values"] == {
        "prompt": "x",
        "canny_low": 50,
        "controls": [{"type": "pose", "strength": 1}, MORE, MORE],
    }
    assert [upload["name"] for upload in sent["uploads"]] == ["image", "controls[2].image"]
    ready = {**own, "ready": True}
    names = [each["name"] for each in wire_of({**VALUES, "controls": [ready]}, FILE)["uploads"]]
    assert names == ["image", "controls[1].control_image"]


def test_a_finished_map_is_that_of_the_first_of_several_controls() -> None:
    values = {**VALUES, "controls": [MORE]}
    [upload] = wire_of(values, {**FILE, **MAP})["uploads"]
    assert upload["name"] == "controls[0].control_image"
    sent = wire_of(values, {**URL, **MAP})["values"]
    assert sent["controls"][0]["control_image"] == URL["url"]
    assert "image" not in sent
    assert "control_image" not in sent
    assert wire_of(values, URL)["values"]["image"] == URL["url"]


def test_a_list_of_controls_fills_the_form_again() -> None:
    first = {"type": "pose", "strength": 1, "start": 0, "stop": 0.5}
    assert form_of({"prompt": "x", "controls": [first, MORE]}) == {
        "prompt": "x",
        "cn_type": "pose",
        "cn_strength": 1,
        "cn_start": 0,
        "cn_stop": 0.5,
        "controls": [MORE],
    }
    assert form_of(VALUES) == {**VALUES, "controls": []}
    assert form_of({"controls": []}) == {"controls": []}
