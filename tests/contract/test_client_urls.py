"""The URLs of requests and in responses: headers, trailing slashes, hosts, prefixes.

Numbers in the names are those of the acceptance scenarios.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx
import pytest
from segmind import SegmindClient

from tests.contract.conftest import Connect
from tests.support.bodies import slow, small
from tests.support.servers import Server
from tests.support.wire import V2, Wire, finished

MODEL = "flux-controlnet"


def test_27_headers_of_the_client(client: SegmindClient, server: Server, wire: Wire) -> None:
    """The client's own headers go out on every request, JSON on the POST, and the job completes."""
    result = client.submit_async(MODEL, **slow()).wait(interval=0.2)
    assert result["status"] == "COMPLETED"
    post, *gets = wire.requests
    assert post.headers["content-type"] == "application/json"
    assert len(gets) >= 2
    for request in wire.requests:
        assert request.headers["user-agent"] == "segmind-python-sdk/1.3.0"
        assert request.headers["x-initiator"] == "SDK-PY"
        assert request.headers["x-api-key"] == server.key


def test_33_no_redirect_anywhere(http: httpx.Client) -> None:
    """Every path gives the same answer with and without a trailing slash, never a redirect."""
    result = finished(http, small())
    made = result["request_id"]
    link = urlsplit(result["output"])
    gets = [
        *(f"/v2/requests/{made}/status", f"/v2/requests/{made}", f"/v1/requests/{made}"),
        *("/health/live", "/health/ready", "/metrics", "/openapi.json"),
        *("/v1/flux-controlnet", "/v1", "/v2", "/v2/requests", "/no-such-path"),
    ]
    asked = [("GET", path, f"{path}/") for path in gets]
    asked += [("GET", f"{link.path}?{link.query}", f"{link.path}/?{link.query}")]
    asked += [
        ("POST", path, f"{path}/") for path in ("/v1/flux-controlnet", V2, "/flux-controlnet")
    ]
    for method, plain, slashed in asked:
        answers = [http.request(method, url) for url in (plain, slashed)]
        codes = [answer.status_code for answer in answers]
        assert codes[0] == codes[1], (method, plain, codes)
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]


@pytest.mark.parametrize("path", ["/v1/flux-controlnet/", "/flux-controlnet/"])
def test_33_a_picture_through_a_trailing_slash(http: httpx.Client, path: str) -> None:
    """POST with a trailing slash makes the picture."""
    assert http.post(path, json=small()).headers["content-type"] == "image/jpeg"


def test_36_public_name_is_in_every_url(
    connect: Connect, server: Server, wire: Wire, prefixed_api: tuple[str, str]
) -> None:
    """Behind another host name: every URL of every answer has the public origin, and works."""
    address, public = prefixed_api
    job = connect(f"{address}/v1", server.key).submit_async(MODEL, **small())
    result = job.wait(interval=0.05)
    urls = [*list(job.submit_response.values())[2:], result["output"], result["images"][0]["url"]]
    assert len(urls) == 5
    assert all(url.startswith(f"{public}/") for url in urls), urls
    assert {request.url.host for request in wire.requests[1:]} == {"localhost"}
    assert httpx.get(result["output"]).headers["content-type"] == "image/jpeg"


def test_36_public_name_wins_over_the_host_header(
    server: Server, prefixed_api: tuple[str, str]
) -> None:
    """With PUBLIC_URL set no header of the request gets into an answer."""
    address, public = prefixed_api
    forged = {**server.headers, "host": "evil.example", "x-forwarded-host": "evil.example"}
    answer = httpx.post(address + V2, json=small(), headers=forged)
    assert answer.status_code == 200
    assert answer.json()["status_url"].startswith(f"{public}/v2/requests/")
    assert "evil" not in answer.text


def test_36_a_foreign_host_is_refused(http: httpx.Client, server: Server) -> None:
    """Without PUBLIC_URL a Host that the server does not know is refused before anything is
    queued: the client would send its key there."""
    port = urlsplit(server.url).port
    for forged in ("evil.example", f"127.0.0.1.evil.example:{port}", f"127.0.0.1:{port}@evil"):
        answer = http.post(V2, json=small(), headers={"host": forged})
        assert answer.status_code == 400
        assert "request_id" not in answer.json()


def test_36_forwarded_headers_change_no_url(http: httpx.Client, server: Server) -> None:
    """Without PUBLIC_URL the origin is the request's own, whatever a header claims."""
    claims = {
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "1",
        "x-forwarded-prefix": "/evil",
        "forwarded": "host=evil.example;proto=https",
    }
    answer = http.post(V2, json=small(), headers=claims)
    urls = [answer.json()[name] for name in ("poll_url", "status_url", "response_url")]
    assert [url for url in urls if not url.startswith(f"{server.url}/v")] == []


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", ""])
def test_37_forms_of_the_base_url(connect: Connect, server: Server, suffix: str) -> None:
    """`http://h/v1`, `http://h/v1/` and the bare host: both kinds of call work."""
    client = connect(f"{server.url}{suffix}", server.key)
    assert client.run_sync(MODEL, **small()).headers["content-type"] == "image/jpeg"
    job = client.submit_async(MODEL, **small())
    assert job.status_url.startswith(f"{server.url}/v2/")
    assert job.wait(interval=0.05)["status"] == "COMPLETED"


@pytest.mark.parametrize("form", ["{public}/v1", "{address}/api/v1", "{address}/v1"])
def test_37_below_a_prefix(
    connect: Connect, server: Server, prefixed_api: tuple[str, str], form: str
) -> None:
    """Mounted below /api: with the prefix, and without it when a proxy has taken it off."""
    address, public = prefixed_api
    client = connect(form.format(address=address, public=public), server.key)
    assert client.run_sync(MODEL, **small()).headers["content-type"] == "image/jpeg"
    job = client.submit_async(MODEL, **small())
    assert job.status_url == f"{public}/v2/requests/{job.request_id}/status"
    assert job.wait(interval=0.05)["status"] == "COMPLETED"


def test_links_need_no_key_and_cannot_be_made_up(http: httpx.Client) -> None:
    """The picture's link opens without a key; any change of it is 404."""
    link = finished(http, small())["output"]
    with httpx.Client() as stranger:
        assert stranger.get(link).status_code == 200
        head = stranger.head(link)
        assert (head.status_code, head.headers["content-type"]) == (200, "image/jpeg")
        changed = [
            link.split("?")[0],
            link.replace("/0.jpeg", "/1.jpeg"),
            re.sub(r"exp=(\d+)", lambda found: f"exp={int(found[1]) + 1}", link),
            link[:-1] + ("0" if link[-1] != "0" else "1"),
        ]
        assert [stranger.get(url).status_code for url in changed] == [404] * len(changed)
