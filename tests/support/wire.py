"""The rules for every response of the server, and a recorder that checks them."""

from __future__ import annotations

from typing import Any

import httpx

from app.api.wire.openai import is_openai_path
from tests.support.waiting import until

TERMINAL = ("COMPLETED", "FAILED")
ORDER = ("QUEUED", "PROCESSING", "COMPLETED")
V1 = "/v1/flux-controlnet"
V2 = "/v2/flux-controlnet"
_INSIDES = ("Traceback", 'File "', "site-packages", "redis", "0x7f")


def media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0]


def assert_well_formed(response: httpx.Response) -> None:
    """No redirect, no HTML, no `detail`; an error is JSON with one sentence about the outside."""
    assert not 300 <= response.status_code < 400, f"a redirect: {response.headers}"
    assert "html" not in media_type(response)
    if response.request.method == "HEAD":
        return
    if media_type(response) == "application/json":
        body = response.json()
        assert not isinstance(body, dict) or "detail" not in body, body
    if response.status_code >= 400:
        assert media_type(response) == "application/json", response.text
        sentence = response.json()["error"]
        if is_openai_path(response.request.url.path):
            assert sentence.keys() == {"message", "type", "param", "code"}
            sentence = sentence["message"]
        assert isinstance(sentence, str)
        assert sentence.strip()
        assert not any(inside in sentence for inside in _INSIDES), sentence


class Wire:
    """Everything that httpx clients sent and were answered, in order."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response] = []

    def watch(self, http: httpx.Client) -> None:
        """Record this client, and fail its test at the first answer that is not well formed."""
        http.event_hooks = {"response": [self._keep]}

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        self.answers.append(response)
        assert_well_formed(response)

    @property
    def requests(self) -> list[httpx.Request]:
        return [answer.request for answer in self.answers]

    @property
    def lines(self) -> list[str]:
        """`METHOD path` of every request."""
        return [f"{request.method} {request.url.path}" for request in self.requests]


def wait_for_end(http: httpx.Client, url: str, deadline_s: float = 200) -> httpx.Response:
    """The first answer of a v2 URL whose status is terminal. Fails at 404 and after deadline_s."""
    answers: list[httpx.Response] = []

    def ended() -> bool:
        answers[:] = [http.get(url)]
        assert answers[0].status_code in (200, 422), answers[0].text
        return answers[0].json()["status"] in TERMINAL

    until(ended, f"the end of {url}", deadline_s)
    return answers[0]


def finished(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The result of a v2 request that must succeed."""
    submitted = http.post(V2, json=body)
    assert submitted.status_code == 200, submitted.text
    answer = wait_for_end(http, submitted.json()["response_url"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def picture(http: httpx.Client, body: dict[str, Any]) -> bytes:
    """The file that v1 answers with."""
    answer = http.post(V1, json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


def rejected(http: httpx.Client, body: dict[str, Any]) -> str:
    """Why a picture is refused: 400 on v1; on v2 a request that is FAILED, for the same reason."""
    v1 = http.post(V1, json=body)
    assert v1.status_code == 400, v1.text
    submitted = http.post(V2, json=body)
    assert submitted.status_code == 200, submitted.text
    status = wait_for_end(http, submitted.json()["status_url"])
    result = http.get(submitted.json()["response_url"])
    assert (status.status_code, result.status_code) == (422, 422)
    assert status.json() == result.json()
    assert status.json()["status"] == "FAILED"
    sentence = status.json()["error"]
    assert sentence == v1.json()["error"]
    assert sentence.startswith("image: ")
    return str(sentence)
