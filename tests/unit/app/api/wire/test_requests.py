"""Every parameter of a body: its name, type, range, default and alias, and what is said of a wrong
value. The numbers are those of the hosted service's page, not those of the code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.api.operations.keys import KeyOrder, TopUp
from app.api.wire.fields import schema_of
from app.api.wire.requests import (
    PICTURE_FIELDS,
    FluxControlNetBody,
    PreprocessBody,
    parse_body,
    without_empty,
    without_null,
)
from app.core.errors import InvalidRequest
from models import control_types

BODY: dict[str, Any] = {"image": "aGVsbG8=", "prompt": "x"}
LONGEST_SEED = 9_223_372_036_854_775_807
SAMPLERS = """
euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 dpm_2 dpm_2_ancestral lms
dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu dpmpp_2m
dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v
deis ddim uni_pc uni_pc_bh2
""".split()
SERVED = ["depth", "canny", "pose", "tile", "blur", "gray", "lq"]
SCHEDULERS = "normal karras exponential sgm_uniform simple ddim_uniform beta".split()
NO_NUMBERS: list[Any] = [True, False, "", "abc", "nan", "inf", "0x10", "1_0,5", [20], {}]
NO_INTEGERS: list[Any] = [*NO_NUMBERS, 20.5, "20.5", 10**400]
NO_TEXTS: list[Any] = [5, 0.5, True, [], {}]


@dataclass(frozen=True)
class Parameter:
    """default: when it is left out. good: as sent, as taken. allowed: what a refusal says. schema:
    its part of the OpenAPI document."""

    default: Any
    good: tuple[tuple[Any, Any], ...]
    bad: list[Any]
    allowed: str
    schema: dict[str, Any] = field(default_factory=dict)


def number(kind: str, default: float, least: float, most: float, *beside: Any) -> Parameter:
    allowed = (
        f"allowed is {'an integer' if kind == 'integer' else 'a number'} from {least} to {most}"
    )
    good = ((least, least), (most, most), (str(most), most))
    schema = {"type": kind, "default": default, "minimum": least, "maximum": most}
    wrong = NO_INTEGERS if kind == "integer" else NO_NUMBERS
    return Parameter(default, good, [*beside, *wrong], allowed, schema)


def one_of(default: str, names: list[str], *others: str) -> Parameter:
    good = tuple((name, name) for name in names)
    schema = {"type": "string", "enum": names} | ({"default": default} if default else {})
    allowed = "allowed are " + ", ".join(names)
    bad = [*others, "", f"{names[0]} ", f"{names[0]}\n", f"x{names[-1]}", *NO_TEXTS]
    return Parameter(default, good, bad, allowed, schema)


def switch(default: bool) -> Parameter:
    spelled = {True: (True, 1, "true", "True", "1", "on", "yes"), False: (False, 0, "false", "0")}
    good = tuple((sent, taken) for taken, every in spelled.items() for sent in every)
    schema = {"type": "boolean", "default": default}
    return Parameter(
        default, good, ["perhaps", "", 2, -1, 0.5, [], {}], "allowed are true and false", schema
    )


def text(default: str, longest: int | None, *others: str) -> Parameter:
    allowed = "a non-empty string is needed"
    good: tuple[tuple[Any, Any], ...] = (("é", "é"), (" a\n", " a\n"))
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    bad: list[Any] = ["", *others, *NO_TEXTS]
    if longest is not None:
        allowed += f" of at most {longest} characters"
        schema["maxLength"] = longest
        good += (("é" * longest, "é" * longest),)
        bad.append("a" * (longest + 1))
    return Parameter(default, good, bad, allowed, schema)


PARAMETERS = {
    "sampler": one_of("euler", SAMPLERS, "nope", "EULER"),
    "scheduler": one_of("simple", SCHEDULERS, "nope", "Simple"),
    "seed": number("integer", -1, -1, LONGEST_SEED, -2, LONGEST_SEED + 1),
    "base64": switch(False),
    "cn_stop": number("number", 0.5, 0, 1, -0.01, 1.01),
    "cn_strength": number("number", 0.45, 0, 2, -0.01, 2.01),
    # The document lists every type, a refusal those of the served checkpoint, here the demo.
    "cn_type": replace(
        one_of("pose", SERVED, "edge", "Canny"),
        schema={"type": "string", "enum": [*SERVED, "softedge"], "default": "pose"},
    ),
    "custom_height": number("integer", 1024, 64, 4096, 63, 4097),
    "custom_width": number("integer", 1024, 64, 4096, 63, 4097),
    "guidance": number("number", 3.5, 1, 15, 0.99, 15.01),
    "image_format": one_of("jpeg", ["jpeg", "png", "webp"], "jpg", "gif", "JPEG"),
    "quality": number("integer", 95, 10, 100, 9, 101),
    "samples": number("integer", 1, 1, 4, 0, 5),
    "steps": number("integer", 20, 15, 75, 14, 76),
    "use_input_img_dimension": switch(True),
    "profile": one_of("", ["exact", "fast", "turbo"], "warp", "Fast"),
    "preview": switch(False),
    "webhook_url": text("", 2048),
    "control_image": text("", None),
    "cn_start": number("number", 0.0, 0, 1, -0.01, 1.01),
    "canny_low": number("integer", 100, 0, 255, -1, 256),
    "canny_high": number("integer", 200, 0, 255, -1, 256),
}
REQUIRED = {"image": text("", None), "prompt": text("", 100_000, " \n\t")}
OF_A_MAP = (
    *("cn_type", "custom_height", "custom_width", "use_input_img_dimension"),
    *("canny_low", "canny_high"),
)
BESIDE: dict[str, dict[str, Any]] = {
    "cn_start": {"cn_stop": 1},
    "canny_low": {"canny_high": 255},
    "canny_high": {"canny_low": 0},
}
"""What an allowed value needs beside it."""

GOOD = [
    pytest.param(name, sent, taken, id=f"{name}={str(sent)[:20]!a}")
    for name, parameter in {**PARAMETERS, **REQUIRED}.items()
    for sent, taken in parameter.good
]
BAD = [
    pytest.param(name, sent, id=f"{name}={str(sent)[:20]!a}")
    for name, parameter in {**PARAMETERS, **REQUIRED}.items()
    for sent in parameter.bad
]


def body(**changes: Any) -> FluxControlNetBody:
    return parse_body(FluxControlNetBody, {**BODY, **changes})


def refusal(kind: Any, fields: dict[str, Any]) -> str:
    """The sentence of a body that is refused with 400."""
    with pytest.raises(InvalidRequest) as refused:
        parse_body(kind, fields)
    assert refused.value.status == 400
    return refused.value.text


def test_the_parameters_are_those_of_the_page_and_nine_of_ours() -> None:
    assert list(FluxControlNetBody.model_fields) == [
        *("image", "prompt", "sampler", "scheduler", "seed", "base64", "cn_stop", "cn_strength"),
        *("cn_type", "custom_height", "custom_width", "guidance", "image_format", "quality"),
        *("samples", "steps", "use_input_img_dimension"),
        *("profile", "preview", "webhook_url", "control_image"),
        *("cn_start", "canny_low", "canny_high", "controls", "loras"),
    ]
    assert set(PreprocessBody.model_fields) == {"image", *OF_A_MAP}
    assert PICTURE_FIELDS == ("image", "control_image")


def test_a_parameter_that_is_left_out_has_its_default() -> None:
    defaults = {name: parameter.default for name, parameter in PARAMETERS.items()}
    assert body().model_dump() == {**BODY, **defaults, "controls": (), "loras": ()}
    of_a_map = {name: defaults[name] for name in OF_A_MAP}
    assert parse_body(PreprocessBody, {"image": "a"}).model_dump() == {"image": "a", **of_a_map}


@pytest.mark.parametrize(("name", "sent", "taken"), GOOD)
def test_an_allowed_value_is_taken(name: str, sent: Any, taken: Any) -> None:
    value = getattr(body(**BESIDE.get(name, {}), **{name: sent}), name)
    assert value == taken
    assert isinstance(value, bool) == isinstance(taken, bool)


@pytest.mark.parametrize(("name", "sent"), BAD)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(name: str, sent: Any) -> None:
    allowed = {**PARAMETERS, **REQUIRED}[name].allowed
    sentence = refusal(FluxControlNetBody, {**BODY, name: sent})
    assert sentence.startswith(f"{name}: ")
    assert sentence.endswith(f"; {allowed}")
    if name in ("image", *OF_A_MAP):
        assert refusal(PreprocessBody, {"image": "a", name: sent}) == sentence


@pytest.mark.parametrize("kind", [FluxControlNetBody, PreprocessBody])
def test_the_document_has_type_range_and_default_of_each_parameter(kind: Any) -> None:
    properties = schema_of(kind)["properties"]
    properties.pop("controls", None)  # test_controls.py
    properties.pop("loras", None)  # test_loras.py
    for name, described in properties.items():
        expected = {**PARAMETERS, **REQUIRED}[name].schema
        ignored = {"title", "description", "pattern"}
        assert {key: of for key, of in described.items() if key not in ignored} == expected, name


def test_the_document_needs_a_picture_of_either_kind() -> None:
    schema = FluxControlNetBody.model_json_schema()
    assert schema["required"] == ["prompt"]
    either = [{"required": ["image"]}, {"required": ["control_image"]}]
    each = {"required": ["controls"], "properties": {"controls": {"items": {"anyOf": either}}}}
    assert schema["anyOf"] == [*either, each]
    assert PreprocessBody.model_json_schema()["required"] == ["image"]


@pytest.mark.parametrize(
    ("garbled", "meant"),
    [
        ("euler_ancestra", "euler_ancestral"),
        ("leuler_ancestral_cfg_pp", "euler_ancestral_cfg_pp"),
    ],
)
def test_the_names_that_the_page_misspells_are_taken(garbled: str, meant: str) -> None:
    assert body(sampler=garbled).sampler == meant


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (14, "14"),
        (14.5, "14.5"),
        ("fast", '"fast"'),
        (True, "true"),
        ([1, 2], "a list"),
        ({"a": 1}, "an object"),
        ("x" * 58, '"' + "x" * 58 + '"'),
        ("x" * 59, '"' + "x" * 56 + "..."),
        ("x" * 1000, '"' + "x" * 56 + "..."),
        (10**59, "1" + "0" * 59),
        (10**60, "1" + "0" * 56 + "..."),
        ("é", '"\\u00e9"'),
    ],
)
def test_a_refused_value_is_shown_in_at_most_sixty_characters(sent: Any, shown: str) -> None:
    sentence = refusal(FluxControlNetBody, {**BODY, "steps": sent})
    assert sentence == f"steps: {shown} is not allowed; allowed is an integer from 15 to 75"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"cn_start": 0.6},
            "cn_start: 0.6 is not allowed; allowed is a number from 0 to cn_stop, which is 0.5",
        ),
        (
            {"cn_start": "1", "cn_stop": 0},
            "cn_start: 1 is not allowed; allowed is a number from 0 to cn_stop, which is 0",
        ),
        (
            {"canny_low": 201},
            "canny_low: 201 is not allowed; allowed is an integer from 0 to canny_high, "
            "which is 200",
        ),
        (
            {"canny_high": 99},
            "canny_low: 100 is not allowed; allowed is an integer from 0 to canny_high, "
            "which is 99",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(fields: dict[str, Any], sentence: str) -> None:
    assert refusal(FluxControlNetBody, {**BODY, **fields}) == sentence
    if sentence.startswith("canny"):
        assert refusal(PreprocessBody, {**BODY, **fields}) == sentence


def test_a_window_may_begin_where_it_ends() -> None:
    assert body(cn_start=0.5, canny_low=200).cn_start == 0.5


@pytest.mark.parametrize("kind", [FluxControlNetBody, PreprocessBody])
def test_a_type_that_the_checkpoint_does_not_serve_is_refused(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = {name: 0 for name in ("pose", "canny")}
    monkeypatch.setitem(control_types.MODES, "small", served)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest) as refused:
        parse_body(kind, {**BODY, "cn_type": "tile"}, "small")
    assert refused.value.text == (
        'cn_type: "tile" is not allowed; small serves canny, pose '
        "(tile is a type of demo, flux-dev-union-pro)"
    )
    with pytest.raises(InvalidRequest, match='"x" is not allowed; allowed are canny, pose$'):
        parse_body(kind, {**BODY, "cn_type": "x"}, "small")
    assert parse_body(kind, {**BODY, "cn_type": "canny"}, "small").cn_type == "canny"


def test_every_fault_is_named_in_one_sentence() -> None:
    assert refusal(FluxControlNetBody, {"quality": 9, "samples": 5}) == (
        "image: is missing; a non-empty string is needed; "
        "prompt: is missing; a non-empty string is needed of at most 100000 characters; "
        "quality: 9 is not allowed; allowed is an integer from 10 to 100; "
        "samples: 5 is not allowed; allowed is an integer from 1 to 4"
    )


@pytest.mark.parametrize("name", ["sampler", "steps", "image", "prompt", "webhook_url"])
def test_an_empty_text_is_reported_as_empty(name: str) -> None:
    allowed = {**PARAMETERS, **REQUIRED}[name].allowed
    for blank in ("", " \t\n"):
        if blank and name in ("image", "webhook_url"):  # of spaces they are no URL, later on
            continue
        sentence = refusal(FluxControlNetBody, {**BODY, name: blank})
        assert sentence == f"{name}: is empty; {allowed}"


@pytest.mark.parametrize("name", ["image", "prompt", "webhook_url", "control_image"])
def test_half_of_a_character_is_refused(name: str) -> None:
    assert refusal(FluxControlNetBody, {**BODY, name: "a\udc00b\ud800"}) == (
        f"{name}: \\udc00 is not allowed without its other half, which makes a character of it; "
        "a string of Unicode characters is needed"
    )


def test_unknown_parameters_are_ignored() -> None:
    assert body(timeout=7, interval=[4], Steps=1) == body()
    assert parse_body(PreprocessBody, {**BODY, "steps": 1}).image == BODY["image"]


def test_a_ready_map_makes_the_image_superfluous() -> None:
    found = parse_body(FluxControlNetBody, {"prompt": "x", "control_image": "b", "image": 5})
    assert (found.control_image, found.image) == ("b", "not read")


WEBHOOK = FluxControlNetBody.model_json_schema()["properties"]["webhook_url"]["pattern"]


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://a.example", True),
        ("http://a-1.b.example/x?y=z", True),
        *((f"https://a.example:{port}/", True) for port in (80, 443, 8080, 8443)),
        *((f"https://a.example:{port}/", False) for port in (1, 81, 8000, 65535)),
        (f"https://{'a' * 63}.example/", True),
        (f"https://{'a' * 64}.example/", False),
        ("https://localhost/", False),
        ("https://-a.example/", False),
        ("https://a-.example/", False),
        ("https://10.0.0.1/", False),
        ("ftp://a.example/", False),
        ("https://user@a.example/", False),
        ("https://a.example/a b", False),
    ],
)
def test_the_document_says_which_webhooks_are_taken_for_certain(url: str, taken: bool) -> None:
    assert bool(re.search(WEBHOOK, url)) is taken


# ---- null and empty


@pytest.mark.parametrize("kind", [FluxControlNetBody, PreprocessBody])
def test_null_counts_as_left_out(kind: Any) -> None:
    optional = {name for name, field in kind.model_fields.items() if not field.is_required()}
    assert parse_body(kind, {**dict.fromkeys(optional), **BODY}) == parse_body(kind, BODY)


@pytest.mark.parametrize("name", ["image", "prompt"])
def test_null_is_wrong_where_something_is_needed(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name}: null is not allowed; a non-empty string"):
        parse_body(FluxControlNetBody, {**BODY, name: None})


def test_null_as_an_image_that_is_not_read() -> None:
    body = parse_body(FluxControlNetBody, {**BODY, "image": None, "control_image": "aGVsbG8="})
    assert body.control_image == "aGVsbG8="


def test_null_in_the_orders_of_an_admin() -> None:
    nothing = dict.fromkeys(KeyOrder.model_fields)
    assert without_null(KeyOrder, {**nothing, "name": "a"}) == {"name": "a"}
    assert without_null(TopUp, {"credits": None}) == {"credits": None}


def test_an_empty_field_of_a_form_is_left_out_or_false_or_wrong() -> None:
    """Switches are false, which is how PHP sends that; what is needed stays, to be refused."""
    every = dict.fromkeys([*FluxControlNetBody.model_fields, "other"], "")
    switches = {"base64", "preview", "use_input_img_dimension"}
    assert without_empty(every) == {"image": "", "prompt": "", **dict.fromkeys(switches, False)}
    assert without_empty({"steps": "20", "prompt": " "}) == {"steps": "20", "prompt": " "}
