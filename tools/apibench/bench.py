"""The objects that all figures share: the processes, a key, and raw HTTP requests."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from redis import Redis

from app.api.wire.requests import FluxControlNetBody, parse_body
from app.core.requests.record import Stage
from app.core.requests.stage_results import PrepareResult
from app.core.requests.store import RequestStore
from app.core.requests.types import GenerationParameters, Source, SourceKind
from tools.apibench.rig import Process

CONNECTIONS = 64
TTL_S = 3600
PREPARED = PrepareResult(1024, 1024, work=20.0, profile="exact", annotated=False)
_BODY = {"image": "aGVsbG8=", "prompt": "a mountain lake in winter"}


@dataclass(frozen=True, slots=True)
class Bench:
    """The api under test, the bare endpoint, their Redis, and a key's secret and owner."""

    api: Process
    bare: Process
    redis: Redis
    secret: str
    owner: str

    @property
    def polls(self) -> list[str]:
        """One status call for each request that is being processed."""
        return [self.get(f"/v2/requests/{request}/status") for request in self._working()]

    @property
    def params(self) -> GenerationParameters:
        """Of a record."""
        return parse_body(FluxControlNetBody, _BODY).parameters(seed=1, only_map=False)

    def reads(self, polls: list[str]) -> list[str]:
        """The same hashes, from the bare endpoint."""
        return [poll.replace("/v2/requests/", "/req:").replace("/status", "") for poll in polls]

    def submit(self, **changes: Any) -> str:
        body = json.dumps({**_BODY, **changes})
        return (
            f"POST /v2/flux-controlnet HTTP/1.1\r\nhost: 127.0.0.1:{self.api.port}\r\n"
            f"x-api-key: {self.secret}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        )

    def get(self, path: str) -> str:
        host = f"host: 127.0.0.1:{self.api.port}"
        return f"GET {path} HTTP/1.1\r\n{host}\r\nx-api-key: {self.secret}\r\n\r\n"

    def _working(self) -> list[str]:
        store, made = RequestStore(self.redis, TTL_S), []
        source = Source(kind=SourceKind.BASE64)
        for _ in range(CONNECTIONS):
            request = secrets.token_hex(16)
            store.submit(request, self.owner, self.params, source, store.expiry())
            store.claim(request, Stage.PREPARE, "a")
            store.advance(request, Stage.PREPARE, "a", PREPARED)
            store.claim(request, Stage.GENERATE, "b")
            store.progress(request, "b", 7, 20)
            made.append(request)
        return made
