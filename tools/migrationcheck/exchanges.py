"""A call, its responses, and the error of a check that could not run. Sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RESPONSE, STATUS, RESULT, FILE = "response", "status", "result", "file"
"""The steps of a call: its response; of a v2 submission also the last status, the result and the
file that `output` links."""


class CannotRunError(Exception):
    """The check has no result: no connection, a refused key, an unreadable recording."""


class Auth(StrEnum):
    """Which key a call sends."""

    KEY = "key"
    WRONG = "wrong"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Call:
    """A request. path: below the base URL, such as `/v1/flux-controlnet`.

    body: JSON; a string is sent as it is; None sends no body.
    """

    name: str
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    auth: Auth = Auth.KEY


@dataclass(frozen=True, slots=True)
class Response:
    """headers: names in lower case. body and seconds: None if they are unknown."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    seconds: float | None

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        if self.body is None or self.media_type != "application/json":
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call with the responses of its steps, in their order."""

    call: Call
    responses: Mapping[str, Response]
