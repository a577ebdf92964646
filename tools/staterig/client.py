"""A client with one API key that records the responses about each ended request."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import httpx
from redis import Redis

from app.core.lifecycle.outbox import Outbox
from tests.support.pictures import astronaut, base64_of
from tests.support.waiting import until
from tests.support.wire import V2, wait_for_end
from tools.staterig.workers import WAIT_S


def tiny(**changes: Any) -> dict[str, Any]:
    """A request for a picture of 64x64, whose control is as small."""
    body = {"prompt": "an astronaut", "cn_type": "canny", "steps": 15, "seed": 7}
    return {"image": grey((64, 64)), **body, **changes}


def grey(size: tuple[int, int]) -> str:
    """A photograph of few bytes, in base64."""
    return base64_of(astronaut(size).convert("L"))


class Client:
    """ended: name -> id, the answers about it (path -> status, JSON) and its files (path ->
    SHA-256). waiting: name -> (key, id)."""

    def __init__(self, url: str, key: str, redis: Redis) -> None:
        self.http = httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=60)
        self.key = key
        self.waiting: dict[str, tuple[str, str]] = {}
        self.ended: dict[str, Any] = {}
        self._outbox = Outbox(redis)

    def submit(self, body: dict[str, Any], **headers: str) -> str:
        """The id of the request."""
        answer = self.http.post(V2, json=body, headers=headers)
        answer.raise_for_status()
        return str(answer.json()["request_id"])

    def leave(self, name: str, body: dict[str, Any]) -> str:
        """The id of a request that is to be recorded before it has ended."""
        request_id = self.submit(body)
        self.waiting[name] = (self.key, request_id)
        return request_id

    def finish(self, name: str, request_id: str) -> None:
        """Wait until it has ended and the history knows, and keep what is answered from then on."""
        wait_for_end(self.http, f"/v2/requests/{request_id}/status", WAIT_S)
        until(lambda: not len(self._outbox), f"the history to know of {name}", WAIT_S)
        self.keep(name, request_id)

    def keep(self, name: str, request_id: str) -> None:
        about = f"/v2/requests/{request_id}"
        paths = [about, f"{about}/status", f"/v1/requests/{request_id}", f"{about}/receipt"]
        paths += [f"{about}/webhook", f"/inference-request/request-history/{request_id}"]
        answers = {path: self.http.get(path) for path in paths}
        links = [urlsplit(image["url"]) for image in answers[about].json().get("images") or []]
        files = [f"{link.path}?{link.query}" for link in links]
        self.ended[name] = {
            "request_id": request_id,
            "answers": {path: [one.status_code, one.json()] for path, one in answers.items()},
            "files": {file: digest(self.http.get(file).content) for file in files},
        }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
