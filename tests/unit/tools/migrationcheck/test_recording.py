"""Recordings: what is written, what is left out, and what is read back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.migrationcheck.calls import CONTROL_PICTURE
from tools.migrationcheck.exchanges import Auth, Call, CannotRunError, Exchange, Response
from tools.migrationcheck.recording import SHIPPED, folder_of, read, read_calls, write

pytestmark = pytest.mark.tools

PICTURE = CONTROL_PICTURE.read_bytes()
TEXT = base64.b64encode(PICTURE).decode()
JSON = {"content-type": "application/json"}
KEY = "the-key-of-the-test"


def exchange(response: Response, body: object = None) -> Exchange:
    return Exchange(Call("a", "POST", "/v1/model", body, auth=Auth.KEY), {"response": response})


def response_of(content: object) -> Response:
    return Response(200, JSON, json.dumps(content).encode(), 0.25)


def stored(folder: Path, made: Exchange) -> Exchange:
    """What is read after it has been written."""
    write(folder, "http://a", "2026-11-29", [made], KEY)
    (found,) = read(folder)
    return found


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = exchange(response_of({"image": TEXT, "more": [1, None]}), {"image": TEXT, "seed": 3})
    assert stored(tmp_path / "new", made) == made


def test_pictures_are_files_of_their_own_once_each(tmp_path: Path) -> None:
    made = exchange(Response(200, {"content-type": "image/png"}, PICTURE, 1.0), {"image": TEXT})
    assert stored(tmp_path, made) == made
    (file,) = tmp_path.glob("*.png")
    assert file.read_bytes() == PICTURE
    assert (tmp_path / "recording.jsonl").stat().st_size < 500


def test_neither_key_nor_cookies_nor_signatures_are_written(tmp_path: Path) -> None:
    link = "https://a/files/1.png?exp=1&sig=secret-signature"
    headers = {**JSON, "set-cookie": "secret-cookie", "x-echo": KEY}
    body = json.dumps({"output": link, "error": f"{KEY} is wrong"}).encode()
    found = stored(tmp_path, exchange(Response(200, headers, body, None)))
    written = (tmp_path / "recording.jsonl").read_text()
    assert not any(secret in written for secret in (KEY, "secret-cookie", "secret-signature"))
    assert found.responses["response"].json()["output"] == "https://a/files/1.png"


def test_links_of_a_request_keep_their_query(tmp_path: Path) -> None:
    body = {"image": "https://a/b.png?c=d"}
    assert stored(tmp_path, exchange(response_of({}), body)).call.body == body


def test_a_text_and_an_unknown_body(tmp_path: Path) -> None:
    html = Response(405, {"content-type": "text/html"}, b"<p>no</p>", None)
    assert stored(tmp_path / "a", exchange(html)).responses["response"] == html
    unknown = Response(200, {"content-type": "image/jpeg"}, None, None)
    assert stored(tmp_path / "b", exchange(unknown)).responses["response"] == unknown


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    stored(tmp_path, exchange(response_of({})))
    with pytest.raises(CannotRunError, match="already holds"):
        write(tmp_path, "http://a", "2026-11-29", [], KEY)


def test_a_call_that_cannot_run_leaves_no_folder(tmp_path: Path) -> None:
    def refused() -> Iterator[Exchange]:
        raise CannotRunError("no key")
        yield

    with pytest.raises(CannotRunError, match="no key"):
        write(tmp_path / "new", "http://a", "2026-11-29", refused(), KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "no json",
        '{"format": 2}',
        '{"format": 1}\n{"call": "a", "step": "response"}',
        '{"format": 1}\n{"call": "a", "step": "response", "request": {"path": "/", '
        '"body": {"file": "../../etc/passwd"}}, "response": {"status": 200, "headers": {}}}',
    ],
)
def test_an_unreadable_recording_is_one_line(tmp_path: Path, lines: str) -> None:
    (tmp_path / "recording.jsonl").write_text(lines)
    with pytest.raises(CannotRunError):
        read(tmp_path)


def test_a_folder_or_a_shipped_recording(tmp_path: Path) -> None:
    (tmp_path / "recording.jsonl").touch()
    assert folder_of(str(tmp_path)) == tmp_path
    assert folder_of("published") == SHIPPED / "published"
    with pytest.raises(CannotRunError, match="published, server"):
        folder_of("neither")


@pytest.mark.parametrize("name", ["published", "server"])
def test_the_shipped_recordings_can_be_read(name: str) -> None:
    assert len(read(SHIPPED / name)) > 10


def test_calls_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    file = tmp_path / "calls.jsonl"
    file.write_text('{"name": "a", "path": "/v1/model", "body": {"image": {"file": "a.png"}}}\n')
    assert read_calls(file) == [Call("a", "POST", "/v1/model", {"image": TEXT})]
    file.write_text("{}")
    with pytest.raises(CannotRunError, match="holds no calls"):
        read_calls(file)
