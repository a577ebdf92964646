"""Sends the requests of a call to a server and collects its responses. Compares nothing.

The key goes only to the origin of the base URL, whatever addresses a response names.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tools.migrationcheck.exchanges import (
    FILE,
    RESPONSE,
    RESULT,
    STATUS,
    Auth,
    Call,
    CannotRunError,
    Exchange,
    Response,
)

POLL_S = 0.5
_TERMINAL = ("COMPLETED", "FAILED")
_WRONG_KEY = "not-a-key"
_AGENT = "flux-controlnet-migrationcheck"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is a response to compare, and urllib would send the key to its target."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True)
class Server:
    """url: the base URL without `/v1`. timeout_s: of one call, and of a request from submission
    to end."""

    url: str
    key: str
    timeout_s: float = 600

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def perform(self, call: Call) -> Exchange:
        """Raises CannotRunError if the server cannot be reached or refuses the key."""
        response = self._send(call)
        if call.auth is Auth.KEY and response.status == 401:
            raise CannotRunError(f"{self.url} refuses the key: {_reason(response)}")
        return Exchange(call, {RESPONSE: response, **self._follow(response)})

    def _send(self, call: Call) -> Response:
        headers = {"content-type": call.content_type} if call.body is not None else {}
        key = {Auth.KEY: self.key, Auth.WRONG: _WRONG_KEY, Auth.NONE: None}[call.auth]
        if key is not None:
            headers["x-api-key"] = key
        data = call.body if isinstance(call.body, str) else json.dumps(call.body)
        body = None if call.body is None else data.encode()
        return self._exchange(call.method, self.url + call.path, headers, body)

    def _follow(self, submission: Response) -> dict[str, Response]:
        """The further steps of a v2 submission; none for other responses."""
        accepted = submission.json()
        if submission.status != 200 or not isinstance(accepted, dict):
            return {}
        links = accepted.get("status_url"), accepted.get("response_url")
        if not all(isinstance(link, str) for link in links):
            return {}
        status = self._wait(str(links[0]))
        steps = {STATUS: status}
        body = status.json()
        if not isinstance(body, dict) or body.get("status") not in _TERMINAL:
            return steps
        steps[RESULT] = result = self._get(str(links[1]))
        body = result.json()
        output = body.get("output") if isinstance(body, dict) else None
        if isinstance(output, str) and output.startswith(("http://", "https://")):
            with suppress(CannotRunError):  # then the step is missing, which is a difference
                steps[FILE] = self._exchange("GET", output, {}, None)
        return steps

    def _wait(self, link: str) -> Response:
        """The first status that ends the request; its seconds are those since the submission."""
        start = time.monotonic()
        while True:
            response = self._get(link)
            body = response.json()
            seconds = time.monotonic() - start
            done = not isinstance(body, dict) or body.get("status") not in ("QUEUED", "PROCESSING")
            if done or seconds > self.timeout_s:
                return Response(response.status, response.headers, response.body, seconds)
            time.sleep(POLL_S)

    def _get(self, link: str) -> Response:
        """The path of the link at our own origin: its host may be one of a proxy."""
        parts = urlsplit(link)
        query = f"?{parts.query}" if parts.query else ""
        url = f"{self.origin}{parts.path}{query}"
        return self._exchange("GET", url, {"x-api-key": self.key}, None)

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        if urlsplit(url).scheme not in ("http", "https"):  # urllib would open files, too
            raise CannotRunError(f"{url} is no URL of a server: http:// or https:// is missing")
        headers = {"user-agent": _AGENT, **headers}
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - see above
        start = time.monotonic()
        try:
            try:
                answer: Any = _OPENER.open(request, timeout=self.timeout_s)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise CannotRunError(f"{urlsplit(url).netloc} cannot be reached: {reason}") from None
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, names, content, time.monotonic() - start)


def _reason(response: Response) -> str:
    body = response.json()
    return str(body.get("error")) if isinstance(body, dict) else str(response.status)
