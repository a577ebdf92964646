"""The pictures in `controls`: their names, and their places in the fields of a body."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.parsing.control_fields import is_picture, with_controls, without_long_strings
from app.api.parsing.json_scan import LongString
from app.core.errors import InvalidRequest

LONG = LongString([b"aGVs" * 10_000])
LONG_URL = LongString([b"https://a.example/", b"a" * 40_000])


@pytest.mark.parametrize(
    ("name", "named_so"),
    [
        ("image", True),
        ("control_image", True),
        ("controls[0].image", True),
        ("controls[12].control_image", True),
        ("controls", False),
        ("controls[0]", False),
        ("controls[].image", False),
        ("controls[-1].image", False),
        ("controls[0].image ", False),
        ("controls[0].type", False),
        ("controls[1234].image", False),
    ],
)
def test_a_part_is_a_picture_by_its_name(name: str, named_so: bool) -> None:
    assert is_picture(name) is named_so


def test_pictures_of_a_form_get_into_their_elements() -> None:
    fields = {
        "prompt": "x",
        "controls[1].image": "a file",
        "controls": [{"type": "canny", "image": "replaced"}, {"type": "pose"}],
        "controls[0].image": "aGVs",
        "controls[0].control_image": "",
    }
    assert with_controls(fields) == {
        "prompt": "x",
        "controls": [{"type": "canny", "image": "aGVs"}, {"type": "pose", "image": "a file"}],
    }


@pytest.mark.parametrize("controls", [None, 5, "", [], [{"type": "canny"}]])
def test_a_picture_without_an_element_is_refused(controls: Any) -> None:
    fields = {"controls": controls, "controls[1].image": "a file"}
    with pytest.raises(InvalidRequest, match=r"^controls\[1\].image: there is no controls\[1\]; "):
        with_controls(fields if controls is not None else {"controls[1].image": "a file"})


def test_an_element_that_is_no_object_is_left_to_validation() -> None:
    assert with_controls({"controls": [None], "controls[0].image": "x"}) == {"controls": [None]}


def test_long_base64_is_replaced_wherever_a_picture_may_be() -> None:
    fields: dict[str, Any] = {
        "image": LONG,
        "prompt": LONG,
        "controls": [
            {"type": LONG, "image": LONG, "control_image": LONG_URL},
            {"type": "pose", "control_image": LONG, "image": "short"},
            None,
        ],
    }
    replaced, inline = without_long_strings(fields, "base64")
    assert inline == {
        "image": LONG,
        "controls[0].image": LONG,
        "controls[1].control_image": LONG,
    }
    cut = LONG.text(100_001)
    assert replaced == {
        "image": "base64",
        "prompt": cut,
        "controls": [
            {"type": cut, "image": "base64", "control_image": LONG_URL.text(100_001)},
            {"type": "pose", "control_image": "base64", "image": "short"},
            None,
        ],
    }


@pytest.mark.parametrize("controls", [None, 5, "text", {"image": "a"}, [[{"image": "a"}]]])
def test_anything_else_is_left_as_it_is(controls: Any) -> None:
    assert without_long_strings({"controls": controls}, "base64") == ({"controls": controls}, {})


def test_a_long_text_in_place_of_an_element_is_cut() -> None:
    replaced, inline = without_long_strings({"controls": [LONG]}, "base64")
    assert isinstance(replaced["controls"][0], str)
    assert inline == {}


def test_elements_beyond_the_most_are_not_looked_at() -> None:
    controls = [{"image": LONG}] * 5
    replaced, inline = without_long_strings({"controls": controls}, "base64")
    assert len(inline) == 3
    assert replaced["controls"][3:] == controls[3:]


def test_long_texts_in_loras_are_cut() -> None:
    loras = [{"name": LONG, "image": LONG, "scale": 1}, LONG, None]
    fields, inline = without_long_strings({"loras": loras}, "base64")
    element, text, nothing = fields["loras"]
    assert inline == {}
    assert (type(element["name"]), type(element["image"]), type(text)) == (str, str, str)
    assert (element["scale"], nothing) == (1, None)
    assert without_long_strings({"loras": LONG}, "base64")[0]["loras"].startswith("aGVs")
