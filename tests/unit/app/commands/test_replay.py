"""A receipt submitted again: where its key goes, and what is said of a server that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from app.commands.receipt_files import Statement
from app.commands.replay import Api, body_of, replay
from tests.support.pictures import PictureHost, Respond, picture_host, redirect


def answered(body: Any, status: int = 200) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return respond


@pytest.fixture
def another() -> Iterator[PictureHost]:
    with picture_host("127.0.0.2") as running:
        yield running


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_redirect_does_not_take_the_key_along(
    host: PictureHost, another: PictureHost, status: int, elsewhere: bool
) -> None:
    """This server redirects nothing, so what does is another one."""
    target = (another if elsewhere else host).answer("/end", answered({"status": "COMPLETED"}))
    host.answer("/start", redirect(target, status))
    seen = len(host.requests)
    with pytest.raises(ValueError, match=f"^the server answered {status}: "):
        Api(host.origin, "SG_secret").call("/start")
    assert host.requests[seen:] == ["/start"]
    assert another.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_answer_is_read_from_a_path_or_a_url(address: str, slash: str) -> None:
    seen: list[str | None] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["x-api-key"])
        answered({"a": 1})(handler)

    with picture_host(address) as running:
        running.answer("/x", respond)
        api = Api(running.origin + slash, "SG_secret")
        assert api.call("/x") == {"a": 1}
        assert api.call(f"{running.origin}/x") == {"a": 1}
    assert seen == ["SG_secret"] * 2


@pytest.mark.parametrize(
    ("body", "said"), [({"error": "no é"}, "no é"), (["no"], "Bad Request"), ({}, "Bad Request")]
)
def test_a_refusal_is_printed_in_the_servers_words(host: PictureHost, body: Any, said: str) -> None:
    host.answer("/refused", answered(body, 400))
    with pytest.raises(ValueError, match=f"^the server answered 400: {said}$"):
        Api(host.origin, "SG_secret").call("/refused")


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(ValueError, match="^http://127.0.0.1:9 cannot be reached: "):
        Api("http://127.0.0.1:9", "SG_secret").call("/x")


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "FILE:///etc/hostname", "ftp://127.0.0.1/x"]
)
def test_a_url_in_a_response_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        Api("http://127.0.0.1:9", "key").call(url)


def test_a_server_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="127.0.0.1:9/v2/x is no URL"):
        Api("127.0.0.1:9", "key").call("/v2/x")


# ---- the body of a replay

ONE = {"prompt": "x", "cn_type": "pose"}
TWO = {"prompt": "x", "controls": [{"type": "canny"}, {"type": "pose"}]}
MAPS = [{"url": "https://a.example/map"}, {"url": "https://a.example/map-1"}]
SIZE = {"width": 100, "height": 60}
CUSTOM = {"use_input_img_dimension": False, "custom_width": 100, "custom_height": 60}


def body(parameters: dict[str, Any], control: Any = None, **more: Any) -> dict[str, Any]:
    content = {"parameters": parameters, "control_map": MAPS[0], **SIZE, **more}
    return body_of(Statement(content, "signature"), control)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    return [tmp_path / "a", tmp_path / "b"]


def test_a_replay_uses_the_linked_map_of_each_control() -> None:
    assert body(ONE) == {**ONE, "control_image": MAPS[0]["url"], **CUSTOM}
    own = [
        {"type": "canny", "control_image": MAPS[0]["url"]},
        {"type": "pose", "control_image": MAPS[1]["url"]},
    ]
    assert body(TWO, control_maps=MAPS) == {"prompt": "x", "controls": own, **CUSTOM}


@pytest.mark.parametrize("field", ["image", "control_image"])
def test_a_replay_takes_a_file_for_each_control(files: list[Path], field: str) -> None:
    assert body(ONE, (field, files[:1])) == {**ONE, field: "YQ=="}
    own = [{"type": "canny", field: "YQ=="}, {"type": "pose", field: "Yg=="}]
    assert body(TWO, (field, files)) == {**TWO, "controls": own}


def test_a_replay_takes_one_image_for_all_controls(files: list[Path]) -> None:
    assert body(TWO, ("image", files[:1])) == {**TWO, "image": "YQ=="}


def test_a_replay_refuses_another_number_of_files(files: list[Path]) -> None:
    with pytest.raises(ValueError, match="^it has 2 controls, and each one needs its own file$"):
        body(TWO, ("control_image", files[:1]))
    with pytest.raises(ValueError, match="^it has one control, so it needs one file$"):
        body(ONE, ("image", files))
    with pytest.raises(ValueError, match="^it links no control map; "):
        body(TWO, control_map=None)


def test_a_replay_names_the_loras_without_their_sums() -> None:
    of = {"name": "ink", "scale": 0.5}
    replayed = body({**ONE, "loras": [{**of, "sha256": "ab"}]})
    assert replayed == {**ONE, "loras": [of], "control_image": MAPS[0]["url"], **CUSTOM}


@pytest.mark.parametrize(("sha256", "lines"), [("ab", []), ("cd", ["loras: were "])])
def test_a_replay_with_another_file_of_a_lora_says_so(
    monkeypatch: pytest.MonkeyPatch, sha256: str, lines: list[str]
) -> None:
    def receipt(sum_: str) -> dict[str, Any]:
        loras = [{"name": "ink", "scale": 0.5, "sha256": sum_}]
        picture = {"file_name": "0.png", "sha256": "e", "pixels_sha256": "f"}
        parameters = {**ONE, "loras": loras}
        return {"parameters": parameters, "control_map": MAPS[0], "outputs": [picture], **SIZE}

    answers = {
        "/v2/flux-controlnet": {"status_url": "status", "response_url": "result"},
        "status": {"status": "COMPLETED"},
        "result/receipt": {"receipt": receipt(sha256)},
    }
    monkeypatch.setattr(Api, "call", lambda _self, path, _body=None: answers[path])
    same, *others = replay(Statement(receipt("ab"), "signature"), None, Api("", ""))
    assert same == (True, "0.png: the same file, bit for bit")
    assert [text[:12] for _, text in others] == lines
